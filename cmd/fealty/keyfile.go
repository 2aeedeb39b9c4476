package main

import (
	"fmt"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	fingerprint "github.com/fealty/fealty/embed"
)

// keyFileFlags say where a fingerprint key file is and what opens it.
type keyFileFlags struct{ path, passphrase, flag string }

func (f *keyFileFlags) add(cmd *cobra.Command) { f.addAs(cmd, "passphrase-file") }

// addAs is for commands whose wallet has a passphrase file too.
func (f *keyFileFlags) addAs(cmd *cobra.Command, flag string) {
	f.flag = "--" + flag
	cmd.Flags().StringVar(&f.path, "keys", "", "the encrypted key file")
	cmd.Flags().StringVar(&f.passphrase, flag, "", "file with the key file's passphrase")
}

func (f *keyFileFlags) check() error {
	if f.path == "" || f.passphrase == "" {
		return usagef("name the key file: --keys FILE with %s FILE", f.flag)
	}
	return nil
}

func (f *keyFileFlags) secret() (string, error) {
	if err := f.check(); err != nil {
		return "", err
	}
	text, err := os.ReadFile(f.passphrase)
	if err != nil {
		return "", fmt.Errorf("%s: %w", f.flag, err)
	}
	passphrase := strings.TrimRight(string(text), "\r\n")
	if passphrase == "" {
		return "", fmt.Errorf("%s: %s is empty; put a passphrase into it", f.flag, f.passphrase)
	}
	return passphrase, nil
}

func (f *keyFileFlags) load() (*fingerprint.Set, error) {
	passphrase, err := f.secret()
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.flag, err)
	}
	return fingerprint.LoadSet(f.path, id)
}

func (f *keyFileFlags) save(s *fingerprint.Set) error {
	passphrase, err := f.secret()
	if err != nil {
		return err
	}
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return fmt.Errorf("%s: %w", f.flag, err)
	}
	return fingerprint.SaveSet(f.path, s, to)
}

// burn notes in the key file that others have seen these keys.
func (f *keyFileFlags) burn(s *fingerprint.Set, keys []int) error {
	s.Burn(keys...)
	if err := f.save(s); err != nil {
		return fmt.Errorf("%d keys were shown to others, which could not be noted in the key file: %w", len(keys), err)
	}
	return nil
}
