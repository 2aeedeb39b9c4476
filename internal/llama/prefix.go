package llama

import "slices"

const (
	leastPrefix  = 8 // tokens; a shorter one is not worth a run of its own
	leastSharers = 4 // sequences
)

// prefix is the beginning that all sequences of a call share, such as a chat
// template's system prompt. It is computed once: questions of some 45 tokens are
// half prefix.
type prefix struct {
	tokens []int32
	cache  *Cache // of exactly these tokens
}

// length is zero for no prefix.
func (p *prefix) length() int {
	if p == nil {
		return 0
	}
	return len(p.tokens)
}

// prefix computes the shared beginning of the sequences; nil if there is none
// worth it. The one of the last call is kept, since calls often come in rows.
func (e *Evaluator) prefix(sequences [][]int32) (*prefix, error) {
	tokens := sharedPrefix(sequences)
	if len(tokens) < leastPrefix || len(sequences) < leastSharers {
		return nil, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last != nil && slices.Equal(e.last.tokens, tokens) {
		return e.last, nil
	}
	cache, err := e.model.NewCache(1, len(tokens))
	if err != nil {
		return nil, err
	}
	if err := NewRunner(e.model).Run(&Batch{Staging: cache, Chunk: tokens}); err != nil {
		return nil, err
	}
	e.last = &prefix{slices.Clone(tokens), cache}
	return e.last, nil
}

// sharedPrefix is the longest beginning of all sequences that leaves each at
// least one token, as a part of the first.
func sharedPrefix(sequences [][]int32) []int32 {
	if len(sequences) == 0 {
		return nil
	}
	n := len(sequences[0]) - 1
	for _, s := range sequences {
		n = min(n, len(s)-1, alike(s, sequences[0]))
	}
	return sequences[0][:n]
}

// without cuts the prefix off.
func without(p *prefix, sequences [][]int32) [][]int32 {
	if p == nil {
		return sequences
	}
	rest := make([][]int32, len(sequences))
	for i, s := range sequences {
		rest[i] = s[p.length():]
	}
	return rest
}
