package licensecheck

import "github.com/ethereum/go-ethereum/common/lru"

// shelf holds the newest-used records. Those of subjects that never had a grant stand
// apart, with a tenth of the room: wallets are free, and a flood of them must not push
// licensees out.
type shelf struct{ granted, strangers lru.BasicLRU[key, *record] }

func newShelf(most int) shelf {
	return shelf{lru.NewBasicLRU[key, *record](most), lru.NewBasicLRU[key, *record](max(1, most/10))}
}

func (s *shelf) get(k key) (*record, bool) {
	if r, ok := s.granted.Get(k); ok {
		return r, true
	}
	r, ok := s.strangers.Get(k)
	if ok && !r.stranger() {
		s.add(k, r)
	}
	return r, ok
}

func (s *shelf) peek(k key) (*record, bool) {
	if r, ok := s.granted.Peek(k); ok {
		return r, true
	}
	return s.strangers.Peek(k)
}

func (s *shelf) add(k key, r *record) {
	to, from := &s.granted, &s.strangers
	if r.stranger() {
		to, from = from, to
	}
	from.Remove(k)
	to.Add(k, r)
}

func (s *shelf) remove(k key) {
	s.granted.Remove(k)
	s.strangers.Remove(k)
}

func (s *shelf) purge() {
	s.granted.Purge()
	s.strangers.Purge()
}

func (s *shelf) keys() []key { return append(s.granted.Keys(), s.strangers.Keys()...) }

func (s *shelf) len() int { return s.granted.Len() + s.strangers.Len() }
