package usage_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fealty/fealty/gateway/usage"
	"github.com/fealty/fealty/internal/devnet"
)

func TestLedger(t *testing.T) {
	store, err := devnet.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	client := redis.NewClient(&redis.Options{Addr: store.Addr()})
	defer client.Close()
	l := usage.New(client)

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
		if err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
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
	for what, err := range map[string]error{
		"append": l.Append(context.Background(), next),
		"totals": func() error { _, err := l.Totals(context.Background(), me, day, day); return err }(),
	} {
		if !errors.Is(err, usage.ErrUnavailable) {
			t.Errorf("%s without a store: %v", what, err)
		}
	}
}
