//! From a Service to the pods behind it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::{Objects, array, identity, strings, text};

/// A pod with its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Tells it from another of the same name.
    pub uid: Arc<str>,
    /// Of its first container.
    pub image: Arc<str>,
    /// The tag of the image.
    pub version: Arc<str>,
    /// Labels by name.
    pub labels: BTreeMap<String, String>,
    /// When its container started last; before that it has no age.
    pub started: Option<Timestamp>,
    /// How often its container started again.
    pub restarts: u64,
    /// Whether it says that it is ready.
    pub ready: bool,
}

/// The tag of an image, or its digest, or `latest`.
pub fn version_of(image: &str) -> &str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    // A registry may have a port.
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split_once(':').map(|(_, tag)| tag).or(digest).unwrap_or("latest")
}

/// Services with their endpoints: numbers of pods, none for a pod that is gone.
#[derive(Debug, Default)]
pub(super) struct Services {
    pub(super) pods: Vec<Pod>,
    services: BTreeMap<String, BTreeMap<String, Service>>,
}

#[derive(Debug, Default)]
struct Service {
    endpoints: Vec<Option<usize>>,
    /// Port by name.
    ports: BTreeMap<String, u64>,
}

impl Services {
    pub(super) fn read(objects: &(impl Objects + ?Sized)) -> Services {
        let pods: Vec<Pod> = objects.list("", "Pod").iter().filter_map(|pod| read_pod(pod)).collect();
        let slices = objects.list("discovery.k8s.io", "EndpointSlice");
        let behind = Behind::read(&slices, &pods);
        let mut services: BTreeMap<String, BTreeMap<String, Service>> = BTreeMap::new();
        for service in &objects.list("", "Service") {
            let (namespace, name) = identity(service);
            // Where slices are kept at all, they are what counts, also while they lag behind.
            let endpoints = match slices.is_empty() {
                true => selected(service, &pods),
                false => behind.endpoints(namespace, name),
            };
            let port = |port: &Value| Some((port["name"].as_str()?.to_owned(), port["port"].as_u64()?));
            let ports = array(&service["spec"]["ports"]).iter().filter_map(port).collect();
            services.entry(namespace.to_owned()).or_default().insert(name.to_owned(), Service { endpoints, ports });
        }
        Services { pods, services }
    }

    /// `None` when there is no such Service.
    pub(super) fn endpoints(&self, namespace: &str, name: &str) -> Option<&[Option<usize>]> {
        Some(&self.services.get(namespace)?.get(name)?.endpoints)
    }

    /// The number of a port that a route may write as a number or a name.
    pub(super) fn port(&self, namespace: &str, name: &str, written: &Value) -> String {
        if let Some(number) = written.as_u64() {
            return number.to_string();
        }
        let written = written.as_str().unwrap_or_default();
        let service = self.services.get(namespace).and_then(|services| services.get(name));
        service.and_then(|service| service.ports.get(written)).map_or_else(|| written.to_owned(), u64::to_string)
    }
}

fn selected(service: &Value, pods: &[Pod]) -> Vec<Option<usize>> {
    let selector = strings(&service["spec"]["selector"]);
    let (namespace, _) = identity(service);
    let fits = |pod: &Pod| {
        let labels = selector.iter().all(|(key, value)| pod.labels.get(*key).is_some_and(|own| own == value));
        &*pod.namespace == namespace && pod.ready && labels
    };
    // A Service without a selector has no endpoints of its own.
    pods.iter().enumerate().filter(|(_, pod)| !selector.is_empty() && fits(pod)).map(|(at, _)| Some(at)).collect()
}

/// Slices by their Service, and pods by name: a search for each Service would cost the square of a large cluster.
struct Behind<'a> {
    slices: HashMap<(&'a str, &'a str), Vec<&'a Value>>,
    pods: HashMap<(&'a str, &'a str), usize>,
}

impl<'a> Behind<'a> {
    fn read(slices: &'a [Arc<Value>], pods: &'a [Pod]) -> Behind<'a> {
        let mut of_service: HashMap<(&str, &str), Vec<&Value>> = HashMap::new();
        for slice in slices {
            let service = text(&slice["metadata"]["labels"], "kubernetes.io/service-name");
            of_service.entry((identity(slice).0, service)).or_default().push(slice);
        }
        let pods = pods.iter().enumerate().map(|(at, pod)| ((&*pod.namespace, &*pod.name), at)).collect();
        Behind { slices: of_service, pods }
    }

    fn endpoints(&self, namespace: &str, name: &str) -> Vec<Option<usize>> {
        let slices = self.slices.get(&(namespace, name)).into_iter().flatten();
        let endpoints = slices.flat_map(|slice| array(&slice["endpoints"]));
        // Not to know is taken for ready.
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"].as_bool().unwrap_or(true));
        ready.map(|endpoint| self.pods.get(&(namespace, text(&endpoint["targetRef"], "name"))).copied()).collect()
    }
}

fn read_pod(pod: &Value) -> Option<Pod> {
    let (namespace, name) = identity(pod);
    let image = array(&pod["spec"]["containers"]).first()?["image"].as_str()?;
    let status = array(&pod["status"]["containerStatuses"]).first();
    let conditions = array(&pod["status"]["conditions"]);
    let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    let started = status.and_then(|status| status.pointer("/state/running/startedAt"));
    let started = started.or_else(|| pod.pointer("/status/startTime")).and_then(Value::as_str);
    let labels = strings(&pod["metadata"]["labels"]);
    Some(Pod {
        namespace: namespace.into(),
        name: name.into(),
        uid: text(&pod["metadata"], "uid").into(),
        image: image.into(),
        version: version_of(image).into(),
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        started: started.and_then(|text| text.parse().ok()),
        restarts: status.and_then(|status| status["restartCount"].as_u64()).unwrap_or(0),
        ready: conditions.iter().any(is_ready) && pod["metadata"]["deletionTimestamp"].is_null(),
    })
}
