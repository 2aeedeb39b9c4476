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

// Generator samples the base model's answer to a chat prompt at temperature 1,
// at most maxTokens long. It may be called from several goroutines.
type Generator interface {
	Generate(ctx context.Context, prompt string, maxTokens int, seed uint64) (string, error)
}

// requests are the forms in which the base is asked for a question.
var requests = []string{
	"Write a short question about %s.",
	"What might someone ask about %s? Reply with one question only.",
	"Give me one simple question about %s.",
	"Write one question that a curious person would ask about %s.",
	"Ask me for my opinion about %s in one short question.",
	"Write a short question asking for advice about %s.",
}

// questionTokens bounds a generated question: 20 words are rarely more.
const questionTokens = 32

// GenerateQuestions samples questions about the topics until n different ones
// are clean, or gives up after twelve tries for each. Equal seeds give equal
// questions, in equal order, if the generator is deterministic.
func GenerateQuestions(ctx context.Context, g Generator, n, parallel int, seed uint64) ([]string, error) {
	if n < 1 || parallel < 1 {
		return nil, fmt.Errorf("%d questions by %d at a time: both must be positive", n, parallel)
	}
	random := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	topics := Topics()
	seen := make(map[string]bool)
	var out []string
	for tried := 0; len(out) < n && tried < 12*n; tried += parallel {
		batch := make([]string, parallel)
		for i := range batch {
			form := requests[random.IntN(len(requests))]
			batch[i] = fmt.Sprintf(form, topics[random.IntN(len(topics))])
		}
		texts, err := generateAll(ctx, g, batch, seed+uint64(tried))
		if err != nil {
			return nil, err
		}
		out = appendClean(out, texts, seen, n)
	}
	if len(out) < n {
		return nil, fmt.Errorf("the base model wrote only %d clean questions of %d wanted: give questions in a file", len(out), n)
	}
	return out, nil
}

func generateAll(ctx context.Context, g Generator, prompts []string, seed uint64) ([]string, error) {
	texts, errs := make([]string, len(prompts)), make([]error, len(prompts))
	var wg sync.WaitGroup
	for i, p := range prompts {
		wg.Go(func() { texts[i], errs[i] = g.Generate(ctx, p, questionTokens, seed+uint64(i)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("generating questions: %w", err)
	}
	return texts, nil
}

func appendClean(out, texts []string, seen map[string]bool, n int) []string {
	for _, text := range texts {
		q, ok := CleanQuestion(text)
		if fold := strings.ToLower(q); ok && !seen[fold] && len(out) < n {
			seen[fold] = true
			out = append(out, q)
		}
	}
	return out
}

// CleanQuestion accepts a text that is one natural question: one line of plain
// ASCII, 5 to 20 words, a capital first, one question mark, at the end. Quotes
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
	words := len(strings.Fields(text))
	oneMark := strings.IndexByte(text, '?') == len(text)-1
	return text, oneMark && words >= 5 && words <= 20 && !strings.Contains(text, "  ") && !strings.ContainsAny(text, ".!")
}

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
