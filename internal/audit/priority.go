package audit

import "fmt"

// Priority weighs two creators' claims on one model by mutual tests: first is the bundle
// in which A's keys were asked of B's model, second the one in which B's keys were asked
// of A's. Training cannot put a mark into a model that was finished before, so whose
// mark shows in the other's model came first. Where both or none show, the blocks of
// the commitments are told, which say only who committed first.
func Priority(first, second *Verdict, a, b *Sealed) (string, error) {
	for _, v := range []*Verdict{first, second} {
		if !v.Sound {
			return "", fmt.Errorf("a bundle does not hold: %v", v.Problems)
		}
	}
	if first.Model == second.Model && first.Registry == second.Registry {
		return "", fmt.Errorf("both bundles are about model %s; mutual tests need one with each creator's keys", first.Model)
	}
	blockA, err := commitBlock(a)
	if err != nil {
		return "", err
	}
	blockB, err := commitBlock(b)
	if err != nil {
		return "", err
	}
	inB, inA := first.Finding == AnswersAsModel, second.Finding == AnswersAsModel
	switch {
	case first.Finding == Inconclusive || second.Finding == Inconclusive:
		return "Open: one of the mutual tests is inconclusive.", nil
	case inB && !inA:
		return fmt.Sprintf("The first creator's marks (model %s) show in the second's endpoint and not the reverse: if each endpoint serves its creator's own reference model, the second was made from the first.", first.Model), nil
	case inA && !inB:
		return fmt.Sprintf("The second creator's marks (model %s) show in the first's endpoint and not the reverse: if each endpoint serves its creator's own reference model, the first was made from the second.", second.Model), nil
	}
	which := "Both creators' marks show in both endpoints"
	if !inA {
		which = "Neither creator's marks show in the other's endpoint"
	}
	if first.ChainID != second.ChainID {
		return fmt.Sprintf("%s: the mutual tests do not decide. The commitments are on different chains (%d, block %d; %d, block %d): compare the blocks' times.", which, first.ChainID, blockA, second.ChainID, blockB), nil
	}
	return fmt.Sprintf("%s: the mutual tests do not decide. The first committed in block %d, the second in block %d of chain %d: the earlier commitment is an indication, since anybody can commit before training.", which, blockA, blockB, first.ChainID), nil
}

func commitBlock(bundle *Sealed) (uint64, error) {
	e, _, err := openEvidence(bundle)
	if err != nil {
		return 0, err
	}
	h, err := decodeHeader(e.Commit)
	if err != nil {
		return 0, err
	}
	return h.Number.Uint64(), nil
}
