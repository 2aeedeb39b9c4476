package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fealty/fealty/gateway"
)

func newServe() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Serve licensed models over the OpenAI API",
		Long: `Serve runs the gateway that the config describes, until it is told to stop; then it
finishes running answers and leaves. At SIGHUP, or a POST to /reload on the admin listener, it
reads the config again, with the keys and rules that it names, and takes all of it or
nothing. configs/serve.yaml explains every setting.`,
		Example: "  fealty serve --config /etc/fealty/serve.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(path)
			if err != nil {
				return err
			}
			warnIfSlow(cmd.ErrOrStderr())
			return serve(cmd.Context(), path, cfg, serveLog(cmd.ErrOrStderr(), cfg.Log))
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the gateway's YAML config (required)")
	return cmd
}

func newConfig() *cobra.Command {
	var path string
	check := &cobra.Command{
		Use:     "check --config FILE",
		Short:   "Say what is wrong with a config, without running anything",
		Example: "  fealty config check --config serve.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(path)
			if err != nil {
				return err
			}
			if _, err := loadRules(cfg.Rules); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s holds: %d model(s), listening on %s\n", path, len(cfg.Models), cfg.Listen)
			return err
		},
	}
	check.Flags().StringVar(&path, "config", "", "the gateway's YAML config (required)")
	return group("config", "Work with gateway configs", check)
}

func loadConfig(path string) (gateway.Config, error) {
	if path == "" {
		return gateway.Config{}, usagef("name the config: --config FILE (configs/serve.yaml is an annotated example)")
	}
	return gateway.LoadConfig(path)
}

// serveLog is the log that the config asks for.
func serveLog(w io.Writer, c gateway.LogConfig) *slog.Logger {
	o := &slog.HandlerOptions{}
	if c.Level != "" {
		var level slog.Level
		_ = level.UnmarshalText([]byte(c.Level)) // Validate has seen it
		o.Level = level
	}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// serve runs a gateway until ctx ends. SIGHUP, or a POST to the admin listener's
// /reload, reads the config again.
func serve(ctx context.Context, path string, cfg gateway.Config, log *slog.Logger) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	n, err := assemble(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer n.Close()
	n.server.OnReload(func() error {
		cfg, err := loadConfig(path)
		if err != nil {
			return err
		}
		return n.reload(ctx, cfg)
	})
	if err := n.listen(ctx, cfg); err != nil {
		return err
	}
	log.Info("serving", "address", n.address, "admin", n.admin)
	for {
		select {
		case <-hup:
			_ = n.server.Trigger() // it logs
		case <-ctx.Done():
			log.Info("draining", "at_most", n.server.ShutdownTime())
			return n.Shutdown()
		case err := <-n.failed:
			return errors.Join(err, n.Shutdown())
		}
	}
}

// listen opens the config's ports and serves on them in the background. Whoever finds the
// public one open finds the other one open too.
func (n *node) listen(ctx context.Context, cfg gateway.Config) error {
	if cfg.Admin.Listen != "" {
		if err := n.listenAdmin(ctx, cfg.Admin.Listen); err != nil {
			return err
		}
	}
	var lc net.ListenConfig
	public, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("listen: %w; choose a free address", err), n.Shutdown())
	}
	n.serveOn(public)
	return nil
}

// listenAdmin answers metrics and health on the address, in the background.
func (n *node) listenAdmin(ctx context.Context, address string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("admin.listen: %w; choose a free address", err)
	}
	n.admin = l.Addr().String()
	n.run(func() error { return n.server.ServeAdmin(l) })
	return nil
}

// serveOn answers the public API on the listener, in the background.
func (n *node) serveOn(public net.Listener) {
	n.address = public.Addr().String()
	n.run(func() error { return n.server.Serve(public) })
}

func (n *node) run(serve func() error) {
	n.serving.Go(func() {
		if err := serve(); err != nil {
			select {
			case n.failed <- err:
			default: // one is enough to stop
			}
		}
	})
}

// Shutdown drains: running answers finish or are cut with an error after the
// config's drain time. It does not use the command's context, which has ended.
func (n *node) Shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), n.server.ShutdownTime()+5*time.Second)
	defer cancel()
	err := n.server.Shutdown(ctx)
	n.serving.Wait()
	return err
}
