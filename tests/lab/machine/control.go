package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

// control lets the owner of the lab break it, over HTTP on a socket:
//
//	POST /stop/PART     kills a part: kube-controller-manager, kubelet, ...
//	POST /start/PART    starts it again
//	POST /cut/NUMBER    breaks the connection of the request to the API server that is NUMBER from now;
//	                    with ?served, after the API server has done what it asks
//	GET  /requests      the requests to the API server since this was last asked
func (c *cluster) control(socket string, calls *recorder) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	answer := func(act func(string) error) http.HandlerFunc {
		return func(writer http.ResponseWriter, request *http.Request) {
			if err := act(request.PathValue("part")); err != nil {
				http.Error(writer, err.Error(), http.StatusConflict)
			}
		}
	}
	routes := http.NewServeMux()
	routes.Handle("POST /stop/{part}", answer(c.stopPart))
	routes.Handle("POST /start/{part}", answer(c.startPart))
	routes.HandleFunc("POST /cut/{number}", calls.cutNext)
	routes.HandleFunc("GET /requests", calls.list)
	go func() { fmt.Fprintln(os.Stderr, "control:", http.Serve(listener, routes)) }()
	return nil
}
