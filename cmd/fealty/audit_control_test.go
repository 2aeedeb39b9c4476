package main

import (
	"io"
	"net"
	"testing"
	"time"
)

// A relay that is switched off is as good as a dead server: what runs ends, what
// comes is ended. Switched on again it passes as before.
func TestRelay(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	r, err := startRelay(t.Context(), echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	echoes := func(c net.Conn) bool {
		if _, err := c.Write([]byte("ping")); err != nil {
			return false
		}
		answer := make([]byte, 4)
		_, err := io.ReadFull(c, answer)
		return err == nil && string(answer) == "ping"
	}
	before := dial()
	if !echoes(before) {
		t.Fatal("a relay that is on passes nothing")
	}
	r.set(false)
	if echoes(before) || echoes(dial()) {
		t.Error("a relay that is off still passes")
	}
	r.set(true)
	if !echoes(dial()) {
		t.Error("a relay that is on again passes nothing")
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", r.address); err == nil && c.LocalAddr().String() != r.address { // it may meet itself
		c.Close()
		t.Error("a closed relay still listens")
	}
}
