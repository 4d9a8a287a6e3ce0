//! A parsed Canary for tests.

use std::time::Duration;

use crds::CanaryService;
use rollout::spec::{Spec, Strategy, Target, TargetKind};

/// A Deployment `podinfo` behind the Service `podinfo-svc`, in steps of 10 up to 50.
pub(crate) fn spec() -> Spec {
    Spec {
        target: Target { kind: TargetKind::Deployment, name: "podinfo".into() },
        autoscaler: None,
        provider: "kubernetes".into(),
        metrics_server: None,
        ingress: None,
        route: None,
        service: CanaryService::default(),
        service_name: "podinfo-svc".into(),
        strategy: Strategy::Canary { weights: vec![10, 20, 30, 40, 50], promotion_step: None, mirror: None },
        interval: Duration::from_secs(30),
        threshold: 5,
        primary_ready_percent: 100,
        canary_ready_percent: 100,
        progress_deadline: Duration::from_secs(600),
        judge: rollout::spec::Judge::default(),
        plan: None,
        metrics: vec![],
        webhooks: vec![],
        alerts: vec![],
        affinity: None,
        skip_analysis: false,
        revert_on_deletion: false,
        git: rollout::spec::Git::default(),
        suspend: false,
        warnings: vec![],
    }
}
