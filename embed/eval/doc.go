// Package eval measures fingerprints: what they survive, what they cost, and
// whether a model that does not hold them matches as seldom as promised.
//
// It changes a served model as a thief or a customer would (quantise, merge,
// prune, cut, fine-tune), asks it under other circumstances (system prompts,
// temperatures, samplers, masked logits), and counts with package embed's own
// matching. Its models are trained by 'fealty embed train', by the recipes of the
// profiles and by some that leave a technique out, and fine-tuned by transformers and
// torch (finetune.py), as a customer would; it tunes none, so that what it
// reports was not tuned on it. Its texts come from distribution packages by way of
// scripts/eval-data; those that train a transform never measure.
//
// Start with [Run] and [Nulls].
package eval
