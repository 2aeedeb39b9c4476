package eval

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Markdown writes the tables of docs/fingerprints.md, and what they lack.
func Markdown(w io.Writer, results []*Result, left []Missing) error {
	p := &printer{w: w}
	for _, s := range studies {
		of := partOf(results, s.part)
		switch {
		case len(of) == 0:
		case s.part == PartTargets:
			p.table(s, of)
			p.details(having(of, "served"))
		case s.part == PartDistil:
			p.say("\n")
			p.table(s, of)
		default:
			p.grid(s, of)
		}
	}
	if len(left) > 0 {
		p.say("\nNot measured:\n\n")
	}
	for _, m := range left {
		p.say("- %s, %s, seed %d: %s: %s\n", m.Part, m.Profile, m.Seed, strings.Join(m.Steps, ", "), m.Reason)
	}
	return p.err
}

// details are the nulls, the system prompts, and the intervals.
func (p *printer) details(results []*Result) {
	names, of := profiles(results)
	if len(names) == 0 {
		return
	}
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
func (p *printer) table(s study, results []*Result) {
	names, of := profiles(results)
	p.say("| | %s |\n|---|%s\n", strings.Join(names, ": mean, worst | target | ")+": mean, worst | target", strings.Repeat("---|", 2*len(names)))
	for _, t := range s.rows {
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

// grid has a line for each profile and a column for each value that any of them has.
func (p *printer) grid(s study, results []*Result) {
	measured := slices.DeleteFunc(slices.Clone(s.rows), func(t target) bool { return math.IsNaN(meanOf(results, t.name)) })
	p.say("\n| %s |", s.title)
	for _, t := range measured {
		p.say(" %s |", t.title)
	}
	p.say("\n|---|%s\n", strings.Repeat("---|", len(measured)))
	names, of := profiles(results)
	for _, name := range names {
		p.say("| %s |", name)
		for _, t := range measured {
			rows := t.rows(name, of[name])
			switch {
			case len(rows) == 0:
				p.say(" |")
			case rows[0].Held == nil:
				p.say(" %s |", values(rows))
			default:
				p.say(" %s, target %s |", values(rows), verdict(rows))
			}
		}
		p.say("\n")
	}
}

func values(rows []Figure) string {
	out := fmt.Sprintf("%.4g", rows[0].Value)
	if len(rows) > 1 {
		out += fmt.Sprintf(", %.4g", rows[1].Value)
	}
	return strings.TrimSpace(out + " " + rows[0].Unit)
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
