//! Kubernetes Gateway API: one HTTPRoute with the name of the apex Service.

mod filters;
mod matches;
mod parents;

use rollout::spec::{RouterAbility, SessionAffinity, Strategy};
use serde_json::{Value, json};

use self::matches::Match;
use super::{Observed, Route, RouteError, Router, percent};
use crate::objects::{Desired, Kind, Lookup};

pub(super) static ROUTER: GatewayApi = GatewayApi;

pub(super) struct GatewayApi;

static ABILITIES: [RouterAbility; 2] = [
    RouterAbility { name: "gatewayapi:v1", weights: true, matches: true, mirror: true, affinity: true, baseline: true },
    RouterAbility { name: "gatewayapi:v1beta1", weights: true, matches: true, mirror: true, affinity: true, baseline: true },
];

const V1: Kind = Kind { group: "gateway.networking.k8s.io", version: "v1", kind: "HTTPRoute", plural: "httproutes" };
const V1BETA1: Kind = Kind { version: "v1beta1", ..V1 };

fn kind(provider: &str) -> Kind {
    if provider == ABILITIES[1].name { V1BETA1 } else { V1 }
}

impl Router for GatewayApi {
    fn abilities(&self) -> &'static [RouterAbility] {
        &ABILITIES
    }

    fn resources(&self, provider: &str) -> Vec<(Kind, bool)> {
        vec![(kind(provider), true)]
    }

    fn render(&self, route: &Route<'_>, current: &dyn Lookup) -> Result<Vec<Desired>, RouteError> {
        let kind = kind(&route.spec.provider);
        let live = current.get(kind, route.apex_name());
        let (labels, annotations) = route.apex_metadata();
        let body = json!({
            "apiVersion": kind.api_version(), "kind": kind.kind,
            "metadata": route.metadata(route.apex_name(), labels, annotations, live.as_deref()),
            "spec": {
                "parentRefs": parents::references(route)?,
                "hostnames": route.spec.service.hosts,
                "rules": rules(route, kind)?,
            },
        });
        Ok(vec![Desired::Apply { kind, body }])
    }

    fn hand_over(&self, route: &Route<'_>, current: &dyn Lookup, heir: &Value) -> Result<Vec<Desired>, RouteError> {
        let Some(live) = current.get(kind(&route.spec.provider), route.apex_name()) else { return Ok(Vec::new()) };
        let mut desired = self.render(route, current)?;
        for object in &mut desired {
            let Desired::Apply { body, .. } = object else { continue };
            for rule in body["spec"]["rules"].as_array_mut().into_iter().flatten() {
                rule["backendRefs"] = json!([backend(route, route.apex_name().to_owned(), 100)]);
            }
            route.bequeath(&mut body["metadata"], &live, heir);
        }
        Ok(desired)
    }

    fn observe(&self, route: &Route<'_>, current: &dyn Lookup) -> Result<Observed, RouteError> {
        let kind = kind(&route.spec.provider);
        let Some(live) = current.get(kind, route.apex_name()) else { return Ok(Observed::Missing) };
        // Controllers of the days of v1beta1 do not all report what they accepted.
        if let Some(reason) = parents::pending(route, &live, kind == V1)? {
            return Ok(Observed::Pending(reason));
        }
        Ok(split(route, &live))
    }
}

/// The split that the rules express. Rules for cookies stand before the weighted one, and in A/B testing only the
/// rule of the matches lists the canary: it is always the last that does.
fn split(route: &Route<'_>, live: &Value) -> Observed {
    let (primary, canary) = (route.primary_name(), route.canary_name());
    let rules = array(&live["spec"]["rules"]);
    let lists = |rule: &&Value, name: &str| array(&rule["backendRefs"]).iter().any(|backend| backend["name"] == name);
    let Some(rule) = rules.iter().rev().find(|rule| lists(rule, &canary)) else {
        if rules.iter().any(|rule| lists(&rule, &primary)) {
            return Observed::Split { canary_weight: 0, baseline_weight: 0, mirrored: false };
        }
        let name = route.apex_name();
        return Observed::Pending(format!("HTTPRoute {name} sends nothing to {primary} or {canary} yet"));
    };
    let baseline = route.spec.baseline_service_name();
    let (mut to_canary, mut to_baseline, mut total) = (0, 0, 0);
    for backend in array(&rule["backendRefs"]) {
        // The API's default.
        let weight = backend["weight"].as_u64().unwrap_or(1);
        total += weight;
        if backend["name"] == canary.as_str() {
            to_canary += weight;
        }
        if backend["name"] == baseline.as_str() {
            to_baseline += weight;
        }
    }
    let copies = array(&rule["filters"])
        .iter()
        .filter(|filter| filter["requestMirror"]["backendRef"]["name"] == canary.as_str());
    // The user may mirror to the canary at all times.
    let of_user = route.spec.service.mirror.iter().filter_map(|mirror| mirror.backend_ref.as_ref());
    let mirrored = copies.count() > of_user.filter(|backend| backend.name == canary).count();
    Observed::Split {
        canary_weight: percent(to_canary, total),
        baseline_weight: percent(to_baseline, total),
        mirrored,
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A rule before it is written.
#[derive(Clone)]
struct Rule {
    matches: Vec<Match>,
    filters: Vec<Value>,
    backends: Vec<Value>,
}

fn rules(route: &Route<'_>, kind: Kind) -> Result<Vec<Value>, RouteError> {
    let service = &route.spec.service;
    let of_service = matches::of_service(&service.match_)?;
    let (weight, beside) = (route.canary_weight(), route.baseline_weight());
    let mut weighted = Rule {
        matches: of_service.clone(),
        filters: filters::of_service(route, kind == V1),
        backends: vec![
            backend(route, route.primary_name(), 100 - weight - beside),
            backend(route, route.canary_name(), weight),
        ],
    };
    if beside > 0 {
        weighted.backends.push(backend(route, route.spec.baseline_service_name(), beside));
    }
    let rules = match &route.spec.strategy {
        Strategy::AbTesting { matches, .. } => {
            let of_analysis = matches::of_analysis(matches)?;
            let rest = Rule { backends: vec![backend(route, route.primary_name(), 100)], ..weighted.clone() };
            vec![Rule { matches: matches::all_pairs(&of_analysis, &of_service), ..weighted }, rest]
        }
        Strategy::Canary { .. } | Strategy::BlueGreen { .. } => match &route.spec.affinity {
            Some(affinity) => with_affinity(route, affinity, weighted),
            None => vec![weighted],
        },
    };
    let timeouts = if kind == V1 { Some(timeouts(route)?) } else { None };
    write(route, rules, timeouts)
}

fn backend(route: &Route<'_>, name: String, weight: u8) -> Value {
    json!({
        "group": "", "kind": "Service", "name": name, "port": route.spec.service.port, "weight": weight, "filters": [],
    })
}

/// The weighted rule, and before it those that keep users with a cookie where they are.
fn with_affinity(route: &Route<'_>, affinity: &SessionAffinity, mut weighted: Rule) -> Vec<Rule> {
    let cookies = &route.intent.cookies;
    let sticky = |rule: &Rule, cookie: &str| Rule {
        matches: matches::all_pairs(&[Match::cookie(cookie)], &rule.matches),
        ..rule.clone()
    };
    if route.canary_weight() == 0 {
        let Some(previous) = &cookies.previous else { return vec![weighted] };
        let mut expire = sticky(&weighted, previous);
        filters::set_cookie(&mut expire.filters, format!("{previous}; Max-Age=-1"));
        return vec![expire, weighted];
    }

    let hand_out = |backend: &mut Value, cookie: &str, max_age: u64| {
        let mut filters = Vec::new();
        let attributes = if affinity.attributes.is_empty() { "" } else { "; " };
        filters::set_cookie(&mut filters, format!("{cookie}; Max-Age={max_age}{attributes}{}", affinity.attributes));
        backend["filters"] = filters.into();
    };
    let mut rules = Vec::new();
    if let Some(cookie) = &cookies.canary {
        let backends = vec![backend(route, route.primary_name(), 0), backend(route, route.canary_name(), 100)];
        rules.push(Rule { backends, ..sticky(&weighted, cookie) });
    }
    let keeps_primary = affinity.primary_cookie_name.as_ref().is_some_and(|name| !name.is_empty());
    let of_primary = cookies.primary.as_ref().filter(|_| keeps_primary);
    if let Some(cookie) = of_primary {
        let backends = vec![backend(route, route.primary_name(), 100), backend(route, route.canary_name(), 0)];
        rules.push(Rule { backends, ..sticky(&weighted, cookie) });
    }
    if let Some(cookie) = &cookies.canary {
        hand_out(&mut weighted.backends[1], cookie, affinity.max_age);
    }
    if let Some(cookie) = of_primary {
        // Users of the primary are dealt again at each step, or the canary would never see more of them.
        hand_out(&mut weighted.backends[0], cookie, route.spec.interval.as_secs());
    }
    rules.push(weighted);
    rules
}

/// `{}` when there are none, so that a timeout that was taken out of the Canary goes.
fn timeouts(route: &Route<'_>) -> Result<Value, RouteError> {
    let mut timeouts = json!({});
    let service = &route.spec.service;
    for (field, key, value) in
        [("timeout", "request", &service.timeout), ("backendTimeout", "backendRequest", &service.backend_timeout)]
    {
        let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { continue };
        if !is_duration(value) {
            return Err(RouteError::Field {
                field: format!("spec.service.{field}"),
                why: format!("{value:?} is no duration of the Gateway API: write whole numbers, as in 1m30s or 500ms"),
            });
        }
        timeouts[key] = value.into();
    }
    Ok(timeouts)
}

/// What the API server accepts: one to four whole numbers of at most five digits, each with h, m, s or ms.
fn is_duration(text: &str) -> bool {
    let mut parts = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit = &rest[digits..];
        let Some(unit) = ["ms", "h", "m", "s"].into_iter().find(|name| unit.starts_with(name)) else { return false };
        if digits == 0 || digits > 5 {
            return false;
        }
        rest = &rest[digits + unit.len()..];
        parts += 1;
    }
    (1..=4).contains(&parts)
}

/// The API allows a rewrite of the prefix only in rules with exactly one match, by prefix: such rules are spread out.
fn write(route: &Route<'_>, rules: Vec<Rule>, timeouts: Option<Value>) -> Result<Vec<Value>, RouteError> {
    let of_prefix = filters::rewrites_prefix(route);
    let mut written = Vec::new();
    for rule in rules {
        if of_prefix && let Some(other) = rule.matches.iter().find(|found| !found.is_by_prefix()) {
            return Err(RouteError::Field {
                field: "spec.service.rewrite.type".into(),
                why: format!("ReplacePrefixMatch needs a prefix in every match, not {}", other.path_text()),
            });
        }
        let groups: Vec<&[Match]> = if of_prefix { rule.matches.chunks(1).collect() } else { vec![&rule.matches] };
        for matches in groups {
            let mut value = json!({
                "matches": matches.iter().map(Match::to_value).collect::<Vec<_>>(),
                "filters": rule.filters,
                "backendRefs": rule.backends,
            });
            if let Some(timeouts) = &timeouts {
                value["timeouts"] = timeouts.clone();
            }
            written.push(value);
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::is_duration;

    #[test]
    fn durations_are_those_of_the_api() {
        for (text, fits) in [
            ("5s", true),
            ("1h2m3s4ms", true),
            ("500ms", true),
            ("0s", true),
            ("99999h", true),
            ("", false),
            ("5", false),
            ("1.5s", false),
            ("100000s", false),
            ("1h1h1h1h1h", false),
            ("5µs", false),
            ("-1s", false),
            ("5 s", false),
        ] {
            assert_eq!(is_duration(text), fits, "{text:?}");
        }
    }
}
