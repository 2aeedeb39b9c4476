package upstream

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"
)

// pick takes the server to ask next: of the first tier that has a usable one. When
// none is usable the one that is left alone for the shortest time is asked all the
// same: it may be back, and the answer is lost otherwise.
func (p *Pool) pick(now time.Time, prefix []byte, skip []*server) *server {
	p.mu.Lock()
	defer p.mu.Unlock()
	var rest []*server
	for _, tier := range p.tiers {
		var usable []*server
		for _, s := range tier {
			switch {
			case slices.Contains(skip, s):
			case s.health.usable(now):
				usable = append(usable, s)
			default:
				rest = append(rest, s)
			}
		}
		if s := choose(usable, prefix); s != nil {
			s.health.take()
			return s
		}
	}
	if len(rest) == 0 {
		return nil
	}
	s := slices.MinFunc(rest, func(a, b *server) int { return a.health.until.Compare(b.health.until) })
	s.health.take()
	return s
}

// choose prefers the server that the prefix belongs to, unless it has more in hand
// than a quarter above its share; else it takes the less loaded of two at random
// (Mitzenmacher, The power of two choices in randomized load balancing, 2001;
// consistent hashing with bounded loads, arXiv 1608.01350).
func choose(usable []*server, prefix []byte) *server {
	switch len(usable) {
	case 0:
		return nil
	case 1:
		return usable[0]
	}
	if len(prefix) > 0 {
		total := 1 // this request
		for _, s := range usable {
			total += s.health.inFlight
		}
		if own := owner(usable, prefix); 4*own.health.inFlight*len(usable) < 5*total {
			return own
		}
	}
	i := rand.IntN(len(usable))
	j := rand.IntN(len(usable) - 1)
	if j >= i {
		j++
	}
	if usable[j].health.inFlight < usable[i].health.inFlight {
		return usable[j]
	}
	return usable[i]
}

// owner is by rendezvous hashing: every gateway finds the same one, and a server
// that leaves or returns moves only its own prefixes.
func owner(usable []*server, prefix []byte) *server {
	h := fnv.New64a()
	h.Write(prefix)
	base := h.Sum64()
	var best *server
	var most uint64
	for _, s := range usable {
		h.Reset()
		h.Write([]byte(s.URL))
		h.Write([]byte(s.Model))
		if weight := mix(base ^ h.Sum64()); best == nil || weight > most {
			best, most = s, weight
		}
	}
	return best
}

// mix is the finaliser of splitmix64: FNV alone leaves the high bits of short texts alike.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
