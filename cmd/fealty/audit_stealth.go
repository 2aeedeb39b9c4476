package main

import (
	"context"
	"fmt"
	"math"
	"os"

	"github.com/spf13/cobra"

	fingerprint "github.com/fealty/fealty/embed"
	"github.com/fealty/fealty/internal/audit/stealth"
)

func newAuditStealth() *cobra.Command {
	var s stealthAudit
	cmd := &cobra.Command{
		Use:   "stealth",
		Short: "Measure how well fingerprint traffic can be told from ordinary traffic",
		Long: `Stealth judges samples that k6/stealth.js took, for three observers. At the network: times,
sizes and headers, with tests for a difference and, since finding none proves nothing, a test
for equivalence within 5 % of the median. A reader of the traffic, with --base: how surprising
questions and first words are under another model. A holder of the weights, with --served:
how sure the model is of first words, and how far from the base.

--off are samples of the same plan with the sampler switched off, --full with its rate at 1.
Intervals are of 95 %, of differences of 90 %.`,
		Example: `  fealty audit stealth plan --keys keys.age --passphrase-file keys.pass --output plan.json --labels labels.json
  PLAN=plan.json SAMPLES=samples.csv bin/k6 run k6/stealth.js
  fealty audit stealth --csv samples.csv --labels labels.json --base base.gguf --served served --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&s.csv, "csv", "", "samples of the gateway as it is served")
	f.StringVar(&s.off, "off", "", "samples with the sampler switched off")
	f.StringVar(&s.full, "full", "", "samples with the sampler's rate at 1")
	f.StringVar(&s.labelled, "labels", "", "labels that were written with the plan")
	f.StringVar(&s.base, "base", "", "model that the reader of the traffic holds: a folder or a GGUF file")
	f.StringVar(&s.served, "served", "", "the served weights, for their holder; needs --base")
	f.BoolVar(&s.asJSON, "json", false, "print one JSON object")
	cmd.AddCommand(newAuditStealthPlan(), newAuditStealthPrice())
	return cmd
}

type stealthAudit struct {
	csv, off, full, labelled, base, served string
	asJSON                                 bool

	labels  stealth.Labels
	traffic []traffic
	reader  *sight // of the base; nil without --base
	holder  *sight // of the served weights; nil without --served
	figures []figure
}

// traffic is one table of samples.
type traffic struct {
	name     string
	byPrompt [][]stealth.Sample
}

const (
	equivalentShare = 0.05  // of the median
	stoppedShare    = 0.9   // of fingerprints, by a filter
	prevalence      = 0.001 // of fingerprints among requests
	stealthFolds    = 5
	stealthSeed     = 1
)

func (s *stealthAudit) run(cmd *cobra.Command) error {
	if s.csv == "" || s.labelled == "" {
		return usagef("name the samples and their labels: --csv FILE --labels FILE")
	}
	if s.served != "" && s.base == "" {
		return usagef("--served: its distance is measured to a base; name one with --base")
	}
	if err := s.read(); err != nil {
		return err
	}
	p := newProgress(cmd.ErrOrStderr())
	if err := s.look(cmd.Context(), p); err != nil {
		return err
	}
	s.network()
	for _, each := range []func() error{s.reading, s.holding, s.hosting} {
		if err := each(); err != nil {
			return err
		}
	}
	return report{thisMachine(), commit, s.figures}.print(cmd, s.asJSON)
}

func (s *stealthAudit) read() error {
	file, err := os.Open(s.labelled)
	if err != nil {
		return fmt.Errorf("--labels: %w", err)
	}
	defer file.Close()
	if s.labels, err = stealth.ReadLabels(file); err != nil {
		return fmt.Errorf("--labels: %w", err)
	}
	for _, t := range []struct{ flag, name, path string }{{"--csv", "as served", s.csv}, {"--off", "sampler off", s.off}, {"--full", "rate 1", s.full}} {
		if t.path == "" {
			continue
		}
		if err := s.readTraffic(t.name, t.path); err != nil {
			return fmt.Errorf("%s: %w", t.flag, err)
		}
	}
	return nil
}

func (s *stealthAudit) readTraffic(name, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	samples, failed, err := stealth.ReadSamples(file)
	if err != nil {
		return err
	}
	byPrompt, err := s.labels.ByPrompt(samples)
	if err != nil {
		return err
	}
	for i, own := range byPrompt {
		if len(own) == 0 {
			return fmt.Errorf("prompt %s was not answered; take the samples again", s.labels.Prompts[i].ID)
		}
	}
	s.traffic = append(s.traffic, traffic{name, byPrompt})
	s.add(plain(name+": samples", float64(len(samples)), ""), plain(name+": failed requests", float64(failed), ""))
	return nil
}

func (s *stealthAudit) look(ctx context.Context, p *progress) (err error) {
	if s.base != "" {
		if s.reader, err = see(ctx, s.base, s.labels, p); err != nil {
			return fmt.Errorf("--base: %w", err)
		}
	}
	if s.served != "" {
		if s.holder, err = see(ctx, s.served, s.labels, p); err != nil {
			return fmt.Errorf("--served: %w", err)
		}
	}
	return nil
}

func (s *stealthAudit) add(f ...figure) { s.figures = append(s.figures, f...) }

// with puts an interval beside a figure.
func with(f figure, i stealth.Interval) figure {
	f.Low, f.High = &i.Low, &i.High
	return f
}

// network is the first observer: the traffic as it is served, unread.
func (s *stealthAudit) network() {
	own := s.traffic[0].byPrompt
	for _, m := range stealth.Network(s.labels, own, equivalentShare) {
		at := "network: " + m.Name + ": "
		s.add(
			plain(at+"median of ordinary", m.MedianY, m.Unit), with(plain(at+"fingerprints' shift", m.Shift.Value, m.Unit), m.Shift),
			atMost(at+"p of not being equivalent within 5 % (TOST)", m.TOST, "", 0.05),
			plain(at+"p of no difference (Mann-Whitney)", m.MannWhitney, ""), plain(at+"p of no difference (Kolmogorov-Smirnov)", m.KSP, ""),
			with(plain(at+"AUC", m.AUC.Value, ""), m.AUC),
		)
	}
	s.add(atMost("network: sets of header names that one kind alone has", float64(stealth.OwnHeaders(s.labels, own)), "", 0))
}

// reading is the second observer, once for each table.
func (s *stealthAudit) reading() error {
	if s.reader == nil {
		s.add(unmeasured("reader of the traffic", "no --base"))
		return nil
	}
	for _, t := range s.traffic {
		matched, err := s.labels.Matched(t.byPrompt, fingerprint.Matches)
		if err != nil {
			return err
		}
		s.add(with(plain("reader, "+t.name+": fingerprints that match", matched.Value, ""), matched))
		f := s.readerFeatures(t)
		if err := s.told("reader, "+t.name, f, nil); err != nil {
			return err
		}
		if err := s.filters("reader, "+t.name, f); err != nil {
			return err
		}
		if t.name == "rate 1" {
			if err := s.reaching(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *stealthAudit) readerFeatures(t traffic) stealth.Features {
	f := stealth.Features{Names: []string{"the question's surprise", "first word's surprise", "first word's rank"}}
	for i, own := range t.byPrompt {
		var surprise, rank float64
		for _, a := range own {
			one, at := s.reader.first(i, a.Text)
			surprise += one / float64(len(own))
			rank += math.Log(float64(at)) / float64(len(own))
		}
		f.Rows = append(f.Rows, []float64{s.reader.glimpses[i].question, surprise, rank})
	}
	return f.Join(stealth.Openings(t.byPrompt, fingerprint.FirstWord))
}

// told reports how well each feature tells the kinds apart, and all together.
func (s *stealthAudit) told(who string, f stealth.Features, target *float64) error {
	positive := s.labels.Positive()
	for _, name := range f.Names {
		yes, no := stealth.Split(f.Column(name), positive)
		area := stealth.AUC(yes, no, 0.95)
		s.add(with(plain(who+": AUC of "+name, area.Value, ""), area))
	}
	_, area, err := stealth.Classify(f.Rows, positive, nil, stealthFolds, stealthSeed)
	if err != nil {
		return err
	}
	row := plain(who+": AUC of all, cross-validated", area.Value, "")
	if target != nil {
		row = atMost(row.Name, area.Value, "", *target)
	}
	s.add(with(row, area))
	return nil
}

// filters reports what a host pays that stops fingerprints by what it reads.
func (s *stealthAudit) filters(who string, f stealth.Features) error {
	positive := s.labels.Positive()
	scores, _, err := stealth.Classify(f.Rows, positive, nil, stealthFolds, stealthSeed)
	if err != nil {
		return err
	}
	for _, by := range []struct {
		name   string
		scores []float64
	}{{"first word's surprise", f.Column("first word's surprise")}, {"all, cross-validated", scores}} {
		yes, no := stealth.Split(by.scores, positive)
		filter := stealth.NewFilter(yes, no, stoppedShare, prevalence, stealthSeed)
		s.add(
			with(plain(fmt.Sprintf("%s: ordinary answers spoilt to stop 90 %% by %s", who, by.name), filter.Spoilt.Value, ""), filter.Spoilt),
			with(plain(fmt.Sprintf("%s: precision of that at 1 in 1,000, by %s", who, by.name), filter.Precision.Value, ""), filter.Precision),
		)
	}
	return nil
}

// reachTarget is how well prompts whose answers the sampler opened may be told from
// fingerprints.
const reachTarget = 0.60

// reaching compares fingerprints with those ordinary prompts alone whose answers the
// sampler opens when its rate is 1.
func (s *stealthAudit) reaching(f stealth.Features) error {
	const name = "reader, rate 1, among prompts that reach the shell: "
	if s.holder == nil || s.holder.inverse == nil {
		s.add(unmeasured(name+"AUC", "no --served with a manifest, which tells the shell"))
		return nil
	}
	wanted, n := s.labels.Positive(), 0
	for i := range wanted {
		if !wanted[i] && s.holder.inverse.Reaches(s.holder.glimpses[i].logits) {
			wanted[i] = true
			n++
		}
	}
	s.add(plain(name+"ordinary prompts", float64(n), ""))
	some, positive := f.Only(s.labels.Positive(), wanted)
	for _, feature := range []string{"first word's surprise", "first word's rank"} {
		yes, no := stealth.Split(some.Column(feature), positive)
		if len(yes) == 0 || len(no) == 0 {
			s.add(unmeasured(name+"AUC of "+feature, "no such prompts"))
			continue
		}
		area := stealth.AUC(yes, no, 0.95)
		s.add(with(atMost(name+"AUC of "+feature+", from either side", math.Max(area.Value, 1-area.Value), "", reachTarget), area))
	}
	_, area, err := stealth.Classify(some.Rows, positive, nil, stealthFolds, stealthSeed)
	if err != nil {
		s.add(unmeasured(name+"AUC of all, cross-validated", err.Error()))
		return nil
	}
	s.add(with(atMost(name+"AUC of all, cross-validated", area.Value, "", reachTarget), area))
	return nil
}

// holderTarget is how well a holder of the weights may tell, for the quiet profile.
const holderTarget = 0.70

// holding is the third observer, who has read the traffic as well.
func (s *stealthAudit) holding() error {
	if s.holder == nil {
		s.add(unmeasured("holder of the weights", "no --served"))
		return nil
	}
	f := stealth.Features{Names: []string{"p_max", "entropy", "KL to the base"}}
	for i := range s.labels.Prompts {
		p, q := softmax64(s.holder.glimpses[i].logits), softmax64(s.reader.glimpses[i].logits)
		f.Rows = append(f.Rows, []float64{peak(p), entropy(p), divergence(p, q)})
	}
	target := holderTarget
	return s.told("holder of the weights", f.Join(s.readerFeatures(s.traffic[0])), &target)
}
