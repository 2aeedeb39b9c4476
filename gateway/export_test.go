package gateway

// RenewNow looks at the certificate's files now rather than in a minute.
func (s *Server) RenewNow() { s.renewNow() }
