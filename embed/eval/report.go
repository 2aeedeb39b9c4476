package eval

import (
	"fmt"
	"io"
	"strings"
)

// Markdown writes the tables of docs/fingerprints.md.
func Markdown(w io.Writer, results []*Result) error {
	p := &printer{w: w}
	p.table(results)
	names, of := profiles(results)
	p.say("\n| nulls: recorded answers under words drawn anew | listed | matched | expected | held |\n|---|---|---|---|---|\n")
	for _, name := range names {
		for _, r := range of[name] {
			for _, n := range r.Nulls {
				p.say("| %s %d: %s | %.3f | %.5f | %.5f +- %.5f | %s |\n", name, r.Seed, n.Model, n.Listed, n.Matched, n.Expected, n.Bound, yes(n.Held))
			}
		}
	}
	p.say("\n| unseen system prompt | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for _, persona := range Personas {
		p.say("| %s |", persona)
		for _, name := range names {
			mean := 0.0
			for _, r := range of[name] {
				mean += r.Personas[persona] / float64(len(of[name]))
			}
			p.say(" %.0f %% |", 100*mean)
		}
		p.say("\n")
	}
	p.intervals(names, of)
	return p.err
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) say(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// table has a line for each target and two columns for each profile.
func (p *printer) table(results []*Result) {
	names, of := profiles(results)
	p.say("| | %s |\n|---|%s\n", strings.Join(names, ": mean, worst | target | ")+": mean, worst | target", strings.Repeat("---|", 2*len(names)))
	for _, t := range targets {
		line, measured := "| "+t.title+" |", false
		for _, name := range names {
			rows := t.rows(name, of[name])
			if len(rows) == 0 {
				line += " | |"
				continue
			}
			measured = true
			line += fmt.Sprintf(" %s | %s |", values(rows), verdict(rows))
		}
		if measured {
			p.say("%s\n", line)
		}
	}
}

func values(rows []Figure) string {
	out := fmt.Sprintf("%.4g", rows[0].Value)
	if len(rows) > 1 {
		out += fmt.Sprintf(", %.4g", rows[1].Value)
	}
	return out + " " + rows[0].Unit
}

func verdict(rows []Figure) string {
	if rows[0].Held == nil {
		return "reported"
	}
	out := rows[0].Target
	for i, r := range rows {
		if !*r.Held {
			return out + []string{": **missed**", ": worst missed"}[i]
		}
	}
	return out
}

func (p *printer) intervals(names []string, of map[string][]*Result) {
	p.say("\n| paired bootstrap, 95 %% | perplexity, rise | multiple choice, gain | cheapest strong attack |\n|---|---|---|---|\n")
	for _, name := range names {
		for _, r := range of[name] {
			a, _ := strongest(r.Attacks)
			p.say("| %s %d | %+.3f %% (%+.3f to %+.3f) | %+.1f points (%+.1f to %+.1f) | %s: %.0f %% left, %.1f %% cost |\n", name, r.Seed,
				100*r.Perplexity.Value, 100*r.Perplexity.Low, 100*r.Perplexity.High, 100*r.Choice.Value, 100*r.Choice.Low, 100*r.Choice.High,
				a.Name, 100*a.Matched, 100*a.Changed)
		}
	}
}

func yes(held bool) string {
	if held {
		return "yes"
	}
	return "**no**"
}
