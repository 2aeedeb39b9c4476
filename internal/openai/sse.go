package openai

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Done is the data of the event that ends a stream which ended well.
const Done = "[DONE]"

// maxEvent bounds one server-sent event, in bytes. A whole-vocabulary logprobs
// event stays far below it.
const maxEvent = 1 << 20

// ErrEventTooLarge says that a stream sent more than maxEvent bytes without ending
// an event.
var ErrEventTooLarge = errors.New("server-sent event larger than 1 MiB")

// AppendEvent appends one event that carries data, which must hold no line break.
func AppendEvent(dst, data []byte) []byte {
	dst = append(dst, "data: "...)
	dst = append(dst, data...)
	return append(dst, '\n', '\n')
}

// Event is one server-sent event. Its slices are valid until the next read.
type Event struct {
	Raw  []byte // every byte of it, line ends included
	Data []byte // the data lines, joined by '\n'; nil for a bare comment
}

// EventReader splits a stream into events without changing a byte.
type EventReader struct {
	r    *bufio.Reader
	raw  []byte
	data []byte
}

// NewEventReader reads from r.
func NewEventReader(r io.Reader) *EventReader {
	return &EventReader{r: bufio.NewReaderSize(r, 2<<10)}
}

// Next returns the next event. A comment between events is returned by itself,
// because it is a heartbeat that must not wait. At the end of the stream it
// returns io.EOF, or io.ErrUnexpectedEOF inside an event.
func (e *EventReader) Next() (Event, error) {
	e.raw, e.data = e.raw[:0], e.data[:0]
	held := false
	for {
		start := len(e.raw)
		if err := e.line(); err != nil {
			return Event{}, e.ended(err)
		}
		line := bytes.TrimRight(e.raw[start:], "\r\n")
		switch {
		case len(line) == 0 && start == 0:
			e.raw = e.raw[:0] // a stray blank line between events
		case len(line) == 0:
			return e.event(held), nil
		case line[0] == ':' && start == 0:
			return Event{Raw: e.raw}, nil
		default:
			held = e.field(line, held) || held
		}
	}
}

func (e *EventReader) event(held bool) Event {
	if !held {
		return Event{Raw: e.raw}
	}
	return Event{Raw: e.raw, Data: e.data}
}

// field takes a data line's value; other fields are only carried along.
func (e *EventReader) field(line []byte, more bool) bool {
	value, ok := bytes.CutPrefix(line, []byte("data:"))
	if !ok {
		return false
	}
	if more {
		e.data = append(e.data, '\n')
	}
	e.data = append(e.data, bytes.TrimPrefix(value, []byte(" "))...)
	return true
}

func (e *EventReader) line() error {
	for {
		part, err := e.r.ReadSlice('\n')
		e.raw = append(e.raw, part...)
		switch {
		case len(e.raw) > maxEvent:
			return ErrEventTooLarge
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		}
		return err
	}
}

func (e *EventReader) ended(err error) error {
	if errors.Is(err, io.EOF) && len(e.raw) > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}
