package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// An image is what a container finds beside the host's own /usr: some programs, and which of them is
// started.
type image struct {
	// files by their path in the container.
	files      map[string]string
	entrypoint []string
	// user is who the container runs as where the pod does not say.
	user int64
}

// images by the last part of their repository: there is no registry, so tags mean nothing.
type images map[string]image

// imagesOf lists what the lab can run.
func imagesOf(programs string) images {
	of := func(name string) string { return filepath.Join(programs, name) }
	application := image{
		files:      map[string]string{"/usr/local/bin/application": of("application")},
		entrypoint: []string{"/usr/local/bin/application"},
		user:       65532,
	}
	return images{
		"pilot": {
			files:      map[string]string{"/usr/local/bin/pilot-discovery": of("pilot-discovery")},
			entrypoint: []string{"/usr/local/bin/pilot-discovery"},
			user:       1337,
		},
		"proxyv2": {
			files: map[string]string{
				"/usr/local/bin/pilot-agent":                     of("pilot-agent"),
				"/usr/local/bin/envoy":                           of("envoy"),
				"/var/lib/istio/envoy/envoy_bootstrap_tmpl.json": of("envoy_bootstrap.json"),
			},
			entrypoint: []string{"/usr/local/bin/pilot-agent"},
			user:       1337,
		},
		"application": application,
		// The shop of examples/orders asks for this image; ours answers as it does.
		"whoami":     application,
		"curl":       {entrypoint: []string{"/usr/bin/curl"}, user: 100},
		"prometheus": {entrypoint: []string{"/usr/bin/prometheus"}, user: 65534},
	}
}

// find returns the image of a reference such as docker.io/istio/proxyv2:1.31.0.
func (images images) find(reference string) (image, error) {
	name := reference[strings.LastIndex(reference, "/")+1:]
	name, _, _ = strings.Cut(name, "@")
	name, _, _ = strings.Cut(name, ":")
	found, ok := images[name]
	if !ok {
		return image{}, fmt.Errorf("the lab has no image %q; it has %s", name,
			strings.Join(slices.Sorted(maps.Keys(images)), ", "))
	}
	return found, nil
}
