package embed

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
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
	random    *rand.Rand
	seen      map[string]bool // folded
}

func newQuestionWriter(g Generator, parallel int, seed uint64) *questionWriter {
	return &questionWriter{g, parallel, rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), make(map[string]bool)}
}

// write returns n clean questions, or gives up after twelve tries for each.
func (w *questionWriter) write(ctx context.Context, n int, progress func(done, total int)) ([]string, error) {
	var out []string
	for tried := 0; len(out) < n && tried < 12*n; tried += w.parallel {
		texts, err := w.attempt(ctx)
		if err != nil {
			return nil, err
		}
		for _, text := range texts {
			q, ok := CleanQuestion(text)
			if fold := strings.ToLower(q); ok && !w.seen[fold] && len(out) < n {
				w.seen[fold] = true
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

// attempt generates one text per place, each on its own topic.
func (w *questionWriter) attempt(ctx context.Context) ([]string, error) {
	topics := Topics()
	texts, errs := make([]string, w.parallel), make([]error, w.parallel)
	var wg sync.WaitGroup
	for i := range texts {
		topic := topics[w.random.IntN(len(topics))]
		lead := fmt.Sprintf(requests[w.random.IntN(len(requests))], topic)
		begin := beginnings[w.random.IntN(len(beginnings))]
		seed := w.random.Uint64()
		wg.Go(func() {
			texts[i], errs[i] = w.generator.Generate(ctx, lead+begin, questionTokens, seed)
			texts[i] = begin + texts[i]
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("generating questions: %w", err)
	}
	return texts, nil
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
