package gateway

import "slices"

// InverseNucleusConfig is how ordinary answers are made to open like fingerprints.
type InverseNucleusConfig struct {
	Rate float64 `yaml:"rate"` // share of prompts; 0: off
	T    float64 `yaml:"t"`    // 0: as the weights' manifest says
	K    int     `yaml:"k"`    // 0: as the weights' manifest says
	// Where: first, at an answer's first word, or sentences, at later beginnings too. Empty: first.
	Where string `yaml:"where"`
	// From is a folder with the fealty.json and the tokenizer of what upstreams serve.
	From string `yaml:"from"`
}

func (n *InverseNucleusConfig) validate(errs *problems, at string, b BackendConfig) {
	errs.need(at+".rate", n.Rate >= 0 && n.Rate <= 1, "a share from 0 to 1")
	errs.need(at+".t", n.T >= 0 && n.T < 1, "a mass from 0 to 1, 1 excluded")
	errs.need(at+".k", n.K >= 0 && n.K <= 100, "0 to 100")
	errs.need(at+".where", n.Where == "" || n.Where == "first" || n.Where == "sentences", "first or sentences")
	if len(b.Upstreams) == 0 {
		errs.need(at+".from", n.From == "", "upstreams: weights have their own fealty.json")
		return
	}
	errs.need(at+".from", n.From != "" || n.Rate == 0, "a folder with the fealty.json and the tokenizer of the weights that the upstreams serve")
	errs.need(at+".where", n.Where != "sentences", "first: what upstreams generate is not looked at token by token")
	able := slices.ContainsFunc(b.Upstreams, func(u UpstreamConfig) bool { return u.Continue != "" })
	errs.need(at, able || n.Rate == 0, "continue at one of backend.upstreams at least: how that server continues an answer")
}
