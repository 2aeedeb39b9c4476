// Command k6 is Grafana k6 with one module more: "k6/x/openai" asks OpenAI-style
// servers and times the tokens of streamed answers. It is a Go module of its own
// because k6 is licensed under the AGPL: nothing of fealty imports it.
package main

import (
	"go.k6.io/k6/cmd"

	_ "github.com/fealty/fealty/k6/module"
)

func main() { cmd.Execute() }
