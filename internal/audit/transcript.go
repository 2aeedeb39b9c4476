package audit

import (
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Transcript is what one party asked and was answered, each planned query up to the
// stop, errors included.
type Transcript struct {
	Format  string  `json:"format"` // TranscriptFormat
	Plan    Digest  `json:"plan"`
	Peers   []Peer  `json:"peers"` // who answered, as this party's connection saw it
	Entries []Entry `json:"entries"`
}

// Peer is a server at the other end of a connection.
type Peer struct {
	Address     string `json:"address"`     // ip:port
	Certificate string `json:"certificate"` // SHA-256 of its TLS certificate; "" without TLS
}

// Entry is one scored query.
type Entry struct {
	Key      int       `json:"key"`
	Question string    `json:"question"`
	Asked    time.Time `json:"asked"`
	Ended    time.Time `json:"ended"`
	Attempts int       `json:"attempts"` // of which all but the last got no answer
	ID       string    `json:"id"`       // of the answer, as the server named it
	Answer   string    `json:"answer"`   // its first 4,096 bytes
	Error    string    `json:"error"`    // "" or why there is no answer; counts as no match

	Signed *SignedAnswer `json:"signed,omitempty"` // nil: the answer came without a signature
}

// Assignment is what a witness needs to ask what the auditor asks: the committed plan,
// the block that orders it, and the questions. It holds no answer.
type Assignment struct {
	Plan  Sealed        `json:"plan"`
	Order hexutil.Bytes `json:"order"` // RLP of the order block's header
	Items []Item        `json:"items"` // in the plan's order
}

// Item is one question.
type Item struct {
	Key      int    `json:"key"`
	Question string `json:"question"`
}
