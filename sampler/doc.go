// Package sampler chooses the next token from a row of logits.
//
// It does three things: ordinary sampling as OpenAI-style servers define it
// ([Sampler]), the selection of words just outside the nucleus ([Shell]), and
// the keyed choice of one of them for a share of all prompts ([Inverse]).
//
// It refuses to do I/O, to read a clock and to draw entropy: the seed and the
// secret are arguments, so that equal arguments give equal tokens. Logits are
// float32 in vocabulary order; NaN counts as minus infinity. Start with [New].
package sampler
