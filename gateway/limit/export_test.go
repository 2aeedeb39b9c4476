package limit

import "time"

// NewPatient is [New] for tests whose store is well but whose machine may be slow: it waits
// for long, and gives no lease back while it stands still.
func NewPatient(s Store, deployment string) *Limiter {
	return start(s, deployment, time.Minute, time.Hour)
}

// NewGenerous is NewPatient that gives back what is idle as soon as [New] does.
func NewGenerous(s Store, deployment string) *Limiter { return start(s, deployment, time.Minute, idle) }

// Accounts is how many accounts are in memory.
func (l *Limiter) Accounts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accounts)
}
