package llama

import (
	"fmt"
	"runtime/debug"
)

// PanicError is a panic that was stopped at this package's edge: GoMLX reports
// errors of graph building and execution by panicking.
type PanicError struct {
	During string // what was being done
	Value  any
	Stack  []byte // for the log
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("llama: %s: %v", e.During, e.Value)
}

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// guard runs f and turns its panic into an error.
func guard(during string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{During: during, Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}
