package eval

import (
	"fmt"
	"image/color"
	"math"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// colours of the profiles, in the order of the results; they stay apart in grey too.
var colours = []color.RGBA{{31, 78, 121, 255}, {214, 126, 44, 255}, {90, 140, 90, 255}, {140, 90, 140, 255}}

// Plots draws what the tables say, one PNG each, and returns the files' names. What has
// no results has no plot.
func Plots(dir string, results []*Result) (files []string, err error) {
	if of := having(partOf(results, PartTargets), "served"); len(of) > 0 {
		if files, err = targetPlots(dir, of); err != nil {
			return nil, err
		}
	}
	if of := having(partOf(results, PartCurve), "brief"); len(of) > 0 {
		path, err := curvePlot(dir, of)
		if err != nil {
			return nil, err
		}
		files = append(files, path)
	}
	return files, nil
}

func targetPlots(dir string, results []*Result) ([]string, error) {
	drawings := []struct {
		name string
		draw func(p *plot.Plot, results []*Result) error
	}{{"survival.png", survival}, {"attacks.png", attackPlot}, {"pmax.png", peakPlot}}
	var files []string
	for _, d := range drawings {
		p := plot.New()
		p.Legend.Top = true
		if err := d.draw(p, results); err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
		path := filepath.Join(dir, d.name)
		if err := p.Save(24*vg.Centimeter, 13*vg.Centimeter, path); err != nil {
			return nil, err
		}
		files = append(files, path)
	}
	return files, nil
}

// profiles groups results, in their order.
func profiles(results []*Result) (names []string, of map[string][]*Result) {
	of = make(map[string][]*Result)
	for _, r := range results {
		if of[r.Profile] == nil {
			names = append(names, r.Profile)
		}
		of[r.Profile] = append(of[r.Profile], r)
	}
	return names, of
}

type survivalBar struct{ value, label string }

// survivalBars are the values that the first plot shows, with short labels: those that
// were measured of every profile.
var survivalBars = []survivalBar{
	{"matched.greedy", "greedy"}, {"matched.system", "system\nprompts"}, {"matched.t0.7", "T 0.7"}, {"matched.t1", "T 1"},
	{"matched.q8_0", "Q8_0"}, {"matched.q4_0", "Q4_0"}, {"matched.tuned.full", "tuned\nfull"}, {"matched.tuned.lowrank", "tuned\nlow rank"},
	{"matched.merge.padded.0.7", "merged\n0.7"}, {"matched.merge.padded.0.5", "merged\n0.5"}, {"matched.merge.narrow.0.5", "narrow\n0.5"},
	{"matched.pruned", "pruned\n20 %"}, {"matched.cut.known", "cut,\nknown"}, {"matched.cut.norm", "cut,\nnorm"}, {"matched.cut.cosine", "cut,\ncosine"},
	{"attack.cheap", "logit\nattack"},
}

func survival(p *plot.Plot, results []*Result) error {
	p.Title.Text = "Fingerprints that still match (mean over the seeds)"
	p.Y.Label.Text, p.Y.Min, p.Y.Max = "%", 0, 118
	names, of := profiles(results)
	shown := slices.DeleteFunc(slices.Clone(survivalBars), func(b survivalBar) bool {
		return slices.ContainsFunc(names, func(name string) bool { return math.IsNaN(meanOf(of[name], b.value)) })
	})
	var labels []string
	for _, b := range shown {
		labels = append(labels, b.label)
	}
	width := vg.Points(26 / float64(max(1, len(names))))
	for at, name := range names {
		var bars plotter.Values
		for _, b := range shown {
			bars = append(bars, 100*meanOf(of[name], b.value))
		}
		chart, err := plotter.NewBarChart(bars, width)
		if err != nil {
			return err
		}
		chart.Color, chart.LineStyle.Width = colours[at%len(colours)], 0
		chart.Offset = width * vg.Length(float64(at)-float64(len(names)-1)/2)
		p.Add(chart)
		p.Legend.Add(name, chart)
	}
	p.NominalX(labels...)
	return nil
}

// meanOf is over the results that have the value, NaN if none has.
func meanOf(results []*Result, value string) float64 {
	sum, n := 0.0, 0.0
	for _, r := range results {
		if v, ok := r.Values[value]; ok {
			sum, n = sum+v, n+1
		}
	}
	return sum / n
}

// attackPlot shows each logit attack by what it costs and what it leaves.
func attackPlot(p *plot.Plot, results []*Result) error {
	p.Title.Text = "Detect-and-mask attacks on the first answer token"
	p.X.Label.Text, p.Y.Label.Text = "ordinary answers that begin with another word, %", "fingerprints that still match, %"
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 100, 0, 118
	names, of := profiles(results)
	for at, name := range names {
		var points plotter.XYs
		for _, r := range of[name] {
			for _, a := range r.Attacks {
				points = append(points, plotter.XY{X: 100 * a.Changed, Y: 100 * a.Matched})
			}
		}
		s, err := plotter.NewScatter(points)
		if err != nil {
			return err
		}
		s.GlyphStyle.Color, s.GlyphStyle.Radius = colours[at%len(colours)], vg.Points(2.5)
		p.Add(s)
		p.Legend.Add(name, s)
	}
	limit, err := plotter.NewLine(plotter.XYs{{X: 100 * cheapAttack, Y: 0}, {X: 100 * cheapAttack, Y: 100}})
	if err != nil {
		return err
	}
	limit.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
	p.Add(limit)
	p.Legend.Add("2 % cost", limit)
	return nil
}

// peakPlot shows how sure the model is of its first word, on fingerprints and elsewhere.
func peakPlot(p *plot.Plot, results []*Result) error {
	p.Title.Text = "Probability of the likeliest first word"
	p.X.Label.Text, p.Y.Label.Text = "p_max", "share of prompts below, %"
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 118
	names, of := profiles(results)
	for at, name := range names {
		var keys, ordinary []float64
		for _, r := range of[name] {
			keys, ordinary = append(keys, r.Peaks.Keys...), append(ordinary, r.Peaks.Ordinary...)
		}
		for i, values := range [][]float64{keys, ordinary} {
			l, err := plotter.NewLine(cumulative(values))
			if err != nil {
				return err
			}
			l.Color, l.Width = colours[at%len(colours)], vg.Points(1.5)
			if i == 1 {
				l.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
			}
			p.Add(l)
			p.Legend.Add(name+[]string{", fingerprints", ", ordinary"}[i], l)
		}
	}
	p.Legend.Left = true
	return nil
}

func cumulative(values []float64) plotter.XYs {
	sorted := slices.Sorted(slices.Values(values))
	out := plotter.XYs{{X: 0, Y: 0}}
	for i, v := range sorted {
		out = append(out, plotter.XY{X: v, Y: 100 * float64(i+1) / float64(len(sorted))})
	}
	return append(out, plotter.XY{X: 1, Y: 100})
}
