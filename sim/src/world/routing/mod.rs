//! Where a request goes, read out of the objects that the routers write, by the rules of the data planes that read
//! them: the Gateway API, Traefik, Ingress-NGINX, and plain Services.

mod endpoints;
mod gateway;
mod hosts;
mod nginx;
mod request;
mod traefik;
mod traefik_rule;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub use endpoints::{Pod, version_of};
pub use request::{Entrance, Request};

use endpoints::Services;
use gateway::Gateway;
use nginx::Nginx;
use traefik::Traefik;

/// Where objects come from.
pub trait Objects {
    /// All objects of a kind in all namespaces, in an order that only changes when they do. The group of core kinds
    /// is empty.
    fn list(&self, group: &str, kind: &str) -> Vec<Arc<Value>>;

    /// Counts all changes; `None` where nobody counts.
    fn version(&self) -> Option<u64> {
        None
    }

    /// False when none of [`KINDS`] has changed since a version.
    fn changed_since(&self, _version: u64) -> bool {
        true
    }
}

/// Objects that say their kind themselves.
impl Objects for [Arc<Value>] {
    fn list(&self, group: &str, kind: &str) -> Vec<Arc<Value>> {
        let is = |object: &&Arc<Value>| {
            let version = object["apiVersion"].as_str().unwrap_or_default();
            object["kind"] == kind && version.split_once('/').map_or("", |(group, _)| group) == group
        };
        self.iter().filter(is).cloned().collect()
    }
}

/// The simulated cluster.
impl Objects for crate::Cluster {
    fn list(&self, group: &str, kind: &str) -> Vec<Arc<Value>> {
        crate::Cluster::list(self, crate::Kind { group, kind }, "")
    }

    fn version(&self) -> Option<u64> {
        Some(crate::Cluster::version(self))
    }

    fn changed_since(&self, version: u64) -> bool {
        let state = self.lock();
        let Some(mut changes) = state.store.since(version) else { return true };
        changes.any(|change| KINDS.iter().any(|(_, kind)| change.object["kind"] == *kind))
    }
}

/// The kinds that say where requests go: group and kind.
pub const KINDS: [(&str, &str); 7] = [
    ("", "Service"),
    ("", "Pod"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("gateway.networking.k8s.io", "HTTPRoute"),
    ("traefik.io", "TraefikService"),
    ("traefik.io", "IngressRoute"),
    ("networking.k8s.io", "Ingress"),
];

/// The objects, read once.
#[derive(Debug, Default)]
pub struct Routes {
    services: Services,
    gateway: Gateway,
    traefik: Traefik,
    nginx: Nginx,
}

/// What can become of requests that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Their shares are one in sum.
    pub ways: Vec<Way>,
}

/// One of the things that can become of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// Of the requests.
    pub share: f64,
    /// The Service it is for, as `namespace/name`; none when no route has it.
    pub service: Option<Arc<str>>,
    /// Who answers.
    pub place: Place,
    /// As what the data plane counts it.
    pub seen_as: SeenAs,
    /// The `Set-Cookie` headers of the answer.
    pub cookies: Arc<[String]>,
    /// Copies: which share of these requests, and to whom.
    pub mirrors: Arc<[(f64, Place)]>,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The pod with this number in [`Routes::pods`].
    Pod(usize),
    /// The data plane itself, with this status.
    Refused(u16, Failure),
    /// The data plane itself, with a redirect of this status.
    Redirected(u16),
}

/// Why a request was not answered as its sender wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Failure {
    /// No route leads anywhere.
    NoRoute,
    /// The route leads to a Service that is not there.
    NoSuchService,
    /// The route gives all its backends the weight zero.
    NoWeight,
    /// The Service has no ready pod.
    NoReadyPod,
    /// An endpoint names a pod that is not there any more.
    PodGone,
    /// The application answered with an error.
    Application,
}

/// As what a data plane counts a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SeenAs {
    /// It has no metrics that rollouts are judged by.
    Uncounted,
    /// Traefik's label `service`.
    Traefik(Arc<str>),
    /// Labels of Ingress-NGINX.
    Nginx {
        /// Of the Ingress.
        namespace: Arc<str>,
        /// The Ingress that is no canary.
        ingress: Arc<str>,
        /// Its backend.
        service: Arc<str>,
        /// The backend of the canary, when it was taken.
        canary: Arc<str>,
    },
}

impl Routes {
    /// Reads all objects. What cannot be read is as if it were not there.
    pub fn compile(objects: &(impl Objects + ?Sized)) -> Routes {
        Routes {
            services: Services::read(objects),
            gateway: Gateway::read(&objects.list("gateway.networking.k8s.io", "HTTPRoute")),
            traefik: Traefik::read(
                &objects.list("traefik.io", "IngressRoute"),
                &objects.list("traefik.io", "TraefikService"),
            ),
            nginx: Nginx::read(&objects.list("networking.k8s.io", "Ingress")),
        }
    }

    /// All pods that have an image.
    pub fn pods(&self) -> &[Pod] {
        &self.services.pods
    }

    /// The data plane that has routes: the Gateway API before Traefik before Ingress-NGINX. None has, where there are
    /// Services alone.
    pub fn data_plane(&self) -> Option<Entrance> {
        let found = [
            (!self.gateway.is_empty(), Entrance::Gateway),
            (!self.traefik.is_empty(), Entrance::Traefik),
            (!self.nginx.is_empty(), Entrance::Nginx),
        ];
        found.into_iter().find_map(|(there, entrance)| there.then_some(entrance))
    }

    /// The first host that an entrance has routes for.
    pub fn host(&self, entrance: &Entrance) -> Option<String> {
        match entrance {
            Entrance::Gateway => self.gateway.host(),
            Entrance::Traefik => self.traefik.host(),
            Entrance::Nginx => self.nginx.host(),
            Entrance::Service { name, .. } => Some(name.clone()),
        }
    }

    /// What can become of such a request.
    pub fn plan(&self, request: &Request) -> Plan {
        let choices = match &request.entrance {
            Entrance::Gateway => self.gateway.choices(request),
            Entrance::Traefik => self.traefik.choices(request, &self.services),
            Entrance::Nginx => self.nginx.choices(request, &self.services),
            Entrance::Service { namespace, name } => vec![Choice::to(Backend {
                namespace: namespace.clone(),
                service: name.clone(),
                seen_as: SeenAs::Uncounted,
                missing: 503,
            })],
        };
        let ways = choices.into_iter().filter(|choice| choice.share > 0.0).flat_map(|choice| self.ways(choice));
        Plan { ways: ways.collect() }
    }

    /// One way per pod.
    fn ways(&self, choice: Choice) -> Vec<Way> {
        let mirrors: Arc<[(f64, Place)]> = choice
            .mirrors
            .iter()
            .flat_map(|(share, backend)| {
                let places = self.places(backend);
                let each = share / count(places.len());
                places.into_iter().map(move |place| (each, place))
            })
            .collect();
        let cookies: Arc<[String]> = choice.cookies.into();
        let (places, service, seen_as) = match choice.target {
            Target::Backend(backend) => {
                let service = Some(format!("{}/{}", backend.namespace, backend.service).into());
                (self.places(&backend), service, backend.seen_as)
            }
            Target::Place(place) => (vec![place], None, SeenAs::Uncounted),
        };
        let share = choice.share / count(places.len());
        let way = |place| Way {
            share,
            service: service.clone(),
            place,
            seen_as: seen_as.clone(),
            cookies: Arc::clone(&cookies),
            mirrors: Arc::clone(&mirrors),
        };
        places.into_iter().map(way).collect()
    }

    /// At least one.
    fn places(&self, backend: &Backend) -> Vec<Place> {
        match self.services.endpoints(&backend.namespace, &backend.service) {
            None => vec![Place::Refused(backend.missing, Failure::NoSuchService)],
            Some([]) => vec![Place::Refused(503, Failure::NoReadyPod)],
            Some(endpoints) => {
                endpoints.iter().map(|pod| pod.map_or(Place::Refused(502, Failure::PodGone), Place::Pod)).collect()
            }
        }
    }
}

/// What a data plane decided, before Services are turned into pods.
#[derive(Clone, Debug)]
struct Choice {
    share: f64,
    target: Target,
    cookies: Vec<String>,
    mirrors: Vec<(f64, Backend)>,
}

#[derive(Clone, Debug)]
enum Target {
    Backend(Backend),
    Place(Place),
}

#[derive(Clone, Debug)]
struct Backend {
    namespace: String,
    service: String,
    seen_as: SeenAs,
    /// The status when there is no such Service.
    missing: u16,
}

impl Choice {
    fn to(backend: Backend) -> Choice {
        Choice { share: 1.0, target: Target::Backend(backend), cookies: Vec::new(), mirrors: Vec::new() }
    }

    fn refused(status: u16, failure: Failure) -> Vec<Choice> {
        vec![Choice::at(Place::Refused(status, failure))]
    }

    fn at(place: Place) -> Choice {
        Choice { share: 1.0, target: Target::Place(place), cookies: Vec::new(), mirrors: Vec::new() }
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// `namespace` and `name` of an object.
fn identity(object: &Value) -> (&str, &str) {
    (text(&object["metadata"], "namespace"), text(&object["metadata"], "name"))
}

/// The oldest first; of the same age by name.
fn by_age(objects: &[Arc<Value>]) -> Vec<&Value> {
    let mut sorted: Vec<&Value> = objects.iter().map(|object| &**object).collect();
    sorted.sort_by_key(|object| (text(&object["metadata"], "creationTimestamp").to_owned(), identity(object)));
    sorted
}

fn strings(of: &Value) -> BTreeMap<&str, &str> {
    let Some(of) = of.as_object() else { return BTreeMap::new() };
    of.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "weights and numbers of pods are small")]
fn number(value: &Value) -> Option<f64> {
    value.as_u64().map(|value| value as f64)
}

#[expect(clippy::cast_precision_loss, reason = "weights and numbers of pods are small")]
fn count(of: usize) -> f64 {
    of as f64
}

#[cfg(test)]
mod tests;
