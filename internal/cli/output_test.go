package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOutputsAreCheckedBeforeWork(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a", "b", "page.html")
	if err := checkOutput("--output", file, ".html"); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Dir(file)); err != nil || !st.IsDir() {
		t.Errorf("the folder is not made: %v", err)
	}
	for name, want := range map[string]string{
		filepath.Join(dir, "page.txt"): "must end in .html or .svg",
		dir + "/x.html":                "",
		"":                             "",
	} {
		err := checkOutput("--output", name, ".html", ".svg")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	folder := filepath.Join(dir, "folder.pcap")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := prepareOutput("--output", folder); err == nil || !strings.Contains(err.Error(), folder+" is a folder") {
		t.Errorf("a folder in the place of a file: %v", err)
	}
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := refuseExisting("--output", file, false); err == nil {
		t.Error("a file is replaced without --force")
	}
	if err := refuseExisting("--output", file, true); err != nil {
		t.Error(err)
	}
}
