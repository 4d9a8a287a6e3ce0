//! Opting in by annotation: a Deployment or DaemonSet with `serin.dev/canary: <template>` gets a Canary of its own name,
//! made from a CanaryTemplate or ClusterCanaryTemplate and owned by the workload. [`decide`] is a function of what was
//! seen; [`tend`] does what it says, in the pass of that Canary.

mod render;
mod tend;
#[cfg(test)]
mod tests;
mod workload;

use crds::CanaryTemplateSpec;
use rollout::spec::Defaults;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cache::CanaryKey;
use crate::observe::FINALIZER;

pub use tend::{Kept, Noted, tend};
pub use workload::Workload;

/// On a workload: the template that its Canary is made from.
pub const ANNOTATION: &str = "serin.dev/canary";
/// On a workload, before the name of a variable of the template: its value.
pub const VARIABLE_PREFIX: &str = "serin.dev/canary-";
/// On a Canary: kind and name of the template that it is made from, as `CanaryTemplate/web`.
pub const TEMPLATE: &str = "serin.dev/template";
/// On a Canary: a digest of what the template said, so that a field that left it leaves the Canary.
const DIGEST: &str = "serin.dev/template-digest";

/// What is to be done about the Canary of a workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing.
    Nothing,
    /// It should stand so; server-side apply takes out what it said before.
    Apply(Value),
    /// It is to be deleted; its finalizer gives the workload back first.
    GiveBack {
        /// Uid of the Canary.
        uid: String,
        /// Why, unless the annotation was taken off.
        why: Option<Refusal>,
    },
    /// It stays as it is, although it should be otherwise.
    Stay(Refusal),
    /// There is none, and none is made.
    Refuse(Refusal),
}

/// Why a workload does not get the Canary that it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One word for programs.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// A template as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// `CanaryTemplate` or `ClusterCanaryTemplate`.
    pub kind: &'static str,
    /// The whole object.
    pub object: Value,
}

/// All that a decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Namespace and name of the workload and of its Canary.
    pub key: &'a CanaryKey,
    /// The workload.
    pub workload: &'a Workload,
    /// The template that it names, that of its namespace before that of the cluster.
    pub template: Option<&'a Template>,
    /// The templates that it could name.
    pub known: &'a [String],
    /// The Canary of that name, whoever made it.
    pub canary: Option<&'a Value>,
    /// Canaries of another name with the same target.
    pub rivals: &'a [String],
    /// What Canaries are parsed with.
    pub defaults: &'a Defaults<'a>,
}

/// What is to be done.
pub fn decide(situation: Situation<'_>) -> Decision {
    let Situation { key, workload, template, known, canary, rivals, defaults } = situation;
    if workload.is_of_a_canary || workload.deleting {
        return Decision::Nothing;
    }
    let own = canary.filter(|canary| workload.controls(canary));
    let Some(asked) = &workload.template else {
        return own.map_or(Decision::Nothing, |own| give_back(own, None));
    };
    let refuse = |reason, message: String| {
        let refusal = Refusal { reason, message };
        if own.is_some() { Decision::Stay(refusal) } else { Decision::Refuse(refusal) }
    };
    let kind = workload.kind.as_str();
    if let (None, Some(other)) = (own, canary) {
        return refuse("CanaryExists", not_ours(workload, other));
    }
    if let Some(rival) = rivals.first() {
        let message = format!(
            "Canary {rival} has this {kind} for its target already, and what people write wins; delete it, or take the \
             annotation {ANNOTATION} off"
        );
        let why = Refusal { reason: "CanaryExists", message };
        return match own {
            Some(own) => give_back(own, Some(why)),
            None => Decision::Refuse(why),
        };
    }
    if own.is_some_and(|own| own.pointer("/metadata/deletionTimestamp").is_some()) {
        // Made anew when it is gone.
        return Decision::Nothing;
    }
    let Some(template) = template else {
        let known =
            if known.is_empty() { "there is none".to_owned() } else { format!("known are {}", known.join(", ")) };
        let message = format!(
            "{ANNOTATION}: there is no CanaryTemplate {asked} in {} and no ClusterCanaryTemplate {asked}; {known}",
            key.namespace
        );
        return refuse("TemplateMissing", message);
    };
    match body(key, workload, template, asked, defaults) {
        Ok(body) => Decision::Apply(body),
        Err(problems) => {
            let message = format!("{} {asked} for {kind} {}: {}", template.kind, key.name, problems.join("; "));
            refuse("TemplateInvalid", message)
        }
    }
}

/// Kind and name of the template that the Canary is made from.
pub fn origin(canary: &Value) -> Option<&str> {
    canary.get("metadata")?.get("annotations")?.get(TEMPLATE)?.as_str()
}

/// The reference to the workload to which what users reach is left when the Canary goes: other than the Canary, it stays.
pub fn heir(canary: &Value) -> Option<Value> {
    origin(canary)?;
    let owners = canary.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    Some(json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["name"], "uid": owner["uid"],
    }))
}

/// Before the finalizer stands, a Canary that has scaled its target down must not be deleted.
fn give_back(own: &Value, why: Option<Refusal>) -> Decision {
    let phase = own.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    let begun = !phase.is_empty() && phase != crds::Phase::Initializing.as_str();
    let finalizers = own.pointer("/metadata/finalizers").and_then(Value::as_array);
    let guarded = finalizers.is_some_and(|all| all.iter().any(|finalizer| finalizer == FINALIZER));
    if own.pointer("/metadata/deletionTimestamp").is_some() || (begun && !guarded) {
        return Decision::Nothing;
    }
    let uid = own.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned();
    Decision::GiveBack { uid, why }
}

fn not_ours(workload: &Workload, canary: &Value) -> String {
    let (kind, name) = (workload.kind.as_str(), &workload.name);
    let target = canary.pointer("/spec/targetRef").unwrap_or(&Value::Null);
    let owners = canary.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let former = owners
        .into_iter()
        .flatten()
        .any(|owner| owner["controller"] == true && owner["kind"] == kind && owner["name"] == name.as_str());
    if former {
        return format!("the Canary of the former {kind} {name} is still there; it goes by itself");
    }
    if target["kind"] == kind && target["name"] == name.as_str() {
        return format!(
            "Canary {name} was not made from a template, and what people write wins; delete it, or take the annotation \
             {ANNOTATION} off"
        );
    }
    format!(
        "the name is taken by a Canary for {} {}; rename or delete that, or take the annotation {ANNOTATION} off",
        target["kind"].as_str().unwrap_or("something"),
        target["name"].as_str().unwrap_or("without name"),
    )
}

/// The Canary as server-side apply takes it.
fn body(
    key: &CanaryKey,
    workload: &Workload,
    template: &Template,
    name: &str,
    defaults: &Defaults<'_>,
) -> Result<Value, Vec<String>> {
    let wrong = |error: serde_path_to_error::Error<serde_json::Error>| vec![format!("spec.{error}")];
    let spec: CanaryTemplateSpec =
        serde_path_to_error::deserialize(template.object.get("spec").unwrap_or(&Value::Null)).map_err(wrong)?;
    let rendered = render::render(&spec, workload)?;
    let mut body = json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {
            "name": &*key.name,
            "namespace": &*key.namespace,
            "annotations": rendered.annotations,
            // The owner does not wait for it, or a foreground deletion of the workload would wait for pods that nobody makes.
            "ownerReferences": [workload.reference()],
        },
        "spec": rendered.spec,
    });
    if !rendered.labels.is_empty() {
        body["metadata"]["labels"] = json!(rendered.labels);
    }
    body["spec"]["targetRef"] =
        json!({ "apiVersion": "apps/v1", "kind": workload.kind.as_str(), "name": workload.name });
    body["spec"]["revertOnDeletion"] = true.into();
    // A Canary that could not be understood would do nothing; better none, or the former one.
    let typed = rollout::parse::from_value(&body).map_err(|invalid| vec![invalid.to_string()])?;
    rollout::parse::parse(&typed, defaults)
        .map_err(|invalid| invalid.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    body["metadata"]["annotations"][TEMPLATE] = format!("{}/{name}", template.kind).into();
    let digest = Sha256::digest(body.to_string());
    body["metadata"]["annotations"][DIGEST] =
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>().into();
    Ok(body)
}
