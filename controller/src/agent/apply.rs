//! Makes a plan true: step by step, those of a step side by side, and what differs alone.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use serde_json::Value;
use tokio::time::Instant;

use super::fields::{fields, owns_replicas};
use super::kinds::Kinds;
use super::manifest::ObjectId;
use super::order::Step;
use super::plan::{Entry, Wanted, may_go};
use super::problem::{Problem, Reason};
use super::source::SourceKey;
use crate::objects::Kind;
use crate::problem::{ApiProblem, Class};
use crate::rest::{PatchType, Rest};

/// Requests of one GitSource at once.
const AT_ONCE: usize = 8;

/// Between two looks at a definition that is not served yet.
const LOOK: Duration = Duration::from_millis(200);

const DEFINITION: Kind = Kind {
    group: "apiextensions.k8s.io",
    version: "v1",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
};

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// What stands now, with its version in the cluster.
    pub entries: BTreeMap<ObjectId, (Entry, String)>,
    /// What was refused.
    pub problems: Vec<Problem>,
}

/// Applies; what is refused holds nothing else up.
pub async fn apply(rest: &Rest, steps: BTreeMap<Step, Vec<Wanted>>, commit: &str, patience: Duration) -> Applied {
    let mut applied = Applied::default();
    for (step, wanted) in steps {
        let definitions: Vec<String> = match step {
            Step::Definitions => wanted.iter().map(|wanted| wanted.id.name.clone()).collect(),
            Step::Namespaces
            | Step::Foundations
            | Step::Configuration
            | Step::Services
            | Step::Workloads
            | Step::Surroundings
            | Step::CustomResources
            | Step::Admission => Vec::new(),
        };
        let mut answers = stream::iter(wanted.into_iter().map(|wanted| one(rest, wanted))).buffer_unordered(AT_ONCE);
        while let Some((wanted, answer)) = answers.next().await {
            match answer {
                Ok(live) => {
                    let entry = Entry {
                        version: wanted.kind.version.to_owned(),
                        fields: fields(&live["metadata"]),
                        hash: wanted.hash,
                        commit: commit.to_owned(),
                    };
                    let version = live["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
                    applied.entries.insert(wanted.id, (entry, version));
                }
                Err(problem) => {
                    let problem = Problem::from(problem);
                    let message = format!("{}: {}", wanted.origin, problem.message);
                    applied.problems.push(Problem { message, ..problem });
                }
            }
        }
        for name in definitions {
            if let Err(problem) = served(rest, &name, patience).await {
                applied.problems.push(problem);
            }
        }
    }
    applied
}

async fn one(rest: &Rest, mut wanted: Wanted) -> (Wanted, Result<Value, ApiProblem>) {
    let (id, kind) = (wanted.id.clone(), wanted.kind);
    if wanted.scaled_by_others {
        match rest.get(kind, &id.namespace, &id.name).await {
            // Whoever has set the count has it from now on; before, what Git says is as good as anything.
            Ok(Some(live)) if !owns_replicas(&live["metadata"]) => {
                if let Some(spec) = wanted.body["spec"].as_object_mut() {
                    spec.remove("replicas");
                }
            }
            Ok(Some(_) | None) => {}
            Err(problem) => return (wanted, Err(problem)),
        }
    }
    let answer = rest.patch(kind, &id.namespace, &id.name, None, PatchType::Apply, &wanted.body).await;
    (wanted, answer)
}

/// Waits until a definition is established.
async fn served(rest: &Rest, name: &str, patience: Duration) -> Result<(), Problem> {
    let begin = Instant::now();
    loop {
        let live = rest.get(DEFINITION, "", name).await?.unwrap_or_default();
        let conditions = live["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        let of = |kind: &str| conditions.iter().find(|condition| condition["type"] == kind);
        if of("Established").is_some_and(|condition| condition["status"] == "True") {
            return Ok(());
        }
        if begin.elapsed() >= patience {
            let refused = of("NamesAccepted").filter(|condition| condition["status"] == "False");
            let why = refused.and_then(|condition| condition["message"].as_str()).unwrap_or("it is not established");
            let message = format!("CustomResourceDefinition {name} is not served after {patience:?}: {why}");
            return Err(Problem::new(Reason::Retrying, message));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What came of deletions.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Gone, or no longer this GitSource's.
    pub gone: Vec<ObjectId>,
    /// Why some objects stay in the cluster, though Git has them no more.
    pub kept: Vec<String>,
    /// What was refused.
    pub problems: Vec<Problem>,
}

/// Deletes what has left Git, in this order, if it may go.
pub async fn prune(rest: &Rest, kinds: &Kinds, key: &SourceKey, ids: Vec<(ObjectId, String)>) -> Pruned {
    let mut pruned = Pruned::default();
    for (id, version) in ids {
        match gone(rest, kinds, key, &id, &version).await {
            Ok(None) => pruned.gone.push(id),
            Ok(Some(why)) => {
                pruned.kept.push(format!("{} stays: {why}", id.spoken()));
                pruned.gone.push(id);
            }
            Err(problem) => pruned.problems.push(problem.into()),
        }
    }
    pruned
}

async fn gone(
    rest: &Rest,
    kinds: &Kinds,
    key: &SourceKey,
    id: &ObjectId,
    version: &str,
) -> Result<Option<&'static str>, ApiProblem> {
    // A kind that is gone took its objects along.
    let Some(resource) = kinds.one(&id.group, version, &id.kind).await? else { return Ok(None) };
    let live = match rest.get(resource.kind, &id.namespace, &id.name).await {
        Ok(Some(live)) => live,
        Ok(None) => return Ok(None),
        Err(ApiProblem { class: Class::NotFound, .. }) => return Ok(None),
        Err(problem) => return Err(problem),
    };
    if let Err(why) = may_go(key, id, &live) {
        return Ok(Some(why));
    }
    let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
    match rest.delete(resource.kind, &id.namespace, &id.name, uid).await {
        // Another object of that name has come into being.
        Ok(()) | Err(ApiProblem { class: Class::Conflict, .. }) => Ok(None),
        Err(problem) => Err(problem),
    }
}
