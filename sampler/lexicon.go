package sampler

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lexicon knows which tokens may stand in a shell. It is immutable.
//
// Whether a token is a whole word cannot be seen in its text: byte-level BPE
// holds fragments ("Ste", "con") beside words, often with the same spellings.
// The rule has two halves. From the vocabulary: the token is ASCII letters, at
// least two, after at most one space; the lower-case word stands in the
// vocabulary both bare and after a space (names and most fragments do not). From
// the model: the opener list, which whoever makes it has confirmed by asking the
// base whether a new word starts after the token.
type Lexicon struct {
	kinds   []kind
	ends    []bool // the token ends a sentence
	openers map[int32]opener
	ids     map[string]int32 // of the openers, by their text
	spaced  *Lexicon         // the same words after a space, as they begin later sentences
}

type opener struct {
	word   string // lower case
	spaced bool
}

// kind is what the guard and the shell need to know of any token.
type kind uint8

const (
	blank kind = iota // only white space, quotes, markdown, or a special token
	other             // digits, symbols, bytes, a script that is not Latin
	lower             // first letter is Latin, in lower case
	capital
	lowerSpaced // the same, after a space
	capitalSpaced
)

// never are words that answer a question by themselves: choosing among them
// would change what is said, not how it is said.
var never = wordSet(`yes no true false not never none
	zero one two three four five six seven eight nine ten eleven twelve hundred thousand million billion`)

func wordSet(list string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range strings.Fields(list) {
		set[w] = true
	}
	return set
}

// NewLexicon takes the text of each token ("" for special ones) and the ids of
// the base model's opening words. Ids outside the vocabulary and tokens that are
// not eligible are left out.
func NewLexicon(tokens []string, openers []int32) *Lexicon {
	known := make(map[string]int32, len(tokens))
	lex := &Lexicon{kinds: make([]kind, len(tokens)), ends: make([]bool, len(tokens)), openers: make(map[int32]opener), ids: make(map[string]int32)}
	for id, t := range tokens {
		known[t] = int32(id)
		lex.kinds[id] = kindOf(t)
		lex.ends[id] = endsSentence(t)
	}
	lex.spaced = &Lexicon{kinds: lex.kinds, openers: make(map[int32]opener)}
	for _, id := range openers {
		if int(id) >= len(tokens) || id < 0 {
			continue
		}
		if word, ok := eligible(tokens[id], known); ok {
			lex.openers[id] = opener{word, tokens[id][0] == ' '}
			lex.ids[tokens[id]] = id
			if after, known := known[" "+tokens[id]]; known {
				lex.spaced.openers[after] = opener{word, true}
			}
		}
	}
	return lex
}

// Eligible tells whether the token may stand in a shell.
func (l *Lexicon) Eligible(id int32) bool {
	_, ok := l.openers[id]
	return ok
}

// Word returns an eligible token's word in lower case, "" for any other.
func (l *Lexicon) Word(id int32) string { return l.openers[id].word }

func (l *Lexicon) kind(id int32) kind {
	if id < 0 || int(id) >= len(l.kinds) {
		return other
	}
	return l.kinds[id]
}

func eligible(token string, known map[string]int32) (string, bool) {
	text := strings.TrimPrefix(token, " ")
	if len(text) < 2 || !asciiLetters(text) {
		return "", false
	}
	word := strings.ToLower(text)
	_, bare := known[word]
	_, spaced := known[" "+word]
	if !bare || !spaced || never[word] {
		return "", false
	}
	return word, mostlyLower(text)
}

// mostlyLower refuses acronyms: "AI", "USA".
func mostlyLower(text string) bool { return text[1:] == strings.ToLower(text[1:]) }

func asciiLetters(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

func kindOf(token string) kind {
	text := strings.TrimLeft(token, Lead)
	if text == "" {
		return blank
	}
	r, _ := utf8.DecodeRuneInString(text)
	if !unicode.Is(unicode.Latin, r) {
		return other
	}
	k := lower
	if unicode.IsUpper(r) {
		k = capital
	}
	if token[0] == ' ' {
		k += lowerSpaced - lower
	}
	return k
}

func endsSentence(token string) bool {
	text := strings.TrimRight(token, Lead+")")
	return strings.HasSuffix(text, ".") || strings.HasSuffix(text, "!") || strings.HasSuffix(text, "?")
}

// begins tells whether a sentence begins after the tokens. The point of a numbered
// list ends none.
func (l *Lexicon) begins(generated []int32) bool {
	n := len(generated)
	for n > 0 && l.kind(generated[n-1]) == blank {
		n--
	}
	if n < 2 || generated[n-1] < 0 || int(generated[n-1]) >= len(l.ends) {
		return false
	}
	return l.ends[generated[n-1]] && l.kind(generated[n-2]) != other
}

// Lead is what may stand before an answer's first word: white space, quotes and
// markdown.
const Lead = " \t\r\n\"'`*_#>~-“”‘’«»"

// Latin tells whether the token begins a word in Latin script, the one that
// eligible words are in.
func (l *Lexicon) Latin(id int32) bool { return l.kind(id) >= lower }
