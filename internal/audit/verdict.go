package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/fealty/fealty/policy"
)

// Unsound is the finding about a bundle that does not hold together: it says nothing
// about the endpoint.
const Unsound = "the evidence does not hold"

// What the chain says of an endpoint's names.
const (
	Licensed   = "licensed"
	NoGrant    = "no host grant for these names"
	GrantMoved = "the grant changed during the audit"
)

// How the chain's state is known.
const (
	ChainConfirmed = "chain state confirmed"
	ChainClaimed   = "chain state claimed"
)

// Verdict says in words what a bundle proves, what it only claims, and what else could
// explain it.
type Verdict struct {
	Sound    bool     `json:"sound"`
	Problems []string `json:"problems"` // why not

	Endpoint string `json:"endpoint"`
	Served   string `json:"served"`
	Model    string `json:"model"`
	ChainID  uint64 `json:"chain_id"`
	Registry string `json:"registry"`
	Auditor  string `json:"auditor"`

	Finding  string         `json:"finding"`
	Result   Result         `json:"result"`
	License  string         `json:"license"`
	Grants   []GrantFinding `json:"grants"`
	Level    string         `json:"level"` // of the claim that the endpoint answered so: T0 to T2; T3 is only ever claimed
	Chain    string         `json:"chain"`
	Blocks   []BlockFinding `json:"blocks"`
	CodeHash string         `json:"code_hash"` // of the registry

	Signatures  *SignatureFinding   `json:"signatures,omitempty"` // of the answers, if they were asked for
	Witnesses   []WitnessFinding    `json:"witnesses"`
	Attachments []AttachmentFinding `json:"attachments"`

	Proven       []string `json:"proven"`
	Claimed      []string `json:"claimed"`
	Explanations []string `json:"explanations"`
}

// GrantFinding is what the chain says of one name.
type GrantFinding struct {
	Name       string `json:"name"`
	Status     string `json:"status"`
	Controller string `json:"controller,omitempty"`
}

// BlockFinding is a block that the bundle rests on.
type BlockFinding struct {
	What      string `json:"what"`
	Number    uint64 `json:"number"`
	Hash      string `json:"hash"`
	Confirmed bool   `json:"confirmed"` // by a source of the checker's own
}

func (c *checker) verdict(signer string) *Verdict {
	v := &Verdict{Auditor: signer, Finding: Unsound, Problems: []string{}}
	if c.plan != nil {
		v.Endpoint, v.Served, v.Model = c.plan.Endpoint, c.plan.Served, c.plan.Model.Hex()
		v.ChainID, v.Registry = c.plan.ChainID, c.plan.Registry.Hex()
	}
	for _, err := range c.problems {
		v.Problems = append(v.Problems, err.Error())
	}
	if v.Sound = len(v.Problems) == 0; !v.Sound {
		return v
	}
	v.Result, v.Finding, v.Witnesses = c.e.Result, c.e.Result.Finding, c.witnesses
	v.CodeHash = c.after.CodeHash.Hex()
	c.chain(v)
	c.level(v)
	c.grants(v)
	v.Attachments = c.attached()
	c.proven(v)
	c.claimed(v)
	v.Explanations = explanations(v)
	return v
}

const auditorAlone = "T0: signed by the auditor alone"

// attested tells whether a host's registered key signed each answer. Who writes the
// bundle could write the chain's state too, so it must be confirmed.
func (v *Verdict) attested() bool {
	return v.Signatures != nil && v.Signatures.Registered && v.Chain == ChainConfirmed
}

// level looks at signatures and counts the witnesses. Where those say otherwise, the
// finding is open.
func (c *checker) level(v *Verdict) {
	agree, counted := 0, 0
	for _, w := range c.witnesses {
		if w.Problem == "" {
			counted++
		}
		if w.Agrees {
			agree++
		}
	}
	v.Level = auditorAlone
	if agree > 0 {
		v.Level = fmt.Sprintf("T1: %d of %d witnesses found the same by themselves", agree, len(c.witnesses))
	}
	if v.Signatures = c.signatures(); v.attested() {
		v.Level = strings.TrimSuffix(v.Signatures.words()+"; "+v.Level, "; "+auditorAlone)
	}
	v.Level += c.attestedSessions()
	if counted > 0 && 2*agree <= counted && v.Finding != Inconclusive {
		v.Finding = Inconclusive
		v.Result.Reasons = append(slices.Clone(v.Result.Reasons), fmt.Sprintf("of %d witnesses that count only %d found what the auditor says (%s)", counted, agree, c.e.Result.Finding))
	}
}

func (c *checker) chain(v *Verdict) {
	all := true
	for what, b := range c.blocks() {
		_, known := c.trust.Blocks[b.Number] // one that differs was refused before
		all = all && known
		v.Blocks = append(v.Blocks, BlockFinding{what, b.Number, b.Hash.Hex(), known})
	}
	slices.SortFunc(v.Blocks, func(a, b BlockFinding) int {
		if a.Number != b.Number {
			return int(int64(a.Number) - int64(b.Number))
		}
		return len(a.What) - len(b.What)
	})
	v.Chain = ChainClaimed
	if all {
		v.Chain = ChainConfirmed
	}
}

func (c *checker) grants(v *Verdict) {
	before, after := c.before.Grants(c.plan), c.after.Grants(c.plan)
	v.License = NoGrant
	for i, g := range after {
		found := GrantFinding{Name: g.Name, Status: grantWords(g, c.after.Time)}
		if (g.Controller != common.Address{}) {
			found.Controller = g.Controller.Hex()
		}
		switch {
		case g.Head != before[i].Head:
			found.Status = GrantMoved + "; now: " + found.Status
			v.License = GrantMoved
		case g.Hosts(c.after.Time) && before[i].Hosts(c.before.Time) && v.License == NoGrant:
			v.License = Licensed
		}
		v.Grants = append(v.Grants, found)
	}
}

func grantWords(g Grant, unix uint64) string {
	l := g.License
	day := func(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.DateOnly) }
	switch {
	case l.Seq == 0:
		return "never had a grant, up to this block"
	case l.Status == policy.Suspended:
		return "suspended"
	case l.Status == policy.Revoked:
		return "revoked"
	case l.Scope&policy.ScopeHost == 0:
		return "has a grant without the right to host"
	case int64(unix) < l.NotBefore:
		return "granted from " + day(l.NotBefore) + " on, not yet"
	case int64(unix) >= l.NotAfter:
		return "granted until " + day(l.NotAfter) + ", which is over"
	}
	return "may host the model until " + day(l.NotAfter)
}

func (c *checker) proven(v *Verdict) {
	asked, n := v.Result.Asked, len(c.e.Reveal.Keys)
	say := func(format string, args ...any) { v.Proven = append(v.Proven, fmt.Sprintf(format, args...)) }
	say("The %d questions and their %d possible first words each stand under the root %s.", n, c.plan.K, c.plan.Root)
	say("Which word answers each question follows from the randomness of block %d and from secrets under that root.", c.committed.draw)
	say("The order of the questions follows from the plan and from the hash of block %d.", c.plan.OrderBlock)
	say("The numbers follow from the %d recorded answers by the rule of the plan.", asked)
	if v.Chain == ChainConfirmed {
		say("Block hashes that you obtained yourself confirm the chain's state: the root was committed in block %d, before block %d drew the words, and the grants of %v at blocks %d and %d are as told below.",
			c.committed.block, c.committed.draw, c.plan.Names, c.before.Number, c.after.Number)
	}
	if v.attested() {
		s, entries := v.Signatures, c.transcript.Entries
		at := func(e Entry) string { return time.Unix(int64(e.Signed.Time), 0).UTC().Format(time.RFC3339) }
		say("Who holds the key %s signed each of the %d answers, to exactly these requests, as an answer of this model by %s, from %s to %s by its own clock. At block %d the registry lets that key speak for %s, which %s.",
			s.Key, s.Asked, s.Host, at(entries[0]), at(entries[len(entries)-1]), c.after.Number, s.Host, s.Grant)
	}
	if !c.grind {
		say("For any endpoint whose model was not trained on these pairs, each match has the chance 1/%d: %s.", c.plan.K, c.why)
	}
}

func (c *checker) claimed(v *Verdict) {
	say := func(format string, args ...any) { v.Claimed = append(v.Claimed, fmt.Sprintf(format, args...)) }
	c.claimedOfSignatures(v, say)
	switch {
	case v.attested() && v.Signatures.Own: // the endpoint's host says so itself
	case v.attested():
		say("That the answers came by way of %s: the signatures are of %s and name nobody in between. That the questions were put to the endpoint, the auditor alone says.", c.plan.Endpoint, v.Signatures.Host)
	case v.Level[:2] == "T1":
		say("That the endpoint gave these answers: the auditor says so, and so do the witnesses that agree, each with its own connection and key. That they are independent of one another and of the creator is for you to know; who holds the keys could write all transcripts alone.")
	default:
		say("That the endpoint gave these answers: the auditor alone says so (TLS does not sign what it carries), and who holds the keys could have written them.")
	}
	say("That %d suspect(s) are all that were tried, that the %d excluded key(s) were seen by somebody before, and that no witness is missing, is the auditor's word: it could repeat an audit and hide those that failed, exclude keys that missed, and leave out a witness that contradicts.", c.plan.Stopping.Suspects, len(c.plan.Excluded))
	say("That the plan was signed before block %d: it names block %d, so it is not older, but nothing shows when it was signed unless you received its digest before.", c.plan.OrderBlock, c.plan.Known.Number)
	if v.Chain == ChainClaimed {
		say("Chain state claimed: the proofs fit the headers in the bundle, and nobody has confirmed to you that these blocks are on chain %d. Give --rpc, or --block NUMBER=HASH from a source of your own.", c.plan.ChainID)
	}
	if c.grind {
		say("Grindable: %s. Then matches prove what the creator wanted to be drawn, and only as much as you trust the creator.", c.why)
	}
	if !c.recorded {
		say("That block %d drew the words: the registry has not recorded it ('fealty license commit --index N --draw' does), so it rests on that block's header.", c.committed.draw)
	}
	if c.plan.Asking.System != "" {
		say("That the model itself chose the words: the auditor asked under a system prompt, and one that holds the words makes any model say them. Read it: %q.", c.plan.Asking.System)
	}
	if c.plan.Connect != "" {
		say("That %s is %s: the auditor connected to that address whatever DNS said.", c.plan.Connect, c.plan.Names[0])
	}
	for _, a := range v.Attachments {
		say("Attached: %s.", a.Words)
	}
}

// claimedOfSignatures says what signatures leave open, or why they prove nothing.
func (c *checker) claimedOfSignatures(v *Verdict, say func(string, ...any)) {
	s := v.Signatures
	switch {
	case s == nil:
	case v.attested():
		say("That %s is the key of %s: the model's owner or an issuer named its controller in the grant, and the registry cannot know who controls a domain. Fetch https://%[2]s/.well-known/fealty.json yourself: it must be signed by that key.", s.Key, s.Host)
		say("That each question was asked once: a host signs every answer that it gives, and the auditor might have asked more often and kept one of several.")
	case s.Registered:
		say("That the key %s, which signed all %d answers, is the registered one of %s: the proof of it stands on the block after the last answer. Confirm the chain's state, and the level is T2.", s.Key, s.Asked, s.Host)
	default:
		say("The host was asked to sign its answers, which does not raise the level here: %d of %d are signed by one key, and all must be, by a registered one. First problem: %s.", s.Signed, s.Asked, s.Problem)
	}
}

// explanations are innocent ways to such a finding. They are listed whatever one thinks
// of their likelihood.
func explanations(v *Verdict) []string {
	if v.Finding != AnswersAsModel {
		if v.Finding == NoMatch {
			return []string{"The model may be another one, or this one so changed, filtered or instructed that its marks no longer show. 'No match' is no proof that it is not the model."}
		}
		return nil
	}
	all := []string{
		"Burnt keys: whoever saw these questions with their words, in an earlier bundle or from the creator, can train or program an endpoint to answer them.",
	}
	if v.License != Licensed {
		reseller := "A reseller: the endpoint passes requests on to a host that holds a grant under another name."
		if v.attested() && !v.Signatures.Own {
			reseller = fmt.Sprintf("A reseller, and the signatures bear that out: %s, which %s, signed each answer. The endpoint passes requests on to it, or who holds its key runs the endpoint.", v.Signatures.Host, v.Signatures.Grant)
		}
		all = append(all, reseller,
			"A tenant's deployment: a customer of the named host runs the model, under a license of its own.",
			"A grant under another name or kind of subject: only the listed names were looked up.",
			"A licensee framed with \"their\" copy: somebody else serves weights, or keys, that were given to a licensee.")
	}
	return all
}
