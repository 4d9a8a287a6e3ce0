//! Builders of what goes into a step.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{CanaryService, MatchRequest};
use jiff::{SignedDuration, Timestamp};
use rollout::spec::{
    Alert, HookKind, Metric, MetricSource, Mirror, Range, SessionAffinity, Severity, Strategy, Target, TargetKind,
    Webhook,
};
use rollout::state::Promoted;
use rollout::{Measured, Reading, Revision, Run, Settings, Spec, Stage, State};

/// So many seconds after noon.
pub(crate) fn at(seconds: i64) -> Timestamp {
    let noon: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time as jiff writes it");
    noon + SignedDuration::from_secs(seconds)
}

/// Looks each minute; three failed checks end it; open requests get 30 s.
pub(crate) fn spec(strategy: Strategy) -> Spec {
    Spec {
        target: Target { kind: TargetKind::Deployment, name: "shop".into() },
        autoscaler: None,
        provider: "gatewayapi:v1".into(),
        metrics_server: None,
        ingress: None,
        route: None,
        service: CanaryService { port: 80, ..CanaryService::default() },
        service_name: "shop".into(),
        strategy,
        interval: Duration::from_secs(60),
        threshold: 3,
        primary_ready_percent: 100,
        canary_ready_percent: 100,
        progress_deadline: Duration::from_secs(600),
        judge: rollout::spec::Judge::default(),
        plan: None,
        metrics: vec![success_rate()],
        webhooks: Vec::new(),
        alerts: vec![Alert {
            name: "team".into(),
            provider_namespace: "eve".into(),
            provider_name: "slack".into(),
            severity: Severity::Info,
        }],
        affinity: None,
        skip_analysis: false,
        revert_on_deletion: false,
        git: rollout::spec::Git::default(),
        suspend: false,
        warnings: Vec::new(),
    }
}

pub(crate) fn settings() -> Settings {
    Settings { drain: Duration::from_secs(30), settle: Duration::ZERO, global_notifier: false }
}

pub(crate) fn success_rate() -> Metric {
    Metric {
        name: "request-success-rate".into(),
        source: MetricSource::SuccessRate,
        range: Range { min: Some(99.0), max: None },
        comparison: None,
        interval: Duration::from_secs(60),
        interval_text: "1m".into(),
    }
}

pub(crate) fn duration() -> Metric {
    Metric {
        name: "request-duration".into(),
        source: MetricSource::Duration,
        range: Range { min: None, max: Some(500.0) },
        ..success_rate()
    }
}

/// 20, 40, 60 percent.
pub(crate) fn canary() -> Strategy {
    weights(&[20, 40, 60])
}

pub(crate) fn weights(weights: &[u8]) -> Strategy {
    Strategy::Canary { weights: weights.to_vec(), promotion_step: None, mirror: None }
}

pub(crate) fn mirrored() -> Strategy {
    Strategy::Canary { weights: vec![20, 40, 60], promotion_step: None, mirror: Some(Mirror { percent: 100 }) }
}

pub(crate) fn gradual(step: u8) -> Strategy {
    Strategy::Canary { weights: vec![20, 40, 60], promotion_step: Some(step), mirror: None }
}

pub(crate) fn blue_green(iterations: u32) -> Strategy {
    Strategy::BlueGreen { iterations, mirror: None }
}

pub(crate) fn ab(iterations: u32) -> Strategy {
    Strategy::AbTesting { iterations, matches: vec![MatchRequest::default()] }
}

pub(crate) fn hook(kind: HookKind, name: &str) -> Webhook {
    Webhook {
        name: name.into(),
        kind,
        url: "http://gates.eve/".parse().expect("a URL"),
        timeout: Duration::from_secs(10),
        retries: 0,
        disable_tls: false,
        mute_alert: false,
        metadata: BTreeMap::new(),
    }
}

pub(crate) fn affinity() -> SessionAffinity {
    SessionAffinity {
        cookie_name: "canary-cookie".into(),
        primary_cookie_name: Some("primary-cookie".into()),
        max_age: 86_400,
        attributes: String::new(),
    }
}

pub(crate) fn revision(id: &str) -> Revision {
    Revision { id: id.into(), spec: format!("hash-{id}"), configs: BTreeMap::new() }
}

pub(crate) fn run(weight: u8) -> Run {
    Run { weight, ..Run::default() }
}

/// Revision `new` over the promoted revision `old`; checked at noon, after the stage was entered.
pub(crate) fn under_way(stage: Stage) -> State {
    State {
        stage,
        applied: Some(revision("new")),
        promoted: Some(Promoted::from(&revision("old"))),
        since: Some(at(0)),
        checked_at: Some(at(0)),
        ..State::default()
    }
}

/// Revision `old` is promoted; nothing is under way.
pub(crate) fn settled(stage: Stage) -> State {
    State {
        stage,
        applied: Some(revision("old")),
        promoted: Some(Promoted::from(&revision("old"))),
        since: Some(at(0)),
        ..State::default()
    }
}

/// The answer to the question behind a metric.
pub(crate) fn measured(metric: &Metric, reading: Reading, asked: Timestamp) -> Measured {
    Measured {
        metric: metric.name.clone(),
        reading,
        query: Some(format!("{}()", metric.name)),
        asked,
        window: metric.interval,
    }
}
