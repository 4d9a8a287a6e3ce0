//! Keeps whoever applies a repository from applying what was taken back, and lets them go on.

use crds::{AppliedBy, HoldState, OnRollback};
use rollout::desired::HoldAction;
use rollout::{DeployerSeen, Spec, State};
use serde_json::{Value, json};

use crate::attribution::{self, Sight};
use crate::cache::CanaryKey;
use crate::problem::ApiProblem;
use crate::rest::{PatchType, Rest};

/// Says on the object who holds it and which commit: `NAMESPACE/CANARY@COMMIT`.
const HOLD: &str = "serin.dev/hold";

/// What was taken out of the object for the hold, to be put back.
const KEPT: &str = "serin.dev/hold-keeps";

/// What is seen of the operator's object that is held, or would be if the revision were taken back.
pub fn seen(canary: &CanaryKey, spec: &Spec, state: &State, sight: &dyn Sight) -> Option<DeployerSeen> {
    let hold = state.git.as_ref().and_then(|git| git.hold.as_ref());
    let by = match hold {
        Some(hold) => match hold.state {
            HoldState::Wanted | HoldState::Held | HoldState::Lifting => &hold.object,
            HoldState::Lifted | HoldState::NotOurs => return None,
        },
        None if spec.git.on_rollback == OnRollback::None => return None,
        None => state.source.as_ref()?.applied_by.as_ref()?,
    };
    let (deployer, _, object) = attribution::deployer(by, sight)?;
    let held = annotation(&object, HOLD).is_some_and(|word| word.starts_with(&prefix(canary)));
    Some(DeployerSeen {
        head: deployer.head(&object, sight),
        held,
        suspended: !held && (deployer.is_suspended(&object) || annotation(&object, HOLD).is_some()),
    })
}

/// Sets or lifts the hold.
///
/// # Errors
/// When the API refuses.
pub async fn apply(
    rest: &Rest,
    canary: &CanaryKey,
    action: HoldAction,
    state: &State,
    sight: &dyn Sight,
) -> Result<(), ApiProblem> {
    let Some(hold) = state.git.as_ref().and_then(|git| git.hold.as_ref()) else { return Ok(()) };
    let Some((deployer, kind, object)) = attribution::deployer(&hold.object, sight) else { return Ok(()) };
    let patch = match action {
        HoldAction::Keep => return Ok(()),
        HoldAction::Set => {
            let (mut patch, kept) = deployer.hold(&object);
            let commit = hold.commit.as_deref().or(state.git.as_ref().and_then(|git| git.failed_commit.as_deref()));
            patch["metadata"]["annotations"] =
                json!({ HOLD: format!("{}{}", prefix(canary), commit.unwrap_or_default()), KEPT: kept });
            patch
        }
        HoldAction::Lift => {
            let mut patch = deployer.lift(annotation(&object, KEPT));
            patch["metadata"]["annotations"] = json!({ HOLD: null, KEPT: null });
            patch
        }
    };
    let AppliedBy { namespace, name, .. } = &hold.object;
    // Only the object that was seen is changed: a person may be at work on it.
    let mut patch = patch;
    patch["metadata"]["resourceVersion"] = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
    rest.patch(kind, namespace, name, None, PatchType::Merge, &patch).await.map(drop)
}

fn prefix(canary: &CanaryKey) -> String {
    format!("{}/{}@", canary.namespace, canary.name)
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}
