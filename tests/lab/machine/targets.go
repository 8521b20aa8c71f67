package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

// targetsAddress is where Prometheus asks what to scrape. Debian's build of it cannot ask the API server.
const targetsAddress = nodeIP + ":10011"

// target is what Prometheus scrapes (https://prometheus.io/docs/prometheus/latest/http_sd/).
type target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// serveTargets lists the pods that ask to be scraped, by the annotations that Istio's injection sets.
func (c *containers) serveTargets() {
	http.HandleFunc("GET /targets", func(writer http.ResponseWriter, _ *http.Request) {
		writer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(writer).Encode(c.targets())
	})
	fmt.Fprintln(os.Stderr, "targets:", http.ListenAndServe(targetsAddress, nil))
}

func (c *containers) targets() []target {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	targets := []target{}
	for _, pod := range c.sandboxes {
		wishes := pod.config.Annotations
		if pod.stopped || wishes["prometheus.io/scrape"] != "true" {
			continue
		}
		targets = append(targets, target{
			Targets: []string{pod.address + ":" + wishes["prometheus.io/port"]},
			Labels: map[string]string{
				"__metrics_path__": wishes["prometheus.io/path"],
				"namespace":        pod.config.Metadata.Namespace,
				"pod":              pod.config.Metadata.Name,
			},
		})
	}
	return targets
}
