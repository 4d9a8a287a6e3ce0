//! Ingresses as Ingress-NGINX reads them. A canary Ingress adds a second backend to the locations of the one it
//! copies; header goes before cookie before weight.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::bytes::Regex;
use serde_json::Value;

use super::endpoints::Services;
use super::hosts::Hosts;
use super::request::{concrete, pattern};
use super::{Backend, Choice, Failure, Request, SeenAs, Target, array, by_age, identity, strings, text};

/// The prefix of the annotations may be another, so a canary is known by the end of its annotation.
const CANARY: &str = "/canary";

#[derive(Debug, Default)]
pub(super) struct Nginx {
    /// The oldest Ingress first.
    locations: Vec<Location>,
    hosts: Hosts,
}

#[derive(Debug)]
struct Location {
    host: String,
    /// `None` is the default backend.
    path: Option<(String, bool)>,
    namespace: String,
    ingress: String,
    service: String,
    canary: Option<Canary>,
}

#[derive(Clone, Debug)]
struct Canary {
    service: String,
    port: Value,
    header: Option<(String, ByHeader)>,
    cookie: Option<String>,
    /// Share by weight.
    share: f64,
}

#[derive(Clone, Debug)]
enum ByHeader {
    Value(String),
    Pattern(Option<Regex>),
    AlwaysOrNever,
}

impl Nginx {
    pub(super) fn read(ingresses: &[Arc<Value>]) -> Nginx {
        let mut locations: Vec<Location> = Vec::new();
        let mut canaries = Vec::new();
        for ingress in by_age(ingresses) {
            let annotations = strings(&ingress["metadata"]["annotations"]);
            let prefix = annotations.iter().find_map(|(key, value)| {
                let prefix = key.strip_suffix(CANARY)?;
                (*value == "true").then_some(prefix)
            });
            let found = self::locations(ingress);
            match prefix {
                Some(prefix) => canaries.push((found, Steering::read(prefix, &annotations))),
                None => locations.extend(found.into_iter().map(|(location, _)| location)),
            }
        }
        let mut hosts = Hosts::default();
        for (at, location) in locations.iter().enumerate() {
            hosts.add(&location.host, at);
        }
        for (found, steering) in canaries {
            for (of_canary, port) in found {
                let same = hosts.of(&of_canary.host).into_iter().find(|at| {
                    let location = &locations[*at];
                    location.host == of_canary.host
                        && location.path == of_canary.path
                        && location.namespace == of_canary.namespace
                        && location.canary.is_none()
                        // A path of both that leads to the same place has no canary.
                        && location.service != of_canary.service
                });
                if let Some(at) = same {
                    locations[at].canary = Some(steering.canary(of_canary.service, port));
                }
            }
        }
        Nginx { locations, hosts }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.locations.is_empty()
    }

    pub(super) fn host(&self) -> Option<String> {
        self.locations.iter().find(|location| !location.host.is_empty()).map(|location| concrete(&location.host))
    }

    pub(super) fn choices(&self, request: &Request, services: &Services) -> Vec<Choice> {
        let rank = |location: &Location| {
            let host = request.fits_host(&location.host)?;
            let path = match &location.path {
                None => (false, false, 0),
                Some((path, true)) => (request.path == *path).then_some((true, true, path.len()))?,
                Some((path, false)) => request.is_below(path).then_some((true, false, path.len()))?,
            };
            // Within a server, nginx takes an exact location, else the longest.
            Some((host, path.0, path.1, path.2))
        };
        let mut best = None;
        for location in self.hosts.of(&request.host).into_iter().map(|at| &self.locations[at]) {
            let Some(rank) = rank(location) else { continue };
            if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                best = Some((rank, location));
            }
        }
        let Some((_, location)) = best else { return Choice::refused(404, Failure::NoRoute) };
        location.choices(request, services)
    }
}

impl Location {
    fn choices(&self, request: &Request, services: &Services) -> Vec<Choice> {
        let to = |service: &str, canary: String, share: f64| {
            let seen_as = SeenAs::Nginx {
                namespace: self.namespace.as_str().into(),
                ingress: self.ingress.as_str().into(),
                service: self.service.as_str().into(),
                canary: canary.into(),
            };
            let (namespace, service) = (self.namespace.clone(), service.to_owned());
            let target = Target::Backend(Backend { namespace, service, seen_as, missing: 503 });
            Choice { share, target, cookies: Vec::new(), mirrors: Vec::new() }
        };
        // A canary without endpoints is no backend to nginx: its requests go to the other.
        let lives = |canary: &&Canary| {
            services.endpoints(&self.namespace, &canary.service).is_some_and(|endpoints| !endpoints.is_empty())
        };
        let Some(canary) = self.canary.as_ref().filter(lives) else {
            return vec![to(&self.service, String::new(), 1.0)];
        };
        let share = canary.share(request);
        let port = services.port(&self.namespace, &canary.service, &canary.port);
        let name = format!("{}-{}-{port}", self.namespace, canary.service);
        vec![to(&self.service, String::new(), 1.0 - share), to(&canary.service, name, share)]
    }
}

impl Canary {
    fn share(&self, request: &Request) -> f64 {
        let by_word = |value: &str| match value {
            "always" => Some(1.0),
            "never" => Some(0.0),
            _ => None,
        };
        if let Some((name, by)) = &self.header
            && let Some(value) = request.header(name)
        {
            let found = match by {
                ByHeader::Value(wanted) => (value == *wanted).then_some(1.0),
                ByHeader::Pattern(Some(pattern)) => pattern.is_match(value.as_bytes()).then_some(1.0),
                ByHeader::Pattern(None) => Some(0.0),
                ByHeader::AlwaysOrNever => by_word(&value),
            };
            if let Some(found) = found {
                return found;
            }
        }
        let of_cookie = self.cookie.as_ref().and_then(|name| by_word(request.cookies.get(name)?));
        of_cookie.unwrap_or(self.share)
    }
}

struct Steering {
    header: Option<(String, ByHeader)>,
    cookie: Option<String>,
    share: f64,
}

impl Steering {
    fn read(prefix: &str, annotations: &BTreeMap<&str, &str>) -> Steering {
        let get = |suffix: &str| annotations.get(format!("{prefix}{CANARY}{suffix}").as_str()).copied();
        let value = get("-by-header-value").filter(|value| !value.is_empty());
        let by = match (value, get("-by-header-pattern").filter(|pattern| !pattern.is_empty())) {
            (Some(value), _) => ByHeader::Value(value.to_owned()),
            (None, Some(text)) => ByHeader::Pattern(pattern(text)),
            (None, None) => ByHeader::AlwaysOrNever,
        };
        let parse = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
        let total = parse(get("-weight-total")).unwrap_or(100.0).max(100.0);
        Steering {
            header: get("-by-header").map(|name| (name.to_owned(), by)),
            cookie: get("-by-cookie").map(str::to_owned),
            share: (parse(get("-weight")).unwrap_or(0.0) / total).clamp(0.0, 1.0),
        }
    }

    fn canary(&self, service: String, port: Value) -> Canary {
        Canary { service, port, header: self.header.clone(), cookie: self.cookie.clone(), share: self.share }
    }
}

/// Each with its port as written.
fn locations(ingress: &Value) -> Vec<(Location, Value)> {
    let (namespace, name) = identity(ingress);
    let spec = &ingress["spec"];
    let location = |host: &str, path: Option<(String, bool)>, backend: &Value| {
        let service = backend["service"]["name"].as_str()?.to_owned();
        let port = &backend["service"]["port"];
        let port = port.get("number").or_else(|| port.get("name")).cloned().unwrap_or_default();
        let (host, namespace, ingress) = (host.to_ascii_lowercase(), namespace.to_owned(), name.to_owned());
        Some((Location { host, path, namespace, ingress, service, canary: None }, port))
    };
    let mut found: Vec<_> = location("", None, &spec["defaultBackend"]).into_iter().collect();
    for rule in array(&spec["rules"]) {
        let host = text(rule, "host");
        for path in array(&rule["http"]["paths"]) {
            let written = path["path"].as_str().unwrap_or("/").to_owned();
            found.extend(location(host, Some((written, path["pathType"] == "Exact")), &path["backend"]));
        }
        if rule.get("http").is_none() {
            found.extend(location(host, None, &spec["defaultBackend"]));
        }
    }
    found
}
