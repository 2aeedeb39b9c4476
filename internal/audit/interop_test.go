//go:build interop

package audit

import (
	"bytes"
	"image"
	_ "image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fealty/fealty/internal/servertest"
)

// TestInteropReport opens a report in Chromium: it shows its verdict and its plots, and
// asks nobody for anything, whatever a host has put into its answers.
func TestInteropReport(t *testing.T) {
	servertest.Need(t, "chromium", "install it (Debian: apt-get install chromium; 'make interop' does)")
	r := newRig(t)
	p := host(t, func(n int, q string, w http.ResponseWriter) string {
		return r.word(q) + ` <img src="http://evil.example/x.png"><script src="http://evil.example/x.js"></script>`
	})
	bundle := r.bundle(t, p)
	var page bytes.Buffer
	if err := Report(&page, bundle, Check(bundle, Trust{})); err != nil {
		t.Fatal(err)
	}
	origin, asked := watched(t, page.Bytes())
	shot := filepath.Join(t.TempDir(), "report.png")
	if to := os.Getenv("FEALTY_SCREENSHOT"); to != "" {
		shot = to
	}
	dom := browse(t, origin, "--dump-dom")
	browse(t, origin, "--window-size=900,2600", "--hide-scrollbars", "--screenshot="+shot)
	for _, want := range []string{"The endpoint answers as the model.", "no host grant for these names", `class="curve"`, "&lt;img", "A reseller"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page in the browser lacks %q", want)
		}
	}
	for _, request := range asked() {
		if strings.Contains(request, "evil") {
			t.Errorf("the page loads %s", request)
		}
	}
	colours(t, shot)
	origin, asked = watched(t, []byte(`<img src="http://evil.example/x.png">`)) // such a page would be noticed
	browse(t, origin, "--dump-dom")
	if !strings.Contains(strings.Join(asked(), " "), "evil.example/x.png") {
		t.Errorf("a page that loads something is not noticed: %v", asked())
	}
}

// watched serves a page and is the browser's proxy for everything else.
func watched(t *testing.T, page []byte) (origin string, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var all []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, r.Method+" "+r.Host+r.URL.Path)
		if r.URL.Path != "/report.html" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page) // the browser's loss
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), all...)
	}
}

func browse(t *testing.T, origin string, args ...string) string {
	t.Helper()
	args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--user-data-dir=" + t.TempDir(),
		"--proxy-server=" + strings.TrimPrefix(origin, "http://"), "--proxy-bypass-list=<-loopback>"}, append(args, origin+"/report.html")...)
	cmd := exec.CommandContext(t.Context(), "chromium", args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v: %s", err, errs.String())
	}
	return out.String()
}

// colours wants a picture that shows something: paper, ink, the verdict's box and the
// marks of the plot.
func colours(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	shot, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[[3]uint32]int{}
	for y := range shot.Bounds().Dy() {
		for x := range shot.Bounds().Dx() {
			r, g, b, _ := shot.At(x, y).RGBA()
			seen[[3]uint32{r >> 8, g >> 8, b >> 8}]++
		}
	}
	for name, colour := range map[string][3]uint32{"paper": {255, 255, 255}, "the verdict's box": {0xfb, 0xf8, 0xee}, "a match": {0x1b, 0x6c, 0xa8}, "what chance gives": {0xbb, 0xbb, 0xbb}} {
		if seen[colour] < 50 {
			t.Errorf("the screenshot shows %d pixels of %s", seen[colour], name)
		}
	}
}
