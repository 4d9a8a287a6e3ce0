//! What the Kubernetes API refused, sorted by what can be done about it.

use std::fmt;

use kube::core::Status;

use crate::denial::{self, Denial};
use crate::objects::Kind;

/// A request to the Kubernetes API that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiProblem {
    /// What can be done about it.
    pub class: Class,
    /// What was being tried, as in `apply Deployment shop/podinfo-primary`.
    pub doing: String,
    /// What the server (or the network) said.
    pub message: String,
}

/// What can be done about a refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// Someone else wrote first, or the object came into being meanwhile: look again, and try again.
    Conflict,
    /// Admission said no; trying again is of no use until the policy or the object changes.
    Denied(Box<Denial>),
    /// A right is missing.
    Forbidden {
        /// The verb that is not allowed.
        verb: String,
        /// `resource` or `resource.group`, as RBAC rules name it.
        resource: String,
    },
    /// The object, its namespace or its API does not exist.
    NotFound,
    /// The server does not accept the object.
    Invalid,
    /// No answer, or one that says that the server is not able just now.
    Unreachable,
    /// The namespace is going away, or what was asked for is no longer kept.
    Gone,
}

impl ApiProblem {
    /// Sorts an error of the client. `verb` and `kind` say what was being tried on `object` (`namespace/name`).
    pub fn of(error: kube::Error, verb: &str, kind: Kind, object: &str) -> ApiProblem {
        let doing = format!("{verb} {} {object}", kind.kind);
        if let kube::Error::Api(status) = &error {
            return ApiProblem {
                class: class_of(status, verb, kind),
                doing,
                message: status.message.trim().to_owned(),
            };
        }
        ApiProblem { class: Class::Unreachable, doing, message: chain(&error) }
    }

    /// True when the same request may well succeed in a moment.
    pub fn is_passing(&self) -> bool {
        match self.class {
            Class::Conflict | Class::Unreachable => true,
            Class::Denied(_) | Class::Forbidden { .. } | Class::NotFound | Class::Invalid | Class::Gone => false,
        }
    }

    /// One word for programs, as conditions and metrics use it.
    pub fn reason(&self) -> &'static str {
        match self.class {
            Class::Conflict => "Conflict",
            Class::Denied(_) => rollout::report::POLICY_DENIED,
            Class::Forbidden { .. } => "Forbidden",
            Class::NotFound => "NotFound",
            Class::Invalid => "Invalid",
            Class::Unreachable => "Unreachable",
            Class::Gone => "Gone",
        }
    }
}

impl fmt::Display for ApiProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ApiProblem { class, doing, message } = self;
        match class {
            Class::Conflict => write!(formatter, "could not {doing}: it changed meanwhile, trying again ({message})"),
            Class::Denied(denial) => {
                write!(formatter, "could not {doing}: denied by {denial}; change the object or the policy")
            }
            Class::Forbidden { verb, resource } => write!(
                formatter,
                "could not {doing}: the service account may not {verb} {resource}; grant it in the ClusterRole ({message})"
            ),
            Class::NotFound => write!(formatter, "could not {doing}: {message}; create it, or install its API"),
            Class::Invalid => write!(formatter, "could not {doing}: not accepted: {message}; mend the named fields"),
            Class::Unreachable => write!(formatter, "could not {doing}: no usable answer, trying again: {message}"),
            Class::Gone => write!(formatter, "could not {doing}: {message}; nothing can be made there any more"),
        }
    }
}

impl std::error::Error for ApiProblem {}

fn class_of(status: &Status, verb: &str, kind: Kind) -> Class {
    let has_cause = |reason: &str| {
        status.details.as_ref().is_some_and(|details| details.causes.iter().any(|cause| cause.reason == reason))
    };
    if has_cause("NamespaceTerminating") || status.code == 410 {
        return Class::Gone;
    }
    // A webhook that could not be called is the server's trouble, not a verdict.
    if status.message.contains("failed calling webhook") {
        return Class::Unreachable;
    }
    if let Some(denial) = denial::parse(&status.message) {
        return Class::Denied(Box::new(denial));
    }
    if status.is_already_exists() || status.is_conflict() {
        return Class::Conflict;
    }
    match status.code {
        404 => Class::NotFound,
        401 | 403 => Class::Forbidden { verb: rbac_verb(verb).to_owned(), resource: rbac_resource(kind) },
        408 | 425 | 429 => Class::Unreachable,
        400..=499 => Class::Invalid,
        _ => Class::Unreachable,
    }
}

/// `resource` or `resource.group`, as RBAC rules name it.
pub(crate) fn rbac_resource(kind: Kind) -> String {
    if kind.group.is_empty() { kind.plural.to_owned() } else { format!("{}.{}", kind.plural, kind.group) }
}

fn rbac_verb(verb: &str) -> &str {
    match verb {
        "apply" => "patch",
        "replace" => "update",
        "read" => "get",
        other => other,
    }
}

/// An error with its causes: those of HTTP clients say nothing by themselves.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::kinds::DEPLOYMENT;

    fn problem(code: u16, reason: &str, message: &str) -> ApiProblem {
        let status = Status::failure(message, reason).with_code(code);
        ApiProblem::of(kube::Error::Api(status.boxed()), "apply", DEPLOYMENT, "shop/podinfo-primary")
    }

    #[test]
    fn classes_by_what_the_server_says() {
        let cases = [
            (409, "Conflict", "the object has been modified", Class::Conflict),
            (409, "AlreadyExists", "deployments.apps \"x\" already exists", Class::Conflict),
            (404, "NotFound", "deployments.apps \"x\" not found", Class::NotFound),
            (422, "Invalid", "Deployment.apps \"x\" is invalid: spec.selector: immutable", Class::Invalid),
            (500, "InternalError", "failed calling webhook \"istio.io\": connection refused", Class::Unreachable),
            (503, "ServiceUnavailable", "apiserver is shutting down", Class::Unreachable),
            (429, "TooManyRequests", "slow down", Class::Unreachable),
            (410, "Gone", "too old", Class::Gone),
            (
                403,
                "Forbidden",
                "deployments.apps is forbidden: User \"system:serviceaccount:a:b\" cannot patch resource \"deployments\"",
                Class::Forbidden { verb: "patch".into(), resource: "deployments.apps".into() },
            ),
        ];
        for (code, reason, message, class) in cases {
            assert_eq!(problem(code, reason, message).class, class, "{message}");
        }
    }

    #[test]
    fn what_a_policy_says_goes_before_the_code() {
        let quota = "services \"x\" is forbidden: exceeded quota: small, requested: 1";
        let webhook = "admission webhook \"validation.gatekeeper.sh\" denied the request: [must-have-owner] no label";
        for (code, reason, message) in [
            (403, "Forbidden", quota),
            (403, "Forbidden", webhook),
            (400, "BadRequest", webhook),
            (422, "Invalid", webhook),
        ] {
            let problem = problem(code, reason, message);
            assert!(matches!(problem.class, Class::Denied(_)), "{problem:?}");
            assert_eq!((problem.reason(), problem.is_passing()), ("PolicyDenied", false));
        }
        assert_eq!(
            problem(403, "Forbidden", webhook).to_string(),
            "could not apply Deployment shop/podinfo-primary: denied by must-have-owner (Gatekeeper): no label; change the \
             object or the policy"
        );
    }

    #[test]
    fn names_what_was_tried_and_the_mend() {
        let text = problem(403, "Forbidden", "cannot patch").to_string();
        assert_eq!(
            text,
            "could not apply Deployment shop/podinfo-primary: the service account may not patch deployments.apps; grant \
             it in the ClusterRole (cannot patch)"
        );
    }
}
