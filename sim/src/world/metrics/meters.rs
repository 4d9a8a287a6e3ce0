//! Counters and histograms under the names and labels that applications and data planes really export.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::chance::float;
use super::super::latency::Latencies;
use super::super::routing::{Pod, SeenAs};
use super::super::series::{Labels, NAME, Point, Store};

/// All that is exported, as it stands now.
#[derive(Debug, Default)]
pub(in super::super) struct Meters {
    histograms: BTreeMap<Source, Histogram>,
    counters: BTreeMap<(Container, Arc<str>), Counter>,
    up: BTreeMap<Container, usize>,
    /// The series of the last scrape, in order.
    live: Vec<usize>,
}

/// A container from its start to its end: uid of the pod, and its restarts.
type Container = (Arc<str>, u64);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Application(Container, u16),
    DataPlane(SeenAs, u16),
}

#[derive(Debug, Default)]
struct Histogram {
    latencies: Latencies,
    labels: BTreeMap<String, String>,
    /// Numbers in the store, from the first scrape on.
    series: Vec<usize>,
}

#[derive(Debug, Default)]
struct Counter {
    value: u64,
    labels: BTreeMap<String, String>,
    series: Option<usize>,
}

/// Which buckets a histogram has, and which counter goes with it.
struct Layout {
    histogram: &'static str,
    bounds: &'static [f64],
    total: &'static str,
}

/// The buckets that client libraries have by default.
const DEFAULT_BOUNDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];

const APPLICATION: Layout =
    Layout { histogram: "http_request_duration_seconds", bounds: DEFAULT_BOUNDS, total: "http_requests_total" };
const TRAEFIK: Layout = Layout {
    histogram: "traefik_service_request_duration_seconds",
    bounds: &[0.1, 0.3, 1.2, 5.0, f64::INFINITY],
    total: "traefik_service_requests_total",
};
const NGINX: Layout = Layout {
    histogram: "nginx_ingress_controller_response_duration_seconds",
    bounds: DEFAULT_BOUNDS,
    total: "nginx_ingress_controller_requests",
};

impl Meters {
    /// Requests that a pod answered.
    pub(in super::super) fn answered(&mut self, pod: &Pod, status: u16, latencies: &Latencies) {
        let histogram = self.histograms.entry(Source::Application(container(pod), status)).or_insert_with(|| {
            let mut labels = of_pod(pod);
            labels.extend([("status", status.to_string()), ("method", "GET".into()), ("path", "root".into())].map(own));
            Histogram { labels, ..Histogram::default() }
        });
        histogram.latencies.merge(latencies);
    }

    /// A counter of the application's own.
    pub(in super::super) fn counted(&mut self, pod: &Pod, name: &str, more: u64) {
        let counter = self.counters.entry((container(pod), name.into()));
        counter.or_insert_with(|| Counter { labels: of_pod(pod), ..Counter::default() }).value += more;
    }

    /// Requests that a data plane saw answered.
    pub(in super::super) fn seen(&mut self, seen_as: &SeenAs, status: u16, latencies: &Latencies) {
        if *seen_as == SeenAs::Uncounted {
            return;
        }
        let code = status.to_string();
        let labels = || match seen_as {
            SeenAs::Uncounted => BTreeMap::new(),
            SeenAs::Traefik(service) => BTreeMap::from(
                [
                    ("service", service.to_string()),
                    ("code", code),
                    ("method", "GET".into()),
                    ("protocol", "http".into()),
                ]
                .map(own),
            ),
            SeenAs::Nginx { namespace, ingress, service, canary } => BTreeMap::from(
                [
                    ("namespace", namespace.to_string()),
                    ("ingress", ingress.to_string()),
                    ("service", service.to_string()),
                    ("canary", canary.to_string()),
                    ("status", code),
                    ("method", "GET".into()),
                    ("path", "/".into()),
                ]
                .map(own),
            ),
        };
        let histogram = self.histograms.entry(Source::DataPlane(seen_as.clone(), status));
        let histogram = histogram.or_insert_with(|| Histogram { labels: labels(), ..Histogram::default() });
        histogram.latencies.merge(latencies);
    }

    /// Reads everything into the store, and ends the series of what is not there any more.
    pub(in super::super) fn scrape(&mut self, at: i64, pods: &[Pod], store: &mut Store) {
        let there: BTreeMap<Container, &Pod> = pods.iter().map(|pod| (container(pod), pod)).collect();
        self.histograms.retain(|source, _| match source {
            Source::Application(container, _) => there.contains_key(container),
            Source::DataPlane(..) => true,
        });
        self.counters.retain(|(container, _), _| there.contains_key(container));
        self.up.retain(|container, _| there.contains_key(container));

        let mut live = Vec::with_capacity(self.live.len());
        let mut put = |store: &mut Store, series: usize, value: f64| {
            store.append(series, Point { at, value });
            live.push(series);
        };
        for (source, histogram) in &mut self.histograms {
            let layout = source.layout();
            if histogram.series.is_empty() {
                histogram.series = layout.series(&histogram.labels, store);
            }
            let (count, sum) = (float(histogram.latencies.count()), histogram.latencies.sum());
            let exported = |bound: f64| layout.bounds.contains(&bound);
            let buckets = histogram.latencies.cumulative().filter(|(bound, _)| exported(*bound));
            let values = [count, sum, count].into_iter().chain(buckets.map(|(_, below)| float(below)));
            for (series, value) in histogram.series.iter().zip(values) {
                put(store, *series, value);
            }
        }
        for ((_, name), counter) in &mut self.counters {
            let series = *counter.series.get_or_insert_with(|| store.series(&labels(name, &counter.labels, None)));
            put(store, series, float(counter.value));
        }
        for (container, pod) in there.iter().filter(|(_, pod)| pod.started.is_some()) {
            let series = self.up.entry(container.clone());
            let series = series.or_insert_with(|| store.series(&labels("up", &of_pod(pod), None)));
            put(store, *series, 1.0);
        }
        live.sort_unstable();
        for gone in self.live.iter().filter(|series| live.binary_search(series).is_err()) {
            store.end(*gone, at);
        }
        self.live = live;
    }
}

impl Source {
    fn layout(&self) -> &'static Layout {
        match self {
            Source::Application(..) => &APPLICATION,
            Source::DataPlane(SeenAs::Nginx { .. }, _) => &NGINX,
            // What is not counted is not kept.
            Source::DataPlane(SeenAs::Traefik(_) | SeenAs::Uncounted, _) => &TRAEFIK,
        }
    }
}

impl Layout {
    /// Counter, sum, count, and the buckets in order.
    fn series(&self, of: &BTreeMap<String, String>, store: &mut Store) -> Vec<usize> {
        let base = self.histogram;
        let mut all: Vec<Labels> = vec![labels(self.total, of, None)];
        all.extend(["sum", "count"].map(|part| labels(&format!("{base}_{part}"), of, None)));
        all.extend(self.bounds.iter().map(|bound| labels(&format!("{base}_bucket"), of, Some(*bound))));
        all.iter().map(|labels| store.series(labels)).collect()
    }
}

fn labels(name: &str, of: &BTreeMap<String, String>, bound: Option<f64>) -> Labels {
    // As Prometheus 3 keeps it: 1.0 and not 1.
    let le = bound.map(|bound| if bound.is_finite() { format!("{bound:?}") } else { "+Inf".into() });
    let own = of.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Labels::new(own.chain([(NAME, name)]).chain(le.as_deref().map(|le| ("le", le))))
}

fn container(pod: &Pod) -> Container {
    (Arc::clone(&pod.uid), pod.restarts)
}

/// The pod's own labels, and its place both as Flagger's Prometheus and as the operator's writes it.
fn of_pod(pod: &Pod) -> BTreeMap<String, String> {
    let word = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let mut labels: BTreeMap<String, String> =
        pod.labels.iter().map(|(name, value)| (word(name), value.clone())).collect();
    for (name, value) in [
        ("kubernetes_namespace", &pod.namespace),
        ("kubernetes_pod_name", &pod.name),
        ("namespace", &pod.namespace),
        ("pod", &pod.name),
    ] {
        labels.insert(name.into(), value.to_string());
    }
    labels.insert("job".into(), "kubernetes-pods".into());
    labels
}

fn own((name, value): (&str, String)) -> (String, String) {
    (name.to_owned(), value)
}
