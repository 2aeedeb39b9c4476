package exchange

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds one line of a stream, in bytes.
const maxLine = 1 << 20

// stream reads server-sent events (WHATWG HTML, 9.2) until [DONE], an error event
// or the end.
func (r *Reply) stream(body io.Reader, c clock) error {
	lines := bufio.NewReaderSize(body, 64<<10)
	var data []byte
	var last float64
	for {
		line, err := readLine(lines)
		r.Bytes += len(line)
		if err != nil {
			r.Truncated = true
			if errors.Is(err, io.EOF) { // an event that no blank line ended counts as none
				return nil
			}
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		value, isData := bytes.CutPrefix(line, []byte("data:"))
		switch {
		case len(line) == 0 && data != nil:
			text, ended, err := r.event(data)
			if err != nil || ended {
				return err
			}
			if text != "" {
				last = r.arrived(c.now(), last)
			}
			data = nil
		case len(line) > 0 && line[0] == ':':
			r.Heartbeats++
		case isData:
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
		}
	}
}

// arrived notes that a piece of text came now, and returns now.
func (r *Reply) arrived(now, last float64) float64 {
	if r.FirstMS == 0 {
		r.FirstMS = now
	} else {
		r.GapsMS = append(r.GapsMS, now-last)
	}
	return now
}

func (r *Reply) event(data []byte) (text string, ended bool, err error) {
	r.Frames++
	if string(data) == "[DONE]" {
		return "", true, nil
	}
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		r.Truncated = true
		return "", true, fmt.Errorf("frame %d is not JSON: %w", r.Frames, err)
	}
	text = r.take(m)
	r.Cut = m.Error != nil
	return text, r.Cut, nil
}

func (r *Reply) errorIs(code any, text string, param *string) {
	r.Message, r.ErrorCode = text, "unnamed"
	if code != nil {
		r.ErrorCode = fmt.Sprint(code)
	}
	if param != nil {
		r.Param = *param
	}
}

// readLine returns one line with its end.
func readLine(from *bufio.Reader) (line []byte, err error) {
	for {
		part, err := from.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return line, fmt.Errorf("a line of the stream is longer than %d bytes", maxLine)
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}
