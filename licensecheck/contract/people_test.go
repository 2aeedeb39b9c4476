package contract

import (
	"os"
	"strings"

	"github.com/fealty/fealty/internal/wallet"
)

// people are the same in every run, so that seeds and gas repeat.
var people = func() (keys [5]*wallet.Key) {
	const name = "FEALTY_TEST_KEY"
	defer os.Unsetenv(name)
	for i := range keys {
		os.Setenv(name, strings.Repeat("a"+string(rune('1'+i)), 32))
		key, err := wallet.Load(wallet.Source{Env: name})
		if err != nil {
			panic(err) // 64 hex digits are a key
		}
		keys[i] = key
	}
	return keys
}()
