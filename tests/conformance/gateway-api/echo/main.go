// Stands in for Istio's echo application, whose image the mesh tests of Gateway API name: as `client URL [--method=M] [-H name:value]`
// it asks once and prints what came, otherwise it listens on each --port=N and says what it was asked. Only what those tests read
// (conformance/utils/echo of sigs.k8s.io/gateway-api) is printed. Standard library alone.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	var err error
	if filepath.Base(os.Args[0]) == "client" {
		err = ask(os.Args[1:])
	} else {
		err = serve(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask(arguments []string) error {
	url, method, headers := "", "GET", http.Header{}
	for index := 0; index < len(arguments); index++ {
		argument := arguments[index]
		if value, ok := strings.CutPrefix(argument, "--method="); ok {
			method = value
		} else if argument == "-H" && index+1 < len(arguments) {
			index++
			name, value, _ := strings.Cut(arguments[index], ":")
			headers.Add(name, value)
		} else {
			url = argument
		}
	}
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		return err
	}
	if host := headers.Get("Host"); host != "" {
		request.Host = host
	}
	request.Header = headers
	client := http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	fmt.Printf("[0] Url=%s\n[0] StatusCode=%d\n", url, response.StatusCode)
	for name, values := range response.Header {
		fmt.Printf("[0] ResponseHeader=%s:%s\n", name, strings.Join(values, ","))
	}
	for _, line := range strings.Split(strings.TrimRight(string(body), "\n"), "\n") {
		fmt.Printf("[0 body] %s\n", line)
	}
	return nil
}

func serve(arguments []string) error {
	failed := make(chan error)
	if len(arguments) == 0 {
		arguments = []string{"--port=8080"}
	}
	for _, argument := range arguments {
		if port, ok := strings.CutPrefix(argument, "--port="); ok && port != "8443" {
			go func() { failed <- http.ListenAndServe(":"+port, describe(port)) }()
		}
	}
	return <-failed
}

func describe(port string) http.HandlerFunc {
	hostname, _ := os.Hostname()
	return func(response http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(response, "ServicePort=%s\nHost=%s\nMethod=%s\nProto=%s\nURL=%s\nHostname=%s\n",
			port, request.Host, request.Method, request.Proto, request.URL.RequestURI(), hostname)
		for name, values := range request.Header {
			fmt.Fprintf(response, "RequestHeader=%s:%s\n", name, strings.Join(values, ","))
		}
	}
}
