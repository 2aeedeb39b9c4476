package module

import (
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/grafana/sobek"

	"go.k6.io/k6/js/common"
)

// files are the tables that records went to, by path. They stay open until k6 ends;
// each row is written at once, so that a run that is stopped leaves what it had.
type files map[string]*table

var opening sync.Mutex

type table struct {
	mu      sync.Mutex
	columns []string
	file    *os.File
}

// record appends one row to a CSV file (RFC 4180). The first record of a run makes
// the file, which must not exist, and its keys are the columns.
func (i *instance) record(path string, row *sobek.Object) {
	t, err := i.files.open(path, row.Keys())
	if err == nil {
		err = t.append(row)
	}
	if err != nil {
		common.Throw(i.vu.Runtime(), fmt.Errorf("record: %w", err))
	}
}

func (f files) open(path string, columns []string) (*table, error) {
	opening.Lock()
	defer opening.Unlock()
	if t := f[path]; t != nil {
		return t, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w; name a file that does not exist yet", err)
	}
	f[path] = &table{columns: columns, file: file}
	return f[path], f[path].write(columns)
}

func (t *table) append(row *sobek.Object) error {
	if keys := row.Keys(); !slices.Equal(keys, t.columns) {
		return fmt.Errorf("a row with the columns %q in a table with %q", keys, t.columns)
	}
	fields := make([]string, len(t.columns))
	for i, name := range t.columns {
		fields[i] = row.Get(name).String()
	}
	return t.write(fields)
}

func (t *table) write(fields []string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := csv.NewWriter(t.file)
	if err := w.Write(fields); err != nil {
		return err
	}
	w.Flush()
	return w.Error()
}
