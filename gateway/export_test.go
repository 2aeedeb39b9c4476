package gateway

import "time"

// RenewNow looks at the certificate's files now rather than in a minute.
func (s *Server) RenewNow() { s.renewNow() }

// The machine that runs tests may stand still for longer than a client needs to read why it
// was refused, and be slower than a store or a chain may be.
func init() { lingerTime, lookupTime = time.Minute, time.Minute }
