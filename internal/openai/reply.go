package openai

// Usage is what one answer consumed, in tokens.
type Usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

// Spent is a Usage with its total.
func Spent(prompt, completion int) Usage {
	return Usage{PromptTokens: prompt, CompletionTokens: completion, TotalTokens: prompt + completion}
}

// Reply is a whole answer: "chat.completion" (Message set) or "text_completion"
// (Text set).
type Reply struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"` // Unix seconds
	Model   string   `json:"model"`
	Choices []Choice `json:"choices"`
	Usage   *Usage   `json:"usage,omitempty"`
}

// Choice is one alternative of a Reply or a Chunk.
type Choice struct {
	Index        int      `json:"index"`
	Message      *Message `json:"message,omitempty"` // chat, whole
	Delta        *Delta   `json:"delta,omitempty"`   // chat, streamed
	Text         *string  `json:"text,omitempty"`    // completions
	Logprobs     any      `json:"logprobs"`
	FinishReason *string  `json:"finish_reason"`
}

// Delta is what one streamed chunk adds.
type Delta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

// Model is an entry of GET /v1/models.
type Model struct {
	ID            string `json:"id"`
	Object        string `json:"object"` // "model"
	Created       int64  `json:"created"`
	OwnedBy       string `json:"owned_by"`
	ContextLength int    `json:"context_length,omitempty"` // tokens
	// InverseNucleus tells callers that answers may open with a word outside the
	// nucleus, at temperature 0 too. Absent: answers are sampled ordinarily.
	InverseNucleus *InverseNucleus `json:"inverse_nucleus,omitempty"`
	License        *ModelLicense   `json:"license,omitempty"`
	// Attested: the gateway hashed the weights it serves and they are an artefact
	// of the published version. An upstream's weights it cannot see.
	Attested bool `json:"attested"`
}

// InverseNucleus is the public part of the sampler's settings.
type InverseNucleus struct {
	Rate  float64 `json:"rate"`
	T     float64 `json:"t"`
	K     int     `json:"k"`
	Floor float64 `json:"floor"`
	Where string  `json:"where"`
}

// ModelLicense says where the license for a model is bought.
type ModelLicense struct {
	Chain    string `json:"chain"` // CAIP-2, such as eip155:8453
	Registry string `json:"registry"`
	Model    string `json:"model"`
	Version  uint32 `json:"version"`
}

// ModelList is GET /v1/models.
type ModelList struct {
	Object string  `json:"object"` // "list"
	Data   []Model `json:"data"`
}
