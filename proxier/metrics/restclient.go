package metrics

import (
	"context"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientmetrics "k8s.io/client-go/tools/metrics"
)

// ObserveRESTClients counts the requests of client-go's clients, under the names
// that all components of Kubernetes use. client-go takes only the first who
// calls this in a process; call it before the first request.
func (m *Metrics) ObserveRESTClients() {
	const p = "rest_client_"
	latencies := []float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60}
	sizes := prometheus.ExponentialBuckets(64, 4, 10) // 64 bytes to 16 MiB
	duration := histogram(p+"request_duration_seconds", "Duration of requests to the API server.", latencies, "verb", "host")
	limiter := histogram(p+"rate_limiter_duration_seconds", "Time that requests waited for the client's own rate limit.", latencies, "verb", "host")
	dns := histogram(p+"dns_resolution_duration_seconds", "Duration of looking up the API server's name.", latencies, "host")
	request := histogram(p+"request_size_bytes", "Size of requests to the API server.", sizes, "verb", "host")
	response := histogram(p+"response_size_bytes", "Size of the API server's answers.", sizes, "verb", "host")
	results := counter(p+"requests_total", "Requests to the API server, by the code of the answer.", "code", "method", "host")
	retries := counter(p+"request_retries_total", "Requests to the API server that were sent again.", "code", "verb", "host")
	m.registry.MustRegister(duration, limiter, dns, request, response, results, retries)
	clientmetrics.Register(clientmetrics.RegisterOpts{
		RequestLatency: latency{duration}, RateLimiterLatency: latency{limiter}, ResolverLatency: resolver{dns},
		RequestSize: size{request}, ResponseSize: size{response}, RequestResult: result{results}, RequestRetry: result{retries},
	})
}

// latency implements client-go's LatencyMetric.
type latency struct{ *prometheus.HistogramVec }

func (l latency) Observe(_ context.Context, verb string, u url.URL, took time.Duration) {
	l.WithLabelValues(verb, u.Host).Observe(took.Seconds())
}

// resolver implements client-go's ResolverLatencyMetric.
type resolver struct{ *prometheus.HistogramVec }

func (r resolver) Observe(_ context.Context, host string, took time.Duration) {
	r.WithLabelValues(host).Observe(took.Seconds())
}

// size implements client-go's SizeMetric.
type size struct{ *prometheus.HistogramVec }

func (s size) Observe(_ context.Context, verb, host string, bytes float64) {
	s.WithLabelValues(verb, host).Observe(bytes)
}

// result implements client-go's ResultMetric and RetryMetric.
type result struct{ *prometheus.CounterVec }

func (r result) Increment(_ context.Context, code, method, host string) {
	r.WithLabelValues(code, method, host).Inc()
}

func (r result) IncrementRetry(_ context.Context, code, method, host string) {
	r.WithLabelValues(code, method, host).Inc()
}

// ObserveAPI measures for how long the API server has not answered; lost is since
// when, zero while it does.
func (m *Metrics) ObserveAPI(lost func() (since time.Time, why string)) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kubeproxier_api_unanswered_seconds",
		Help: "Time since which requests to the API server have failed, of at least one kind of object, else 0.",
	}, func() float64 {
		since, _ := lost()
		if since.IsZero() {
			return 0
		}
		return time.Since(since).Seconds()
	}))
}
