package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress tells a person what runs and how long it will take. On a terminal it
// redraws one line; elsewhere it prints a line every few seconds.
type progress struct {
	mu      sync.Mutex
	out     io.Writer
	tty     bool
	label   string
	started time.Time // of the step
	part    time.Time // of what runs within it
	shown   time.Time
	drawn   bool
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, tty: ok && term.IsTerminal(int(f.Fd()))}
}

// say prints one line of its own.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.out, format+"\n", args...)
}

// step starts a part that has a name and a length.
func (p *progress) step(label string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.label, p.started, p.part, p.shown = label, time.Now(), time.Now(), time.Now()
}

// update reports that done of total units are through.
func (p *progress) update(done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	interval := 5 * time.Second
	if p.tty {
		interval = 100 * time.Millisecond
	}
	if total <= 0 || (done < total && time.Since(p.shown) < interval) || (done >= total && !p.drawn) {
		return
	}
	p.shown, p.drawn = time.Now(), true
	line := fmt.Sprintf("  %s %s %d/%d%s", p.label, bar(done, total), done, total, eta(time.Since(p.part), done, total))
	if p.tty {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(p.out, line)
}

// done ends the part and says how long it took.
func (p *progress) done(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.out, "  %s (%.1f s)\n", fmt.Sprintf(format, args...), time.Since(p.started).Seconds())
}

func (p *progress) clear() {
	if p.drawn && p.tty {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	p.drawn = false
}

func bar(done, total int) string {
	const width = 24
	filled := min(width, width*done/total)
	return "[" + strings.Repeat("=", filled) + strings.Repeat(" ", width-filled) + "]"
}

func eta(elapsed time.Duration, done, total int) string {
	if done <= 0 || done >= total {
		return ""
	}
	left := time.Duration(float64(elapsed) / float64(done) * float64(total-done))
	return fmt.Sprintf(", %d s left", int(left.Seconds())+1)
}

// relabel names what runs now, within the same step.
func (p *progress) relabel(label string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if label != "" && label != p.label {
		p.label, p.part = label, time.Now()
	}
}

// Write lets logs share the terminal with the progress line.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return p.out.Write(b)
}
