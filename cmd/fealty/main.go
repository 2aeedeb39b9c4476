// Command fealty serves fingerprinted open models to those who hold a license on-chain,
// and gives creators, licensees and auditors the commands they need beside it.
//
// This package is the only place that wires the parts together; a file holds one
// command. Start with [run].
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Set by the linker; see the Makefile.
var (
	version = "unknown"
	commit  = "unknown"
)

func main() { os.Exit(mainWithSignals()) }

// mainWithSignals lets the first Ctrl-C drain and the second one kill.
func mainWithSignals() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
