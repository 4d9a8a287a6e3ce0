//! Where a target comes from: one file for each kind of operator that applies things from Git, one word in the registry.
//! What they keep in the cluster is read out of the cache, and followed only when a target names it.

use std::sync::Arc;

use crds::{AppliedBy, Author, Source};
use rollout::SourceSeen;
use serde_json::{Map, Value};

use crate::objects::{At, Kind};

mod flux;
mod image;
mod place;
#[cfg(test)]
mod tests;

macro_rules! deployers {
    ($($module:ident),+ $(,)?) => {
        $(mod $module;)+
        /// Every operator Serin can ask, the first that a target names is asked.
        pub static DEPLOYERS: &[&dyn Deployer] = &[$(&$module::DEPLOYER),+];
    };
}

deployers! { git_source, helm_release, kustomization, application }

/// Stands for the branch of a source that follows whatever the repository's default branch is; only the repository knows it.
pub const DEFAULT_BRANCH: &str = "HEAD";

/// One kind of operator that applies things.
pub trait Deployer: Send + Sync {
    /// As the chart's value `gitops` has it; `None` when its rights are given anyway.
    fn value(&self) -> Option<&'static str>;

    /// The kinds it reads; watches and rights derive from this.
    fn resources(&self) -> &'static [Kind];

    /// What of one of its objects is kept in memory, as JSON pointers below `/spec`, `/status` and elsewhere; identity, labels
    /// and annotations are kept anyway. `None` when the kind is not its own.
    fn kept(&self, kind: &str) -> Option<&'static [&'static str]>;

    /// Where the target comes from; `None` when it names no object of this kind, or one that cannot be seen.
    fn trace(&self, target: &Value, sight: &dyn Sight) -> Option<SourceSeen>;

    /// The newest commit that the source of one of its objects shows, applied or not.
    fn head(&self, object: &Value, sight: &dyn Sight) -> Option<String>;

    /// The object does not apply by itself what its source shows.
    fn is_suspended(&self, object: &Value) -> bool;

    /// The merge patch that keeps the object from applying, beside the annotation that says why. What it takes away is
    /// written into the value, which [`Deployer::lift`] is given.
    fn hold(&self, object: &Value) -> (Value, Option<String>);

    /// The merge patch that lets it go on; with what [`Deployer::hold`] had written down.
    fn lift(&self, kept: Option<&str>) -> Value;

    /// The Secret with which it reads the repository: namespace and name.
    fn secret(&self, object: &Value, sight: &dyn Sight) -> Option<(String, String)>;
}

/// Where objects of any namespace are looked up. What is not there, may not be read or has no API is simply not there.
pub trait Sight: Sync {
    /// The object as last seen.
    fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>>;
}

/// What is known of commits elsewhere: in a forge, or in a mirror of the repository. Answers at once out of memory; whoever
/// learns more later has the Canary looked at again.
pub trait Commits: Send + Sync {
    /// What is known of this commit of the repository.
    fn look_up(&self, repository: &str, commit: &str) -> Option<Commit>;
}

/// A commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Who wrote it.
    pub author: Option<Author>,
    /// Its message, whole.
    pub message: Option<String>,
    /// URL of the pull request that brought it.
    pub pull_request: Option<String>,
}

/// Nothing is known of any commit.
pub struct NoCommits;

impl Commits for NoCommits {
    fn look_up(&self, _: &str, _: &str) -> Option<Commit> {
        None
    }
}

/// Where the target comes from, as far as it and what it names say.
pub fn attribute(target: &Value, sight: &dyn Sight, commits: &dyn Commits) -> SourceSeen {
    let mut seen = DEPLOYERS
        .iter()
        .find_map(|deployer| deployer.trace(target, sight))
        .unwrap_or_else(|| SourceSeen { source: image::labelled(target), at_work: false });
    let source = &mut seen.source;
    source.images = image::images(target);
    if let (Some(repository), Some(commit)) = (&source.repository, &source.commit)
        && let Some(known) = commits.look_up(repository, commit)
    {
        source.author = source.author.take().or(known.author);
        source.message = source.message.take().or_else(|| known.message.as_deref().and_then(Source::subject));
        source.pull_request = source.pull_request.take().or(known.pull_request);
    }
    if let (None, Some(repository), Some(message)) = (&source.pull_request, &source.repository, &source.message) {
        source.pull_request = place::pull_request(repository, message);
    }
    seen
}

/// The operator's object that a source names, with what knows how to treat it.
pub fn deployer(by: &AppliedBy, sight: &dyn Sight) -> Option<(&'static dyn Deployer, Kind, Arc<Value>)> {
    let group = by.api_version.split('/').next().unwrap_or_default();
    let known = DEPLOYERS.iter().find_map(|deployer| {
        let own = deployer.resources().first()?;
        (own.group == group && own.kind == by.kind).then_some((*deployer, *own))
    });
    let (deployer, kind) = known?;
    Some((deployer, kind, sight.find(kind, &by.namespace, &by.name)?))
}

/// True for kinds whose absence is no trouble: nobody is told to install them, and they are asked for seldom.
pub fn is_optional(kind: Kind) -> bool {
    DEPLOYERS.iter().any(|deployer| deployer.resources().contains(&kind))
}

/// Takes out of an operator's object, as it arrives, what no part reads: some are larger than all that is watched besides.
pub(crate) fn thin(object: &mut Value) {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let group = api_version.split('/').next().unwrap_or_default();
    let own = DEPLOYERS
        .iter()
        .find(|deployer| deployer.resources().iter().any(|resource| resource.group == group && resource.kind == kind));
    let Some(kept) = own.and_then(|deployer| deployer.kept(&kind)) else { return };
    let mut thinned = Value::Object(Map::new());
    for field in ["apiVersion", "kind"] {
        thinned[field] = object[field].take();
    }
    thinned["metadata"] = object["metadata"].take();
    for pointer in kept {
        if let Some(value) = object.pointer_mut(pointer) {
            put(&mut thinned, pointer, value.take());
        }
    }
    if let Some(history) = thinned.pointer_mut("/status/history").and_then(Value::as_array_mut) {
        // Flux has the newest first, Argo CD last.
        let keep = if group == application::GROUP { history.pop() } else { history.drain(..).next() };
        *history = keep.into_iter().collect();
    }
    for condition in thinned.pointer_mut("/status/conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        flux::thin_condition(condition);
    }
    *object = thinned;
}

fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for step in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[step];
    }
    *place = value;
}

fn applied_by(kind: Kind, namespace: &str, name: &str) -> AppliedBy {
    AppliedBy {
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.at(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn owned(object: &Value, pointer: &str) -> Option<String> {
    text(object, pointer).map(str::to_owned)
}

fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.at("/metadata/labels")?.get(name)?.as_str().filter(|text| !text.is_empty())
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.at("/metadata/annotations")?.get(name)?.as_str().filter(|text| !text.is_empty())
}
