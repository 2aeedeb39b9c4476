package main

import (
	"github.com/fealty/fealty/internal/engine"
	"github.com/fealty/fealty/internal/llama"
	"github.com/fealty/fealty/internal/tokenizer"
	"github.com/fealty/fealty/internal/weights"
)

// localModel is a model that this process serves.
type localModel struct {
	tokens *tokenizer.Tokenizer
	engine *engine.Engine
}

// startLocal lays the weights out and starts an engine on them. It keeps no
// reference to source's tensors.
func startLocal(source *weights.Model, o engine.Options) (*localModel, error) {
	tokens, err := tokenizer.New(source.Tokenizer)
	if err != nil {
		return nil, err
	}
	graph, err := llama.New(source)
	if err != nil {
		return nil, err
	}
	e, err := engine.New(graph, o)
	if err != nil {
		return nil, err
	}
	return &localModel{tokens: tokens, engine: e}, nil
}
