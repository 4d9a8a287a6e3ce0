//! What admission said when it refused an object. The API has no field for it, so the shapes of the messages of the
//! well-known engines are all there is to go by.

use std::fmt;

/// A refusal by a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Who enforces the policy.
    pub engine: Engine,
    /// Its name, as people find it in the cluster: a constraint, a policy, a quota, a level, or the webhook.
    pub policy: String,
    /// The rule within it, or the binding that put it in force, where the message names one.
    pub part: Option<String>,
    /// What is wrong with the object, in the policy's own words.
    pub message: String,
}

/// Who enforces a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Gatekeeper; the policy is a constraint.
    Gatekeeper,
    /// Azure Policy, which makes constraints for Gatekeeper.
    AzurePolicy,
    /// Kyverno; the policy is a Policy or ClusterPolicy.
    Kyverno,
    /// The API server's own ValidatingAdmissionPolicy.
    ValidatingAdmissionPolicy,
    /// Pod Security Admission; the policy is a level.
    PodSecurity,
    /// A ResourceQuota.
    ResourceQuota,
    /// A LimitRange; the message does not name it.
    LimitRange,
    /// Any other admission webhook; the policy is its name.
    Webhook,
}

impl Engine {
    /// As people call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Engine::Gatekeeper => "Gatekeeper",
            Engine::AzurePolicy => "Azure Policy",
            Engine::Kyverno => "Kyverno",
            Engine::ValidatingAdmissionPolicy => "ValidatingAdmissionPolicy",
            Engine::PodSecurity => "PodSecurity",
            Engine::ResourceQuota => "ResourceQuota",
            Engine::LimitRange => "LimitRange",
            Engine::Webhook => "admission webhook",
        }
    }
}

/// `must-have-owner (Gatekeeper): you must provide labels: {"owner"}`
impl fmt::Display for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Denial { engine, policy, part, message } = self;
        write!(formatter, "{policy}")?;
        if let Some(part) = part {
            write!(formatter, "/{part}")?;
        }
        write!(formatter, " ({}): {message}", engine.as_str())
    }
}

/// Reads the message of a refused request, or of a condition that repeats one; `None` when it tells of no policy.
pub fn parse(message: &str) -> Option<Denial> {
    webhook(message)
        .or_else(|| admission_policy(message))
        .or_else(|| pod_security(message))
        .or_else(|| quota(message))
        .or_else(|| limit_range(message))
}

fn webhook(message: &str) -> Option<Denial> {
    let (_, rest) = message.split_once("admission webhook \"")?;
    let (name, rest) = rest.split_once('"')?;
    let (_, said) = rest.split_once("denied the request")?;
    let said = said.strip_prefix(':').unwrap_or(said).trim();
    if let Some(denial) = constraint(said) {
        return Some(denial);
    }
    if name.contains("kyverno")
        && let Some(denial) = kyverno(said)
    {
        return Some(denial);
    }
    Some(Denial { engine: Engine::Webhook, policy: name.to_owned(), part: None, message: words(said) })
}

/// `[constraint] message`, once earlier `[denied by constraint] message`, a line for each constraint.
fn constraint(said: &str) -> Option<Denial> {
    let (name, message) = said.strip_prefix('[')?.split_once(']')?;
    let name = name.strip_prefix("denied by ").unwrap_or(name).trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    let engine = if name.starts_with("azurepolicy-") { Engine::AzurePolicy } else { Engine::Gatekeeper };
    Some(Denial { engine, policy: name.to_owned(), part: None, message: words(message) })
}

/// A line `policy:`, and below it, indented, `rule: 'message'`.
fn kyverno(said: &str) -> Option<Denial> {
    let mut lines = said.lines().filter(|line| !line.trim().is_empty()).peekable();
    while let Some(line) = lines.next() {
        let is_policy = !line.starts_with(char::is_whitespace) && line.trim_end().ends_with(':');
        let below = lines.peek().filter(|below| below.starts_with(char::is_whitespace));
        if let (true, Some(_)) = (is_policy, below) {
            let policy = line.trim().trim_end_matches(':').to_owned();
            let rest: Vec<&str> = lines.take_while(|below| below.starts_with(char::is_whitespace)).collect();
            let text = words(&rest.join(" "));
            let (rule, message) = text.split_once(": ").unwrap_or(("", &text));
            let message = message.trim_matches('\'').replace("''", "'");
            let part = Some(rule.to_owned()).filter(|rule| !rule.is_empty());
            return Some(Denial { engine: Engine::Kyverno, policy, part, message });
        }
    }
    None
}

/// `ValidatingAdmissionPolicy 'policy' with binding 'binding' denied request: message`
fn admission_policy(message: &str) -> Option<Denial> {
    let (_, rest) = message.split_once("ValidatingAdmissionPolicy '")?;
    let (policy, rest) = rest.split_once('\'')?;
    let binding = rest.split_once("with binding '").and_then(|(_, rest)| rest.split_once('\'')).map(|(name, _)| name);
    let said = rest.split_once("denied request:").map_or(rest, |(_, said)| said);
    Some(Denial {
        engine: Engine::ValidatingAdmissionPolicy,
        policy: policy.to_owned(),
        part: binding.map(str::to_owned),
        message: words(said),
    })
}

/// `violates PodSecurity "restricted:latest": message`
fn pod_security(message: &str) -> Option<Denial> {
    let (_, rest) = message.split_once("violates PodSecurity \"")?;
    let (level, said) = rest.split_once('"')?;
    let said = said.strip_prefix(':').unwrap_or(said);
    Some(Denial { engine: Engine::PodSecurity, policy: level.to_owned(), part: None, message: words(said) })
}

/// `exceeded quota: name, requested: …`, or `failed quota: name: must specify …`
fn quota(message: &str) -> Option<Denial> {
    let (name, said) = if let Some((_, rest)) = message.split_once("exceeded quota: ") {
        rest.split_once(',').unwrap_or((rest, "exceeded"))
    } else {
        let (_, rest) = message.split_once("failed quota: ")?;
        rest.split_once(':').unwrap_or((rest, "failed"))
    };
    Some(Denial { engine: Engine::ResourceQuota, policy: name.trim().to_owned(), part: None, message: words(said) })
}

/// `is forbidden: maximum cpu usage per Container is 500m, but limit is 1`
fn limit_range(message: &str) -> Option<Denial> {
    let (_, said) = message.split_once("is forbidden: ")?;
    let said = said.trim_start_matches('[');
    let of_a_range = (said.starts_with("maximum ") || said.starts_with("minimum ")) && said.contains(" usage per ");
    of_a_range.then(|| Denial {
        engine: Engine::LimitRange,
        policy: "LimitRange".to_owned(),
        part: None,
        message: words(said.trim_end_matches(']')),
    })
}

/// On one line, and not without end.
fn words(text: &str) -> String {
    const LONGEST: usize = 512;
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(at);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_are_known_by_what_they_say() {
        let cases = [
            (
                "admission webhook \"validation.gatekeeper.sh\" denied the request: [must-have-owner] you must provide labels: {\"owner\"}",
                (Engine::Gatekeeper, "must-have-owner", None, "you must provide labels: {\"owner\"}"),
            ),
            (
                "admission webhook \"validation.gatekeeper.sh\" denied the request: [one] first\n[two] second",
                (Engine::Gatekeeper, "one", None, "first [two] second"),
            ),
            (
                "admission webhook \"validation.gatekeeper.sh\" denied the request: [denied by repo-is-ours] container <web> has an invalid image repo <evil/web:1>, allowed repos are [\"ours/\"]",
                (
                    Engine::Gatekeeper,
                    "repo-is-ours",
                    None,
                    "container <web> has an invalid image repo <evil/web:1>, allowed repos are [\"ours/\"]",
                ),
            ),
            (
                "admission webhook \"validation.gatekeeper.sh\" denied the request: [azurepolicy-k8sazurev2containerallowedimag-94d1c4a1] Container image evil/web:1 for container web has not been allowed.",
                (
                    Engine::AzurePolicy,
                    "azurepolicy-k8sazurev2containerallowedimag-94d1c4a1",
                    None,
                    "Container image evil/web:1 for container web has not been allowed.",
                ),
            ),
            (
                "admission webhook \"validate.kyverno.svc-fail\" denied the request: \n\nresource Deployment/shop/web-primary was blocked due to the following policies \n\nrequire-labels:\n  check-for-labels: 'validation error: label ''team'' is required. rule check-for-labels\n    failed at path /metadata/labels/team/'\n",
                (
                    Engine::Kyverno,
                    "require-labels",
                    Some("check-for-labels"),
                    "validation error: label 'team' is required. rule check-for-labels failed at path /metadata/labels/team/",
                ),
            ),
            (
                "admission webhook \"validate.kyverno.svc-fail\" denied the request: something new",
                (Engine::Webhook, "validate.kyverno.svc-fail", None, "something new"),
            ),
            (
                "admission webhook \"deny.example.com\" denied the request without explanation",
                (Engine::Webhook, "deny.example.com", None, "without explanation"),
            ),
            (
                "canaries.flagger.app \"web\" is forbidden: ValidatingAdmissionPolicy 'canaries-have-metrics' with binding 'everywhere' denied request: spec.analysis.metrics: at least one is needed",
                (
                    Engine::ValidatingAdmissionPolicy,
                    "canaries-have-metrics",
                    Some("everywhere"),
                    "spec.analysis.metrics: at least one is needed",
                ),
            ),
            (
                "pods \"web-5d-x\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"web\" must set securityContext.allowPrivilegeEscalation=false)",
                (
                    Engine::PodSecurity,
                    "restricted:latest",
                    None,
                    "allowPrivilegeEscalation != false (container \"web\" must set securityContext.allowPrivilegeEscalation=false)",
                ),
            ),
            (
                "pods \"web-5d-\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2",
                (Engine::ResourceQuota, "small", None, "requested: pods=1, used: pods=2, limited: pods=2"),
            ),
            (
                "pods \"web-5d-x\" is forbidden: failed quota: memory: must specify limits.memory for: web",
                (Engine::ResourceQuota, "memory", None, "must specify limits.memory for: web"),
            ),
            (
                "pods \"web-5d-x\" is forbidden: maximum cpu usage per Container is 500m, but limit is 1",
                (Engine::LimitRange, "LimitRange", None, "maximum cpu usage per Container is 500m, but limit is 1"),
            ),
        ];
        for (text, (engine, policy, part, message)) in cases {
            let expected =
                Denial { engine, policy: policy.into(), part: part.map(str::to_owned), message: message.into() };
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_refusals_are_of_no_policy() {
        for text in [
            "",
            "deployments.apps is forbidden: User \"system:serviceaccount:a:b\" cannot patch resource \"deployments\"",
            "failed calling webhook \"validation.gatekeeper.sh\": connection refused",
            "Deployment.apps \"x\" is invalid: spec.selector: field is immutable",
            "admission webhook \"",
            "ValidatingAdmissionPolicy '",
            "violates PodSecurity \"",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_denial_is_told_with_policy_engine_and_words() {
        let text = "admission webhook \"validation.gatekeeper.sh\" denied the request: [must-have-owner] no owner";
        assert_eq!(parse(text).unwrap().to_string(), "must-have-owner (Gatekeeper): no owner");
        assert!(parse(&format!("{text}{}", "ä".repeat(9000))).unwrap().message.chars().count() <= 513);
    }
}
