// Command check runs the plugin over recorded Worlds and compares its verdicts,
// and its rule where Envoy named one, with Envoy's.
//
//	check PLUGIN DIR
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"

	"sigs.k8s.io/yaml"
)

type cases struct {
	Cases []struct {
		Name   string `json:"name"`
		Expect string `json:"expect"`
		Rule   string `json:"rule"`
	} `json:"cases"`
}

type results struct {
	Results []struct {
		Name    string  `json:"name"`
		Verdict string  `json:"verdict"`
		Rule    *string `json:"rule"`
		Passed  bool    `json:"passed"`
	} `json:"results"`
}

func main() {
	limit := flag.Int("show", 50, "how many mismatches to print")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: check [-show N] PLUGIN DIR")
		os.Exit(2)
	}
	worlds, err := filepath.Glob(filepath.Join(flag.Arg(1), "w*", "cases.yaml"))
	if err != nil || len(worlds) == 0 {
		fmt.Fprintln(os.Stderr, "check: no Worlds in", flag.Arg(1), err)
		os.Exit(2)
	}
	sort.Strings(worlds)
	passed, failed := 0, 0
	complain := func(format string, args ...any) {
		failed++
		if failed <= *limit {
			fmt.Printf(format+"\n", args...)
		}
	}
	for _, file := range worlds {
		world := filepath.Dir(file)
		wanted, got, err := run(flag.Arg(0), world)
		if err != nil {
			for range wanted.Cases {
				failed++
			}
			complain("%s: %v", world, err)
			continue
		}
		byName := map[string]int{}
		for i, r := range got.Results {
			byName[r.Name] = i
		}
		for _, c := range wanted.Cases {
			i, ok := byName[c.Name]
			if !ok {
				complain("%s: %s: no result", world, c.Name)
				continue
			}
			r := got.Results[i]
			rule := ""
			if r.Rule != nil {
				rule = *r.Rule
			}
			switch {
			case r.Verdict != c.Expect:
				complain("%s: %s: Envoy says %s (rule %q), the plugin %s (rule %q)", world, c.Name, c.Expect, c.Rule, r.Verdict, rule)
			case c.Rule != "" && rule != c.Rule:
				complain("%s: %s: both say %s, Envoy by rule %q, the plugin by %q", world, c.Name, c.Expect, c.Rule, rule)
			case !r.Passed:
				complain("%s: %s: agrees, but is not reported as passed", world, c.Name)
			default:
				passed++
			}
		}
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func run(plugin, world string) (wanted cases, got results, err error) {
	text, err := os.ReadFile(filepath.Join(world, "cases.yaml"))
	if err != nil {
		return wanted, got, err
	}
	if err := yaml.Unmarshal(text, &wanted); err != nil {
		return wanted, got, err
	}
	cmd := exec.Command(plugin, "test", filepath.Join(world, "cases.yaml"), "-f", filepath.Join(world, "manifests.yaml"), "-o", "json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	// A failed case makes the plugin fail; its report says more.
	out, runErr := cmd.Output()
	if err := json.Unmarshal(out, &got); err != nil {
		return wanted, got, fmt.Errorf("%v: %s", runErr, bytes.TrimSpace(stderr.Bytes()))
	}
	return wanted, got, nil
}
