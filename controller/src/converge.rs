//! From what should be true to the objects that make it so, in the order in which they must be written: what serves
//! comes before what sends to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollout::desired::{BaselineAction, Desired as Wanted, PrimaryAction, ScaleAction};
use serde_json::Value;

use crate::objects::{Desired, Kind, Lookup, kinds};
use crate::observe::{Scene, track};
use crate::problem::ApiProblem;
use crate::routers::RouteError;
use crate::workloads::{self, AutoscalerMode, PrimaryMode, ScaleTo, WorkloadError};

type Objects = BTreeMap<(Kind, String), Arc<Value>>;

/// Why something cannot be made true.
#[derive(Debug, thiserror::Error)]
pub enum ConvergeError {
    /// The Kubernetes API refused.
    #[error(transparent)]
    Api(#[from] ApiProblem),
    /// A workload does not allow it.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// A route does not allow it.
    #[error(transparent)]
    Route(#[from] RouteError),
}

impl ConvergeError {
    /// One word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            ConvergeError::Api(problem) => problem.reason(),
            ConvergeError::Workload(_) => "TargetInvalid",
            ConvergeError::Route(_) => "RouteBroken",
        }
    }

    /// True when the same may well succeed in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            ConvergeError::Api(problem) => problem.is_passing(),
            ConvergeError::Workload(_) | ConvergeError::Route(_) => false,
        }
    }
}

/// Makes it true: writes what differs, stops at the first refusal.
pub async fn converge(scene: &Scene<'_>, wanted: &Wanted, revision: Option<&str>) -> Result<(), ConvergeError> {
    let mut objects = render(scene, wanted, revision).await?;
    if wanted.baseline == BaselineAction::Remove {
        objects.extend(workloads::remove_baseline(scene.spec));
    }
    scene.context.writer.converge(scene.view, scene.owner, &objects).await?;
    Ok(())
}

async fn render(scene: &Scene<'_>, wanted: &Wanted, revision: Option<&str>) -> Result<Vec<Desired>, ConvergeError> {
    let Some((target, tracked)) = &scene.target else {
        // Without a target there is still traffic to be sent where it is served.
        let routes = wanted.routes.then(|| scene.router.render(&scene.route(&wanted.intent), scene.view));
        return Ok(routes.transpose()?.unwrap_or_default());
    };
    let plan = scene.plan(target, tracked)?;
    let view = scene.view;
    let kind = scene.spec.target.kind;
    let primary = scene.primary.as_deref();
    let autoscaler =
        scene.spec.autoscaler.as_ref().and_then(|wanted| view.get(kinds::HORIZONTAL_POD_AUTOSCALER, &wanted.name));
    let replicas = workloads::replicas_from_zero(&plan, primary, autoscaler.as_deref());
    let mut objects = Vec::new();
    if wanted.services {
        objects.extend(workloads::services(&plan, view));
    }
    let mode = match wanted.primary {
        PrimaryAction::Keep => None,
        // A primary that stands is left alone, and so are its configs.
        PrimaryAction::Create => primary.is_none().then_some(PrimaryMode::Create),
        PrimaryAction::Promote => Some(PrimaryMode::Promote),
        PrimaryAction::Rebuild => {
            objects.extend(former_primary(scene, revision.unwrap_or_default(), replicas).await?);
            None
        }
    };
    if let Some(mode) = mode {
        let current = plan.revision();
        // What was analysed is what is promoted, and nothing else.
        if revision.is_none_or(|revision| revision == current.id) {
            let sources = config_sources(scene, tracked).await?;
            objects.extend(workloads::config_copies(&plan, &sources));
            objects.push(workloads::desired_primary(&plan, primary, mode, &current.id, replicas)?);
        }
    }
    if wanted.services && (primary.is_some() || mode.is_some()) {
        let mode = match wanted.primary {
            PrimaryAction::Promote => AutoscalerMode::Update,
            PrimaryAction::Keep | PrimaryAction::Create | PrimaryAction::Rebuild => AutoscalerMode::Create,
        };
        objects.extend(workloads::autoscaler(&plan, view, mode)?);
    }
    if let (BaselineAction::Run { beside }, Some(primary)) = (&wanted.baseline, primary) {
        let size = target.pointer("/spec/replicas").map_or(Some(1), Value::as_i64).filter(|size| *size > 0);
        let live = scene.baseline.as_deref();
        objects.push(workloads::baseline_service(&plan, view));
        objects.push(workloads::desired_baseline(&plan, primary, live, beside, size.unwrap_or(replicas)));
    }
    if wanted.routes {
        objects.push(workloads::apex_service(&plan, view));
        objects.extend(scene.router.render(&scene.route(&wanted.intent), view)?);
    }
    match wanted.target {
        ScaleAction::Keep => {}
        ScaleAction::Up if !workloads::scaled_down(kind, target) => {}
        ScaleAction::Up => {
            objects.push(workloads::scale(kind, target, &scene.spec.target.name, ScaleTo::FromZero { replicas }));
        }
        ScaleAction::Down => objects.push(workloads::scale(kind, target, &scene.spec.target.name, ScaleTo::Zero)),
    }
    if wanted.revert {
        objects.extend(workloads::revert_apex(&plan, &whole_apex(scene).await?, scene.heir.as_ref()));
        if let Some(heir) = &scene.heir {
            objects.extend(scene.router.hand_over(&scene.route(&wanted.intent), view, heir)?);
        }
        objects.extend(scene.router.finalize(&scene.route(&wanted.intent), view)?);
    }
    Ok(objects)
}

/// The primary as it was before it was deleted; its configs still stand.
async fn former_primary(scene: &Scene<'_>, revision: &str, replicas: i64) -> Result<Option<Desired>, ConvergeError> {
    let Some(former) = scene.former_target(revision).await? else { return Ok(None) };
    let tracked = track(scene.context, scene.view, &former).await??;
    let plan = scene.plan(&former, &tracked)?;
    Ok(Some(workloads::desired_primary(&plan, None, PrimaryMode::Create, revision, replicas)?))
}

/// The ConfigMaps and Secrets to be copied and the copies that stand, read now and dropped after the write.
async fn config_sources(scene: &Scene<'_>, tracked: &workloads::Tracked) -> Result<Objects, ApiProblem> {
    let mut objects = Objects::new();
    for (kind, name) in tracked.names() {
        for name in [name.to_owned(), workloads::copy_name(name)] {
            // What the watch does not show is not worth a request.
            if scene.view.get(kind.object(), &name).is_none() {
                continue;
            }
            if let Some(object) = scene.context.configs.read(kind.object(), &scene.owner.namespace, &name).await? {
                objects.insert((kind.object(), name), Arc::new(object));
            }
        }
    }
    Ok(objects)
}

/// The apex Service with its annotations, which the cache does not keep.
async fn whole_apex(scene: &Scene<'_>) -> Result<Objects, ApiProblem> {
    let name = &scene.spec.service_name;
    let found = scene.context.rest.get(kinds::SERVICE, &scene.owner.namespace, name).await?;
    Ok(found.map(|service| ((kinds::SERVICE, name.clone()), Arc::new(service))).into_iter().collect())
}
