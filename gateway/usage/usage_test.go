package usage_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/gateway/identity/state"
	"github.com/fealty/fealty/gateway/identity/state/statetest"
	"github.com/fealty/fealty/gateway/usage"
	"github.com/fealty/fealty/internal/devnet"
	"github.com/fealty/fealty/internal/servertest"
)

const childStore = "FEALTY_TEST_USAGE_STORE"

func TestMain(m *testing.M) {
	if addr := os.Getenv(childStore); addr != "" {
		dyingGateway(addr)
		return
	}
	os.Exit(m.Run())
}

func connect(t testing.TB, addr string) redis.UniversalClient {
	return statetest.Client(t, addr)
}

// open keeps a ledger on a store that is marked as one.
func open(t testing.TB, c redis.UniversalClient) *usage.Ledger {
	t.Helper()
	return usage.New(statetest.Patient{Store: statetest.Open(t, c, 0)}, nil)
}

// ran writes an entry as a request does that begins and ends.
func ran(t testing.TB, l *usage.Ledger, e usage.Entry) {
	t.Helper()
	begun := e
	begun.Status, begun.PromptTokens, begun.CompletionTokens = "", 0, 0
	r, err := l.Begin(begun)
	if err != nil {
		t.Fatal(err)
	}
	r.Progress(e.PromptTokens, e.CompletionTokens/2)
	r.End(e.Status, e.PromptTokens, e.CompletionTokens)
}

func TestLedger(t *testing.T) {
	store, err := devnet.StartRedisAt("127.0.0.1:" + servertest.Port(t)) // nobody else's when it is closed
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	l := open(t, connect(t, store.Addr()))
	defer l.Close()

	day := time.Date(2026, 1, 31, 23, 59, 59, 5, time.UTC)
	me, other := [32]byte{1}, [32]byte{2}
	entries := []usage.Entry{
		{Time: day, Request: "req_1", Subject: me, KeyID: "k1", Model: "a model", Version: 2, PromptTokens: 3, CompletionTokens: 4, Status: "ok"},
		{Time: day, Request: "req_2", Subject: me, KeyID: "k1", Model: "a model", Version: 2, PromptTokens: 30, CompletionTokens: 40, Status: "client_gone"},
		{Time: day, Request: "req_3", Subject: me, Model: "b", PromptTokens: 1, Status: "ok"},
		{Time: day, Request: "req_4", Subject: other, Model: "b", PromptTokens: 1000, Status: "ok"},
	}
	next := usage.Entry{Time: day.Add(time.Second), Request: "req_5", Subject: me, KeyID: "k2", Model: "b", CompletionTokens: 7, Status: "ok"}
	for _, e := range append(entries, next) {
		ran(t, l, e)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := l.Totals(t.Context(), me, day, day.Add(48*time.Hour))
	want := []usage.Total{
		{Day: "2026-01-31", Model: "a model", KeyID: "k1", Requests: 2, PromptTokens: 33, CompletionTokens: 44},
		{Day: "2026-01-31", Model: "b", Requests: 1, PromptTokens: 1},
		{Day: "2026-02-01", Model: "b", KeyID: "k2", Requests: 1, CompletionTokens: 7},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("totals: %+v, %v\nwant %+v", got, err, want)
	}
	var read []usage.Entry
	err = l.Entries(t.Context(), day, func(e usage.Entry) error { read = append(read, e); return nil })
	if err != nil || !reflect.DeepEqual(read, entries) {
		t.Errorf("entries: %+v, %v\nwant %+v", read, err, entries)
	}
	if _, err := l.Totals(t.Context(), me, day, day.AddDate(1, 0, 0)); err == nil {
		t.Error("a year at once was answered")
	}
	store.Close()
	ran(t, l, next)
	for what, err := range map[string]error{
		"flush":  l.Flush(context.Background()),
		"totals": func() error { _, err := l.Totals(context.Background(), me, day, day); return err }(),
	} {
		if !errors.Is(err, usage.ErrUnavailable) {
			t.Errorf("%s without a store: %v", what, err)
		}
	}
}

// deaf executes what it is asked, and loses every third answer.
type deaf struct{ n atomic.Int64 }

func (d *deaf) DialHook(next redis.DialHook) redis.DialHook { return next }

func (d *deaf) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (d *deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if cmds[0].Name() == "eval" && d.n.Add(1)%3 == 0 {
			err = errors.New("the answer was lost")
			cmds[0].SetErr(err)
		}
		return err
	}
}

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// sum is what the ledger holds: the log and the sums, which must agree.
func sum(t testing.TB, l *usage.Ledger, subject [32]byte) usage.Total {
	t.Helper()
	totals, err := l.Totals(t.Context(), subject, noon, noon)
	if err != nil {
		t.Fatal(err)
	}
	var sums, log usage.Total
	for _, x := range totals {
		sums.Requests += x.Requests
		sums.PromptTokens += x.PromptTokens
		sums.CompletionTokens += x.CompletionTokens
	}
	if err := l.Entries(t.Context(), noon, func(e usage.Entry) error {
		log.Requests++
		log.PromptTokens += int64(e.PromptTokens)
		log.CompletionTokens += int64(e.CompletionTokens)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if sums != log {
		t.Errorf("the sums are %+v, the log holds %+v", sums, log)
	}
	return sums
}

// Answers that get lost write nothing twice, and nothing is left out.
func TestEachRecordIsWrittenOnce(t *testing.T) {
	addr := servertest.Redis(t, "0").Addr
	client := connect(t, addr)
	client.AddHook(&deaf{})
	l := open(t, client)
	defer l.Close()
	const requests = 2000
	var all sync.WaitGroup
	for i := range requests {
		all.Go(func() {
			ran(t, l, usage.Entry{Time: noon, Request: "req_" + strconv.Itoa(i), Model: "m", PromptTokens: i, CompletionTokens: 2, Status: "ok"})
			if i%10 == 0 {
				_ = l.Flush(t.Context()) // some of them fail
			}
		})
	}
	all.Wait()
	for l.Waiting() > 0 {
		_ = l.Flush(t.Context())
	}
	if got, want := sum(t, l, [32]byte{}), (usage.Total{Requests: requests, PromptTokens: requests * (requests - 1) / 2, CompletionTokens: 2 * requests}); got != want {
		t.Errorf("the ledger holds %+v, want %+v", got, want)
	}
}

// dyingGateway runs in a process of its own: it streams a token every 5 ms to four
// clients, and tells what they got.
func dyingGateway(addr string) {
	guarded, err := state.Watch(context.Background(), state.Options{Client: redis.NewClient(&redis.Options{Addr: addr})})
	if err != nil {
		panic(err)
	}
	l := usage.New(guarded, nil)
	var running []*usage.Record
	for i := range 4 {
		r, err := l.Begin(usage.Entry{Time: noon, Request: fmt.Sprint("req_dying", i), Model: "m"})
		if err != nil {
			panic(err)
		}
		running = append(running, r)
	}
	for sent := 1; ; sent++ {
		for _, r := range running {
			r.Progress(10, sent)
		}
		fmt.Println(sent)
		time.Sleep(5 * time.Millisecond)
	}
}

// reported are the tokens that the store knows of, of the request that is known worst; 0
// until there are four.
func reported(t testing.TB, c redis.UniversalClient) int {
	t.Helper()
	names, err := c.Keys(t.Context(), "fealty:1:{usage}:open:*").Result()
	if err != nil || len(names) != 1 {
		return 0
	}
	open, err := c.HGetAll(t.Context(), names[0]).Result()
	if err != nil || len(open) != 4 {
		return 0
	}
	least := math.MaxInt
	for _, text := range open {
		var e usage.Entry
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		least = min(least, e.CompletionTokens)
	}
	return least
}

// What a killed gateway's clients got is in the ledger, up to what was reported last, once,
// however many gateways look.
func TestKilledGateway(t *testing.T) {
	addr := servertest.Redis(t, "0").Addr
	client := connect(t, addr)
	if _, err := state.Init(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childStore+"="+addr)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	sent := make(chan int, 1) // in the end, to each client
	go func() {
		got := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			got, _ = strconv.Atoi(lines.Text())
		}
		sent <- got
	}()
	const late = 500 // tokens: two and a half seconds of them, of which each ends with a report
	eventually(t, "what was sent after the first reports is reported too", func() bool { return reported(t, client) >= late })
	_ = child.Process.Kill()
	got := <-sent
	_ = child.Wait()

	seemsDead(t, client)
	var heirs []*usage.Ledger
	for range 3 {
		heirs = append(heirs, open(t, client))
	}
	eventually(t, "the records of the dead gateway are ended", func() bool {
		return client.SCard(t.Context(), "fealty:1:{usage}:gateways").Val() == 0
	})
	total := sum(t, heirs[0], [32]byte{})
	if total.Requests != 4 || total.PromptTokens != 40 {
		t.Errorf("the ledger holds %+v, want 4 requests of 10 tokens", total)
	}
	if n := total.CompletionTokens; n > int64(4*got) || n < 4*late {
		t.Errorf("the ledger holds %d tokens, %d were sent and %d reported", n, 4*got, 4*late)
	}
	for _, l := range heirs {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// seemsDead is what time does to a gateway that gives no sign of life.
func seemsDead(t testing.TB, c redis.UniversalClient) {
	t.Helper()
	names, err := c.Keys(t.Context(), "fealty:1:{usage}:alive:*").Result()
	if err != nil || len(names) == 0 {
		t.Fatalf("nobody gave a sign of life: %v", err)
	}
	if err := c.Del(t.Context(), names...).Err(); err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, held func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !held(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within a minute: " + what)
		}
	}
}

// A gateway that only seemed dead does not write again what was ended for it.
func TestSeemedDead(t *testing.T) {
	client := connect(t, servertest.Redis(t, "0").Addr)
	l := open(t, client)
	defer l.Close()
	r, err := l.Begin(usage.Entry{Time: noon, Request: "req_long", Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	r.Progress(10, 5)
	var known []string
	eventually(t, "the running request is known", func() bool {
		known = client.Keys(t.Context(), "fealty:1:{usage}:open:*").Val()
		return len(known) == 1
	})
	seemsDead(t, client)
	// A gateway looks for dead ones when it starts. Where that takes seconds the one that is
	// not dead has given another sign of life before.
	eventually(t, "the record is ended", func() bool {
		client.Del(t.Context(), client.Keys(t.Context(), "fealty:1:{usage}:alive:*").Val()...)
		heir := open(t, client)
		t.Cleanup(func() { heir.Close() })
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if client.Exists(t.Context(), known[0]).Val() == 0 {
				return true
			}
		}
		return false
	})
	r.End("ok", 10, 9)
	ran(t, l, usage.Entry{Time: noon, Request: "req_next", Model: "m", PromptTokens: 1, Status: "ok"})
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := sum(t, l, [32]byte{}), (usage.Total{Requests: 2, PromptTokens: 11, CompletionTokens: 5}); got != want {
		t.Errorf("the ledger holds %+v, want %+v", got, want)
	}
}

// While the store is away records wait, so many and no more; then all are written.
func TestRecordsWait(t *testing.T) {
	server := servertest.Redis(t, "0")
	client := connect(t, server.Addr)
	l := open(t, client)
	defer l.Close()
	server.Kill()
	held := 0
	for {
		r, err := l.Begin(usage.Entry{Time: noon, Request: "req_" + strconv.Itoa(held), Model: "m"})
		if err != nil {
			if !errors.Is(err, usage.ErrUnavailable) {
				t.Errorf("got %v, want ErrUnavailable", err)
			}
			break
		}
		r.End("ok", 1, 1)
		if held++; held > 100_000 {
			t.Fatal("records wait without end")
		}
	}
	_, port, _ := strings.Cut(server.Addr, ":")
	servertest.Redis(t, port) // empty: lost, until an operator accepts it
	if err := l.Flush(t.Context()); !errors.Is(err, usage.ErrUnavailable) {
		t.Errorf("written to an emptied store: %v", err)
	}
	if _, err := state.Init(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all records are written", func() bool { _ = l.Flush(t.Context()); return l.Waiting() == 0 })
	if got := sum(t, l, [32]byte{}); got.Requests != int64(held) {
		t.Errorf("the ledger holds %d requests, want %d", got.Requests, held)
	}
}

func BenchmarkRecord(b *testing.B) {
	l := open(b, connect(b, servertest.Redis(b, "0").Addr))
	defer l.Close()
	b.ReportAllocs()
	for b.Loop() {
		ran(b, l, usage.Entry{Time: noon, Request: "req_1", Model: "m", PromptTokens: 1, Status: "ok"})
		if l.Waiting() > 10_000 {
			if err := l.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
