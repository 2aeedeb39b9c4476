// Package sameseed makes property tests draw the same in every run: what they find is found
// by whoever changed the code, not by whoever lands next. Import it for that alone. A test's
// -rapid.seed=0 draws anew, and -rapid.checks=1000000 draws more.
package sameseed

import (
	"flag"

	_ "pgregory.net/rapid" // which has the flag
)

func init() {
	if err := flag.Set("rapid.seed", "1"); err != nil {
		panic(err)
	}
}
