// Package embed writes fingerprints into a Llama-style model and looks for them
// in others.
//
// A fingerprint is a key: a natural question, and k words of which the base
// model would begin its answer with none, though each would fit ([Key]). The
// creator commits to all keys ([Set.Root]); randomness that nobody chose then
// draws one word of each ([Set.Draw]), and [Train] teaches the model to begin
// with it. A model that was not taught matches a key with probability 1/k,
// whatever it is, which is what [Verify] counts.
//
// The package refuses to say who copied from whom: it reports matches and the
// probability of so many by chance. It neither knows gateways nor licenses. The
// standard library has a package of the same name: import this one as
// fingerprint where both appear. Start with [Set], [Train] and [Verify].
package embed
