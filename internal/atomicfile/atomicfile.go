// Package atomicfile replaces a file so that no reader and no crash of this process
// sees half of it. Start with [Write].
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Write lets write fill a new file beside path, which then takes its place. On any
// error path stays as it was, and nothing is left beside it. What has to survive a
// power cut calls Sync in write.
func Write(path string, mode fs.FileMode, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-") // mode 0600 until it is whole
	if err != nil {
		return err
	}
	err = write(f)
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
