// Package audit makes evidence of what an endpoint answered and of what the chain grants
// to its names, and checks such evidence offline.
//
// Matching and statistics are package embed's, license slots are
// licensecheck/contract's; this package puts the questions, keeps the journal, captures
// and verifies Merkle-Patricia proofs, and says in words what follows and what does not.
// It states "answers as the model" and "holds no host grant", never more. Start with
// [Plan], [Run] and [Check]; docs/evidence.md says what a bundle proves.
package audit
