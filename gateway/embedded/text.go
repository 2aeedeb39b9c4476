package embedded

import (
	"bytes"
	"unicode/utf8"
)

// text turns the bytes of tokens into text that can be sent. It holds back what
// may still become something else: a rune whose bytes are not all there, and the
// beginning of a stop string.
type text struct {
	stops   [][]byte
	held    []byte
	stopped bool // a stop string has completed; nothing follows
}

// add returns what can be sent now that b has arrived.
func (t *text) add(b []byte) string {
	t.held = append(t.held, b...)
	if at := t.stop(); at >= 0 {
		t.stopped = true
		return string(t.held[:at])
	}
	n := min(t.beforeStop(), wholeRunes(t.held))
	out := string(t.held[:n])
	t.held = append(t.held[:0], t.held[n:]...)
	return out
}

// rest returns what was held back when nothing more comes.
func (t *text) rest() string {
	if t.stopped {
		return ""
	}
	return string(t.held)
}

// stop is where the stop string begins that completes first, -1 if none does. That
// rule does not depend on how the text was cut into tokens.
func (t *text) stop() int {
	start, end := -1, len(t.held)+1
	for _, s := range t.stops {
		at := bytes.Index(t.held, s)
		if at < 0 {
			continue
		}
		if e := at + len(s); e < end || e == end && at < start {
			start, end = at, e
		}
	}
	return start
}

// beforeStop is the length of the text that no stop string can begin in.
func (t *text) beforeStop() int {
	n := len(t.held)
	for _, s := range t.stops {
		for k := min(len(s)-1, len(t.held)); k > 0; k-- {
			if bytes.HasSuffix(t.held, s[:k]) {
				n = min(n, len(t.held)-k)
				break
			}
		}
	}
	return n
}

// wholeRunes is the length of b without an unfinished rune at its end.
func wholeRunes(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}
