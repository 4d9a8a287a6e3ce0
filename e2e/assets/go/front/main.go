// Runs podinfo as its child and stands before its HTTP port: every answer names the release that gave it, and a release
// built to be bad gives a share of its answers as errors, counted by podinfo's own metrics.
//
// FRONT_RELEASE   what the answer's header x-release says
// FRONT_ERRORS    of 100 requests, how many podinfo is made to answer with HTTP 500
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const inner = "19898"

func main() {
	port, args := "9898", []string{"--port=" + inner}
	for _, arg := range os.Args[1:] {
		if value, found := strings.CutPrefix(arg, "--port="); found {
			port = value
		} else {
			args = append(args, arg)
		}
	}

	podinfo := exec.Command("/podinfo.bin", args...)
	podinfo.Stdout, podinfo.Stderr = os.Stdout, os.Stderr
	if err := podinfo.Start(); err != nil {
		log.Fatalf("starting podinfo: %v", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		// podinfo turns unready, serves for three more seconds and ends; this program serves as long as it does.
		for sig := range signals {
			podinfo.Process.Signal(sig)
		}
	}()
	go func() { log.Fatalf("serving on port %s: %v", port, http.ListenAndServe(":"+port, front())) }()
	if err := podinfo.Wait(); err != nil {
		log.Fatalf("podinfo ended: %v", err)
	}
}

func front() http.Handler {
	release := os.Getenv("FRONT_RELEASE")
	errors, _ := strconv.ParseInt(os.Getenv("FRONT_ERRORS"), 10, 64)
	var requests atomic.Int64
	target := &url.URL{Scheme: "http", Host: "127.0.0.1:" + inner}
	return &httputil.ReverseProxy{
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			// 37 is coprime to 100, so the errors are spread evenly over every hundred requests.
			if errors > 0 && r.In.URL.Path == "/" && requests.Add(1)*37%100 < errors {
				r.Out.URL.Path = "/status/500"
			}
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("x-release", release)
			return nil
		},
	}
}
