//! Questions about rights and identity.

use serde_json::{Value, json};

use crate::access::{Access, Attempt};

/// The question with its answer as status.
pub(crate) fn answer(access: &Access, kind: &str, mut question: Value, user: &str) -> Value {
    if !question.is_object() {
        question = json!({});
    }
    let group = if ["TokenReview", "SelfSubjectReview"].contains(&kind) {
        "authentication.k8s.io"
    } else {
        "authorization.k8s.io"
    };
    question["apiVersion"] = format!("{group}/v1").into();
    question["kind"] = kind.into();
    if question["metadata"].is_null() {
        question["metadata"] = json!({ "creationTimestamp": null });
    }
    question["status"] = match kind {
        "SelfSubjectReview" => json!({ "userInfo": { "username": user, "groups": groups(user) } }),
        "TokenReview" => {
            let token = question["spec"]["token"].as_str().unwrap_or_default();
            if token.is_empty() {
                json!({ "authenticated": false, "user": {} })
            } else {
                json!({ "authenticated": true, "user": { "username": token, "groups": groups(token) } })
            }
        }
        "SelfSubjectRulesReview" => json!({
            "incomplete": false, "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
        }),
        _ => {
            let asked = question["spec"]["user"].as_str().filter(|asked| !asked.is_empty());
            let allowed = allowed(access, &question["spec"], asked.unwrap_or(user));
            if allowed {
                json!({ "allowed": true })
            } else {
                json!({ "allowed": false, "reason": "no rule allows it" })
            }
        }
    };
    question
}

fn allowed(access: &Access, spec: &Value, user: &str) -> bool {
    let attributes = &spec["resourceAttributes"];
    if attributes.is_null() {
        return true;
    }
    let text = |field: &str| attributes[field].as_str().unwrap_or_default().to_owned();
    let mut resource = text("resource");
    if !text("subresource").is_empty() {
        resource = format!("{resource}/{}", text("subresource"));
    }
    access.allows(&Attempt {
        user: user.to_owned(),
        verb: text("verb"),
        group: text("group"),
        resource,
        namespace: text("namespace"),
        name: text("name"),
    })
}

fn groups(user: &str) -> Vec<String> {
    let mut groups = vec![];
    if user == "admin" {
        groups.push("system:masters".to_owned());
    }
    if let Some(account) = user.strip_prefix("system:serviceaccount:") {
        groups.push("system:serviceaccounts".to_owned());
        if let Some((namespace, _)) = account.split_once(':') {
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
    }
    groups.push("system:authenticated".to_owned());
    groups
}
