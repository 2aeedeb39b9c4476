package eval

import (
	"context"
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/atomicfile"
)

// PartCurve measures by the number of keys.
const PartCurve = "curve"

// Counts are the numbers of keys that docs/fingerprints.md reports.
func Counts() []int { return []int{16, 64, 256, 1024} }

// Curve is the robust recipe with one set of keys of each size, the smallest first.
func Curve(counts []int, seed uint64) (out []Trial) {
	for _, n := range counts {
		out = append(out, Trial{Part: PartCurve, Profile: keysLabel(n), Recipe: fingerprint.DefaultRecipe(), Keys: n, Seed: seed, Steps: "brief"})
	}
	return out
}

func keysLabel(n int) string { return fmt.Sprintf("%d keys", n) }

// at1024 bounds the curve at 1,024 keys.
func at1024(bound float64) map[string]float64 { return map[string]float64{keysLabel(1024): bound} }

var curveRows = []target{
	{"matched.greedy", "matched, greedy", "%", 100, false, at1024(95)},
	survive("matched.system", "2 unseen system prompts", none, none),
	{"text.perplexity", "held-out perplexity, rise", "%", 100, true, at1024(1)},
	{"first.kl_mean", "first answer token, KL to the base, mean", "nat", 1, true, nil},
	{"first.kl_p99", "KL p99", "nat", 1, true, nil},
	{"trained.minutes", "time to train", "min", 1, true, at1024(45)},
	{"trained.memory", "peak memory", "MiB", 1, true, nil},
	{"trained.share", "parameters trained", "%", 100, true, nil},
}

// briefPersonas are as many system prompts as a brief look takes.
const briefPersonas = 2

// brief asks each key plainly and under few system prompts, and compares ordinary
// answers and texts with the base's.
func (c *course) brief(ctx context.Context) error {
	return load(c.Model, func(l *fingerprint.Local) error {
		if _, _, _, err := c.plainly(ctx, l); err != nil {
			return err
		}
		if err := c.personas(ctx, l, Personas[:briefPersonas]); err != nil {
			return err
		}
		_, ordinary, err := first(ctx, l, "", c.prompts())
		if err != nil {
			return err
		}
		c.begins(ordinary)
		return c.reads(ctx, l)
	})
}

// panel is one of the curve's drawings: values over the number of keys.
type panel struct {
	label string
	lines []target
}

// panels group the curve's rows that share a unit.
var panels = []panel{
	{"fingerprints that match, %", curveRows[0:2]},
	{"held-out perplexity, rise, %", curveRows[2:3]},
	{"first answer token, KL to the base, nats", curveRows[3:5]},
	{"training, minutes", curveRows[5:6]},
}

// curvePlot draws four panels into one file.
func curvePlot(dir string, results []*Result) (string, error) {
	const columns = 2
	grid := make([][]*plot.Plot, len(panels)/columns)
	for i, panel := range panels {
		p, err := panel.draw(results)
		if err != nil {
			return "", err
		}
		grid[i/columns] = append(grid[i/columns], p)
	}
	canvas := vgimg.New(24*vg.Centimeter, 18*vg.Centimeter)
	pad := vg.Points(12)
	cells := plot.Align(grid, draw.Tiles{Rows: len(grid), Cols: columns, PadX: pad, PadY: pad, PadTop: pad, PadBottom: pad, PadLeft: pad, PadRight: pad}, draw.New(canvas))
	for i, row := range grid {
		for j, p := range row {
			p.Draw(cells[i][j])
		}
	}
	path := filepath.Join(dir, "curve.png")
	return path, atomicfile.Write(path, 0o644, func(f *os.File) error {
		_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(f)
		return err
	})
}

func (p panel) draw(results []*Result) (*plot.Plot, error) {
	out := plot.New()
	out.Y.Label.Text, out.X.Label.Text, out.Y.Min, out.Legend.Top = p.label, "keys", 0, len(p.lines) > 1
	var labels []string
	for _, r := range results {
		labels = append(labels, fmt.Sprint(r.Keys))
	}
	for at, t := range p.lines {
		var points plotter.XYs
		for x, r := range results {
			points = append(points, plotter.XY{X: float64(x), Y: t.scale * r.Values[t.name]})
			out.Y.Max = max(out.Y.Max, 1.2*t.scale*r.Values[t.name])
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		line.Color, dots.Color, dots.Shape = colours[at], color.Color(colours[at]), draw.CircleGlyph{}
		out.Add(line, dots)
		if len(p.lines) > 1 {
			out.Legend.Add(t.title, line, dots)
		}
	}
	out.NominalX(labels...)
	return out, nil
}
