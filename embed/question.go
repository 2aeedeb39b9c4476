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

// GenerateQuestions samples questions about the topics until n different ones
// are clean, or gives up after twelve tries for each. Equal seeds give equal
// questions, in equal order, if the generator is deterministic.
func GenerateQuestions(ctx context.Context, g Generator, n, parallel int, seed uint64, progress func(done, total int)) ([]string, error) {
	if n < 1 || parallel < 1 {
		return nil, fmt.Errorf("%d questions by %d at a time: both must be positive", n, parallel)
	}
	random := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	topics := Topics()
	seen := make(map[string]bool)
	var out []string
	for tried := 0; len(out) < n && tried < 12*n; tried += parallel {
		batch := make([]attempt, parallel)
		for i := range batch {
			topic := topics[random.IntN(len(topics))]
			form := requests[random.IntN(len(requests))]
			batch[i] = attempt{fmt.Sprintf(form, topic), beginnings[random.IntN(len(beginnings))], random.Uint64()}
		}
		texts, err := generateAll(ctx, g, batch)
		if err != nil {
			return nil, err
		}
		for _, text := range texts {
			q, ok := CleanQuestion(text)
			if fold := strings.ToLower(q); ok && !seen[fold] && len(out) < n {
				seen[fold] = true
				out = append(out, q)
			}
		}
		if progress != nil {
			progress(len(out), n)
		}
	}
	if len(out) < n {
		return nil, fmt.Errorf("the base model wrote only %d clean questions of %d wanted: give questions in a file", len(out), n)
	}
	return out, nil
}

// attempt is one question to be generated.
type attempt struct {
	lead, begin string
	seed        uint64
}

func generateAll(ctx context.Context, g Generator, batch []attempt) ([]string, error) {
	texts, errs := make([]string, len(batch)), make([]error, len(batch))
	var wg sync.WaitGroup
	for i, a := range batch {
		wg.Go(func() {
			texts[i], errs[i] = g.Generate(ctx, a.lead+a.begin, questionTokens, a.seed)
			texts[i] = a.begin + texts[i]
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
