//! What a Canary asks for, after it was parsed: types that cannot be wrong. See [`crate::parse`] for the way here.

mod judge;

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{Baseline, CanaryService, MatchRequest, OnRollback};

pub use self::judge::{Against, AutoPlan, Comparison, Effect, Judge, Measure, Method, MissingData, Quantile, Rate};

/// A parsed Canary.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The workload that users change.
    pub target: Target,
    /// Its autoscaler.
    pub autoscaler: Option<Autoscaler>,
    /// Name of the router; one that the registry knows.
    pub provider: String,
    /// Prometheus for builtin and inline queries; `None` means the controller's own setting.
    pub metrics_server: Option<String>,
    /// Source object of routers that copy one (nginx, skipper): the Ingress's name.
    pub ingress: Option<String>,
    /// Source object of routers that copy one (apisix): the route's name.
    pub route: Option<String>,
    /// Services and routes, as written.
    pub service: CanaryService,
    /// `service.name`, or the target's name.
    pub service_name: String,
    /// How traffic moves.
    pub strategy: Strategy,
    /// Time between two looks.
    pub interval: Duration,
    /// Failed checks that end the rollout; at least 1.
    pub threshold: u32,
    /// Percent of the primary's replicas that must be available.
    pub primary_ready_percent: u8,
    /// Percent of the canary's replicas that must be available.
    pub canary_ready_percent: u8,
    /// How long pods may take.
    pub progress_deadline: Duration,
    /// How samples become a verdict.
    pub judge: Judge,
    /// The weights of the strategy are only where it starts: they follow from the traffic.
    pub plan: Option<AutoPlan>,
    /// Checks.
    pub metrics: Vec<Metric>,
    /// Hooks and gates.
    pub webhooks: Vec<Webhook>,
    /// Who is told.
    pub alerts: Vec<Alert>,
    /// Keep users where they are.
    pub affinity: Option<SessionAffinity>,
    /// Promote without analysis.
    pub skip_analysis: bool,
    /// Give the target back when the Canary is deleted.
    pub revert_on_deletion: bool,
    /// Do nothing.
    pub suspend: bool,
    /// What happens in Git when a revision is taken back.
    pub git: Git,
    /// What was understood otherwise than written, to be told once.
    pub warnings: Vec<String>,
}

impl Spec {
    /// Name of the primary workload.
    pub fn primary_name(&self) -> String {
        format!("{}-primary", self.target.name)
    }

    /// A copy of the primary runs beside the canary, as long as it is analysed.
    pub fn runs_baseline(&self) -> bool {
        self.judge.baseline == Baseline::Concurrent && !self.skip_analysis
    }

    /// Name of the copy of the primary that the canary is compared with.
    pub fn baseline_name(&self) -> String {
        format!("{}-baseline", self.target.name)
    }

    /// Name of the Service in front of it.
    pub fn baseline_service_name(&self) -> String {
        format!("{}-baseline", self.service_name)
    }
}

/// What happens in Git when a revision is taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Git {
    /// What is written.
    pub on_rollback: OnRollback,
    /// Who applies the repository is kept from applying the revision again.
    pub hold: bool,
    /// Name of the Secret with what may write.
    pub secret: Option<String>,
    /// What the repository is on, where its address does not tell.
    pub forge: Option<String>,
}

/// The workload that users change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What it is.
    pub kind: TargetKind,
    /// Its name, in the namespace of the Canary.
    pub name: String,
}

/// Workloads that can be rolled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` DaemonSet.
    DaemonSet,
}

impl TargetKind {
    /// The kind as Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            TargetKind::Deployment => "Deployment",
            TargetKind::DaemonSet => "DaemonSet",
        }
    }
}

/// The autoscaler of the target; the primary gets a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autoscaler {
    /// Name of the HorizontalPodAutoscaler.
    pub name: String,
    /// Replaces `minReplicas` in the copy.
    pub primary_min: Option<i32>,
    /// Replaces `maxReplicas` in the copy.
    pub primary_max: Option<i32>,
}

/// How traffic moves.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// By weight.
    Canary {
        /// Strictly increasing percents, none above 100; the last is where promotion begins.
        weights: Vec<u8>,
        /// Percent by which traffic goes back to the primary per interval; `None`: at once.
        promotion_step: Option<u8>,
        /// One interval of shadow traffic first.
        mirror: Option<Mirror>,
    },
    /// By matches: those who match see the canary.
    AbTesting {
        /// Checks before promotion; at least 1.
        iterations: u32,
        /// Any of these.
        matches: Vec<MatchRequest>,
    },
    /// No user sees the canary before it passed.
    BlueGreen {
        /// Checks before promotion; at least 1.
        iterations: u32,
        /// Shadow traffic during the analysis.
        mirror: Option<Mirror>,
    },
}

impl Strategy {
    /// The name that metrics and notices use.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Strategy::Canary { .. } => "canary",
            Strategy::AbTesting { .. } => "ab-testing",
            Strategy::BlueGreen { .. } => "blue-green",
        }
    }
}

/// Shadow traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Percent of the requests that is copied.
    pub percent: u8,
}

/// One check.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// As written; several may share one.
    pub name: String,
    /// Where its value comes from.
    pub source: MetricSource,
    /// What is accepted.
    pub range: Range,
    /// How it is compared; `None` with [`Method::Threshold`].
    pub comparison: Option<Comparison>,
    /// Window of the query.
    pub interval: Duration,
    /// The window as written, for templates.
    pub interval_text: String,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricSource {
    /// `request-success-rate`, in percent.
    SuccessRate,
    /// `request-duration`, in milliseconds.
    Duration,
    /// PromQL in the Canary itself.
    Inline(String),
    /// A MetricTemplate.
    Template {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Values for `{{ variables.key }}`.
        variables: BTreeMap<String, String>,
    },
}

/// Accepted values, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range {
    /// Smallest accepted.
    pub min: Option<f64>,
    /// Largest accepted.
    pub max: Option<f64>,
}

/// A hook or gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// As written; several may share one.
    pub name: String,
    /// When it is called.
    pub kind: HookKind,
    /// Where.
    pub url: url::Url,
    /// For one attempt.
    pub timeout: Duration,
    /// Further attempts.
    pub retries: u32,
    /// Do not verify the server's certificate.
    pub disable_tls: bool,
    /// Tell nobody that the gate is closed.
    pub mute_alert: bool,
    /// Sent along.
    pub metadata: BTreeMap<String, String>,
}

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookKind {
    /// Gate before the canary is scaled up.
    ConfirmRollout,
    /// Check before the first traffic.
    PreRollout,
    /// Check at every look.
    Rollout,
    /// Gate before each weight step.
    ConfirmTrafficIncrease,
    /// Gate before promotion.
    ConfirmPromotion,
    /// Told after the end.
    PostRollout,
    /// Rolls back when it answers yes.
    Rollback,
    /// Told of every event.
    Event,
}

impl HookKind {
    /// Every kind.
    pub const ALL: [HookKind; 8] = [
        HookKind::ConfirmRollout,
        HookKind::PreRollout,
        HookKind::Rollout,
        HookKind::ConfirmTrafficIncrease,
        HookKind::ConfirmPromotion,
        HookKind::PostRollout,
        HookKind::Rollback,
        HookKind::Event,
    ];

    /// The kind that is written so in a Canary.
    pub fn parse(text: &str) -> Option<HookKind> {
        HookKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The type as written in a Canary.
    pub const fn as_str(self) -> &'static str {
        match self {
            HookKind::ConfirmRollout => "confirm-rollout",
            HookKind::PreRollout => "pre-rollout",
            HookKind::Rollout => "rollout",
            HookKind::ConfirmTrafficIncrease => "confirm-traffic-increase",
            HookKind::ConfirmPromotion => "confirm-promotion",
            HookKind::PostRollout => "post-rollout",
            HookKind::Rollback => "rollback",
            HookKind::Event => "event",
        }
    }
}

/// Who is told of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// As written; several may share one.
    pub name: String,
    /// Namespace of the AlertProvider.
    pub provider_namespace: String,
    /// Name of the AlertProvider.
    pub provider_name: String,
    /// Least severity that is told.
    pub severity: Severity,
}

/// How bad news is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// All is told.
    Info,
    /// Gates, manual rollbacks and failures.
    Warn,
    /// Failures.
    Error,
}

impl Severity {
    /// As written in `severity` of an alert.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
        }
    }
}

/// Keep users where they are by a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionAffinity {
    /// Name of the canary's cookie.
    pub cookie_name: String,
    /// Name of the primary's cookie.
    pub primary_cookie_name: Option<String>,
    /// Seconds that the cookie lives.
    pub max_age: u64,
    /// `; `-joined attributes in the order Domain, HttpOnly, Partitioned, Path, SameSite, Secure.
    pub attributes: String,
}

/// What the controller adds to a Canary when it parses one.
#[derive(Clone, Debug)]
pub struct Defaults<'a> {
    /// Router for Canaries that name none.
    pub provider: &'a str,
    /// Every router that the registry knows, with what it can do.
    pub routers: &'a [RouterAbility],
    /// Shortest time between two looks.
    pub min_interval: Duration,
    /// Refuse references into other namespaces.
    pub no_cross_namespace_refs: bool,
}

/// What a router can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterAbility {
    /// As written in `spec.provider`.
    pub name: &'static str,
    /// Shares traffic by weight.
    pub weights: bool,
    /// Sends by match, for A/B testing.
    pub matches: bool,
    /// Copies traffic.
    pub mirror: bool,
    /// Keeps users by cookie.
    pub affinity: bool,
    /// Shares traffic among three.
    pub baseline: bool,
}
