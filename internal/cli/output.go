package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// checkOutput prepares the file that a flag names before the work that fills
// it: its suffix is one of suffixes, and its folder is made. "" means no file.
func checkOutput(flag, file string, suffixes ...string) error {
	if file == "" {
		return nil
	}
	if ext := filepath.Ext(file); !slices.Contains(suffixes, ext) {
		return usagef("%s: %q must end in %s", flag, file, strings.Join(suffixes, " or "))
	}
	return prepareOutput(flag, file)
}

// prepareOutput refuses a folder where a file is to be written, and makes the
// file's own.
func prepareOutput(flag, file string) error {
	if st, err := os.Stat(file); err == nil && st.IsDir() {
		return usagef("%s: %s is a folder", flag, file)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	return nil
}

// refuseExisting reports a file that is there, unless force replaces it.
func refuseExisting(flag, file string, force bool) error {
	if force {
		return nil
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return usagef("%s: %s already exists: --force replaces it", flag, file)
	}
	return nil
}
