//! The queries behind `request-success-rate` (percent) and `request-duration` (milliseconds): one row per family of
//! routers that share a data plane's metrics.

use rollout::spec::{Target, TargetKind};

use super::Span;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Percent of the requests that were not answered with 5xx.
    SuccessRate,
    /// Requests within the window.
    Requests,
    /// Those of them that were answered with 5xx.
    Errors,
    /// How many requests took at most so long, by `le`; see [`milliseconds`] for the unit.
    Buckets,
    /// Time to answer, in milliseconds: the 99th percentile, or the mean where the data plane has no histogram.
    Duration,
}

/// Whose requests are measured.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Namespace of the Canary.
    pub namespace: &'a str,
    /// The workload.
    pub target: &'a Target,
    /// Name of the Service that clients use.
    pub service: &'a str,
    /// The source Ingress, or the target's name.
    pub ingress: &'a str,
    /// The source route, or the target's name.
    pub route: &'a str,
    /// What time it is about.
    pub span: Span,
}

/// Why there is no builtin query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuiltinError {
    /// The table has no such row.
    #[error("there are no builtin metrics for provider {provider}: use a MetricTemplate; builtin are those of {known}")]
    UnknownProvider {
        /// As written in the Canary.
        provider: String,
        /// The rows.
        known: String,
    },
    /// The data plane tells the mean alone.
    #[error("the metrics behind {0} have no histogram of times: compare a metric of your own, by a MetricTemplate")]
    NoHistogram(String),
    /// The metrics are named after the canary's route alone.
    #[error(
        "the builtin metrics behind {0} cannot be compared with those of the primary: give the metric an objective, or use \
         a MetricTemplate by workload"
    )]
    OneArm(String),
    /// Kubernetes shortens the pods' names so far that those of canary and primary look alike.
    #[error(
        "the pods of {0} cannot be told from its primary's by name, as the name is longer than {LONGEST_TARGET} \
         characters: use a MetricTemplate that selects pods by label"
    )]
    NameTooLong(String),
}

/// The PromQL that measures the canary behind the given router. The result is one number, or nothing (or NaN) when
/// there were no requests.
pub fn query(provider: &str, signal: Signal, subject: &Subject<'_>) -> Result<String, BuiltinError> {
    let row = ROWS.iter().find(|row| row.serves(provider)).ok_or_else(|| BuiltinError::UnknownProvider {
        provider: provider.to_owned(),
        known: ROWS.iter().flat_map(|row| row.providers).copied().collect::<Vec<_>>().join(", "),
    })?;
    let labels = (row.labels)(subject)?;
    let range = subject.span.range();
    Ok(match signal {
        Signal::SuccessRate => {
            let Success { metric, only, good } = &row.success;
            let labels = format!("{only}{labels}");
            // A canary that fails every request has no series of good ones; without the 0 it would be no value.
            format!(
                "100 * (sum(rate({metric}{{{labels},{good}}}{range})) or vector(0)) \
                 / sum(rate({metric}{{{labels}}}{range}))"
            )
        }
        Signal::Requests => {
            let Success { metric, only, .. } = &row.success;
            format!("sum(increase({metric}{{{only}{labels}}}{range}))")
        }
        Signal::Errors => {
            let Success { metric, only, good } = &row.success;
            let all = format!("sum(increase({metric}{{{only}{labels}}}{range}))");
            format!("{all} - (sum(increase({metric}{{{only}{labels},{good}}}{range})) or vector(0))")
        }
        Signal::Buckets => match &row.duration {
            Time::Percentile { metric, only, .. } => {
                format!("sum by (le) (increase({metric}_bucket{{{only}{labels}}}{range}))")
            }
            Time::MeanOfSeconds { .. } => return Err(BuiltinError::NoHistogram(provider.to_owned())),
        },
        Signal::Duration => match &row.duration {
            Time::Percentile { metric, only, to_milliseconds } => {
                let labels = format!("{only}{labels}");
                let factor = if *to_milliseconds == 1 { String::new() } else { format!("{to_milliseconds} * ") };
                format!("{factor}histogram_quantile(0.99, sum by (le) (rate({metric}_bucket{{{labels}}}{range})))")
            }
            Time::MeanOfSeconds { metric } => format!(
                "1000 * sum(rate({metric}_sum{{{labels}}}{range})) / sum(rate({metric}_count{{{labels}}}{range}))"
            ),
        },
    })
}

/// How many milliseconds one unit of the router's times is.
pub fn milliseconds(provider: &str) -> f64 {
    let row = ROWS.iter().find(|row| row.serves(provider));
    row.map_or(1.0, |row| match row.duration {
        Time::Percentile { to_milliseconds, .. } => f64::from(to_milliseconds),
        Time::MeanOfSeconds { .. } => 1000.0,
    })
}

/// Whether the data plane behind the router tells the requests to each workload apart, the primary's as well as the canary's.
///
/// # Errors
/// When it does not, with the mend.
pub fn tells_workloads(provider: &str) -> Result<(), BuiltinError> {
    let by_workload = ["kubernetes", "gatewayapi:", "appmesh", "appmesh:", "istio", "linkerd", "osm"];
    let known = by_workload.iter().any(|name| provider == *name || (name.ends_with(':') && provider.starts_with(name)));
    if known { Ok(()) } else { Err(BuiltinError::OneArm(provider.to_owned())) }
}

/// The regular expression (fully anchored, as Prometheus has it) of the names of the target's pods: never those of
/// the primary or of another workload whose name begins with the target's.
pub fn pod_pattern(target: &Target) -> Result<String, BuiltinError> {
    if target.name.len() > LONGEST_TARGET {
        return Err(BuiltinError::NameTooLong(target.name.clone()));
    }
    let name = literal(&target.name);
    Ok(match target.kind {
        // Less than four characters of hash come once in four million revisions; siblings like T-db are likelier.
        TargetKind::Deployment if target.name.len() + "-".len() + LONGEST_HASH + "-".len() <= LONGEST_BASE => {
            format!("{name}-[{HASH}]{{4,{LONGEST_HASH}}}-[{SUFFIX}]{{5}}")
        }
        // Names are cut before the suffix is added, so there may be less hash, and no second hyphen.
        TargetKind::Deployment => format!("{name}-[{HASH}]{{1,{LONGEST_HASH}}}-?[{SUFFIX}]{{5}}"),
        TargetKind::DaemonSet => format!("{name}-[{SUFFIX}]{{5}}"),
    })
}

/// Characters of Kubernetes' generated names.
const SUFFIX: &str = "2456789bcdfghj-np-tv-xz";
/// Characters of a ReplicaSet's hash: the ten digits of a decimal number, each moved into [`SUFFIX`].
const HASH: &str = "4-9bcdf";
/// Longest hash of a ReplicaSet, in characters.
const LONGEST_HASH: usize = 10;
/// Longest pod name before its suffix, in characters.
const LONGEST_BASE: usize = 58;
/// Longest name that, cut at [`LONGEST_BASE`], keeps a character after its hyphen.
const LONGEST_TARGET: usize = LONGEST_BASE - 2;

struct Row {
    /// Exact names, and families that end with a colon.
    providers: &'static [&'static str],
    /// The label matchers that select the canary.
    labels: fn(&Subject<'_>) -> Result<String, BuiltinError>,
    success: Success,
    duration: Time,
}

impl Row {
    fn serves(&self, provider: &str) -> bool {
        self.providers.iter().any(|name| provider == *name || (name.ends_with(':') && provider.starts_with(name)))
    }
}

struct Success {
    /// A counter.
    metric: &'static str,
    /// Matchers that only this counter needs, with a comma at the end.
    only: &'static str,
    /// The matcher of good answers.
    good: &'static str,
}

enum Time {
    /// A histogram, without `_bucket`; matchers that only it needs, with a comma; what makes it milliseconds.
    Percentile { metric: &'static str, only: &'static str, to_milliseconds: u16 },
    /// A sum and count of seconds, without `_sum` and `_count`.
    MeanOfSeconds { metric: &'static str },
}

const ENVOY_SUCCESS: Success =
    Success { metric: "envoy_cluster_upstream_rq", only: "", good: r#"envoy_response_code!~"5.*""# };
const ENVOY_DURATION: Time =
    Time::Percentile { metric: "envoy_cluster_upstream_rq_time", only: "", to_milliseconds: 1 };

static ROWS: &[Row] = &[
    Row {
        providers: &["kubernetes", "gatewayapi:"],
        labels: pods,
        success: Success { metric: "http_request_duration_seconds_count", only: "", good: r#"status!~"5.*""# },
        duration: Time::Percentile { metric: "http_request_duration_seconds", only: "", to_milliseconds: 1000 },
    },
    Row {
        providers: &["traefik"],
        // Traefik names a service after namespace, Service and port.
        labels: |subject| {
            let (namespace, service) = (literal(subject.namespace), literal(subject.service));
            Ok(matches("service", &format!("{namespace}-{service}-canary-[0-9a-zA-Z-]+@kubernetescrd")))
        },
        success: Success {
            metric: "traefik_service_request_duration_seconds_bucket",
            only: r#"le="+Inf","#,
            good: r#"code!~"5.*""#,
        },
        duration: Time::Percentile {
            metric: "traefik_service_request_duration_seconds",
            only: "",
            to_milliseconds: 1000,
        },
    },
    Row {
        providers: &["nginx"],
        // The label `canary` holds the canary's backend, and is empty for requests that the primary answered.
        labels: |subject| {
            let (namespace, ingress) = (equals("namespace", subject.namespace), equals("ingress", subject.ingress));
            Ok(format!(r#"{namespace},{ingress},canary!="""#))
        },
        success: Success { metric: "nginx_ingress_controller_requests", only: "", good: r#"status!~"5.*""# },
        duration: Time::MeanOfSeconds { metric: "nginx_ingress_controller_response_duration_seconds" },
    },
    Row {
        providers: &["istio"],
        labels: |subject| {
            let namespace = equals("destination_workload_namespace", subject.namespace);
            let workload = equals("destination_workload", &subject.target.name);
            Ok(format!(r#"reporter="destination",{namespace},{workload}"#))
        },
        success: Success { metric: "istio_requests_total", only: "", good: r#"response_code!~"5.*""# },
        duration: Time::Percentile { metric: "istio_request_duration_milliseconds", only: "", to_milliseconds: 1 },
    },
    Row {
        providers: &["linkerd"],
        labels: |subject| {
            let workload = match subject.target.kind {
                TargetKind::Deployment => equals("deployment", &subject.target.name),
                TargetKind::DaemonSet => equals("daemonset", &subject.target.name),
            };
            Ok(format!(r#"{},{workload},direction="inbound""#, equals("namespace", subject.namespace)))
        },
        success: Success { metric: "response_total", only: "", good: r#"classification!="failure""# },
        duration: Time::Percentile { metric: "response_latency_ms", only: "", to_milliseconds: 1 },
    },
    Row {
        providers: &["osm"],
        labels: |subject| {
            let namespace = equals("destination_namespace", subject.namespace);
            let kind = equals("destination_kind", subject.target.kind.as_str());
            Ok(format!("{namespace},{kind},{}", equals("destination_name", &subject.target.name)))
        },
        success: Success { metric: "osm_request_total", only: "", good: r#"response_code!~"5.*""# },
        duration: Time::Percentile { metric: "osm_request_duration_ms", only: "", to_milliseconds: 1 },
    },
    Row { providers: &["appmesh", "appmesh:"], labels: pods, success: ENVOY_SUCCESS, duration: ENVOY_DURATION },
    Row {
        providers: &["contour"],
        labels: |subject| {
            let (namespace, service) = (literal(subject.namespace), literal(subject.service));
            Ok(matches("envoy_cluster_name", &format!("{namespace}_{service}-canary_[0-9a-zA-Z-]+")))
        },
        success: ENVOY_SUCCESS,
        duration: ENVOY_DURATION,
    },
    Row {
        providers: &["gloo"],
        labels: |subject| {
            let (namespace, service) = (literal(subject.namespace), literal(subject.service));
            let cluster = format!("{namespace}-{service}-canaryupstream-[0-9a-zA-Z-]+_[0-9a-zA-Z-]+");
            Ok(matches("envoy_cluster_name", &cluster))
        },
        success: ENVOY_SUCCESS,
        duration: ENVOY_DURATION,
    },
    Row {
        providers: &["skipper"],
        // Skipper writes `_` for every character that cannot be in a word.
        labels: |subject| {
            let word = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let (namespace, ingress, service) = (word(subject.namespace), word(subject.ingress), word(subject.service));
            let route = format!("kube(ew)?_{namespace}__{ingress}_canary__.*__{service}_canary(_[0-9]+)?");
            Ok(matches("route", &route))
        },
        success: Success {
            metric: "skipper_response_duration_seconds_bucket",
            only: r#"le="+Inf","#,
            good: r#"code!~"5.*""#,
        },
        duration: Time::MeanOfSeconds { metric: "skipper_serve_route_duration_seconds" },
    },
    Row {
        providers: &["apisix"],
        labels: |subject| {
            let (namespace, route) = (literal(subject.namespace), literal(subject.route));
            let target = literal(&subject.target.name);
            Ok(matches("route", &format!("{namespace}_{route}-{target}-canary_.+")))
        },
        success: Success { metric: "apisix_http_status", only: "", good: r#"code!~"5.*""# },
        duration: Time::Percentile { metric: "apisix_http_latency", only: r#"type="request","#, to_milliseconds: 1 },
    },
];

fn pods(subject: &Subject<'_>) -> Result<String, BuiltinError> {
    let namespace = equals("kubernetes_namespace", subject.namespace);
    Ok(format!("{namespace},{}", matches("kubernetes_pod_name", &pod_pattern(subject.target)?)))
}

fn equals(label: &str, value: &str) -> String {
    format!(r#"{label}="{}""#, quoted(value))
}

fn matches(label: &str, pattern: &str) -> String {
    format!(r#"{label}=~"{}""#, quoted(pattern))
}

/// As it stands inside a PromQL string.
fn quoted(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A regular expression that matches exactly this text.
fn literal(text: &str) -> String {
    let mut pattern = String::new();
    for character in text.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => pattern.push(character),
            // A class needs no backslash, which would need another one in PromQL.
            '.' => pattern.push_str("[.]"),
            other => {
                pattern.push('\\');
                pattern.push(other);
            }
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use regex::Regex;

    use super::*;

    fn target(kind: TargetKind, name: &str) -> Target {
        Target { kind, name: name.into() }
    }

    fn subject(target: &Target) -> Subject<'_> {
        Subject {
            namespace: "shop",
            target,
            service: "podinfo-svc",
            ingress: "podinfo-ing",
            route: "podinfo-route",
            span: Span::until_now(Duration::from_secs(60)),
        }
    }

    /// As Kubernetes names a pod: the base is cut before the suffix.
    fn pod(base: &str, suffix: &str) -> String {
        format!("{}{suffix}", &base[..base.len().min(58)])
    }

    #[test]
    fn the_pattern_matches_the_canarys_pods_only() {
        let table = [
            (TargetKind::Deployment, "app-6d4b8f9c7d-x7k2p", true),
            (TargetKind::Deployment, "app-5d89f-zzzzz", true),
            (TargetKind::Deployment, "app-primary-6d4b8f9c7d-x7k2p", false),
            (TargetKind::Deployment, "app-primary-x7k2p", false),
            (TargetKind::Deployment, "app-worker-6d4b8f9c7d-x7k2p", false),
            (TargetKind::Deployment, "app-db-x7k2p", false),
            (TargetKind::Deployment, "app-worker-x7k2p", false),
            (TargetKind::Deployment, "app-x7k2p", false),
            (TargetKind::Deployment, "app-0", false),
            (TargetKind::Deployment, "my-app-6d4b8f9c7d-x7k2p", false),
            (TargetKind::Deployment, "apps-6d4b8f9c7d-x7k2p", false),
            (TargetKind::Deployment, "app-6d4b8f9c7d6-x7k2p", false),
            (TargetKind::DaemonSet, "app-x7k2p", true),
            (TargetKind::DaemonSet, "app-primary-x7k2p", false),
            (TargetKind::DaemonSet, "app-worker-x7k2p", false),
            (TargetKind::DaemonSet, "app-6d4b8f9c7d-x7k2p", false),
            (TargetKind::DaemonSet, "app-x7k2", false),
            (TargetKind::DaemonSet, "app-x7k2pp", false),
            (TargetKind::DaemonSet, "app-aeiou", false),
        ];
        for (kind, name, wanted) in table {
            let pattern = Regex::new(&format!("^(?:{})$", pod_pattern(&target(kind, "app")).unwrap())).unwrap();
            assert_eq!(pattern.is_match(name), wanted, "{kind:?} {name}");
        }
        let dotted = Regex::new(&pod_pattern(&target(TargetKind::DaemonSet, "a.b")).unwrap()).unwrap();
        assert!(dotted.is_match("a.b-x7k2p") && !dotted.is_match("axb-x7k2p"));
    }

    #[test]
    fn the_pattern_knows_that_long_names_are_cut() {
        for length in 1..=LONGEST_TARGET {
            let name = "n".repeat(length);
            for kind in [TargetKind::Deployment, TargetKind::DaemonSet] {
                let pattern = pod_pattern(&target(kind, &name)).unwrap();
                let pattern = Regex::new(&format!("^(?:{pattern})$")).unwrap();
                let hash = match kind {
                    TargetKind::Deployment => "6d4b8f9c7d-",
                    TargetKind::DaemonSet => "",
                };
                assert!(pattern.is_match(&pod(&format!("{name}-{hash}"), "x7k2p")), "{kind:?} of {length}");
                assert!(!pattern.is_match(&pod(&format!("{name}-primary-{hash}"), "x7k2p")), "{kind:?} of {length}");
            }
        }
        let long = target(TargetKind::Deployment, &"n".repeat(LONGEST_TARGET + 1));
        assert_eq!(pod_pattern(&long), Err(BuiltinError::NameTooLong(long.name.clone())));
    }

    #[test]
    fn every_row_has_its_two_queries() {
        let target = target(TargetKind::Deployment, "podinfo");
        let mut all = String::new();
        for provider in ROWS.iter().flat_map(|row| row.providers) {
            let success = query(provider, Signal::SuccessRate, &subject(&target)).unwrap();
            let duration = query(provider, Signal::Duration, &subject(&target)).unwrap();
            all.push_str(&format!("{provider}\n  {success}\n  {duration}\n"));
        }
        insta::assert_snapshot!(all);
    }

    #[test]
    fn versions_of_the_gateway_api_share_a_row_and_unknown_names_have_none() {
        let target = target(TargetKind::Deployment, "podinfo");
        let of = |provider| query(provider, Signal::SuccessRate, &subject(&target));
        assert_eq!(of("gatewayapi:v1"), of("kubernetes"));
        assert_eq!(of("gatewayapi:v1beta1"), of("kubernetes"));
        for unknown in ["", "gatewayapi", "nginxx", "kubernetes:v1"] {
            let error = of(unknown).unwrap_err().to_string();
            assert!(error.contains("builtin are those of kubernetes, gatewayapi:, traefik, nginx"), "{error}");
        }
    }

    #[test]
    fn a_window_in_the_past_has_an_offset() {
        let span = Span { window: Duration::from_secs(6 * 3600), before: Duration::from_secs(90) };
        let target = target(TargetKind::Deployment, "podinfo");
        let text = query("kubernetes", Signal::Requests, &Subject { span, ..subject(&target) });
        assert!(text.as_ref().is_ok_and(|text| text.ends_with("[360m] offset 90s))")), "{text:?}");
    }

    #[test]
    fn a_name_cannot_leave_its_string() {
        assert_eq!(equals("ingress", "a\"} or vector(1)\n\\"), "ingress=\"a\\\"} or vector(1)\\n\\\\\"");
        assert_eq!(matches("x", &literal("a+b")), r#"x=~"a\\+b""#);
    }
}
