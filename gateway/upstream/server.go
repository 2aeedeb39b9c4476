package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fealty/fealty/gateway"
	"github.com/fealty/fealty/internal/openai"
)

// server is one of a pool's, with what is known of its health.
type server struct {
	Server
	deny   map[string]bool // in lower case
	health health          // guarded by Pool.mu
}

func newServer(s Server) (*server, error) {
	if !strings.HasPrefix(s.URL, "http://") && !strings.HasPrefix(s.URL, "https://") {
		return nil, errors.New("upstream: url must begin with http:// or https://")
	}
	s.URL = strings.TrimRight(s.URL, "/")
	for _, c := range s.Key {
		if c < ' ' || c == 0x7f {
			return nil, errors.New("upstream: key holds a control character, which no header can")
		}
	}
	if !slices.Contains([]string{"", VLLM, LlamaCPP, Completions}, s.Continue) {
		return nil, fmt.Errorf("upstream: continue is %q: need vllm, llamacpp or completions", s.Continue)
	}
	out := &server{Server: s, deny: map[string]bool{}}
	for _, list := range [][]string{Denied, s.Deny} {
		for _, name := range list {
			out.deny[strings.ToLower(name)] = true
		}
	}
	for _, name := range s.Allow {
		delete(out.deny, strings.ToLower(name))
	}
	return out, nil
}

// Denied are the fields of vLLM, SGLang and llama.cpp that no server is sent unless
// its Allow names them. They would change the model, its adapter, the template or
// the token bound that the gateway checked, show another caller's prompt or the
// cache, or make a server fetch from or wait for somewhere else.
var Denied = []string{
	// model, adapter, and lists of models in other gateways
	"models", "model_id", "model_name", "engine", "deployment_id", "adapter", "adapter_id", "adapter_source", "lora", "lora_path", "lora_name", "lora_request",
	"route", "provider", "fallbacks", "extra_body", "extra_headers", "extra_query", "api_base", "base_url", "api_key",
	// template
	"chat_template", "chat_template_kwargs", "add_generation_prompt", "continue_final_message", "add_special_tokens",
	"documents", "mm_processor_kwargs", "media_io_kwargs", "reasoning_format",
	// token bound
	"n_predict", "max_new_tokens", "max_length", "min_tokens", "min_new_tokens", "min_length", "ignore_eos", "n_keep", "use_beam_search", "length_penalty",
	// log-probabilities and inner states beyond OpenAI's
	"prompt_logprobs", "n_probs", "post_sampling_probs", "return_token_ids", "return_tokens", "return_tokens_as_token_ids", "return_hidden_states",
	"return_meta_info", "return_routed_experts", "logprob_start_len", "top_logprobs_num", "token_ids_logprob", "kv_transfer_params",
	// scheduling and caches of others
	"id_slot", "slot_id", "cache_prompt", "cache_salt", "extra_key", "session_params", "session_id", "priority", "request_id", "rid",
	"data_parallel_rank", "routed_dp_rank", "bootstrap_host", "bootstrap_port", "bootstrap_room", "disagg_prefill_dp_rank",
	"logits_processors", "custom_logit_processor", "custom_params", "vllm_xargs",
	// another caller's conversations
	"previous_response_id", "previous_input_messages", "conversation", "background",
}

// denied refuses a request with a field that the server must not see.
func (s *server) denied(r *openai.Request) *openai.Error {
	for name := range r.Names() {
		if s.deny[fold(name)] {
			return openai.Unsupported(name, "the operator does not let it through to this model's server")
		}
	}
	return nil
}

// fold is a name as the most lenient JSON readers compare names, Go's among them.
func fold(name string) string {
	name = strings.ToLower(name) // the Kelvin sign too
	return strings.ReplaceAll(name, "ſ", "s")
}

// send asks. An error is the transport's.
func (p *Pool) send(ctx context.Context, s *server, c gateway.Call) (*http.Response, error) {
	model := s.Model
	if model == "" {
		model = c.Model
	}
	body := c.Request.Rewrite(nil, model, c.MaxTokens)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+c.Request.Kind.Path(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.ID != "" {
		req.Header.Set("X-Request-Id", c.ID) // without our prefix: llama-cpp-python refuses what is no UUID
	}
	gateway.Propagate(ctx, req.Header)
	return p.client.RoundTrip(s.sign(req))
}

// sign adds what says who asks.
func (s *server) sign(req *http.Request) *http.Request {
	req.Header.Set("User-Agent", "fealty")
	if len(s.Key) > 0 {
		req.Header.Set("Authorization", "Bearer "+string(s.Key))
	}
	return req
}
