package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// The scanner below is GPT-2's expression written out, since Go's regexp has no lookahead:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// https://github.com/openai/gpt-2/blob/master/src/encoder.py

type class uint8

const (
	other class = iota
	space
	letter
	number
)

// classOf sorts a character as the expression does. An invalid byte decodes to U+FFFD, which is "other".
func classOf(r rune) class {
	switch {
	case r < utf8.RuneSelf:
		return asciiClass[r]
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case unicode.IsSpace(r):
		return space
	}
	return other
}

var asciiClass = func() (table [utf8.RuneSelf]class) {
	for r := range rune(utf8.RuneSelf) {
		switch {
		case unicode.IsLetter(r):
			table[r] = letter
		case unicode.IsNumber(r):
			table[r] = number
		case unicode.IsSpace(r):
			table[r] = space
		}
	}
	return table
}()

// peek returns the class and the width of the first character.
func peek(text string) (class, int) {
	if text == "" {
		return other, 0
	}
	r, n := utf8.DecodeRuneInString(text)
	return classOf(r), n
}

// nextWord returns the length of the first word of text, which is not empty.
func nextWord(kind Pretokenizer, text string) int {
	alone := kind == SmolLM
	first, width := peek(text)
	if first == number && alone {
		return width
	}
	if n := contraction(text); n > 0 {
		return n
	}
	if text[0] == ' ' {
		if c, n := peek(text[1:]); n > 0 && c != space && !(c == number && alone) {
			return 1 + run(text[1:], c)
		}
	}
	if first != space {
		return run(text, first)
	}
	return spaces(text, alone)
}

// run returns the length of the leading characters of class c.
func run(text string, c class) int {
	at := 0
	for at < len(text) {
		got, n := peek(text[at:])
		if got != c {
			break
		}
		at += n
	}
	return at
}

// spaces matches white space: all of it at the end of a piece, else all but the last, which belongs to what follows
// (and is a word of its own where it cannot join it). Where digits stand alone, a digit ends the piece.
func spaces(text string, alone bool) int {
	end, last := 0, 0
	for end < len(text) {
		c, n := peek(text[end:])
		if c != space {
			if c == number && alone {
				return end
			}
			break
		}
		last = n
		end += n
	}
	if end < len(text) && end > last {
		return end - last
	}
	return end
}

// contraction returns the length of an English contraction's tail such as 's, else 0.
func contraction(text string) int {
	if len(text) < 2 || text[0] != '\'' {
		return 0
	}
	switch text[1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(text) >= 3 {
		switch text[1:3] {
		case "re", "ve", "ll":
			return 3
		}
	}
	return 0
}
