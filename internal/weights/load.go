package weights

import (
	"fmt"
	"io"
	"runtime"
	"sync"
)

// located is where a tensor lies in a file.
type located struct {
	name   string
	shape  []int // row-major
	quant  quant
	offset int64 // from the file's start
	bytes  int64
}

// job is one tensor to load: from where, into what.
type job struct {
	located
	out   *Tensor
	heads int // rows to be put back into half-split order; 0: leave
}

// loadAll dequantises on all processors.
func loadAll(r io.ReaderAt, jobs []job) error {
	next := make(chan job)
	errs := make([]error, runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	for i := range errs {
		workers.Go(func() {
			for job := range next {
				if err := job.load(r); err != nil && errs[i] == nil {
					errs[i] = err
				}
			}
		})
	}
	for _, job := range jobs {
		next <- job
	}
	close(next)
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (j job) load(r io.ReaderAt) error {
	raw := make([]byte, j.bytes)
	if n, err := r.ReadAt(raw, j.offset); n < len(raw) {
		return fmt.Errorf("tensor %s: %w", j.name, err)
	}
	j.out.Data = make([]float32, elements(j.shape))
	j.quant.dequantise(j.out.Data, raw)
	if j.heads > 0 {
		halfSplit(j.out, j.heads)
	}
	return nil
}

// halfSplit undoes the permutation of llama.cpp's converter: GGUF stores the rotary pairs of a head next to each other
// (row 2i+p), Hugging Face in two halves (row p*dim/2+i).
func halfSplit(t *Tensor, heads int) {
	in := t.Shape[1]
	dim := t.Shape[0] / heads
	out := make([]float32, len(t.Data))
	for row := range t.Shape[0] {
		to := halvedRow(row, dim)
		copy(out[to*in:(to+1)*in], t.Data[row*in:(row+1)*in])
	}
	t.Data = out
}

// halvedRow is where Hugging Face keeps what is row in GGUF, for heads of dim rows.
func halvedRow(row, dim int) int {
	head, within := row/dim, row%dim
	return head*dim + within%2*(dim/2) + within/2
}
