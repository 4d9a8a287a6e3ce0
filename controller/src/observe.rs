//! One look at the cluster: from objects to plain values for the core. Costs a request only when a ConfigMap or
//! Secret changed since its checksum was made.

use std::sync::Arc;

use jiff::Timestamp;
use rollout::desired::Intent;
use rollout::spec::MetricSource;
use rollout::{BaselineSeen, Command, Observation, PrimarySeen, Readiness, Spec, Stage, State, TargetSeen, Traffic};
use serde_json::Value;

use crate::attribution;
use crate::context::Context;
use crate::git_rollback;
use crate::objects::{At, Kind, Lookup, Owner, kinds};
use crate::problem::ApiProblem;
use crate::rest::Select;
use crate::routers::{self, Observed, Route, Router};
use crate::view::View;
use crate::workloads::{self, ConfigKind, Found, Plan, Tracked, WorkloadError};

/// The finalizer of the contract.
pub const FINALIZER: &str = "finalizer.flagger.app";
/// What is asked.
pub const COMMAND: &str = "serin.dev/command";
/// Its unique id.
pub const COMMAND_ID: &str = "serin.dev/command-id";
/// Who asks.
pub const COMMAND_BY: &str = "serin.dev/command-by";

/// Former templates read at most; Kubernetes keeps ten of a workload unless it is told otherwise.
const HISTORY: usize = 200;

/// The objects of one look, for rendering what should be.
pub struct Scene<'a> {
    /// The controller.
    pub context: &'a Context,
    /// Where objects are looked up.
    pub view: &'a View,
    /// The Canary.
    pub owner: &'a Owner,
    /// What it asks for.
    pub spec: &'a Spec,
    /// The target, when it exists and is understood.
    pub target: Option<(Arc<Value>, Tracked)>,
    /// The primary, when it exists.
    pub primary: Option<Arc<Value>>,
    /// The copy of the primary that the canary is compared with, when the Canary has made one.
    pub baseline: Option<Arc<Value>>,
    /// The router.
    pub router: &'static dyn Router,
    /// The owner of what users reach when the Canary goes: a reference to the workload that asked for it by annotation.
    pub heir: Option<Value>,
}

impl<'a> Scene<'a> {
    /// Looks. Errors are those of reading a ConfigMap or Secret.
    pub async fn look(
        context: &'a Context,
        view: &'a View,
        owner: &'a Owner,
        spec: &'a Spec,
    ) -> Result<(Scene<'a>, Vec<(String, String)>), ApiProblem> {
        let kind = workloads::object_kind(spec.target.kind);
        let mut problems = Vec::new();
        let target = view.get(kind, &spec.target.name);
        let primary = view.get(kind, &spec.primary_name());
        let target = match target {
            Some(target) => match track(context, view, &target).await? {
                Ok(tracked) => Some((target, tracked)),
                Err(problem) => {
                    problems.push(("TargetInvalid".to_owned(), problem.to_string()));
                    None
                }
            },
            None => None,
        };
        for (kind, namespace, name) in references(owner, spec) {
            // Asked for here, so that nothing is decided before its kind is listed, and so that its changes wake us.
            view.get_in(kind, &namespace, &name);
        }
        let router = routers::by_name(&spec.provider).ok_or_else(|| unknown_router(&spec.provider))?;
        let baseline = view.get(kind, &spec.baseline_name()).filter(|baseline| owner.controls(baseline));
        problems.extend(taken_by_others(view, owner, spec));
        let scene = Scene { context, view, owner, spec, target, primary, baseline, router, heir: None };
        if let Some((target, tracked)) = &scene.target
            && let Err(problem) = scene.plan(target, tracked)
        {
            problems.push(("TargetInvalid".to_owned(), problem.to_string()));
        }
        Ok((scene, problems))
    }

    /// The plan for this target.
    pub fn plan<'b>(&'b self, target: &'b Value, tracked: &Tracked) -> Result<Plan<'b>, WorkloadError> {
        Plan::new(self.owner, self.spec, &self.context.settings.workloads, target, tracked.clone())
    }

    /// The target as it was at this revision, out of its history; `None` when that is not kept. Costs a request.
    pub async fn former_target(&self, revision: &str) -> Result<Option<Value>, ApiProblem> {
        let Some((target, _)) = &self.target else { return Ok(None) };
        let kind = self.spec.target.kind;
        let (kept, labels) = (workloads::history_kind(kind), workloads::history_labels(target));
        let history = self.context.rest.list(kept, &self.owner.namespace, Select::Labels(&labels), HISTORY).await?;
        Ok(workloads::former_target(kind, target, &history, revision))
    }

    /// That a policy refuses the pods of the target or the primary, and what it says; `None` when they are ready all the
    /// same. Deployments repeat it in a condition; DaemonSets tell it in Events alone.
    pub fn refused_pods(&self, now: Timestamp) -> Option<String> {
        let (spec, kind) = (self.spec, self.spec.target.kind);
        let target = self.target.as_ref().map(|(target, _)| (&spec.target.name, spec.canary_ready_percent, target));
        let primary_name = spec.primary_name();
        let primary = self.primary.as_ref().map(|primary| (&primary_name, spec.primary_ready_percent, primary));
        [target, primary].into_iter().flatten().find_map(|(name, percent, workload)| {
            let denial = workloads::refused_pods(workload)?;
            match workloads::readiness(kind, workload, percent, spec.progress_deadline, None, now) {
                Readiness::Ready | Readiness::ScaledToZero => None,
                Readiness::NotYet(_) | Readiness::Stuck(_) => Some(format!(
                    "pods of {} {name} are denied by {denial}; change the pod template or the policy",
                    kind.as_str()
                )),
            }
        })
    }

    /// What the router is told.
    pub fn route<'b>(&'b self, intent: &'b Intent) -> Route<'b> {
        Route {
            owner: self.owner,
            spec: self.spec,
            intent,
            ingress_annotations_prefix: &self.context.settings.ingress_annotations_prefix,
            ingress_class: self.context.settings.ingress_class.as_deref(),
        }
    }

    /// Plain values for the core.
    pub fn observation(
        &self,
        canary: &Value,
        state: &State,
        problems: Vec<(String, String)>,
        now: Timestamp,
    ) -> Observation {
        let spec = self.spec;
        let kind = spec.target.kind;
        let plan = self.target.as_ref().and_then(|(target, tracked)| self.plan(target, tracked).ok());
        // Only where somebody waits does the time of the last transition start a deadline.
        let (canary_since, primary_since) = match &state.stage {
            Stage::Progressing(_) | Stage::WaitingPromotion(_) | Stage::Terminating => (state.since, None),
            Stage::Promoting { .. } => (None, state.since),
            Stage::New
            | Stage::Initializing
            | Stage::Initialized
            | Stage::Waiting { .. }
            | Stage::Finalising { .. }
            | Stage::Succeeded
            | Stage::Failed { .. }
            | Stage::Terminated => (None, None),
        };
        let target = plan.as_ref().map(|plan| TargetSeen {
            revision: plan.revision(),
            scaled_down: workloads::scaled_down(kind, plan.target),
            readiness: workloads::readiness(
                kind,
                plan.target,
                spec.canary_ready_percent,
                spec.progress_deadline,
                canary_since,
                now,
            ),
            matches_primary: self.primary.as_ref().is_some_and(|primary| workloads::primary_matches(plan, primary)),
            source: Some(attribution::attribute(plan.target, self.view, self.context.commits.as_ref())),
        });
        let primary = self.primary.as_ref().map(|primary| PrimarySeen {
            revision: workloads::written_revision(primary).map(str::to_owned),
            readiness: workloads::readiness(
                kind,
                primary,
                spec.primary_ready_percent,
                spec.progress_deadline,
                primary_since,
                now,
            ),
        });
        let baseline = self.baseline_seen(state, canary_since, now);
        let deleting = canary.at("/metadata/deletionTimestamp").is_some();
        let apex = plan.as_ref().is_some_and(|plan| {
            // What the Canary owns goes with it and need not be given back, unless there is somebody to have it.
            let goes_along = deleting
                && self.heir.is_none()
                && self
                    .view
                    .get(kinds::SERVICE, &spec.service_name)
                    .is_none_or(|service| self.owner.controls(&service));
            !goes_along && workloads::apex_sends_to_primary(plan, self.view)
        });
        Observation {
            uid: self.owner.uid.clone(),
            namespace: self.owner.namespace.clone(),
            name: self.owner.name.clone(),
            generation: canary.at("/metadata/generation").and_then(Value::as_i64).unwrap_or_default(),
            deleting,
            finalizer: has_finalizer(canary),
            command: command(canary),
            target,
            primary,
            baseline,
            apex,
            traffic: self.traffic(state),
            deployer: git_rollback::seen(self.view.canary(), spec, state, self.view),
            problems,
        }
    }

    /// What is left of a baseline is one: also a Service without pods is to be taken away.
    fn baseline_seen(&self, state: &State, since: Option<Timestamp>, now: Timestamp) -> Option<BaselineSeen> {
        let spec = self.spec;
        let Some(workload) = &self.baseline else {
            let service = self.view.get(kinds::SERVICE, &spec.baseline_service_name())?;
            return self.owner.controls(&service).then(|| BaselineSeen {
                readiness: Readiness::NotYet("its workload is gone".into()),
                serves: false,
                cost: crds::BaselineStatus::default(),
            });
        };
        let (percent, deadline) = (spec.canary_ready_percent, spec.progress_deadline);
        let readiness = workloads::readiness(spec.target.kind, workload, percent, deadline, since, now);
        let beside = state.applied.as_ref().map(|applied| applied.id.as_str());
        Some(workloads::baseline_seen(workload, beside, readiness))
    }

    fn traffic(&self, state: &State) -> Traffic {
        let intent = Intent::of(self.spec, state);
        match self.router.observe(&self.route(&intent), self.view) {
            Ok(Observed::Split { baseline_weight, .. }) if baseline_weight != intent.baseline_weight => {
                let (name, wanted) = (self.spec.baseline_service_name(), intent.baseline_weight);
                Traffic::Pending(format!("the routes send {baseline_weight} % to {name}, {wanted} % is wanted"))
            }
            Ok(Observed::Split { canary_weight, baseline_weight: _, mirrored }) => {
                Traffic::Split { weight: canary_weight, mirrored }
            }
            Ok(Observed::Pending(why)) => Traffic::Pending(why),
            Ok(Observed::Missing) => Traffic::Missing,
            Err(problem) => Traffic::Broken(problem.to_string()),
        }
    }
}

/// Checksums of what the target uses; a request only for what changed.
pub(crate) async fn track(
    context: &Context,
    view: &View,
    target: &Value,
) -> Result<Result<Tracked, WorkloadError>, ApiProblem> {
    let settings = &context.settings.workloads;
    let mut found = Vec::new();
    for reference in workloads::tracked_refs(target, settings) {
        let checksum = match reference.kind {
            ConfigKind::ConfigMap => |object: &Value| workloads::checksum(ConfigKind::ConfigMap, object),
            ConfigKind::Secret => |object: &Value| workloads::checksum(ConfigKind::Secret, object),
        };
        let seen = match context.configs.checksum(view, reference.kind.object(), &reference.name, checksum).await? {
            None => Found::Missing,
            Some(None) => Found::Untracked,
            Some(Some(checksum)) => Found::Checksum(checksum),
        };
        found.push((reference, seen));
    }
    Ok(workloads::track(target, found))
}

/// That somebody else has what the baseline would be called.
fn taken_by_others(view: &View, owner: &Owner, spec: &Spec) -> Option<(String, String)> {
    let workload = workloads::object_kind(spec.target.kind);
    let names = [(workload, spec.baseline_name()), (kinds::SERVICE, spec.baseline_service_name())];
    let (kind, name) = names
        .into_iter()
        .filter(|_| spec.runs_baseline())
        .find(|(kind, name)| view.get(*kind, name).is_some_and(|object| !owner.controls(&object)))?;
    let message = format!(
        "{} {name} is not this Canary's, and its baseline would be called so; delete or rename it, or write \
         baseline: Primary",
        kind.kind
    );
    Some(("BaselineNameTaken".to_owned(), message))
}

fn unknown_router(name: &str) -> ApiProblem {
    ApiProblem {
        class: crate::problem::Class::Invalid,
        doing: "choose a router".into(),
        message: format!("provider {name} is not known"),
    }
}

/// What the Canary names and the pass may need, besides its workloads, Services and routes.
fn references(owner: &Owner, spec: &Spec) -> Vec<(Kind, String, String)> {
    let autoscalers = spec.autoscaler.iter().flat_map(|autoscaler| {
        [autoscaler.name.clone(), format!("{}-primary", autoscaler.name)]
            .map(|name| (kinds::HORIZONTAL_POD_AUTOSCALER, owner.namespace.clone(), name))
    });
    let templates = spec.metrics.iter().filter_map(|metric| match &metric.source {
        MetricSource::Template { namespace, name, .. } => {
            Some((kinds::METRIC_TEMPLATE, namespace.clone(), name.clone()))
        }
        MetricSource::SuccessRate | MetricSource::Duration | MetricSource::Inline(_) => None,
    });
    let alerts = spec
        .alerts
        .iter()
        .map(|alert| (kinds::ALERT_PROVIDER, alert.provider_namespace.clone(), alert.provider_name.clone()));
    autoscalers.chain(templates).chain(alerts).collect()
}

fn has_finalizer(canary: &Value) -> bool {
    canary
        .at("/metadata/finalizers")
        .and_then(Value::as_array)
        .is_some_and(|finalizers| finalizers.iter().any(|finalizer| finalizer == FINALIZER))
}

fn command(canary: &Value) -> Option<Command> {
    let annotations = canary.at("/metadata/annotations")?;
    let text = |key: &str| annotations.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(Command { verb: text(COMMAND)?, id: text(COMMAND_ID)?, by: text(COMMAND_BY) })
}
