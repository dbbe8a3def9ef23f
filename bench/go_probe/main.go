// probe: the Go side of the HTTP benchmark.
//
//	probe serve                              answers 200 with a small body; prints its port
//	probe saturate URL CONCURRENCY PROBES    as fast as it can
//	probe pace     URL RATE PROBES           RATE a second
//
// A probe is made as kubelet makes one: a client and a transport of its own, no keep-alive, a linger
// of 1 s, at most 10 KiB of body. Paced probes are made as kubelet paces them: by workers, each with
// its own timer. The process prints its own CPU seconds (user and system), warm-up left out, as JSON.
package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	bodyLimit = 10 * 1024
	warmUp    = 300 // probes
	perWorker = 10  // paced probes a second
)

func main() {
	switch os.Args[1] {
	case "serve":
		serve()
	case "saturate":
		run(os.Args[2], number(os.Args[3]), 0, number(os.Args[4]))
	case "pace":
		run(os.Args[2], 0, number(os.Args[3]), number(os.Args[4]))
	}
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "healthy\n")
	})
	panic(http.Serve(listener, handler))
}

func run(url string, concurrency, rate, probes int) {
	var failed atomic.Int64
	saturate(url, 8, warmUp, &failed)
	start := time.Now()
	before := cpu()
	if rate > 0 {
		pace(url, rate, probes, &failed)
	} else {
		saturate(url, concurrency, probes, &failed)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"cpu": cpu() - before, "wall": time.Since(start).Seconds(),
		"probes": probes, "failed": failed.Load(),
	})
}

func saturate(url string, concurrency, probes int, failed *atomic.Int64) {
	var group sync.WaitGroup
	var next atomic.Int64
	for range concurrency {
		group.Add(1)
		go func() {
			defer group.Done()
			for next.Add(1) <= int64(probes) {
				count(probe(url), failed)
			}
		}()
	}
	group.Wait()
}

func pace(url string, rate, probes int, failed *atomic.Int64) {
	var group sync.WaitGroup
	start := time.Now()
	workers := rate / perWorker
	for worker := range workers {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := worker; i < probes; i += workers {
				time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(rate))))
				count(probe(url), failed)
			}
		}()
	}
	group.Wait()
}

// As k8s.io/kubernetes/pkg/probe/http: a new transport for every probe, TLS unverified, no proxy, no
// keep-alive, no compression, a dialer that lingers 1 s, redirects not followed.
func probe(url string) bool {
	dialer := &net.Dialer{Control: func(_, _ string, conn syscall.RawConn) error {
		return conn.Control(func(fd uintptr) {
			syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1, Linger: 1})
		})
	}}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
		Proxy: nil, DisableCompression: true, DialContext: dialer.DialContext,
	}
	client := &http.Client{
		Timeout: 10 * time.Second, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return false
	}
	request.Header.Set("User-Agent", "kube-probe/1.33")
	request.Header.Set("Accept", "*/*")
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, err = io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	return err == nil && response.StatusCode >= 200 && response.StatusCode < 400
}

func count(passed bool, failed *atomic.Int64) {
	if !passed {
		failed.Add(1)
	}
}

func cpu() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return value
}
