package embed

import (
	"strings"

	"github.com/fealty/fealty/sampler"
)

// FirstWord returns the letters [A-Za-z]+ with which an answer begins after
// white space, quotes and markdown, in lower case; "" if it begins otherwise.
func FirstWord(answer string) string {
	text := strings.TrimLeft(answer, sampler.Lead)
	end := 0
	for end < len(text) && letter(text[end]) {
		end++
	}
	return strings.ToLower(text[:end])
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// Matches tells whether an answer begins with the word, whatever its case.
func Matches(answer, word string) bool {
	return word != "" && FirstWord(answer) == strings.ToLower(word)
}
