//! What a rule does to requests and responses.

use std::collections::BTreeMap;

use crds::{BackendReference, CorsPolicy, HeaderOperations, HttpRewrite};
use rollout::spec::Strategy;
use serde_json::{Value, json};

use super::Route;

const RESPONSE: (&str, &str) = ("ResponseHeaderModifier", "responseHeaderModifier");
const REQUEST: (&str, &str) = ("RequestHeaderModifier", "requestHeaderModifier");

/// The filters of all rules, in the order headers, rewrite, the user's mirrors, CORS, the canary's mirror.
/// `v1` says whether the API version is that, which has CORS and a percentage of mirrored requests.
pub(super) fn of_service(route: &Route<'_>, v1: bool) -> Vec<Value> {
    let service = &route.spec.service;
    let mut filters = Vec::new();
    if let Some(headers) = &service.headers {
        filters.extend(headers.request.as_ref().map(|operations| modifier(REQUEST, operations)));
        filters.extend(headers.response.as_ref().map(|operations| modifier(RESPONSE, operations)));
    }
    filters.extend(service.rewrite.as_ref().map(rewrite));
    let mirrors = service.mirror.iter().filter_map(|mirror| mirror.backend_ref.as_ref());
    filters.extend(mirrors.map(|backend| mirror(backend, 100)));
    filters.extend(service.cors_policy.as_ref().filter(|_| v1).map(cors));
    if route.intent.mirrored {
        let canary = BackendReference {
            name: route.canary_name(),
            port: i32::try_from(service.port).ok(),
            ..BackendReference::default()
        };
        let percent = if v1 { asked_percent(&route.spec.strategy) } else { 100 };
        filters.push(mirror(&canary, percent));
    }
    filters
}

/// True when the rewrite replaces only the matched prefix.
pub(super) fn rewrites_prefix(route: &Route<'_>) -> bool {
    let rewrite = route.spec.service.rewrite.as_ref();
    rewrite.is_some_and(|rewrite| is_prefix(rewrite) && rewrite.uri.as_ref().is_some_and(|uri| !uri.is_empty()))
}

/// Answers with the cookie. A rule has at most one filter that modifies responses, so it goes into the one there is.
pub(super) fn set_cookie(filters: &mut Vec<Value>, cookie: String) {
    let header = json!({ "name": "Set-Cookie", "value": cookie });
    let Some(there) = filters.iter_mut().find(|filter| filter["type"] == RESPONSE.0) else {
        filters.push(json!({ "type": RESPONSE.0, RESPONSE.1: { "add": [header], "set": [], "remove": [] } }));
        return;
    };
    if let Some(added) = there[RESPONSE.1]["add"].as_array_mut() {
        // One entry per name is all that the API takes.
        added.retain(|entry| entry["name"].as_str().is_none_or(|name| !name.eq_ignore_ascii_case("Set-Cookie")));
        added.push(header);
    }
}

fn modifier((kind, key): (&str, &str), operations: &HeaderOperations) -> Value {
    let pairs = |headers: &BTreeMap<String, String>| {
        headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>()
    };
    json!({
        "type": kind,
        key: { "add": pairs(&operations.add), "set": pairs(&operations.set), "remove": operations.remove },
    })
}

fn is_prefix(rewrite: &HttpRewrite) -> bool {
    rewrite.type_.as_deref() == Some("ReplacePrefixMatch")
}

fn rewrite(rewrite: &HttpRewrite) -> Value {
    let mut changes = json!({});
    if let Some(authority) = rewrite.authority.as_ref().filter(|authority| !authority.is_empty()) {
        changes["hostname"] = authority.clone().into();
    }
    if let Some(uri) = rewrite.uri.as_ref().filter(|uri| !uri.is_empty()) {
        changes["path"] = if is_prefix(rewrite) {
            json!({ "type": "ReplacePrefixMatch", "replacePrefixMatch": uri })
        } else {
            json!({ "type": "ReplaceFullPath", "replaceFullPath": uri })
        };
    }
    json!({ "type": "URLRewrite", "urlRewrite": changes })
}

fn mirror(backend: &BackendReference, percent: u8) -> Value {
    let mut to = json!({
        "group": backend.group.as_deref().unwrap_or_default(),
        "kind": backend.kind.as_deref().unwrap_or("Service"),
        "name": backend.name,
    });
    if let Some(namespace) = &backend.namespace {
        to["namespace"] = namespace.clone().into();
    }
    if let Some(port) = backend.port {
        to["port"] = port.into();
    }
    let mut mirror = json!({ "backendRef": to });
    // The field is younger than the filter: older installations take the filter without it.
    if percent < 100 {
        mirror["percent"] = percent.into();
    }
    json!({ "type": "RequestMirror", "requestMirror": mirror })
}

fn asked_percent(strategy: &Strategy) -> u8 {
    match strategy {
        Strategy::Canary { mirror, .. } | Strategy::BlueGreen { mirror, .. } => {
            mirror.map_or(100, |mirror| mirror.percent)
        }
        Strategy::AbTesting { .. } => 100,
    }
}

/// Origins by prefix or expression have no counterpart in the Gateway API; such origins are not allowed.
fn cors(policy: &CorsPolicy) -> Value {
    let origins = policy.allow_origins.iter().filter_map(|origin| origin.exact.as_ref());
    let mut cors = json!({
        "allowOrigins": unique(policy.allow_origin.iter().chain(origins)),
        "allowMethods": unique(&policy.allow_methods),
        "allowHeaders": unique(&policy.allow_headers),
        "exposeHeaders": unique(&policy.expose_headers),
    });
    // The API took only `true` at first.
    if policy.allow_credentials == Some(true) {
        cors["allowCredentials"] = true.into();
    }
    if let Some(seconds) = policy.max_age.as_deref().and_then(whole_seconds).filter(|seconds| *seconds > 0) {
        cors["maxAge"] = seconds.into();
    }
    json!({ "type": "CORS", "cors": cors })
}

/// In the order given; the API refuses an entry that is there twice.
fn unique<'a>(entries: impl IntoIterator<Item = &'a String>) -> Vec<&'a String> {
    let mut kept = Vec::new();
    for entry in entries {
        if !kept.contains(&entry) {
            kept.push(entry);
        }
    }
    kept
}

/// Whole seconds of a duration as Go writes it (`1h30m`, `2.5s`, `100ms`); `None` when it is none.
fn whole_seconds(text: &str) -> Option<i32> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    let mut seconds = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let (unit, factor) = UNITS.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = &after[unit.len()..];
    }
    (seconds <= f64::from(i32::MAX)).then_some(seconds as i32)
}

#[cfg(test)]
mod tests {
    use super::whole_seconds;

    #[test]
    fn durations_are_those_of_go() {
        for (text, seconds) in [
            ("24h", Some(86400)),
            ("1h30m", Some(5400)),
            ("2.5s", Some(2)),
            ("1500ms", Some(1)),
            ("0s", Some(0)),
            ("1d", None),
            ("5", None),
            ("", None),
            ("s", None),
            ("999999999999h", None),
        ] {
            assert_eq!(whole_seconds(text), seconds, "{text:?}");
        }
    }
}
