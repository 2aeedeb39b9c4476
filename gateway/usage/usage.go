// Package usage is the ledger: who used which model, how much, with what end.
//
// It only appends. It holds no prompt, no answer and no credential. Entries are
// gathered for some milliseconds and written together, each exactly once; no request
// waits for that. What a running answer has used so far is written every second, so
// that a gateway that dies loses no more: another one ends its records, with the
// status [Lost]. Start with [Ledger.Begin].
package usage

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrUnavailable says that the state store cannot be asked.
var ErrUnavailable = errors.New("the usage ledger cannot be reached")

// MaxDays bounds what one question may cover.
const MaxDays = 92

// Lost is the status of an answer whose gateway died.
const Lost = "gateway_lost"

// Entry is one request that ran, whether or not it ended well.
type Entry struct {
	Time             time.Time
	Request          string // x-request-id
	Subject          [32]byte
	KeyID            string // "" for a token
	Model            string
	Version          uint32 // published version of the model; 0: not known
	PromptTokens     int
	CompletionTokens int
	Status           string // "ok", or the code of the error that ended it
}

// Total is what one key used of one model on one UTC day.
type Total struct {
	Day              string `json:"day"` // 2006-01-02
	Model            string `json:"model"`
	KeyID            string `json:"key"`
	Requests         int64  `json:"requests"`
	PromptTokens     int64  `json:"prompt_tokens"`
	CompletionTokens int64  `json:"completion_tokens"`
}

const (
	// The tag keeps the ledger in one slot of a cluster: what belongs together is
	// written at once or not at all.
	namespace = "fealty:1:{usage}:"
	dayLayout = "2006-01-02"
)

func sumsName(subject [32]byte, day string) string {
	return namespace + "sum:" + hex.EncodeToString(subject[:]) + ":" + day
}

func logName(day string) string { return namespace + "log:" + day }

// Store is the state store; *state.Store. Without an error the answers of the
// commands can be believed.
type Store interface {
	reading
	Write(ctx context.Context, commands func(redis.Pipeliner)) error
}

// Reader reads the ledger.
type Reader struct{ from reading }

type reading interface {
	Read(ctx context.Context, commands func(redis.Pipeliner)) error
}

// NewReader reads whatever a Redis holds, also one that gateways do not believe.
func NewReader(r redis.UniversalClient) Reader { return Reader{unguarded{r}} }

type unguarded struct{ redis.UniversalClient }

func (u unguarded) Read(ctx context.Context, commands func(redis.Pipeliner)) error {
	_, err := u.Pipelined(ctx, func(p redis.Pipeliner) error { commands(p); return nil })
	return err
}

// Totals sums what the subject used from one UTC day to another, both included,
// by day, model and key.
func (l Reader) Totals(ctx context.Context, subject [32]byte, from, to time.Time) ([]Total, error) {
	from, to = from.UTC().Truncate(24*time.Hour), to.UTC().Truncate(24*time.Hour)
	if days := int(to.Sub(from)/(24*time.Hour)) + 1; days < 1 || days > MaxDays {
		return nil, fmt.Errorf("the range must cover 1 to %d days", MaxDays)
	}
	var days []string
	var answers []*redis.MapStringStringCmd
	err := l.from.Read(ctx, func(p redis.Pipeliner) {
		for day := from; !day.After(to); day = day.AddDate(0, 0, 1) {
			days = append(days, day.Format(dayLayout))
			answers = append(answers, p.HGetAll(ctx, sumsName(subject, day.Format(dayLayout))))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	out := []Total{}
	for i, a := range answers {
		totals, err := sums(days[i], a.Val())
		if err != nil {
			return nil, err
		}
		out = append(out, totals...)
	}
	return out, nil
}

// sums reads one day's hash: "<key> <model> <what>" -> number.
func sums(day string, hash map[string]string) ([]Total, error) {
	byName := map[string]*Total{}
	for field, text := range hash {
		key, rest, _ := strings.Cut(field, " ")
		at := strings.LastIndexByte(rest, ' ')
		n, err := strconv.ParseInt(text, 10, 64)
		if at < 0 || err != nil {
			return nil, fmt.Errorf("%w: the sum %q of %s is damaged", ErrUnavailable, field, day)
		}
		model := rest[:at]
		t := byName[key+" "+model]
		if t == nil {
			t = &Total{Day: day, Model: model, KeyID: key}
			byName[key+" "+model] = t
		}
		switch rest[at+1:] {
		case "requests":
			t.Requests = n
		case "prompt":
			t.PromptTokens = n
		case "completion":
			t.CompletionTokens = n
		}
	}
	out := make([]Total, 0, len(byName))
	for _, t := range byName {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Total) int {
		return strings.Compare(a.Model+" "+a.KeyID, b.Model+" "+b.KeyID)
	})
	return out, nil
}

// Entries calls each with the entries of one UTC day, oldest first.
func (l Reader) Entries(ctx context.Context, day time.Time, each func(Entry) error) error {
	name := logName(day.UTC().Format(dayLayout))
	for start := "-"; ; {
		var page *redis.XMessageSliceCmd
		if err := l.from.Read(ctx, func(p redis.Pipeliner) { page = p.XRangeN(ctx, name, start, "+", 500) }); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		for _, m := range page.Val() {
			e, err := entry(m.Values)
			if err != nil {
				return fmt.Errorf("%w: entry %s of %s: %w", ErrUnavailable, m.ID, name, err)
			}
			if err := each(e); err != nil {
				return err
			}
			start = "(" + m.ID
		}
		if len(page.Val()) == 0 {
			return nil
		}
	}
}

func entry(v map[string]any) (Entry, error) {
	text := func(name string) string { s, _ := v[name].(string); return s }
	var errs []error
	number := func(name string) int {
		n, err := strconv.Atoi(text(name))
		errs = append(errs, err)
		return n
	}
	e := Entry{
		Request: text("request"), KeyID: text("key"), Model: text("model"), Status: text("status"),
		Version: uint32(number("version")), PromptTokens: number("prompt"), CompletionTokens: number("completion"),
	}
	at, err := time.Parse(time.RFC3339Nano, text("at"))
	subject, hexErr := hex.DecodeString(text("subject"))
	e.Time = at
	copy(e.Subject[:], subject)
	return e, errors.Join(append(errs, err, hexErr)...)
}
