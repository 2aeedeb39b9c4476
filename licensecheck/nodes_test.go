package licensecheck

import (
	"bytes"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/fealty/fealty/licensecheck/contract"
)

// faulty stands between the checker and a node, and answers wrongly on demand.
type faulty struct {
	*httptest.Server
	answer   atomic.Pointer[http.HandlerFunc] // instead of the node, if any
	meddle   atomic.Pointer[meddler]          // in single calls, if any
	requests atomic.Int64
	asked    atomic.Int64 // of them, not for the newest block: those depend on the time that passes
	calls    atomic.Int64 // a batch holds several
	node     *rpc.Client  // behind it
}

// meddler answers a call in the node's place, or with "" lets it pass.
type meddler func(f *faulty, method, params string) (reply string)

func startFaulty(t testing.TB, target string) *faulty {
	t.Helper()
	f := &faulty{}
	var err error
	if f.node, err = rpc.Dial(target); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.node.Close)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.requests.Add(1)
		if wrong := f.answer.Load(); wrong != nil {
			(*wrong)(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if !bytes.Contains(body, []byte(`"latest"`)) {
			f.asked.Add(1)
		}
		f.calls.Add(int64(bytes.Count(body, []byte(`"method"`))))
		w.Header().Set("Content-Type", "application/json")
		if reply := f.meddled(body); reply != "" {
			io.WriteString(w, reply)
			return
		}
		res, err := http.Post(target, "application/json", bytes.NewReader(body))
		if err != nil {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		io.Copy(w, res.Body)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *faulty) meddled(body []byte) string {
	m := f.meddle.Load()
	var one struct {
		ID, Params json.RawMessage
		Method     string
	}
	if m == nil || json.Unmarshal(body, &one) != nil {
		return ""
	}
	reply := (*m)(f, one.Method, string(one.Params))
	if reply == "" {
		return ""
	}
	return `{"jsonrpc":"2.0","id":` + string(one.ID) + `,` + reply + `}`
}

func (f *faulty) fail(answer http.HandlerFunc) { f.answer.Store(&answer) }
func (f *faulty) mend()                        { f.answer.Store(nil); f.meddle.Store(nil) }

// lagging makes a node's newest block the one of this number, as long as it is asked by tag.
func lagging(number func() string) meddler {
	return func(f *faulty, method, params string) string {
		if method != "eth_getBlockByNumber" || !strings.Contains(params, "latest") {
			return ""
		}
		var block json.RawMessage
		if f.node.Call(&block, method, number(), false) != nil {
			return `"error":{"code":-32000,"message":"down"}`
		}
		return `"result":` + string(block)
	}
}

func badGateway(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "down", http.StatusBadGateway)
}

func hangs(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// wire is a TCP connection to somewhere with faults of its own.
type wire struct {
	addr   string
	delay  atomic.Int64 // nanoseconds, of each piece that comes back
	silent atomic.Bool  // nothing comes back, and nobody hangs up
	opened atomic.Int64
	mu     sync.Mutex
	ends   []net.Conn
}

func startWire(t testing.TB, target string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: l.Addr().String()}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			w.opened.Add(1)
			w.mu.Lock()
			w.ends = append(w.ends, near, far)
			w.mu.Unlock()
			done.Go(func() { io.Copy(far, near); far.Close() })
			done.Go(func() { w.back(near, far) })
		}
	})
	t.Cleanup(func() { l.Close(); w.cut(); done.Wait() })
	return w
}

func (w *wire) back(near, far net.Conn) {
	defer near.Close()
	piece := make([]byte, 64<<10)
	for {
		n, err := far.Read(piece)
		time.Sleep(time.Duration(w.delay.Load())) // the fault itself
		if err != nil {
			return
		}
		if w.silent.Load() {
			continue
		}
		if _, err := near.Write(piece[:n]); err != nil {
			return
		}
	}
}

// cut hangs up on everybody.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.ends {
		c.Close()
	}
	w.ends = nil
}

// On anvil a test makes blocks itself, beside those of each second.

// rpc puts a question to the chain past every fault.
func (s *stage) rpc(result any, method string, args ...any) {
	s.t.Helper()
	if s.raw == nil {
		client, err := rpc.Dial(s.chain.http)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(client.Close)
		s.raw = client
	}
	if err := s.raw.CallContext(s.context(), result, method, args...); err != nil {
		s.t.Fatalf("%s: %v", method, err)
	}
}

// mine makes this many blocks now, all of the present second, and answers with the last.
func (s *stage) mine(n int) (head uint64) {
	s.t.Helper()
	s.rpc(nil, "anvil_setBlockTimestampInterval", 0)
	s.rpc(nil, "anvil_mine", hexutil.Uint64(n))
	s.rpc(nil, "anvil_removeBlockTimestampInterval")
	var number hexutil.Uint64
	s.rpc(&number, "eth_blockNumber")
	return uint64(number)
}

// byHand ends the blocks of each second: from now on there are those of block alone.
func (s *stage) byHand() {
	s.t.Helper()
	s.rpc(nil, "evm_setIntervalMining", 0)
	s.rpc(nil, "anvil_setBlockTimestampInterval", 0)
}

// block makes one with the time that it is.
func (s *stage) block() {
	s.t.Helper()
	if now := time.Now().Unix(); now > s.second { // else the second stays: a reorganisation puts anvil's own clock back
		s.second = now
		s.rpc(nil, "evm_setNextBlockTimestamp", now)
	}
	s.rpc(nil, "evm_mine")
}

// write sends a transaction of the model's owner to the registry, and does not wait.
func (s *stage) write(data []byte) {
	s.t.Helper()
	s.rpc(nil, "eth_sendTransaction", map[string]any{
		"from": s.chain.accounts[0].Address(), "to": common.Address(s.owner.Address()), "data": hexutil.Encode(data), "gas": "0x40000",
	})
}

func (s *stage) encoded(d time.Duration) contract.LicenseRegistryTerms {
	t := s.terms(d)
	return contract.LicenseRegistryTerms{NotBefore: big.NewInt(t.NotBefore.Unix()), NotAfter: big.NewInt(t.NotAfter.Unix()), Scope: uint32(t.Scope)}
}
