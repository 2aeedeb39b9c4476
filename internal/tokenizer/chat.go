package tokenizer

import "errors"

// ErrNoChatTemplate says that the model has no chat template; use raw completions with it.
var ErrNoChatTemplate = errors.New("tokenizer: the model has no chat template; use plain completions")
