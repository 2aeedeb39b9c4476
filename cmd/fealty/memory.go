package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

// peakMemory of this process, in MiB.
func peakMemory() int64 {
	if kib, ok := highWater(); ok {
		return kib >> 10
	}
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return usage.Maxrss >> 20 // bytes there
	}
	return usage.Maxrss >> 10 // KiB
}

// highWater is Linux's peak of this program's memory. What getrusage says there includes
// the parent's, from which a process is forked.
func highWater() (kib int64, ok bool) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if n, _ := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kib); n == 1 {
			return kib, true
		}
	}
	return 0, false
}
