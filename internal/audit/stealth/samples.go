package stealth

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Prompt is one question that was asked, and what the observer must not know of it.
type Prompt struct {
	ID          string `json:"id"`
	Question    string `json:"question"`
	Fingerprint bool   `json:"fingerprint"`
	Word        string `json:"word,omitempty"` // that a fingerprint's answer begins with
}

// Labels tell fingerprints from ordinary prompts. They stay with whoever made the plan.
type Labels struct {
	Prompts []Prompt `json:"prompts"`
}

// ReadLabels reads the JSON that was written with the plan.
func ReadLabels(r io.Reader) (Labels, error) {
	var l Labels
	if err := json.NewDecoder(r).Decode(&l); err != nil {
		return l, fmt.Errorf("labels: %w", err)
	}
	if len(l.Prompts) == 0 {
		return l, errors.New("labels: there are no prompts; give the file that was written with the plan")
	}
	return l, nil
}

// Sample is one answer as an observer of the traffic saw it. Times are milliseconds.
type Sample struct {
	ID          string
	Measures    map[string]float64 // by column; absent where there was none
	HeaderNames string
	Text        string
}

// timed are the columns that are measures; each is a number or empty.
var timed = []string{"headers_ms", "ttft_ms", "gap_ms", "total_ms", "frames", "bytes", "header_bytes", "completion_tokens"}

// ReadSamples reads the table that k6/stealth.js writes. Answers that did not come
// whole are left out and counted.
func ReadSamples(r io.Reader) (samples []Sample, failed int, err error) {
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, 0, fmt.Errorf("samples: %w", err)
	}
	if len(rows) < 2 {
		return nil, 0, errors.New("samples: the table is empty")
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, need := range slices.Concat(timed, []string{"id", "status", "error", "header_names", "text"}) {
		if _, there := column[need]; !there {
			return nil, 0, fmt.Errorf("samples: there is no column %q; give a table that k6/stealth.js wrote", need)
		}
	}
	for i, row := range rows[1:] {
		if row[column["status"]] != "200" || row[column["error"]] != "" {
			failed++
			continue
		}
		s := Sample{ID: row[column["id"]], HeaderNames: row[column["header_names"]], Text: row[column["text"]], Measures: map[string]float64{}}
		for _, name := range timed {
			text := row[column[name]]
			if text == "" || strings.HasSuffix(name, "_ms") && text == "0" { // nothing to time
				continue
			}
			if s.Measures[name], err = strconv.ParseFloat(text, 64); err != nil {
				return nil, 0, fmt.Errorf("samples: row %d: %s is %q, not a number", i+2, name, text)
			}
		}
		samples = append(samples, s)
	}
	return samples, failed, nil
}

// ByPrompt groups the samples of a plan. A sample of no prompt is an error: the
// table and the labels are of different plans.
func (l Labels) ByPrompt(samples []Sample) ([][]Sample, error) {
	at := map[string]int{}
	for i, p := range l.Prompts {
		at[p.ID] = i
	}
	out := make([][]Sample, len(l.Prompts))
	for _, s := range samples {
		i, known := at[s.ID]
		if !known {
			return nil, fmt.Errorf("samples: prompt %q is not in the labels: they are of another plan", s.ID)
		}
		out[i] = append(out[i], s)
	}
	return out, nil
}

// Measured is what one measure of the traffic says.
type Measured struct {
	Name string
	Unit string
	Comparison
}

// Network compares both kinds by what is seen without reading. Each prompt counts
// once, with the median of its samples: repeats are no further evidence.
func Network(l Labels, byPrompt [][]Sample, share float64) []Measured {
	var out []Measured
	for _, name := range timed {
		var yes, no []float64
		for i, samples := range byPrompt {
			var values []float64
			for _, s := range samples {
				if v, there := s.Measures[name]; there {
					values = append(values, v)
				}
			}
			switch {
			case len(values) == 0:
			case l.Prompts[i].Fingerprint:
				yes = append(yes, Median(values))
			default:
				no = append(no, Median(values))
			}
		}
		if len(yes) < 2 || len(no) < 2 {
			continue
		}
		unit := ""
		if strings.HasSuffix(name, "_ms") {
			unit = "ms"
		}
		out = append(out, Measured{strings.TrimSuffix(name, "_ms"), unit, Compare(yes, no, share)})
	}
	return out
}

// OwnHeaders counts the sets of header names that only one kind of traffic has.
func OwnHeaders(l Labels, byPrompt [][]Sample) int {
	seen := map[string][2]bool{}
	for i, samples := range byPrompt {
		for _, s := range samples {
			kinds := seen[s.HeaderNames]
			kinds[map[bool]int{true: 1}[l.Prompts[i].Fingerprint]] = true
			seen[s.HeaderNames] = kinds
		}
	}
	n := 0
	for _, kinds := range seen {
		if kinds[0] != kinds[1] {
			n++
		}
	}
	return n
}
