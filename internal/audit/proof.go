package audit

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/trie"

	"github.com/fealty/fealty/internal/wallet"
	"github.com/fealty/fealty/licensecheck/contract"
	"github.com/fealty/fealty/policy"
)

type rawJSON json.RawMessage

// UnmarshalJSON keeps the text.
func (r *rawJSON) UnmarshalJSON(text []byte) error {
	*r = append((*r)[:0], text...)
	return nil
}

func (r rawJSON) into(v any) error { return json.Unmarshal(r, v) }

// Nodes of a proof, by hash. It counts those that the path used.
type nodes struct {
	byHash map[common.Hash][]byte
	used   map[common.Hash]bool
}

func (n nodes) Has(key []byte) (bool, error) {
	_, ok := n.byHash[common.BytesToHash(key)]
	return ok, nil
}

func (n nodes) Get(key []byte) ([]byte, error) {
	hash := common.BytesToHash(key)
	node, ok := n.byHash[hash]
	if !ok {
		return nil, errors.New("a node is missing")
	}
	n.used[hash] = true
	return node, nil
}

// prove follows a path; a nil value is proven to be absent. A proof holds no node
// that its path does not use.
func prove(root common.Hash, key []byte, proof []hexutil.Bytes) ([]byte, error) {
	n := nodes{map[common.Hash][]byte{}, map[common.Hash]bool{}}
	for _, node := range proof {
		n.byHash[crypto.Keccak256Hash(node)] = node
	}
	if root == types.EmptyRootHash && len(proof) == 0 {
		return nil, nil
	}
	value, err := trie.VerifyProof(root, crypto.Keccak256(key), n)
	if err != nil {
		return nil, err
	}
	if len(n.used) != len(proof) {
		return nil, fmt.Errorf("it holds %d nodes, its path uses %d", len(proof), len(n.used))
	}
	return value, nil
}

// State is what a snapshot proves, if its block is on the chain.
type State struct {
	Number   uint64
	Hash     common.Hash
	Time     uint64 // Unix seconds
	CodeHash common.Hash
	values   map[common.Hash]common.Hash
}

// Verify recomputes a snapshot from its header down, for exactly the slots of the plan
// and of these other hosts.
func (s *Snapshot) Verify(p *Plan, others ...string) (*State, error) {
	header, err := decodeHeader(s.Header)
	if err != nil {
		return nil, err
	}
	raw, err := prove(header.Root, p.Registry[:], s.Account)
	if err != nil {
		return nil, fmt.Errorf("the registry's account: %w", err)
	}
	if raw == nil {
		return nil, fmt.Errorf("block %d has no account at the registry's address", header.Number)
	}
	var account types.StateAccount
	if err := rlp.DecodeBytes(raw, &account); err != nil {
		return nil, fmt.Errorf("the registry's account: %w", err)
	}
	out := &State{
		Number: header.Number.Uint64(), Hash: header.Hash(), Time: header.Time,
		CodeHash: common.BytesToHash(account.CodeHash), values: map[common.Hash]common.Hash{},
	}
	want := p.slots(others)
	if len(s.Slots) != len(want) {
		return nil, fmt.Errorf("it proves %d slots; the plan needs %d", len(s.Slots), len(want))
	}
	for i, slot := range s.Slots {
		if slot.Slot != want[i] {
			return nil, fmt.Errorf("slot %d is %s; the plan needs %s", i, slot.Slot, want[i])
		}
		if out.values[slot.Slot], err = slotValue(account.Root, slot); err != nil {
			return nil, fmt.Errorf("slot %s: %w", slot.Slot, err)
		}
	}
	return out, nil
}

func slotValue(root common.Hash, slot SlotProof) (common.Hash, error) {
	raw, err := prove(root, slot.Slot[:], slot.Proof)
	if err != nil || raw == nil {
		return common.Hash{}, err
	}
	_, content, _, err := rlp.Split(raw)
	return common.BytesToHash(content), err
}

// Grant is what the chain says of one host name at one block.
type Grant struct {
	Name       string `json:"name"`
	License    policy.License
	Head       common.Hash
	Controller common.Address
}

// Grants are those of the plan's names.
func (s *State) Grants(p *Plan) []Grant {
	names, subjects := p.subjects()
	out := make([]Grant, len(names))
	for i, subject := range subjects {
		out[i] = s.grantOf(p, names[i], subject)
	}
	return out
}

// grant is that of one host, which the snapshot proves; the zero value if it does not.
func (s *State) grant(p *Plan, host string) Grant {
	subject, err := wallet.HostSubject(host)
	if err != nil {
		return Grant{}
	}
	return s.grantOf(p, host, subject)
}

func (s *State) grantOf(p *Plan, name string, subject [32]byte) Grant {
	at := contract.GrantSlots(p.Model, subject)
	return Grant{
		Name: name, License: contract.UnpackWord(contract.Word(s.values[at.Word])),
		Head: s.values[at.Head], Controller: common.BytesToAddress(s.values[at.Controller].Bytes()),
	}
}

// Hosts tells whether the grant lets its host serve the model at that time.
func (g Grant) Hosts(unix uint64) bool {
	l := g.License
	return l.Status == policy.Active && l.Scope&policy.ScopeHost != 0 && l.NotBefore <= int64(unix) && int64(unix) < l.NotAfter
}

// committed is what the chain says of the commitment.
type committed struct {
	root, randomness common.Hash
	block, draw      uint64
	owner            common.Address
	commitments      uint32
}

func (s *State) committed(p *Plan) committed {
	c, m := contract.CommitmentAt(p.Model, p.Commitment), contract.ModelAt(p.Model)
	out := committed{root: s.values[c.Root], randomness: s.values[c.Randomness]}
	out.block, out.draw = contract.UnpackBlocks(s.values[c.Blocks])
	out.owner = contract.UnpackOwner(s.values[m.Owner])
	out.commitments = contract.UnpackCommits(s.values[m.Counters])
	return out
}
