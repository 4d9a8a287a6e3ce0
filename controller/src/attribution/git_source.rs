//! Serin's own agent: a GitSource.

use crds::{Author, Source};
use rollout::SourceSeen;
use serde_json::Value;

use super::{Deployer, Sight, annotation, applied_by, owned, place, text};
use crate::objects::Kind;

const GIT_SOURCE: Kind = Kind { group: "serin.dev", version: "v1alpha1", kind: "GitSource", plural: "gitsources" };

pub(super) struct GitSource;
pub(super) static DEPLOYER: GitSource = GitSource;

impl Deployer for GitSource {
    fn value(&self) -> Option<&'static str> {
        None
    }

    fn resources(&self) -> &'static [Kind] {
        &[GIT_SOURCE]
    }

    fn kept(&self, kind: &str) -> Option<&'static [&'static str]> {
        match kind {
            "GitSource" => Some(&[
                "/spec/url",
                "/spec/ref",
                "/spec/path",
                "/status/lastAppliedRevision",
                "/status/lastAttemptedRevision",
                "/status/commit",
            ]),
            _ => None,
        }
    }

    fn trace(&self, target: &Value, sight: &dyn Sight) -> Option<SourceSeen> {
        let (namespace, name) = annotation(target, "serin.dev/source")?.split_once('.')?;
        let object = sight.find(GIT_SOURCE, namespace, name)?;
        let applied = text(&object, "/status/lastAppliedRevision");
        let attempted = text(&object, "/status/lastAttemptedRevision");
        let at_work = attempted.is_some() && attempted != applied;
        let word = if at_work { attempted } else { applied };
        let (named, commit) = word.map(place::revision).unwrap_or_default();
        let tag = owned(&object, "/spec/ref/tag");
        let told = told_commit(&object, commit);
        let mut source = Source {
            repository: text(&object, "/spec/url").and_then(place::repository),
            branch: owned(&object, "/spec/ref/branch")
                .or_else(|| named.map(str::to_owned))
                .filter(|_| tag.is_none()),
            tag,
            path: text(&object, "/spec/path").and_then(place::path),
            commit: commit.map(str::to_owned),
            revision: word.map(str::to_owned),
            applied_by: Some(applied_by(GIT_SOURCE, namespace, name)),
            ..Source::default()
        };
        if let Some(told) = told {
            let author = Author { name: owned(told, "/author/name"), mail: owned(told, "/author/mail") };
            source.author = Some(author).filter(|author| *author != Author::default());
            source.message = text(told, "/message").and_then(Source::subject);
        }
        Some(SourceSeen { source, at_work })
    }
}

/// What the status tells of the commit, when it tells of this one.
fn told_commit<'a>(object: &'a Value, commit: Option<&str>) -> Option<&'a Value> {
    let told = object.pointer("/status/commit")?;
    (text(told, "/id") == commit).then_some(told)
}
