//! What Prometheus is told: Flagger's series under Flagger's names, and a few of Serin's own.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use crds::Phase;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All series. Cheap to clone; all clones are the same series.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

/// Whether a rollout was analysed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnalysisStatus {
    /// It was analysed.
    Completed,
    /// `skipAnalysis` was set, or someone promoted by hand.
    Skipped,
}

/// How a pass over a Canary ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PassOutcome {
    /// Well.
    Ok,
    /// With an error; it will be repeated.
    Error,
    /// With a panic; it will be repeated.
    Panic,
}

type FloatGauge = Gauge<f64, AtomicU64>;

struct Inner {
    registry: Registry,
    canaries: Family<NamespaceLabels, Gauge>,
    status: Family<CanaryLabels, Gauge>,
    weight: Family<WeightLabels, Gauge>,
    analysis: Family<AnalysisLabels, FloatGauge>,
    duration: Family<CanaryLabels, Histogram, DefaultBuckets>,
    successes: Family<RolloutLabels, Counter>,
    failures: Family<RolloutLabels, Counter>,
    queue_depth: Gauge,
    passes_running: Gauge,
    passes: Family<OutcomeLabels, Counter>,
    watch_restarts: Family<KindLabels, Counter>,
    api_writes: Family<WriteLabels, Counter>,
    events_dropped: Counter,
    /// Label sets to delete when a target goes.
    known: Mutex<HashMap<CanaryLabels, Known>>,
}

#[derive(Default)]
struct Known {
    metrics: BTreeSet<String>,
    rollouts: Vec<RolloutLabels>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InfoLabels {
    version: String,
    mesh_provider: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NamespaceLabels {
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CanaryLabels {
    name: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WeightLabels {
    workload: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnalysisLabels {
    name: String,
    namespace: String,
    metric: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RolloutLabels {
    name: String,
    namespace: String,
    deployment_strategy: &'static str,
    analysis_status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: &'static str,
    verb: &'static str,
}

/// The buckets that Prometheus's client for Go has by default.
#[derive(Clone)]
struct DefaultBuckets;

impl MetricConstructor<Histogram> for DefaultBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
    }
}

impl Metrics {
    /// All series, empty but for `flagger_info`.
    pub fn new(version: &str, mesh_provider: &str) -> Metrics {
        let mut registry = Registry::default();
        let info = Family::<InfoLabels, Gauge>::default();
        info.get_or_create(&InfoLabels { version: version.into(), mesh_provider: mesh_provider.into() }).set(1);
        registry.register("flagger_info", "Version and mesh provider", info);
        let inner = Inner {
            canaries: family(&mut registry, "flagger_canary_total", "Canaries in the namespace"),
            status: family(
                &mut registry,
                "flagger_canary_status",
                "Last known state: 0 is running, 1 is successful, 2 is failed",
            ),
            weight: family(&mut registry, "flagger_canary_weight", "Percent of the traffic that the workload gets"),
            analysis: family(&mut registry, "flagger_canary_metric_analysis", "Last value of a metric of the analysis"),
            duration: {
                let duration = Family::new_with_constructor(DefaultBuckets);
                registry.register("flagger_canary_duration_seconds", "Seconds that a look took", duration.clone());
                duration
            },
            // The encoder adds `_total` to counters.
            successes: family(&mut registry, "flagger_canary_successes", "Rollouts that were promoted"),
            failures: family(&mut registry, "flagger_canary_failures", "Rollouts that were taken back"),
            queue_depth: plain(&mut registry, "serin_queue_depth", "Canaries that are due and wait for a place"),
            passes_running: plain(&mut registry, "serin_passes_running", "Passes under way"),
            passes: family(&mut registry, "serin_passes", "Passes over a Canary by how they ended"),
            watch_restarts: family(&mut registry, "serin_watch_restarts", "Watches that broke and were taken up again"),
            api_writes: family(&mut registry, "serin_api_writes", "Writes to the Kubernetes API"),
            events_dropped: plain(&mut registry, "serin_events_dropped", "Kubernetes Events that were not written"),
            known: Mutex::new(HashMap::new()),
            registry,
        };
        Metrics { inner: Arc::new(inner) }
    }

    /// The exposition in OpenMetrics text; see [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail; a metric that cannot be encoded must not end the process either.
        if let Err(error) = text::encode(&mut text, &self.inner.registry) {
            tracing::error!(%error, "could not encode the metrics");
        }
        text
    }

    /// Number of Canaries in a namespace; at 0 the series goes.
    pub fn canaries(&self, namespace: &str, count: usize) {
        let labels = NamespaceLabels { namespace: namespace.into() };
        if count == 0 {
            self.inner.canaries.remove(&labels);
        } else {
            self.inner.canaries.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The phase of the Canary whose target has this name.
    pub fn status(&self, namespace: &str, target: &str, phase: Phase) {
        let value = match phase {
            Phase::Progressing => 0,
            Phase::Failed => 2,
            Phase::New
            | Phase::Initializing
            | Phase::Initialized
            | Phase::Waiting
            | Phase::WaitingPromotion
            | Phase::Promoting
            | Phase::Finalising
            | Phase::Succeeded
            | Phase::Terminating
            | Phase::Terminated => 1,
        };
        self.inner.status.get_or_create(&canary(namespace, target)).set(value);
    }

    /// The percents that the target and its primary get.
    pub fn weights(&self, namespace: &str, target: &str, primary_name: &str, canary_weight: u8) {
        let primary_weight = 100_u8.saturating_sub(canary_weight);
        for (workload, weight) in [(target, canary_weight), (primary_name, primary_weight)] {
            let labels = WeightLabels { workload: workload.into(), namespace: namespace.into() };
            self.inner.weight.get_or_create(&labels).set(weight.into());
        }
    }

    /// The last value of a metric of the analysis.
    pub fn analysis(&self, namespace: &str, target: &str, metric: &str, value: f64) {
        self.known(namespace, target, |known| {
            if !known.metrics.contains(metric) {
                known.metrics.insert(metric.to_owned());
            }
        });
        self.inner.analysis.get_or_create(&analysis(namespace, target, metric)).set(value);
    }

    /// Seconds that a look with an analysis took.
    pub fn duration(&self, namespace: &str, target: &str, seconds: f64) {
        self.inner.duration.get_or_create(&canary(namespace, target)).observe(seconds);
    }

    /// A rollout ended; `strategy` is canary, blue-green or ab-testing.
    pub fn rollout(
        &self,
        namespace: &str,
        target: &str,
        strategy: &'static str,
        analysis_status: AnalysisStatus,
        promoted: bool,
    ) {
        let labels = RolloutLabels {
            name: target.into(),
            namespace: namespace.into(),
            deployment_strategy: strategy,
            analysis_status: match analysis_status {
                AnalysisStatus::Completed => "completed",
                AnalysisStatus::Skipped => "skipped",
            },
        };
        self.known(namespace, target, |known| {
            if !known.rollouts.contains(&labels) {
                known.rollouts.push(labels.clone());
            }
        });
        let counters = if promoted { &self.inner.successes } else { &self.inner.failures };
        counters.get_or_create(&labels).inc();
    }

    /// Deletes all series of a target, when its Canary goes or turns to another target.
    pub fn forget(&self, namespace: &str, target: &str, primary_name: &str) {
        let labels = canary(namespace, target);
        self.inner.status.remove(&labels);
        self.inner.duration.remove(&labels);
        for workload in [target, primary_name] {
            self.inner.weight.remove(&WeightLabels { workload: workload.into(), namespace: namespace.into() });
        }
        let known = self.inner.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&labels).unwrap_or_default();
        for metric in &known.metrics {
            self.inner.analysis.remove(&analysis(namespace, target, metric));
        }
        for rollout in &known.rollouts {
            self.inner.successes.remove(rollout);
            self.inner.failures.remove(rollout);
        }
    }

    /// Keys due and passes under way.
    pub fn queue(&self, depth: usize, running: usize) {
        self.inner.queue_depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
        self.inner.passes_running.set(i64::try_from(running).unwrap_or(i64::MAX));
    }

    /// A pass ended.
    pub fn pass(&self, outcome: PassOutcome) {
        let outcome = match outcome {
            PassOutcome::Ok => "ok",
            PassOutcome::Error => "error",
            PassOutcome::Panic => "panic",
        };
        self.inner.passes.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A watch broke.
    pub fn watch_restart(&self, kind: &'static str) {
        self.inner.watch_restarts.get_or_create(&KindLabels { kind }).inc();
    }

    /// A write was sent to the Kubernetes API.
    pub fn api_write(&self, kind: &'static str, verb: &'static str) {
        self.inner.api_writes.get_or_create(&WriteLabels { kind, verb }).inc();
    }

    /// A Kubernetes Event was not written.
    pub fn event_dropped(&self) {
        self.inner.events_dropped.inc();
    }

    fn known(&self, namespace: &str, target: &str, change: impl FnOnce(&mut Known)) {
        let mut known = self.inner.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(known.entry(canary(namespace, target)).or_default());
    }
}

fn canary(namespace: &str, target: &str) -> CanaryLabels {
    CanaryLabels { name: target.into(), namespace: namespace.into() }
}

fn analysis(namespace: &str, target: &str, metric: &str) -> AnalysisLabels {
    AnalysisLabels { name: target.into(), namespace: namespace.into(), metric: metric.into() }
}

fn family<L, M>(registry: &mut Registry, name: &str, help: &str) -> Family<L, M>
where
    L: Clone + std::hash::Hash + Eq + EncodeLabelSet + std::fmt::Debug + Send + Sync + 'static,
    M: prometheus_client::encoding::EncodeMetric
        + prometheus_client::metrics::TypedMetric
        + Default
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let family = Family::<L, M>::default();
    registry.register(name, help, family.clone());
    family
}

fn plain<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: prometheus_client::registry::Metric + Default + Clone,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples only, sorted: the order of label sets is not fixed.
    fn samples(metrics: &Metrics) -> Vec<String> {
        let mut lines: Vec<String> =
            metrics.encode().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn filled() -> Metrics {
        let metrics = Metrics::new("0.1.0", "gatewayapi:v1");
        metrics.canaries("shop", 2);
        metrics.status("shop", "podinfo", Phase::Progressing);
        metrics.weights("shop", "podinfo", "podinfo-primary", 30);
        metrics.analysis("shop", "podinfo", "request-success-rate", 99.5);
        metrics.duration("shop", "podinfo", 0.3);
        metrics.rollout("shop", "podinfo", "canary", AnalysisStatus::Completed, true);
        metrics.rollout("shop", "podinfo", "canary", AnalysisStatus::Skipped, true);
        metrics.rollout("shop", "podinfo", "canary", AnalysisStatus::Completed, false);
        metrics
    }

    #[test]
    fn series_have_the_names_and_labels_of_the_contract() {
        let metrics = filled();
        let expected = "\
flagger_canary_duration_seconds_bucket{le=\"+Inf\",name=\"podinfo\",namespace=\"shop\"} 1
flagger_canary_duration_seconds_bucket{le=\"0.005\",name=\"podinfo\",namespace=\"shop\"} 0
flagger_canary_duration_seconds_bucket{le=\"0.01\",name=\"podinfo\",namespace=\"shop\"} 0
flagger_canary_duration_seconds_bucket{le=\"0.025\",name=\"podinfo\",namespace=\"shop\"} 0
flagger_canary_duration_seconds_bucket{le=\"0.05\",name=\"podinfo\",namespace=\"shop\"} 0
flagger_canary_duration_seconds_bucket{le=\"0.1\",name=\"podinfo\",namespace=\"shop\"} 0
flagger_canary_duration_seconds_bucket{le=\"0.25\",name=\"podinfo\",namespace=\"shop\"} 0
flagger_canary_duration_seconds_bucket{le=\"0.5\",name=\"podinfo\",namespace=\"shop\"} 1
flagger_canary_duration_seconds_bucket{le=\"1.0\",name=\"podinfo\",namespace=\"shop\"} 1
flagger_canary_duration_seconds_bucket{le=\"10.0\",name=\"podinfo\",namespace=\"shop\"} 1
flagger_canary_duration_seconds_bucket{le=\"2.5\",name=\"podinfo\",namespace=\"shop\"} 1
flagger_canary_duration_seconds_bucket{le=\"5.0\",name=\"podinfo\",namespace=\"shop\"} 1
flagger_canary_duration_seconds_count{name=\"podinfo\",namespace=\"shop\"} 1
flagger_canary_duration_seconds_sum{name=\"podinfo\",namespace=\"shop\"} 0.3
flagger_canary_failures_total{name=\"podinfo\",namespace=\"shop\",deployment_strategy=\"canary\",analysis_status=\"completed\"} 1
flagger_canary_metric_analysis{name=\"podinfo\",namespace=\"shop\",metric=\"request-success-rate\"} 99.5
flagger_canary_status{name=\"podinfo\",namespace=\"shop\"} 0
flagger_canary_successes_total{name=\"podinfo\",namespace=\"shop\",deployment_strategy=\"canary\",analysis_status=\"completed\"} 1
flagger_canary_successes_total{name=\"podinfo\",namespace=\"shop\",deployment_strategy=\"canary\",analysis_status=\"skipped\"} 1
flagger_canary_total{namespace=\"shop\"} 2
flagger_canary_weight{workload=\"podinfo\",namespace=\"shop\"} 30
flagger_canary_weight{workload=\"podinfo-primary\",namespace=\"shop\"} 70
flagger_info{version=\"0.1.0\",mesh_provider=\"gatewayapi:v1\"} 1
serin_events_dropped_total 0
serin_passes_running 0
serin_queue_depth 0";
        assert_eq!(samples(&metrics).join("\n"), expected);
        assert!(metrics.encode().ends_with("# EOF\n"));
    }

    #[test]
    fn status_values_are_those_that_rules_rely_on() {
        let metrics = Metrics::new("0", "istio");
        for (phase, value) in
            [(Phase::Progressing, 0), (Phase::Succeeded, 1), (Phase::Initialized, 1), (Phase::Failed, 2)]
        {
            metrics.status("shop", "web", phase);
            let line = format!("flagger_canary_status{{name=\"web\",namespace=\"shop\"}} {value}");
            assert!(samples(&metrics).contains(&line), "{phase:?}");
        }
    }

    #[test]
    fn series_go_with_the_canary() {
        let metrics = filled();
        metrics.forget("shop", "podinfo", "podinfo-primary");
        metrics.canaries("shop", 0);
        let left: Vec<String> = samples(&metrics).into_iter().filter(|line| line.contains("shop")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
