package limit

import "time"

// NewPatient is [New] for tests whose store is well but whose machine may be slow.
func NewPatient(s Store, deployment string) *Limiter { return start(s, deployment, 20*time.Second) }
