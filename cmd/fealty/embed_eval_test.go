package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	fingerprint "github.com/fealty/fealty/embed"
)

// A recipe goes to the training process by flags, whole.
func TestRecipeArgs(t *testing.T) {
	quiet := fingerprint.QuietRecipe()
	quiet.Seed, quiet.Mix, quiet.Benign, quiet.LearningRate, quiet.Method = 103, 0.3, 0, 1.0/3, "lowrank"
	for _, want := range []fingerprint.Recipe{fingerprint.DefaultRecipe(), quiet} {
		cmd := newEmbedTrain()
		if err := cmd.ParseFlags(recipeArgs(want)); err != nil {
			t.Fatal(err)
		}
		e := embedTrain{profile: "robust"}
		if got, err := e.complete(cmd.Flags()); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
}

func TestEmbedEvalRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown part":     {[]string{"--only", "targets,magic"}, `--only: "magic"`},
		"unknown profile":  {[]string{"--profile", "loud"}, "--profile"},
		"few keys":         {[]string{"--count", "1"}, "--count: 1"},
		"a point too far":  {[]string{"--only", "curve", "--counts", "16,100000"}, "--counts: 100000"},
		"a point twice":    {[]string{"--only", "targets,curve", "--counts", "16,64,16"}, "curve, 16 keys twice"},
		"endless students": {[]string{"--student-minutes", "NaN"}, "--student-minutes: NaN"},
		"negative minutes": {[]string{"--minutes", "-1"}, "--minutes: -1"},
	} {
		if code, _, errs := attempt(t, append([]string{"embed", "eval"}, c.args...)...); code != exitUsage || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d, %q; want %q", name, code, errs, c.want)
		}
	}
}

// TestPeakMemoryIsOnesOwn: what a large process starts does not report the large one's memory.
func TestPeakMemoryIsOnesOwn(t *testing.T) {
	if os.Getenv("FEALTY_TEST_PEAK") != "" {
		fmt.Printf("peak %d\n", peakMemory())
		return
	}
	const size = 1024 // MiB
	large := make([]byte, size<<20)
	for i := 0; i < len(large); i += 4096 {
		large[i] = 1
	}
	child := exec.Command(os.Args[0], "-test.run=^TestPeakMemoryIsOnesOwn$")
	child.Env = append(os.Environ(), "FEALTY_TEST_PEAK=1")
	out, err := child.Output()
	var peak int64
	if _, scanned := fmt.Sscanf(string(out), "peak %d", &peak); err != nil || scanned != nil {
		t.Fatalf("%q, %v", out, err)
	}
	if own := peakMemory(); own < size || peak < 1 || peak > size/2 {
		t.Errorf("this process %d MiB, the child %d", own, peak)
	}
	runtime.KeepAlive(large)
}
