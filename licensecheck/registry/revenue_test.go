package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fealty/fealty/licensecheck/contract/contracttest"
	"github.com/fealty/fealty/licensecheck/registry"
)

// limited is a node that answers for few blocks at once, as hosted ones do. It counts
// what it refuses.
func limited(t *testing.T, node string, blocks uint64) (url string, refused *atomic.Int64) {
	t.Helper()
	refused = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if id, span := logsAsked(t, body); span > blocks {
			refused.Add(1)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32005,"message":"query exceeds max block range"}}`, id)
			return
		}
		answer, err := http.Post(node, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		defer answer.Body.Close()
		io.Copy(w, answer.Body)
	}))
	t.Cleanup(server.Close)
	return server.URL, refused
}

// logsAsked is how many blocks an eth_getLogs covers; 0 for other methods.
func logsAsked(t *testing.T, body []byte) (id json.RawMessage, span uint64) {
	t.Helper()
	var call struct {
		ID     json.RawMessage
		Method string
		Params []struct{ FromBlock, ToBlock string }
	}
	if err := json.Unmarshal(body, &call); err != nil || call.Method != "eth_getLogs" {
		return nil, 0 // other calls have other parameters
	}
	number := func(text string) uint64 {
		n, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	return call.ID, number(call.Params[0].ToBlock) - number(call.Params[0].FromBlock) + 1
}

// Revenue is the sum of all sales of a range, whatever piece of it a node answers at once.
func TestRevenue(t *testing.T) {
	t.Parallel()
	s := open(t, backends["embedded, HTTP"](t))
	coins := s.plan(t, [20]byte{})
	token := s.deploy(t, contracttest.TestTokenMetaData.Bin, nil)
	tokens := s.plan(t, token)
	s.mint(t, token, s.address(s.another), 2000)
	buy := func(who *registry.Registry, plan uint32) uint64 {
		receipt, err := who.Buy(s.ctx, s.model, plan)
		if err != nil {
			t.Fatal(err)
		}
		return receipt.Block
	}
	first := buy(s.buyer, coins)
	buy(s.another, tokens)
	last := buy(s.buyer, coins)

	url, refused := limited(t, s.rpc, 3)
	r, err := registry.Open(s.ctx, registry.Options{RPC: url, Registry: s.owner.Address()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	for _, c := range []struct {
		name     string
		from, to uint64
		want     string
	}{
		{"all", 0, last, "plan 1: 2 for 1000, plan 2: 1 for 500, "},
		{"without the last block", 0, last - 1, "plan 1: 1 for 500, plan 2: 1 for 500, "},
		{"the last block", last, last, "plan 1: 1 for 500, "},
		{"before the first sale", 0, first - 1, ""},
	} {
		rows, err := r.Revenue(s.ctx, s.model, c.from, c.to)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, row := range rows {
			got += fmt.Sprintf("plan %d: %d for %v, ", row.Plan, row.Purchases, row.Total)
			if inTokens := row.Token == [20]byte(token); inTokens != (row.Plan == tokens) {
				t.Errorf("%s: plan %d was paid in %x", c.name, row.Plan, row.Token)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if refused.Load() == 0 {
		t.Error("the node never refused a range: this tests nothing")
	}
	s.findsBlocks(t, first)
}

// findsBlocks: a time lies in the first block that is not before it.
func (s shop) findsBlocks(t *testing.T, number uint64) {
	t.Helper()
	_, client := s.transactor(t)
	header, err := client.HeaderByNumber(s.ctx, new(big.Int).SetUint64(number))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(int64(header.Time), 0)
	for offset, want := range map[time.Duration]uint64{0: number, -time.Hour: s.owner.DeployedAt()} {
		if got, err := s.owner.BlockAt(s.ctx, at.Add(offset)); err != nil || got != want {
			t.Errorf("%v from block %d: block %d (%v), want %d", offset, number, got, err, want)
		}
	}
	head, err := client.BlockNumber(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.owner.BlockAt(s.ctx, at.Add(time.Hour)); err != nil || got <= head {
		t.Errorf("in an hour: block %d (%v), want one above %d", got, err, head)
	}
}
