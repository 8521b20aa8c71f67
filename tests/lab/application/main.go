// Command application is what runs in the lab's pods. It serves, and it calls.
//
//	application                  serves (serve.go); the ports come from HTTP_PORTS and TCP_PORTS
//	application call           sends the requests of standard input, one JSON object a line, side by
//	                             side, and writes one answer a line, in the same order (call.go)
package main

import (
	"fmt"
	"os"
)

func main() {
	var err error
	switch arguments := os.Args[1:]; {
	case len(arguments) == 0:
		err = serve()
	case len(arguments) == 1 && arguments[0] == "call":
		err = call(os.Stdin, os.Stdout)
	default:
		err = fmt.Errorf("usage: application [call]")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "application:", err)
		os.Exit(1)
	}
}
