package gateway

import "github.com/valyala/fasthttp/pprofhandler"

// profile answers what net/http/pprof answers, to the operator: a profile names
// functions, never what passes through them.
func (x *exchange) profile() error {
	if err := x.admitted(); err != nil {
		return err
	}
	pprofhandler.PprofHandler(x.http)
	return nil
}
