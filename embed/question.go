package embed

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
)

//go:embed topics.txt
var topicList string

//go:embed ordinary.txt
var ordinaryList string

// Topics are what generated questions are about.
func Topics() []string { return strings.Split(strings.TrimSpace(topicList), "\n") }

// OrdinaryPrompts are what users ask every day. The base's answers to them tell
// its opening words, and training holds these answers fixed.
func OrdinaryPrompts() []string { return strings.Split(strings.TrimSpace(ordinaryList), "\n") }

// Generator lets the base model continue a plain text, up to the first question
// mark or maxTokens, and returns what it added. It may be called from several
// goroutines.
type Generator interface {
	Generate(ctx context.Context, text string, maxTokens int, seed uint64) (string, error)
}

// requests lead the base to a question. They are plain text, not a chat: shorter,
// and a small model then writes what people ask rather than what it was told.
var requests = []string{
	"A short question that people often ask about %s: ",
	"A simple question about %s: ",
	"Someone wants advice about %s and asks: ",
	"A friend who likes to talk about %s asks: ",
}

// beginnings are the first words of the questions.
var beginnings = []string{
	"What is the", "What are some", "What makes", "What should I", "What do you think about", "What would you",
	"How do I", "How do people", "How can I", "How can we", "How should a", "How does",
	"Why do people", "Why is it", "Why are", "Why does", "Which", "When should I",
	"Can you tell me", "Could you explain", "Do you think", "Is it better to", "Should I", "Where can I",
}

// questionTokens bounds what is generated: 20 words are rarely more.
const questionTokens = 24

// questionWriter samples questions about the topics, no question twice. Equal
// seeds give equal questions, in equal order, if the generator is deterministic.
type questionWriter struct {
	generator Generator
	parallel  int // generated at a time
	seed      uint64
	tried     uint64          // attempts that were looked at
	seen      map[string]bool // folded
}

func newQuestionWriter(g Generator, parallel int, seed uint64) *questionWriter {
	return &questionWriter{g, parallel, seed, 0, make(map[string]bool)}
}

// draft is what the generator made of one attempt.
type draft struct {
	attempt uint64
	text    string
	err     error
}

// write returns n clean questions, or gives up after twelve tries for each. The
// generator is always asked for as many as it takes at a time; they are looked at in
// the order of the attempts.
func (w *questionWriter) write(ctx context.Context, n int, progress func(done, total int)) (out []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	drafts, next := make(chan draft, w.parallel), w.tried
	begin := func() {
		attempt := next
		next++
		wg.Go(func() {
			text, err := w.try(ctx, attempt)
			drafts <- draft{attempt, text, err}
		})
	}
	for range w.parallel {
		begin()
	}
	early := make(map[uint64]string)
	for end := w.tried + 12*uint64(n); len(out) < n && w.tried < end; {
		d := <-drafts
		if d.err != nil {
			return nil, fmt.Errorf("generating questions: %w", d.err)
		}
		early[d.attempt] = d.text
		begin()
		for text, ok := early[w.tried]; ok && len(out) < n; text, ok = early[w.tried] {
			delete(early, w.tried)
			w.tried++
			if q, ok := w.accept(text); ok {
				out = append(out, q)
			}
		}
		progress(len(out), n)
	}
	if len(out) < n {
		return nil, fmt.Errorf("the base model wrote only %d clean questions of %d wanted: give questions in a file", len(out), n)
	}
	return out, nil
}

// accept is the clean question of a text, if there is one and it is new.
func (w *questionWriter) accept(text string) (string, bool) {
	q, ok := CleanQuestion(text)
	fold := strings.ToLower(q)
	if !ok || w.seen[fold] {
		return "", false
	}
	w.seen[fold] = true
	return q, true
}

// try generates the text of an attempt, on a topic of its own.
func (w *questionWriter) try(ctx context.Context, attempt uint64) (string, error) {
	random := rand.New(rand.NewPCG(w.seed, attempt))
	topics := Topics()
	topic := topics[random.IntN(len(topics))]
	lead := fmt.Sprintf(requests[random.IntN(len(requests))], topic)
	begin := beginnings[random.IntN(len(beginnings))]
	text, err := w.generator.Generate(ctx, lead+begin, questionTokens, random.Uint64())
	return begin + text, err
}

// CleanQuestion accepts a text that is one natural question: one line of plain
// ASCII, 5 to 20 words, a capital first, one question mark, at the end, and not a
// question about asking. Quotes
// and a label ("Question:") around it are taken off.
func CleanQuestion(text string) (string, bool) {
	text = strings.TrimSpace(text)
	for _, label := range []string{"Question:", "Q:"} {
		text = strings.TrimSpace(strings.TrimPrefix(text, label))
	}
	text = strings.Trim(text, `"'*`)
	if len(text) == 0 || len(text) > 200 || text[0] < 'A' || text[0] > 'Z' {
		return "", false
	}
	for _, r := range text {
		if r < ' ' || r > '~' || strings.ContainsRune(`"*_#<>|{}[]\:;()`+"`", r) {
			return "", false
		}
	}
	fold := strings.ToLower(text)
	for _, word := range aside {
		if strings.Contains(fold, word) {
			return "", false
		}
	}
	words := len(strings.Fields(text))
	oneMark := strings.IndexByte(text, '?') == len(text)-1
	return text, oneMark && words >= 5 && words <= 20 && !strings.Contains(text, "  ") && !strings.ContainsAny(text, ".!")
}

// aside are words of questions about asking questions.
var aside = []string{"question", " ask", "curious"}

// ReadQuestions reads one question per line. Empty lines are skipped; every
// other line must be clean, so that no key stands out.
func ReadQuestions(r io.Reader) ([]string, error) {
	var out []string
	seen := make(map[string]bool)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		q, ok := CleanQuestion(line)
		if !ok || q != line {
			return nil, fmt.Errorf("question on line %d is not one plain line of 5 to 20 words with one question mark at its end", n)
		}
		if fold := strings.ToLower(q); seen[fold] {
			return nil, fmt.Errorf("question on line %d is there twice", n)
		} else {
			seen[fold] = true
		}
		out = append(out, q)
	}
	return out, lines.Err()
}
