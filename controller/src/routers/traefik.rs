//! Traefik: one weighted TraefikService with the name of the apex Service, to which the user's IngressRoute points.

use rollout::spec::RouterAbility;
use serde_json::{Map, Value, json};

use super::{Observed, Route, RouteError, Router, percent};
use crate::objects::{Desired, Kind, Lookup};

pub(super) static ROUTER: Traefik = Traefik;

pub(super) struct Traefik;

static ABILITIES: [RouterAbility; 1] =
    [RouterAbility { name: "traefik", weights: true, matches: false, mirror: false, affinity: false, baseline: true }];

const TRAEFIK_SERVICE: Kind =
    Kind { group: "traefik.io", version: "v1alpha1", kind: "TraefikService", plural: "traefikservices" };

impl Router for Traefik {
    fn abilities(&self) -> &'static [RouterAbility] {
        &ABILITIES
    }

    fn resources(&self, _provider: &str) -> Vec<(Kind, bool)> {
        vec![(TRAEFIK_SERVICE, true)]
    }

    fn render(&self, route: &Route<'_>, current: &dyn Lookup) -> Result<Vec<Desired>, RouteError> {
        let live = current.get(TRAEFIK_SERVICE, route.apex_name());
        let live = live.as_deref();
        let primary = entry(live, &route.primary_name());
        // A canary that was not listed is talked to like the primary: same scheme, transport and so on.
        let canary = entry(live, &route.canary_name()).or_else(|| primary.clone());
        let (weight, beside) = (route.canary_weight(), route.baseline_weight());
        let baseline = entry(live, &route.spec.baseline_service_name()).or_else(|| primary.clone());

        let mut services = vec![service(route, primary, route.primary_name(), 100 - weight - beside)];
        if weight > 0 {
            services.push(service(route, canary, route.canary_name(), weight));
        }
        if beside > 0 {
            services.push(service(route, baseline, route.spec.baseline_service_name(), beside));
        }
        let (labels, annotations) = route.apex_metadata();
        let body = json!({
            "apiVersion": TRAEFIK_SERVICE.api_version(), "kind": TRAEFIK_SERVICE.kind,
            "metadata": route.metadata(route.apex_name(), labels, annotations, live),
            "spec": {"weighted": {"services": services}},
        });
        Ok(vec![Desired::Apply { kind: TRAEFIK_SERVICE, body }])
    }

    fn hand_over(&self, route: &Route<'_>, current: &dyn Lookup, heir: &Value) -> Result<Vec<Desired>, RouteError> {
        let Some(live) = current.get(TRAEFIK_SERVICE, route.apex_name()) else { return Ok(Vec::new()) };
        let like = entry(Some(&live), route.apex_name()).or_else(|| entry(Some(&live), &route.primary_name()));
        let mut desired = self.render(route, current)?;
        for object in &mut desired {
            let Desired::Apply { body, .. } = object else { continue };
            body["spec"]["weighted"]["services"] =
                json!([service(route, like.clone(), route.apex_name().to_owned(), 100)]);
            route.bequeath(&mut body["metadata"], &live, heir);
        }
        Ok(desired)
    }

    fn observe(&self, route: &Route<'_>, current: &dyn Lookup) -> Result<Observed, RouteError> {
        let Some(live) = current.get(TRAEFIK_SERVICE, route.apex_name()) else { return Ok(Observed::Missing) };
        let (primary, canary) = (route.primary_name(), route.canary_name());
        if entry(Some(&live), &primary).is_none() && entry(Some(&live), &canary).is_none() {
            let name = route.apex_name();
            return Ok(Observed::Pending(format!("TraefikService {name} sends nothing to {primary} or {canary} yet")));
        }
        let mut total = 0;
        let (mut to_canary, mut to_baseline) = (0, 0);
        let baseline = route.spec.baseline_service_name();
        for service in services(&live) {
            // Traefik takes a missing weight for 1.
            let weight = service["weight"].as_u64().unwrap_or(1);
            total += weight;
            if service["name"] == canary.as_str() {
                to_canary += weight;
            }
            if service["name"] == baseline.as_str() {
                to_baseline += weight;
            }
        }
        Ok(Observed::Split {
            canary_weight: percent(to_canary, total),
            baseline_weight: percent(to_baseline, total),
            mirrored: false,
        })
    }
}

fn services(live: &Value) -> &[Value] {
    live.pointer("/spec/weighted/services").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn entry(live: Option<&Value>, name: &str) -> Option<Map<String, Value>> {
    services(live?).iter().find(|service| service["name"] == name)?.as_object().cloned()
}

/// The list is one field to the API server, so what others set in an entry is carried along.
fn service(route: &Route<'_>, live: Option<Map<String, Value>>, name: String, weight: u8) -> Value {
    let mut service = live.unwrap_or_default();
    service.insert("name".into(), name.into());
    service.insert("namespace".into(), route.owner.namespace.clone().into());
    service.insert("port".into(), json!(route.spec.service.port));
    service.insert("weight".into(), weight.into());
    Value::Object(service)
}
