//! From a Canary as users write it to a [`Spec`] that cannot be wrong, or to everything that is wrong with it.

mod checks;
mod duration;
mod judge;
mod names;
mod notes;
mod strategy;

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{
    AutoscalerReference, Baseline, Canary, CanaryService, CanarySpec, GitPolicy, IntOrString, MatchRequest,
    ObjectReference, StringMatch,
};
use serde_json::Value;

pub use self::duration::{DurationError, duration};
use self::notes::{Notes, quoted};
use crate::spec::{Autoscaler, Defaults, Git, Method, RouterAbility, Spec, Target, TargetKind};

/// A field that cannot be taken as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}; {mend}")]
pub struct Invalid {
    /// Path of the field, as `spec.analysis.stepWeights[2]`.
    pub field: String,
    /// What is wrong.
    pub why: String,
    /// What to write instead.
    pub mend: String,
}

/// Parses a Canary.
///
/// # Errors
/// Every field that is wrong, in the order of the fields; never an empty list.
pub fn parse(canary: &Canary, defaults: &Defaults<'_>) -> Result<Spec, Vec<Invalid>> {
    let spec = &canary.spec;
    let namespace = canary.metadata.namespace.as_deref().unwrap_or("default");
    let mut notes = Notes::default();

    let target = target(&spec.target_ref, &mut notes);
    let autoscaler = spec.autoscaler_ref.as_ref().and_then(|reference| autoscaler(reference, &mut notes));
    let router = router(spec.provider.as_deref(), defaults, &mut notes);
    let metrics_server = written(&spec.metrics_server);
    if let Some(url) = metrics_server {
        checks::http_url("spec.metricsServer", url, &mut notes);
    }
    references(spec, router.map(|router| router.name), namespace, defaults, &mut notes);
    let service_name = service(spec, router.map(|router| router.name), &mut notes);
    let progress_deadline = match spec.progress_deadline_seconds {
        None => Duration::from_secs(600),
        Some(seconds) => notes.seconds("spec.progressDeadlineSeconds", seconds).unwrap_or_default(),
    };

    let analysis = &spec.analysis;
    let interval = match written(&analysis.interval) {
        None => Duration::from_secs(60),
        Some(text) => notes.duration("spec.analysis.interval", text).unwrap_or_default(),
    };
    if interval < defaults.min_interval && notes.errors.is_empty() && written(&analysis.interval).is_some() {
        notes.warn(format!(
            "spec.analysis.interval: shorter than the shortest interval of this controller; {:?} is used",
            defaults.min_interval
        ));
    }
    let threshold = match analysis.threshold {
        Some(threshold) if threshold > 0 => notes.count("spec.analysis.threshold", threshold).unwrap_or(1),
        Some(_) | None => 1,
    };
    // Without a known router all the rest is still looked at, as if the router could do everything.
    let ability = router.copied().unwrap_or(EVERYTHING);
    let plan = judge::plan(analysis, &ability, defaults, &mut notes);
    let strategy = strategy::strategy(spec, &ability, defaults, &mut notes);
    let primary_ready_percent = percent("primaryReadyThreshold", analysis.primary_ready_threshold, &mut notes);
    let canary_ready_percent = percent("canaryReadyThreshold", analysis.canary_ready_threshold, &mut notes);
    let judge = judge::judge(analysis.judge.as_ref(), &mut notes);
    if judge.baseline == Baseline::Concurrent {
        judge::concurrent(spec, &service_name, &ability, defaults, &mut notes);
    }
    let metrics = checks::metrics(&analysis.metrics, namespace, &judge, &mut notes);
    if metrics.is_empty() && judge.method != Method::Threshold && !spec.skip_analysis && notes.errors.is_empty() {
        let why = "is empty, and this method of the judge promotes only on evidence";
        notes.refuse("spec.analysis.metrics", why, "add one, as {name: request-success-rate, smallestEffect: 0.5}");
    }
    if plan.is_some() {
        judge::plan_follows(&metrics, &mut notes);
    }
    let webhooks = checks::webhooks(&analysis.webhooks, &mut notes);
    let alerts = checks::alerts(&analysis.alerts, namespace, &mut notes);
    let affinity = checks::affinity(analysis.session_affinity.as_ref(), &ability, defaults, &mut notes);

    let Notes { errors, warnings } = notes;
    match (target, router, strategy) {
        (Some(target), Some(router), Some(strategy)) if errors.is_empty() => Ok(Spec {
            target,
            autoscaler,
            provider: router.name.to_owned(),
            metrics_server: metrics_server.map(str::to_owned),
            ingress: spec.ingress_ref.as_ref().map(|reference| reference.name.clone()),
            route: spec.route_ref.as_ref().map(|reference| reference.name.clone()),
            service: spec.service.clone(),
            service_name,
            strategy,
            interval: interval.max(defaults.min_interval),
            threshold,
            primary_ready_percent,
            canary_ready_percent,
            progress_deadline,
            judge,
            plan,
            metrics,
            webhooks,
            alerts,
            affinity,
            skip_analysis: spec.skip_analysis,
            revert_on_deletion: spec.revert_on_deletion,
            suspend: spec.suspend,
            git: git(spec.git.as_ref()),
            warnings,
        }),
        _ => Err(errors),
    }
}

/// What is not written is not done.
fn git(policy: Option<&GitPolicy>) -> Git {
    let Some(policy) = policy else { return Git::default() };
    Git {
        on_rollback: policy.on_rollback.unwrap_or_default(),
        hold: !policy.no_hold,
        secret: policy.secret_ref.as_ref().map(|secret| secret.name.clone()),
        forge: policy.forge.clone().filter(|forge| !forge.is_empty()),
    }
}

/// Reads a Canary as it came from the API server or a file.
///
/// # Errors
/// The first field whose type is wrong or that is missing.
pub fn from_value(value: &Value) -> Result<Canary, Invalid> {
    for (field, expected) in [("apiVersion", "flagger.app/v1beta1"), ("kind", "Canary")] {
        if let Some(found) = value.get(field)
            && found != expected
        {
            return Err(Invalid {
                field: field.into(),
                why: format!("is {}", quoted(found.as_str().unwrap_or("not a text"))),
                mend: format!("write {expected}"),
            });
        }
    }
    serde_path_to_error::deserialize(value).map_err(|error| notes::wrong_type(&error.path().to_string(), error.inner()))
}

const EVERYTHING: RouterAbility =
    RouterAbility { name: "", weights: true, matches: true, mirror: true, affinity: true, baseline: true };

/// Routers of the API that this version does not know yet: the message must not call them misspelt.
const PUBLISHED_ROUTERS: &[&str] = &[
    "apisix",
    "appmesh",
    "appmesh:v1beta2",
    "contour",
    "gatewayapi:v1",
    "gatewayapi:v1beta1",
    "gloo",
    "istio",
    "knative",
    "kubernetes",
    "kuma",
    "linkerd",
    "nginx",
    "osm",
    "skipper",
    "smi:v1alpha1",
    "smi:v1alpha2",
    "smi:v1alpha3",
    "traefik",
];

/// The text, unless it is absent or blank.
fn written(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn percent(field: &str, value: Option<i64>, notes: &mut Notes) -> u8 {
    value.map_or(100, |value| notes.percent(format!("spec.analysis.{field}"), value).unwrap_or(100))
}

fn target(reference: &ObjectReference, notes: &mut Notes) -> Option<Target> {
    const SUPPORTED: &str = "write one of Deployment, DaemonSet";
    let kind = match reference.kind.as_str() {
        "Deployment" => Some(TargetKind::Deployment),
        "DaemonSet" => Some(TargetKind::DaemonSet),
        "Service" => {
            let what = if reference.api_version.starts_with("serving.knative.dev/") {
                "a Knative Service"
            } else {
                "a Service"
            };
            notes.refuse("spec.targetRef.kind", format!("{what} is not supported by this version yet"), SUPPORTED);
            None
        }
        other => {
            notes.refuse("spec.targetRef.kind", format!("{} cannot be rolled out", quoted(other)), SUPPORTED);
            None
        }
    };
    if kind.is_some() && reference.api_version != "apps/v1" {
        if reference.api_version.is_empty() {
            notes.refuse("spec.targetRef.apiVersion", "is empty", "write apps/v1");
        } else {
            notes.warn(format!("spec.targetRef.apiVersion: {} is read as apps/v1", quoted(&reference.api_version)));
        }
    }
    names::workload("spec.targetRef.name", &reference.name, notes);
    kind.map(|kind| Target { kind, name: reference.name.clone() })
}

fn autoscaler(reference: &AutoscalerReference, notes: &mut Notes) -> Option<Autoscaler> {
    match reference.kind.as_str() {
        "HorizontalPodAutoscaler" => {
            if !reference.api_version.starts_with("autoscaling/") {
                let why = format!("{} has no HorizontalPodAutoscaler", quoted(&reference.api_version));
                notes.refuse("spec.autoscalerRef.apiVersion", why, "write autoscaling/v2");
            }
        }
        "ScaledObject" => notes.refuse(
            "spec.autoscalerRef.kind",
            "ScaledObject is not supported by this version yet",
            "write HorizontalPodAutoscaler, or leave autoscalerRef out",
        ),
        other => notes.refuse(
            "spec.autoscalerRef.kind",
            format!("{} is no autoscaler", quoted(other)),
            "write HorizontalPodAutoscaler",
        ),
    }
    names::workload("spec.autoscalerRef.name", &reference.name, notes);
    let replicas = reference.primary_scaler_replicas.unwrap_or_default();
    let bound = |field: &str, value: Option<i64>, notes: &mut Notes| {
        let value = value?;
        let bounded = i32::try_from(value).ok().filter(|value| *value >= 1);
        if bounded.is_none() {
            let field = format!("spec.autoscalerRef.primaryScalerReplicas.{field}");
            notes.refuse(field, format!("{value} is no number of replicas"), "write a whole number from 1");
        }
        bounded
    };
    let primary_min = bound("minReplicas", replicas.min_replicas, notes);
    let primary_max = bound("maxReplicas", replicas.max_replicas, notes);
    if let (Some(min), Some(max)) = (primary_min, primary_max)
        && min > max
    {
        notes.refuse(
            "spec.autoscalerRef.primaryScalerReplicas",
            format!("minReplicas {min} is more than maxReplicas {max}"),
            "write a minReplicas that is not above maxReplicas",
        );
    }
    Some(Autoscaler { name: reference.name.clone(), primary_min, primary_max })
}

fn router<'a>(provider: Option<&str>, defaults: &Defaults<'a>, notes: &mut Notes) -> Option<&'a RouterAbility> {
    let chosen = provider.map(str::trim).filter(|name| !name.is_empty());
    let name = chosen.unwrap_or(defaults.provider);
    let router = defaults.routers.iter().find(|router| router.name == name);
    if router.is_none() {
        let origin = if chosen.is_some() { "" } else { " (the controller's own setting, as the Canary names none)" };
        let why = if PUBLISHED_ROUTERS.contains(&name) {
            format!("{name}{origin} is not supported by this version yet")
        } else {
            format!("{}{origin} is not a known router", quoted(name))
        };
        let known: Vec<_> = defaults.routers.iter().map(|router| router.name).collect();
        notes.refuse("spec.provider", why, format!("write one of {}", known.join(", ")));
    }
    router
}

fn references(spec: &CanarySpec, router: Option<&str>, namespace: &str, defaults: &Defaults<'_>, notes: &mut Notes) {
    let source = |field: &str, kind: &str, reference: &Option<ObjectReference>, notes: &mut Notes| {
        let Some(reference) = reference else { return };
        if reference.kind != kind {
            let why = format!("{} cannot be used here", quoted(&reference.kind));
            notes.refuse(format!("spec.{field}.kind"), why, format!("write {kind}"));
        }
        names::object(format!("spec.{field}.name"), &reference.name, notes);
    };
    source("ingressRef", "Ingress", &spec.ingress_ref, notes);
    source("routeRef", "ApisixRoute", &spec.route_ref, notes);
    let copies_ingress = router.is_some_and(|router| router == "nginx" || router == "skipper");
    if copies_ingress && spec.ingress_ref.is_none() {
        let why = format!("is missing, and the {} router copies an Ingress", router.unwrap_or_default());
        let mend = "name the Ingress whose backend is the Service: \
                    {apiVersion: networking.k8s.io/v1, kind: Ingress, name: …}";
        notes.refuse("spec.ingressRef", why, mend);
    }
    if router == Some("apisix") && spec.route_ref.is_none() {
        let mend = "name it: {apiVersion: apisix.apache.org/v2, kind: ApisixRoute, name: …}";
        notes.refuse("spec.routeRef", "is missing, and the apisix router copies an ApisixRoute", mend);
    }
    if !defaults.no_cross_namespace_refs {
        return;
    }
    let mut near = |field: String, other: &Option<String>| {
        if let Some(other) = written(other)
            && other != namespace
        {
            let why =
                format!("{} is another namespace, and this controller refuses references into others", quoted(other));
            notes.refuse(field, why, format!("move the object to {namespace}, or leave the namespace out"));
        }
    };
    if let Some(reference) = &spec.upstream_ref {
        near("spec.upstreamRef.namespace".into(), &reference.namespace);
    }
    for (index, metric) in spec.analysis.metrics.iter().enumerate() {
        if let Some(reference) = &metric.template_ref {
            near(format!("spec.analysis.metrics[{index}].templateRef.namespace"), &reference.namespace);
        }
    }
    for (index, alert) in spec.analysis.alerts.iter().enumerate() {
        near(format!("spec.analysis.alerts[{index}].providerRef.namespace"), &alert.provider_ref.namespace);
    }
}

/// Checks what all routers need, and returns the name of the apex Service.
fn service(spec: &CanarySpec, router: Option<&str>, notes: &mut Notes) -> String {
    let service = &spec.service;
    let name = match written(&service.name) {
        Some(name) => {
            names::service("spec.service.name", name, "write one", notes);
            name
        }
        None => {
            // A target whose own name is wrong was refused already.
            if names::is_workload(&spec.target_ref.name) {
                names::service("spec.service.name", &spec.target_ref.name, "name the Service here", notes);
            }
            spec.target_ref.name.as_str()
        }
    };
    ports(service, notes);
    if let Some(distribution) = written(&service.traffic_distribution)
        && !["PreferClose", "PreferSameZone", "PreferSameNode"].contains(&distribution)
    {
        let why = format!("{} is not known", quoted(distribution));
        notes.refuse("spec.service.trafficDistribution", why, "write PreferClose, PreferSameZone or PreferSameNode");
    }
    if router.is_some_and(|router| router.starts_with("gatewayapi")) && service.gateway_refs.is_empty() {
        let why = format!("is missing, and the {} router needs the parents of its route", router.unwrap_or_default());
        notes.refuse("spec.service.gatewayRefs", why, "name the Gateway: [{name: …, namespace: …}]");
    }
    for (index, parent) in service.gateway_refs.iter().enumerate() {
        names::object(format!("spec.service.gatewayRefs[{index}].name"), &parent.name, notes);
    }
    for (index, mirror) in service.mirror.iter().enumerate() {
        let field = format!("spec.service.mirror[{index}].backendRef");
        match &mirror.backend_ref {
            None => notes.refuse(field, "is missing", "name the Service: {name: …, port: …}"),
            Some(backend) => names::object(format!("{field}.name"), &backend.name, notes),
        }
    }
    matches("spec.service.match", &service.match_, notes);
    matches("spec.analysis.match", &spec.analysis.match_, notes);
    name.to_owned()
}

fn ports(service: &CanaryService, notes: &mut Notes) {
    const PORT: &str = "write a port from 1 to 65535";
    if service.is_unset() {
        notes.refuse("spec.service.port", "is missing", PORT);
    } else if !(1..=65535).contains(&service.port) {
        notes.refuse("spec.service.port", format!("{} is no port", service.port), PORT);
    }
    if let Some(name) = written(&service.port_name) {
        names::port("spec.service.portName", name, notes);
    }
    match &service.target_port {
        Some(IntOrString::Int(port)) if !(1..=65535).contains(port) => {
            notes.refuse("spec.service.targetPort", format!("{port} is no port"), PORT);
        }
        Some(IntOrString::String(name)) => names::target_port("spec.service.targetPort", name, notes),
        Some(IntOrString::Int(_)) | None => {}
    }
}

fn matches(field: &str, matches: &[MatchRequest], notes: &mut Notes) {
    let mut single = |field: String, text: &StringMatch| {
        let given = [&text.exact, &text.prefix, &text.suffix, &text.regex].into_iter().flatten().count();
        if given > 1 {
            notes.refuse(field, format!("has {given} conditions"), "keep one of exact, prefix, suffix, regex");
        }
    };
    for (index, request) in matches.iter().enumerate() {
        let of_path = [
            ("uri", &request.uri),
            ("scheme", &request.scheme),
            ("method", &request.method),
            ("authority", &request.authority),
        ];
        for (name, text) in of_path {
            if let Some(text) = text {
                single(format!("{field}[{index}].{name}"), text);
            }
        }
        let maps: [(&str, &BTreeMap<String, StringMatch>); 3] = [
            ("headers", &request.headers),
            ("queryParams", &request.query_params),
            ("withoutHeaders", &request.without_headers),
        ];
        for (name, texts) in maps {
            for (key, text) in texts {
                single(format!("{field}[{index}].{name}[{}]", quoted(key)), text);
            }
        }
    }
}
