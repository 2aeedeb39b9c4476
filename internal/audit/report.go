package audit

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"time"

	fingerprint "github.com/fealty/fealty/embed"
)

//go:embed report.html
var reportHTML string

var reportPage = template.Must(template.New("report").Funcs(template.FuncMap{
	"time": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
}).Parse(reportHTML))

// page is what the report shows.
type page struct {
	*Verdict
	Bundle     string // digest of the evidence
	PlanDigest string
	Plan       *Plan
	Made       time.Time
	Statistic  string
	Rows       []row
	Matches    template.HTML // SVG: each answer, and the evidence so far
	Chance     template.HTML // SVG: what an untaught endpoint would do
}

// row is one query.
type row struct {
	Entry
	N       int
	Word    string // the drawn one
	Others  string
	Matched bool
}

// Report writes one page, without anything loaded from elsewhere, that says what a
// verdict says and shows each answer. A bundle that does not hold gets a page that says
// only that.
func Report(w io.Writer, bundle *Sealed, v *Verdict) error {
	p := page{Verdict: v}
	if v.Sound {
		e, plan, err := openEvidence(bundle)
		if err != nil {
			return err
		}
		if err := p.fill(bundle, e, plan); err != nil {
			return err
		}
	}
	return reportPage.Execute(w, p)
}

func (p *page) fill(bundle *Sealed, e *Evidence, plan *Plan) error {
	digest, err := bundle.Digest()
	if err != nil {
		return err
	}
	planned, err := e.Plan.Digest()
	if err != nil {
		return err
	}
	var t Transcript
	if err := e.Transcript.Open(TranscriptFormat, &t); err != nil {
		return err
	}
	p.Bundle, p.PlanDigest, p.Plan, p.Made, p.Statistic = digest.String(), planned.String(), plan, e.Made, p.Result.Statistic()
	for i, entry := range t.Entries {
		k := e.Reveal.Keys[i]
		p.Rows = append(p.Rows, row{
			Entry: entry, N: i + 1, Word: k.Word, Others: strings.Join(k.Candidates, ", "),
			Matched: entry.Error == "" && fingerprint.Matches(entry.Answer, k.Word),
		})
	}
	p.Matches = p.drawMatches()
	p.Chance, err = p.drawChance()
	return err
}

const plotWidth, plotHeight = 640, 200

// drawMatches shows each answer as a mark and the e-value after it as a line; in a
// sequential test with the line that a claim must reach.
func (p *page) drawMatches() template.HTML {
	e := fingerprint.NewEvidence(p.Result.K, p.Result.Attempts)
	logs := []float64{0}
	for _, r := range p.Rows {
		e.Add(r.Matched)
		logs = append(logs, e.LogE())
	}
	rules, needed := []float64{0}, p.Result.Needed()
	low, high := -1.0, 1.0
	if p.Plan.Stopping.Sequential {
		rules, high = append(rules, needed), needed*1.1
	}
	for _, l := range logs {
		low, high = math.Min(low, l), math.Max(high, l*1.05)
	}
	y := func(l float64) float64 { return 10 + (plotHeight-50)*(high-l)/(high-low) }
	x := func(i int) float64 { return 50 + float64(i)*(plotWidth-60)/float64(len(p.Rows)) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="Evidence after each answer">`, plotWidth, plotHeight)
	for _, l := range rules {
		fmt.Fprintf(&b, `<line x1="50" x2="%d" y1="%.1f" y2="%.1f" class="rule"/><text x="46" y="%.1f" text-anchor="end">e^%.0f</text>`, plotWidth-10, y(l), y(l), y(l)+4, l)
	}
	if p.Plan.Stopping.Sequential {
		fmt.Fprintf(&b, `<text x="54" y="%.1f">a claim needs this</text>`, y(needed)-4)
	}
	b.WriteString(`<polyline class="curve" points="`)
	for i, l := range logs {
		fmt.Fprintf(&b, "%.1f,%.1f ", x(i), y(l))
	}
	b.WriteString(`"/>`)
	for i, r := range p.Rows {
		class := "miss"
		if r.Matched {
			class = "match"
		} else if r.Error != "" {
			class = "error"
		}
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" class="%s"/>`, x(i+1), y(logs[i+1]), class)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">questions asked, in order (%d)</text></svg>`, plotWidth/2, plotHeight-8, len(p.Rows))
	return template.HTML(b.String()) //nolint:gosec // numbers and fixed words only
}

// drawChance shows how many matches an untaught endpoint gets in so many queries, how
// many this one got, and how many a claim needs where all are asked.
func (p *page) drawChance() (template.HTML, error) {
	n := max(p.Result.Asked, 1)
	shares, top, enough := make([]float64, n+1), 0.0, n+1
	for m := range shares {
		above, err := fingerprint.BinomialTail(m, n, p.Result.K)
		if err != nil {
			return "", err
		}
		shares[m] = above.P
		if above.P*float64(p.Result.Attempts) <= p.Result.Alpha {
			enough = min(enough, m)
		}
		if m > 0 {
			shares[m-1] -= above.P
			top = math.Max(top, shares[m-1])
		}
	}
	top = math.Max(top, shares[n])
	step := float64(plotWidth-60) / float64(n+1)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="Matches that chance gives, and those found">`, plotWidth, plotHeight)
	for m, share := range shares {
		h := (plotHeight - 50) * share / top
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" class="chance"/>`, 50+float64(m)*step, plotHeight-40-h, step*0.8, h)
	}
	if left := 50 + float64(enough)*step - 0.1*step; enough <= n && !p.Plan.Stopping.Sequential {
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="30" y2="%d" class="rule"/><text x="%.1f" y="44" text-anchor="end">a claim needs: %d</text>`, left, left, plotHeight-40, left-6, enough)
	}
	at := 50 + (float64(p.Result.Matched)+0.4)*step
	fmt.Fprintf(&b, `<line x1="50" x2="%d" y1="%d" y2="%d" class="rule"/>`, plotWidth-10, plotHeight-40, plotHeight-40)
	fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="10" y2="%d" class="found"/><text x="%.1f" y="20" text-anchor="%s">found: %d</text>`,
		at, at, plotHeight-40, at+map[bool]float64{true: -6, false: 6}[at > plotWidth/2], map[bool]string{true: "end", false: "start"}[at > plotWidth/2], p.Result.Matched)
	for m := 0; m <= n; m += max(1, n/10) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d</text>`, 50+(float64(m)+0.4)*step, plotHeight-24, m)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">matches among %d answers; bars: what an endpoint without this model would get</text></svg>`, plotWidth/2, plotHeight-8, n)
	return template.HTML(b.String()), nil //nolint:gosec // numbers and fixed words only
}
