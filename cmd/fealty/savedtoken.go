package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fealty/fealty/internal/atomicfile"
)

// savedToken is what a login leaves for later commands, one file per gateway.
type savedToken struct {
	Gateway     string    `json:"gateway"`
	Address     string    `json:"address"`
	AccessToken string    `json:"access_token"`
	Expires     time.Time `json:"expires"`
}

func tokenPath(gateway string) (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no configuration directory: %w", err)
	}
	name := strings.NewReplacer("://", "_", ":", "_", "[", "", "]", "").Replace(gateway)
	return filepath.Join(dir, "fealty", "tokens", name+".json"), nil
}

// save writes the file whole or not at all, for its owner alone.
func (t savedToken) save() error {
	path, err := tokenPath(t.Gateway)
	if err != nil {
		return err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, 0o600, func(f *os.File) error {
		_, err := f.Write(text)
		return err
	})
}

func (t savedToken) forget() error {
	path, err := tokenPath(t.Gateway)
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// recall takes the token of the last login to this gateway, if it still lasts.
func (a *account) recall(now time.Time) error {
	path, err := tokenPath(a.gateway)
	if err != nil {
		return err
	}
	const remedy = "sign in: fealty login, or name the wallet: --keystore FILE with --passphrase-file FILE, or --key-env NAME"
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("not signed in to %s; %s", a.host(), remedy)
	}
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s can be read by others (mode %v); remove it and %s", path, info.Mode().Perm(), remedy)
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &a.login)
	}
	switch {
	case err != nil:
		return fmt.Errorf("the token of the last login cannot be read (%s); %s", path, remedy)
	case a.login.Gateway != a.gateway || a.login.AccessToken == "":
		return fmt.Errorf("%s is not of %s; %s", path, a.gateway, remedy)
	case !now.Before(a.login.Expires):
		return usagef("the login to %s ended at %s; %s", a.host(), a.login.Expires.Local().Format(time.TimeOnly), remedy)
	}
	a.token = a.login.AccessToken
	return nil
}
