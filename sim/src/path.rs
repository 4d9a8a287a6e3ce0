//! From a request's path and query to what it is about.

use std::collections::BTreeMap;

use crate::registry::Registry;
use crate::state::{Part, Target};
use crate::status::Status;

/// What a path names.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Discovery, OpenAPI, health: the path without a slash at its end.
    Document(String),
    /// A collection, an object, its status or its scale.
    Resource(Target),
    /// A subresource that is no part of the object: `log`, `eviction`, `binding`, `token`, `finalize`.
    Action(Target, String),
    /// A question to the cluster about rights or identity: its kind.
    Review(String),
}

/// The parameters after the question mark. Of several with one name the last counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters {
    values: BTreeMap<String, String>,
}

impl Parameters {
    pub(crate) fn parse(query: &str) -> Parameters {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        Parameters { values: pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect() }
    }

    /// Empty when it is missing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        ["true", "1"].contains(&self.text(name))
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }
}

const REVIEWS: [(&str, &str); 6] = [
    ("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ("subjectaccessreviews", "SubjectAccessReview"),
    ("localsubjectaccessreviews", "LocalSubjectAccessReview"),
    ("selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    ("selfsubjectreviews", "SelfSubjectReview"),
    ("tokenreviews", "TokenReview"),
];

/// Plural and kind of the questions of a group.
pub(crate) fn reviews(group: &str) -> &'static [(&'static str, &'static str)] {
    match group {
        "authorization.k8s.io" => &REVIEWS[..4],
        "authentication.k8s.io" => &REVIEWS[4..],
        _ => &[],
    }
}

/// Takes a path apart.
pub(crate) fn route(registry: &Registry, path: &str) -> Result<Route, Status> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Ok(Route::Document(format!("/{}", parts.join("/")))),
    };
    let inside = rest;
    let (namespace, rest) = match inside {
        ["namespaces", _, rest @ ..] if rest.is_empty() || group.is_empty() && is_own(rest) => ("", inside),
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let [plural, rest @ ..] = rest else { return Err(Status::no_such_path()) };
    if let Some((_, kind)) = reviews(group).iter().find(|(known, _)| known == plural) {
        return if version == "v1" { Ok(Route::Review((*kind).to_owned())) } else { Err(Status::no_such_path()) };
    }
    let resource = registry.by_plural(group, plural).ok_or_else(Status::no_such_path)?.clone();
    let position = resource.versions.iter().position(|known| known.name == version && known.served);
    let version = position.ok_or_else(Status::no_such_path)?;
    if !resource.namespaced && !namespace.is_empty() {
        return Err(Status::no_such_path());
    }
    let (name, subresource) = match rest {
        [] => ("", ""),
        [name] => (*name, ""),
        [name, subresource] => (*name, *subresource),
        _ => return Err(Status::no_such_path()),
    };
    if resource.namespaced && namespace.is_empty() && !name.is_empty() {
        return Err(Status::no_such_path());
    }
    let actions = actions(&resource.group, &resource.kind);
    let target = |part| Target {
        resource: resource.clone(),
        version,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        part,
    };
    match subresource {
        "" => Ok(Route::Resource(target(Part::Whole))),
        "status" if resource.versions[version].status => Ok(Route::Resource(target(Part::Status))),
        "scale" if resource.versions[version].scale.is_some() => Ok(Route::Resource(target(Part::Scale))),
        action if actions.contains(&action) => Ok(Route::Action(target(Part::Whole), action.to_owned())),
        _ => Err(Status::no_such_path()),
    }
}

/// Subresources that are no part of an object of that kind.
pub(crate) fn actions(group: &str, kind: &str) -> &'static [&'static str] {
    match (group, kind) {
        ("", "Pod") => &["binding", "eviction", "log"],
        ("", "ServiceAccount") => &["token"],
        ("", "Namespace") => &["finalize"],
        _ => &[],
    }
}

/// Parts after `namespaces/NAME` that belong to the namespace itself.
fn is_own(rest: &[&str]) -> bool {
    matches!(rest, ["status" | "finalize"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_collections_objects_and_parts() {
        let registry = Registry::new();
        let shown = |path: &str| match route(&registry, path) {
            Ok(Route::Document(path)) => format!("document {path}"),
            Ok(Route::Resource(target)) => {
                let kind = &target.resource.kind;
                format!("{kind} {}/{} {}", target.namespace, target.name, target.part.subresource())
            }
            Ok(Route::Action(target, action)) => format!("{} {} {action}", target.resource.kind, target.name),
            Ok(Route::Review(kind)) => format!("review {kind}"),
            Err(status) => status.code.to_string(),
        };
        for (path, expected) in [
            ("/api/v1", "document /api/v1"),
            ("/apis/apps/v1/", "document /apis/apps/v1"),
            ("/api/v1/namespaces", "Namespace / "),
            ("/api/v1/namespaces/shop", "Namespace /shop "),
            ("/api/v1/namespaces/shop/status", "Namespace /shop status"),
            ("/api/v1/namespaces/shop/pods", "Pod shop/ "),
            ("/api/v1/pods", "Pod / "),
            ("/api/v1/namespaces/shop/pods/web/log", "Pod web log"),
            ("/apis/apps/v1/namespaces/shop/deployments/web/scale", "Deployment shop/web scale"),
            ("/apis/apps/v1/namespaces/shop/daemonsets/web/scale", "404"),
            ("/apis/apps/v2/namespaces/shop/deployments", "404"),
            ("/apis/apps/v1/deployments/web", "404"),
            ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "review SelfSubjectAccessReview"),
        ] {
            assert_eq!(shown(path), expected, "{path}");
        }
    }
}
