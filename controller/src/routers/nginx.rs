//! NGINX Ingress controller: a copy of the user's Ingress that points to the canary, steered by annotations.

use std::collections::BTreeMap;

use crds::{MatchRequest, StringMatch};
use rollout::spec::{RouterAbility, Spec, Strategy};
use serde_json::{Value, json};

use super::{Observed, Route, RouteError, Router, percent};
use crate::objects::{Desired, Kind, Lookup, kinds::INGRESS};

pub(super) static ROUTER: Nginx = Nginx;

pub(super) struct Nginx;

static ABILITIES: [RouterAbility; 1] =
    [RouterAbility { name: "nginx", weights: true, matches: true, mirror: false, affinity: false, baseline: false }];

/// The annotations that send by match; each stands only while the canary is to get those who match.
const BY_MATCH: [&str; 4] =
    ["canary-by-cookie", "canary-by-header", "canary-by-header-pattern", "canary-by-header-value"];

impl Router for Nginx {
    fn abilities(&self) -> &'static [RouterAbility] {
        &ABILITIES
    }

    fn resources(&self, _provider: &str) -> Vec<(Kind, bool)> {
        vec![(INGRESS, true)]
    }

    fn render(&self, route: &Route<'_>, current: &dyn Lookup) -> Result<Vec<Desired>, RouteError> {
        let source_name = source_name(route.spec)?;
        let source = current.get(INGRESS, source_name).ok_or_else(|| RouteError::Missing {
            kind: INGRESS.kind,
            name: source_name.to_owned(),
            mend: "create the Ingress that spec.ingressRef names, in the namespace of the Canary".into(),
        })?;
        let name = copy_name(source_name);
        let live = current.get(INGRESS, &name);
        let live = live.as_deref();

        let steering = steering(route)?;
        let mut annotations = copied(&source["metadata"]["annotations"], route);
        annotations.extend(steering.clone());
        let body = json!({
            "apiVersion": INGRESS.api_version(), "kind": INGRESS.kind,
            "metadata": route.metadata(&name, copied(&source["metadata"]["labels"], route), annotations, live),
            "spec": spec(route, &source)?,
        });

        // That an annotation must go cannot be said by applying the others, above all when somebody else wrote it.
        let stale = |key: &String| is_match_key(route, key) && !steering.contains_key(key);
        let there = live.map(|live| strings(&live["metadata"]["annotations"])).unwrap_or_default();
        let pointers: Vec<_> = there.into_keys().filter(stale).map(|key| annotation_pointer(&key)).collect();
        let apply = Desired::Apply { kind: INGRESS, body: body.clone() };
        if pointers.is_empty() {
            return Ok(vec![apply]);
        }
        Ok(vec![Desired::Replace { kind: INGRESS, body, pointers }, apply])
    }

    fn observe(&self, route: &Route<'_>, current: &dyn Lookup) -> Result<Observed, RouteError> {
        let name = copy_name(source_name(route.spec)?);
        let Some(live) = current.get(INGRESS, &name) else { return Ok(Observed::Missing) };
        let annotations = strings(&live["metadata"]["annotations"]);
        let annotation = |suffix: &str| annotations.get(&key(route, suffix)).map(String::as_str);
        let pending = |suffix: &str, value: &str, wanted: &str| {
            let key = key(route, suffix);
            Ok(Observed::Pending(format!("annotation {key} of Ingress {name} is {value:?}, not {wanted} yet")))
        };

        if annotation("canary") != Some("true") {
            return pending("canary", annotation("canary").unwrap_or_default(), "\"true\"");
        }
        if let Strategy::AbTesting { .. } = route.spec.strategy {
            let matches = BY_MATCH.iter().any(|suffix| annotation(suffix).is_some());
            return Ok(Observed::Split {
                canary_weight: if matches { 100 } else { 0 },
                baseline_weight: 0,
                mirrored: false,
            });
        }
        let weight = annotation("canary-weight").unwrap_or("0");
        let total = annotation("canary-weight-total").and_then(|total| total.parse().ok()).unwrap_or(100);
        match weight.parse() {
            Ok(weight) => Ok(Observed::Split { canary_weight: percent(weight, total), baseline_weight: 0, mirrored: false }),
            Err(_) => pending("canary-weight", weight, "a number"),
        }
    }
}

fn source_name(spec: &Spec) -> Result<&str, RouteError> {
    spec.ingress.as_deref().filter(|name| !name.is_empty()).ok_or_else(|| RouteError::Field {
        field: "spec.ingressRef".into(),
        why: "the nginx router copies an Ingress: name the one that leads to the service".into(),
    })
}

fn copy_name(source: &str) -> String {
    format!("{source}-canary")
}

fn key(route: &Route<'_>, suffix: &str) -> String {
    format!("{}/{suffix}", route.ingress_annotations_prefix)
}

fn annotation_pointer(key: &str) -> String {
    format!("/metadata/annotations/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn is_match_key(route: &Route<'_>, candidate: &str) -> bool {
    BY_MATCH.iter().any(|suffix| key(route, suffix) == candidate)
}

/// A source's labels or annotations as the copy has them: without those that steer, and those by which a GitOps
/// operator would take the copy for its own.
fn copied(of: &Value, route: &Route<'_>) -> BTreeMap<String, String> {
    let steers = key(route, "canary");
    let mut copied = strings(of);
    copied.retain(|key, _| {
        // The API server refuses a class named both here and in the spec.
        let class = route.ingress_class.is_some() && key == "kubernetes.io/ingress.class";
        let of_tool = key == "kubectl.kubernetes.io/last-applied-configuration"
            || key.contains("toolkit.fluxcd.io")
            || key.starts_with("argocd.argoproj.io/");
        !(class || of_tool || key.starts_with(&steers))
    });
    copied
}

fn strings(of: &Value) -> BTreeMap<String, String> {
    let Some(of) = of.as_object() else { return BTreeMap::new() };
    of.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The source's spec with the canary's Service in the place of the apex Service.
fn spec(route: &Route<'_>, source: &Value) -> Result<Value, RouteError> {
    let mut spec = source["spec"].clone();
    let canary = route.canary_name();
    let mut found = false;
    let mut turn = |backend: Option<&mut Value>| {
        if let Some(name) = backend.and_then(|backend| backend.pointer_mut("/service/name"))
            && name == route.apex_name()
        {
            *name = canary.as_str().into();
            found = true;
        }
    };
    turn(spec.get_mut("defaultBackend"));
    for rule in spec.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
        // A rule without `http` sends everything to the default backend.
        for path in rule.pointer_mut("/http/paths").and_then(Value::as_array_mut).into_iter().flatten() {
            turn(path.get_mut("backend"));
        }
    }
    if !found {
        return Err(RouteError::Field {
            field: "spec.ingressRef".into(),
            why: format!(
                "Ingress {} has no backend with the service {}: point it there, or set spec.service.name",
                route.spec.ingress.as_deref().unwrap_or_default(),
                route.apex_name()
            ),
        });
    }
    for list in ["rules", "tls"] {
        if spec.get(list).is_none() {
            spec[list] = json!([]);
        }
    }
    if let Some(class) = route.ingress_class {
        spec["ingressClassName"] = class.into();
    }
    Ok(spec)
}

/// The annotations that say who sees the canary.
fn steering(route: &Route<'_>) -> Result<BTreeMap<String, String>, RouteError> {
    let weight = route.canary_weight();
    let mut steering = BTreeMap::from([("canary", "true".to_owned())]);
    match &route.spec.strategy {
        Strategy::AbTesting { matches, .. } => {
            let by_match = by_match(matches)?;
            steering.insert("canary-weight", "0".into());
            if weight > 0 {
                steering.extend(by_match);
            }
        }
        Strategy::Canary { .. } | Strategy::BlueGreen { .. } => {
            steering.insert("canary-weight", weight.to_string());
        }
    }
    Ok(steering.into_iter().map(|(suffix, value)| (key(route, suffix), value)).collect())
}

/// The annotations for requests that match any of these. NGINX compares one header and one cookie, and a request
/// that has either of them is taken.
fn by_match(matches: &[MatchRequest]) -> Result<BTreeMap<&'static str, String>, RouteError> {
    let mut annotations = BTreeMap::new();
    for (index, request) in matches.iter().enumerate() {
        let field = format!("spec.analysis.match[{index}]");
        if !request.query_params.is_empty() {
            return Err(RouteError::Field {
                field: format!("{field}.queryParams"),
                why: "nginx cannot match query parameters: match a header or a cookie".into(),
            });
        }
        for (name, text) in &request.headers {
            let field = format!("{field}.headers[{name:?}]");
            let of_cookie = name.eq_ignore_ascii_case("cookie");
            let found = if of_cookie { cookie(text, &field)? } else { header(name, text) };
            let differs =
                |(suffix, value): &(&str, String)| annotations.get(suffix).is_some_and(|other| other != value);
            if found.iter().any(differs) {
                let what = if of_cookie { "cookie" } else { "header" };
                return Err(RouteError::Field {
                    field,
                    why: format!("nginx can match one {what}, and this is another"),
                });
            }
            annotations.extend(found);
            // NGINX would not look at the pattern.
            if annotations.contains_key("canary-by-header-value")
                && annotations.contains_key("canary-by-header-pattern")
            {
                let why = "nginx can match one value or one pattern of a header, not both".into();
                return Err(RouteError::Field { field, why });
            }
        }
    }
    if annotations.is_empty() {
        return Err(RouteError::Field {
            field: "spec.analysis.match".into(),
            why: "nginx matches a header or a cookie: give one under headers".into(),
        });
    }
    Ok(annotations)
}

fn given(text: &Option<String>) -> Option<&String> {
    text.as_ref().filter(|text| !text.is_empty())
}

/// NGINX takes the name of a cookie, and sends those with the value `always`.
fn cookie(text: &StringMatch, field: &str) -> Result<Vec<(&'static str, String)>, RouteError> {
    let name = given(&text.exact).ok_or_else(|| RouteError::Field {
        field: field.to_owned(),
        why: "nginx needs the name of the cookie, as exact".into(),
    })?;
    Ok(vec![("canary-by-cookie", name.clone())])
}

/// Without a value, NGINX sends those whose header says `always`.
fn header(name: &str, text: &StringMatch) -> Vec<(&'static str, String)> {
    let mut found = vec![("canary-by-header", name.to_owned())];
    let pattern = given(&text.regex)
        .cloned()
        .or_else(|| given(&text.prefix).map(|prefix| format!("^{}", escaped(prefix))))
        .or_else(|| given(&text.suffix).map(|suffix| format!("{}$", escaped(suffix))));
    found.extend(given(&text.exact).map(|value| ("canary-by-header-value", value.clone())));
    found.extend(pattern.map(|pattern| ("canary-by-header-pattern", pattern)));
    found
}

/// The text as a regular expression for itself.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii_punctuation() && letter != '-' && letter != '_' {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}
