//! Which kinds the API server has: asked for once per group and version, and again when one is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use kube::Client;
use serde_json::Value;

use super::manifest::{Manifest, group_and_version};
use crate::objects::Kind;
use crate::problem::ApiProblem;

/// A kind, and where its objects live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The kind.
    pub kind: Kind,
    /// In a namespace, or in the cluster.
    pub namespaced: bool,
}

/// Kinds by `(group, version)` and kind.
pub type Known = BTreeMap<(String, String), BTreeMap<String, Resource>>;

/// What was learnt so far. Cheap to clone; all clones learn together.
#[derive(Clone)]
pub struct Kinds {
    client: Client,
    known: Arc<Mutex<Known>>,
}

impl Kinds {
    /// Nothing is known.
    pub fn new(client: Client) -> Kinds {
        Kinds { client, known: Arc::default() }
    }

    /// The kinds of all these manifests, as far as the API server has them.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn of(&self, manifests: &[Manifest]) -> Result<Known, ApiProblem> {
        let wanted: BTreeSet<(String, String, String)> = manifests
            .iter()
            .map(|manifest| {
                let (group, version, kind) = manifest.type_of();
                (group.to_owned(), version.to_owned(), kind.to_owned())
            })
            .collect();
        let missing: BTreeSet<(String, String)> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let knows = |group: &String, version: &String, kind: &String| {
                known.get(&(group.clone(), version.clone())).is_some_and(|kinds| kinds.contains_key(kind))
            };
            let missing = wanted.into_iter().filter(|(group, version, kind)| !knows(group, version, kind));
            missing.map(|(group, version, _)| (group, version)).collect()
        };
        for (group, version) in missing {
            let found = self.ask(&group, &version).await?;
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert((group, version), found);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for manifest in manifests {
            defined(manifest, &mut known);
        }
        Ok(known)
    }

    /// The resource of that name; `None` when the API server has none.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn one(&self, group: &str, version: &str, kind: &str) -> Result<Option<Resource>, ApiProblem> {
        let key = (group.to_owned(), version.to_owned());
        let known = || {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&key).and_then(|kinds| kinds.get(kind)).copied()
        };
        if let Some(found) = known() {
            return Ok(Some(found));
        }
        let found = self.ask(group, version).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), found);
        Ok(known())
    }

    async fn ask(&self, group: &str, version: &str) -> Result<BTreeMap<String, Resource>, ApiProblem> {
        let allowed = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.".contains(letter));
        if version.is_empty() || version.contains("..") || group.contains("..") || !allowed(group) || !allowed(version)
        {
            return Ok(BTreeMap::new());
        }
        let path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let list = Kind { group: "", version: "v1", kind: "APIResourceList", plural: "" };
        let request = Request::get(&path).body(Vec::new()).map_err(|error| ApiProblem {
            class: crate::problem::Class::Invalid,
            doing: format!("read APIResourceList {path}"),
            message: error.to_string(),
        })?;
        match self.client.request::<Value>(request).await {
            Ok(answer) => Ok(listed(group, version, &answer)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(BTreeMap::new()),
            Err(error) => Err(ApiProblem::of(error, "read", list, &path)),
        }
    }
}

fn listed(group: &str, version: &str, answer: &Value) -> BTreeMap<String, Resource> {
    let resources = answer["resources"].as_array().map_or(&[][..], Vec::as_slice);
    let mut kinds = BTreeMap::new();
    for resource in resources {
        let (name, kind) =
            (resource["name"].as_str().unwrap_or_default(), resource["kind"].as_str().unwrap_or_default());
        // Subresources, and what can only be created, such as reviews.
        if name.is_empty() || name.contains('/') || kind.is_empty() {
            continue;
        }
        let can = |verb: &str| resource["verbs"].as_array().is_none_or(|verbs| verbs.iter().any(|known| known == verb));
        if can("patch") {
            let namespaced = resource["namespaced"] == true;
            kinds.insert(kind.to_owned(), Resource { kind: interned(group, version, kind, name), namespaced });
        }
    }
    kinds
}

/// Adds what a CustomResourceDefinition among the manifests will bring.
fn defined(manifest: &Manifest, known: &mut Known) {
    if manifest.type_of() != ("apiextensions.k8s.io", "v1", "CustomResourceDefinition") {
        return;
    }
    let (group, kind) = (manifest.text("/spec/group"), manifest.text("/spec/names/kind"));
    let (plural, namespaced) = (manifest.text("/spec/names/plural"), manifest.text("/spec/scope") == "Namespaced");
    for version in manifest.object.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten() {
        let Some(name) = version["name"].as_str().filter(|_| version["served"] == true) else { continue };
        let kinds = known.entry((group.to_owned(), name.to_owned())).or_default();
        let resource = || Resource { kind: interned(group, name, kind, plural), namespaced };
        kinds.entry(kind.to_owned()).or_insert_with(resource);
    }
}

/// The kind with names that live as long as the process: there are as many as the cluster has kinds, each kept once.
fn interned(group: &str, version: &str, kind: &str, plural: &str) -> Kind {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut name = |text: &str| match names.get(text) {
        Some(known) => *known,
        None => {
            let kept: &'static str = Box::leak(text.to_owned().into_boxed_str());
            names.insert(kept);
            kept
        }
    };
    Kind { group: name(group), version: name(version), kind: name(kind), plural: name(plural) }
}

/// The resource of a manifest.
pub fn find(known: &Known, manifest: &Manifest) -> Option<Resource> {
    let (group, version) = group_and_version(manifest.text("/apiVersion"));
    known.get(&(group.to_owned(), version.to_owned()))?.get(manifest.text("/kind")).copied()
}
