//! IngressRoutes and TraefikServices as Traefik reads them: the longest rule first unless a priority says otherwise,
//! weights over Services and further TraefikServices, and mirrors.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::endpoints::Services;
use super::hosts::Hosts;
use super::traefik_rule::Rule;
use super::{Backend, Choice, Failure, Request, SeenAs, Target, array, by_age, identity, number, text};

/// A TraefikService may name others; in a circle it would name itself.
const DEEPEST: u8 = 8;

#[derive(Debug, Default)]
pub(super) struct Traefik {
    /// The first that fits counts.
    routes: Vec<Route>,
    hosts: Hosts,
    /// By namespace and name: the spec.
    services: BTreeMap<(String, String), Value>,
}

#[derive(Debug)]
struct Route {
    rule: Rule,
    namespace: String,
    services: Value,
}

impl Traefik {
    pub(super) fn read(routes: &[Arc<Value>], services: &[Arc<Value>]) -> Traefik {
        let mut sorted = Vec::new();
        for object in by_age(routes) {
            for route in array(&object["spec"]["routes"]) {
                // Traefik drops a route that it cannot read, and serves the others.
                let Ok(rule) = Rule::parse(text(route, "match")) else { continue };
                let length = text(route, "match").len() as u64;
                let priority = route["priority"].as_u64().filter(|priority| *priority > 0).unwrap_or(length);
                let (namespace, services) = (identity(object).0.to_owned(), route["services"].clone());
                sorted.push((priority, Route { rule, namespace, services }));
            }
        }
        sorted.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        let key = |object: &Value| {
            let (namespace, name) = identity(object);
            (namespace.to_owned(), name.to_owned())
        };
        let routes: Vec<Route> = sorted.into_iter().map(|(_, route)| route).collect();
        let mut hosts = Hosts::default();
        for (at, route) in routes.iter().enumerate() {
            hosts.add(route.rule.only_host().unwrap_or_default(), at);
        }
        Traefik {
            routes,
            hosts,
            services: services.iter().map(|object| (key(object), object["spec"].clone())).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.services.is_empty()
    }

    pub(super) fn host(&self) -> Option<String> {
        self.routes.iter().find_map(|route| route.rule.host()).map(str::to_owned)
    }

    pub(super) fn choices(&self, request: &Request, services: &Services) -> Vec<Choice> {
        let found = self.hosts.of(&request.host).into_iter().map(|at| &self.routes[at]);
        let found = found.filter(|route| route.rule.fits(request));
        // A route to something that is not there is no route.
        let mut found = found.filter_map(|route| self.weighted(&route.services, &route.namespace, services, DEEPEST));
        found.next().unwrap_or_else(|| Choice::refused(404, Failure::NoRoute))
    }

    fn weighted(&self, list: &Value, namespace: &str, services: &Services, depth: u8) -> Option<Vec<Choice>> {
        let weight = |service: &Value| number(&service["weight"]).unwrap_or(1.0);
        let total: f64 = array(list).iter().map(weight).sum();
        if total <= 0.0 {
            return (!array(list).is_empty()).then(|| Choice::refused(503, Failure::NoWeight));
        }
        let mut all = Vec::new();
        for service in array(list) {
            for choice in self.service(service, namespace, services, depth)? {
                all.push(Choice { share: choice.share * weight(service) / total, ..choice });
            }
        }
        Some(all)
    }

    fn service(&self, reference: &Value, namespace: &str, services: &Services, depth: u8) -> Option<Vec<Choice>> {
        let namespace = reference["namespace"].as_str().unwrap_or(namespace);
        let name = text(reference, "name");
        if text(reference, "kind") != "TraefikService" {
            services.endpoints(namespace, name)?;
            return Some(vec![Choice::to(backend(reference, namespace, services))]);
        }
        let depth = depth.checked_sub(1)?;
        let spec = self.services.get(&(namespace.to_owned(), name.to_owned()))?;
        if let Some(mirroring) = spec.get("mirroring") {
            let mut choices = self.service(mirroring, namespace, services, depth)?;
            for mirror in array(&mirroring["mirrors"]) {
                let share = number(&mirror["percent"]).unwrap_or(0.0) / 100.0;
                let to = mirror["namespace"].as_str().unwrap_or(namespace);
                for copy in self.service(mirror, to, services, depth)? {
                    if let Target::Backend(backend) = copy.target {
                        let mirror = (share * copy.share, backend);
                        choices.iter_mut().for_each(|choice| choice.mirrors.push(mirror.clone()));
                    }
                }
            }
            return Some(choices);
        }
        self.weighted(&spec["weighted"]["services"], namespace, services, depth)
    }
}

fn backend(reference: &Value, namespace: &str, services: &Services) -> Backend {
    let name = text(reference, "name");
    let port = services.port(namespace, name, &reference["port"]);
    Backend {
        namespace: namespace.to_owned(),
        service: name.to_owned(),
        seen_as: SeenAs::Traefik(format!("{namespace}-{name}-{port}@kubernetescrd").into()),
        missing: 404,
    }
}
