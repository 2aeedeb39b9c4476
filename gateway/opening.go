package gateway

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"

	"github.com/fealty/fealty/internal/openai"
	"github.com/fealty/fealty/sampler"
)

// shortest is the least length of an answer that inverse nucleus sampling may open:
// of very short ones the first word is the whole answer.
const shortest = 8

// Opening decides for every backend alike whether inverse nucleus sampling opens the
// answers to one of the call's prompts. It is nil when it does not: i is nil, the
// request asks for more than free text, or its prompt was not chosen.
func (c Call) Opening(i *sampler.Inverse, prompt int) *sampler.Keyed {
	r := c.Request
	if i == nil || c.MaxTokens < shortest || r.Logprobs || r.Echo || !r.Plain() {
		return nil
	}
	return i.For(normalised(r, prompt))
}

// normalised is the prompt as inverse nucleus sampling keys it: what a person would
// call the same question, asked again, gets the same treatment.
func normalised(r *openai.Request, at int) []byte {
	var out bytes.Buffer
	if r.Kind == openai.Completion {
		for _, id := range r.Prompts[at].Tokens {
			fmt.Fprint(&out, id, " ")
		}
		out.WriteString(strings.TrimSpace(r.Prompts[at].Text))
		return out.Bytes()
	}
	for _, m := range r.Messages {
		out.WriteString(m.Role)
		out.WriteByte(0)
		out.WriteString(strings.TrimSpace(m.Content))
		out.WriteByte(0)
	}
	return out.Bytes()
}

// ShowInverse is what GET /v1/models/{id} says of the sampler; nil if it is off.
func ShowInverse(i *sampler.Inverse) *openai.InverseNucleus {
	if i == nil {
		return nil
	}
	return &openai.InverseNucleus{Rate: i.Rate, T: i.T, K: i.K, Floor: i.Floor, Where: cmp.Or(i.Where, sampler.First)}
}
