//! The cluster a user speaks to: connection, reads, and the one write.

use futures::future::join;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::Value;

use crate::args::Place;
use crate::complaint::{Complaint, is_not_found};
use crate::view::{Snapshot, common_selector};

/// A connection with a namespace.
pub struct Cluster {
    /// The client.
    pub client: Client,
    /// The namespace meant.
    pub namespace: String,
    /// Name of the user in the kubeconfig.
    user: Option<String>,
}

/// The kinds that the command line reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `flagger.app/v1beta1` Canary.
    Canary,
    /// `serin.dev/v1alpha1` CanaryRun.
    CanaryRun,
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `apps/v1` ReplicaSet.
    ReplicaSet,
    /// Pod.
    Pod,
    /// Event.
    Event,
}

impl Kind {
    /// What the client needs to know of the kind.
    pub fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Kind::Canary => ("flagger.app", "v1beta1", "Canary", "canaries"),
            Kind::CanaryRun => ("serin.dev", "v1alpha1", "CanaryRun", "canaryruns"),
            Kind::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Kind::DaemonSet => ("apps", "v1", "DaemonSet", "daemonsets"),
            Kind::ReplicaSet => ("apps", "v1", "ReplicaSet", "replicasets"),
            Kind::Pod => ("", "v1", "Pod", "pods"),
            Kind::Event => ("", "v1", "Event", "events"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }
}

impl Cluster {
    /// Connects as kubectl would: the kubeconfig named, `$KUBECONFIG`, `~/.kube/config`, or the pod's own account.
    pub async fn connect(place: &Place) -> Result<Self, Complaint> {
        let broken = |reason: &dyn std::fmt::Display| Complaint::Kubeconfig { reason: reason.to_string() };
        let options = KubeConfigOptions { context: place.context.clone(), ..KubeConfigOptions::default() };
        let read = match &place.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let (config, user) = match read {
            Ok(kubeconfig) => {
                let user = user_of(&kubeconfig, place.context.as_deref());
                let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                (config.map_err(|failure| broken(&failure))?, user)
            }
            Err(failure) if place.kubeconfig.is_some() || place.context.is_some() => return Err(broken(&failure)),
            Err(failure) => (Config::incluster().map_err(|_| broken(&failure))?, None),
        };
        let namespace = place.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = controller::connect::client(config).map_err(|failure| broken(&format!("{failure:#}")))?;
        Ok(Cluster { client, namespace, user })
    }

    /// The same connection with another namespace.
    #[must_use]
    pub fn at(&self, namespace: &str) -> Cluster {
        Cluster { client: self.client.clone(), namespace: namespace.to_owned(), user: self.user.clone() }
    }

    /// The API of a kind in the namespace.
    pub fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    /// Every Canary of the namespace, or of all; by namespace and name.
    pub async fn canaries(&self, everywhere: bool) -> Result<Vec<Value>, Complaint> {
        let api = if everywhere {
            Api::all_with(self.client.clone(), &Kind::Canary.resource())
        } else {
            self.api(Kind::Canary)
        };
        let doing = if everywhere {
            "listing all canaries".to_owned()
        } else {
            format!("listing canaries in {}", self.namespace)
        };
        let list = api.list(&ListParams::default()).await.map_err(|failure| Complaint::of_api(doing, failure))?;
        let mut canaries: Vec<Value> = list.items.iter().map(|object| as_value(object, Kind::Canary)).collect();
        let place =
            |canary: &Value| (canary["metadata"]["namespace"].to_string(), canary["metadata"]["name"].to_string());
        canaries.sort_by_key(place);
        Ok(canaries)
    }

    /// One Canary; the error names those that there are.
    pub async fn canary(&self, name: &str) -> Result<Value, Complaint> {
        match self.api(Kind::Canary).get(name).await {
            Ok(object) => Ok(as_value(&object, Kind::Canary)),
            Err(failure) if is_not_found(&failure) => Err(match self.canaries(false).await {
                Ok(others) => self.no_such_canary(name, Some(&others)),
                Err(Complaint::NoDefinitions) => Complaint::NoDefinitions,
                Err(_) => self.no_such_canary(name, None),
            }),
            Err(failure) => Err(Complaint::of_api(format!("reading canary {name} in {}", self.namespace), failure)),
        }
    }

    /// The records of the Canary's rollouts, newest first.
    pub async fn runs(&self, canary: &str) -> Result<Vec<Value>, Complaint> {
        let selector = format!("{}={}", crds::CANARY_LABEL, controller::record::label(canary));
        let parameters = ListParams { label_selector: Some(selector), ..ListParams::default() };
        let doing = || format!("listing records of canary {canary} in {}", self.namespace);
        let list = self.api(Kind::CanaryRun).list(&parameters).await;
        let list = list.map_err(|failure| Complaint::of_api(doing(), failure))?;
        let mut runs: Vec<Value> = list.items.iter().map(|object| as_value(object, Kind::CanaryRun)).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run["metadata"]["name"].as_str().unwrap_or_default().to_owned()));
        Ok(runs)
    }

    /// One record; `None` when there is none of that name.
    pub async fn run(&self, name: &str) -> Result<Option<Value>, Complaint> {
        match self.api(Kind::CanaryRun).get(name).await {
            Ok(object) => Ok(Some(as_value(&object, Kind::CanaryRun))),
            Err(failure) if is_not_found(&failure) => Ok(None),
            Err(failure) => Err(Complaint::of_api(format!("reading record {name} in {}", self.namespace), failure)),
        }
    }

    /// Everything that a view of the Canary is made of. What may not be read becomes a note.
    pub async fn snapshot(&self, name: &str) -> Result<Snapshot, Complaint> {
        let canary = self.canary(name).await?;
        let mut snapshot = Snapshot { canary, ..Snapshot::default() };
        if let Some((kind, target)) = workload_of(&snapshot.canary) {
            let (seen, primary) = join(self.find(kind, &target), self.find(kind, &format!("{target}-primary"))).await;
            snapshot.target = note(seen, &mut snapshot.notes).flatten();
            snapshot.primary = note(primary, &mut snapshot.notes).flatten();
        }
        let labels = common_selector(snapshot.target.as_ref(), snapshot.primary.as_ref());
        let of_workloads = ListParams { label_selector: labels, ..ListParams::default() };
        let about = ListParams { field_selector: Some(about(name)), ..ListParams::default() };
        let (replica_sets, (pods, events)) = join(
            self.list(Kind::ReplicaSet, &of_workloads),
            join(self.list(Kind::Pod, &of_workloads), self.list(Kind::Event, &about)),
        )
        .await;
        snapshot.replica_sets = note(replica_sets, &mut snapshot.notes).unwrap_or_default();
        snapshot.pods = note(pods, &mut snapshot.notes).unwrap_or_default();
        snapshot.events = note(events, &mut snapshot.notes).unwrap_or_default();
        Ok(snapshot)
    }

    /// Who is asking, as the API server sees it, else as the kubeconfig or the machine names them.
    pub async fn asker(&self) -> String {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok();
        review
            .and_then(|review| review.status?.user_info?.username)
            .or_else(|| self.user.clone())
            .or_else(|| std::env::var("USER").ok())
            .unwrap_or_else(|| "unknown".to_owned())
    }

    /// Merges this into the Canary.
    pub async fn annotate(&self, name: &str, patch: &Value) -> Result<(), Complaint> {
        let patch = Patch::Merge(patch);
        let parameters = PatchParams { field_manager: Some("serin-cli".to_owned()), ..PatchParams::default() };
        let doing = format!("writing the command to canary {name} in {}", self.namespace);
        self.api(Kind::Canary)
            .patch(name, &parameters, &patch)
            .await
            .map(drop)
            .map_err(|failure| Complaint::of_api(doing, failure))
    }

    fn no_such_canary(&self, name: &str, others: Option<&[Value]>) -> Complaint {
        let names = |canaries: &[Value]| {
            canaries.iter().filter_map(|canary| canary["metadata"]["name"].as_str().map(str::to_owned)).collect()
        };
        Complaint::NoSuchCanary { name: name.to_owned(), namespace: self.namespace.clone(), others: others.map(names) }
    }

    async fn find(&self, kind: Kind, name: &str) -> Result<Option<Value>, String> {
        match self.api(kind).get(name).await {
            Ok(object) => Ok(Some(as_value(&object, kind))),
            Err(failure) if is_not_found(&failure) => Ok(None),
            Err(failure) => Err(not_shown(kind, failure)),
        }
    }

    async fn list(&self, kind: Kind, parameters: &ListParams) -> Result<Vec<Value>, String> {
        match self.api(kind).list(parameters).await {
            Ok(list) => Ok(list.items.iter().map(|object| as_value(object, kind)).collect()),
            Err(failure) => Err(not_shown(kind, failure)),
        }
    }
}

/// The object as a value; lists leave kind and version out, so they are put in.
pub fn as_value(object: &DynamicObject, kind: Kind) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    let resource = kind.resource();
    value["apiVersion"] = resource.api_version.into();
    value["kind"] = resource.kind.into();
    value
}

/// Kind and name of the target, when it is a workload with pods.
pub fn workload_of(canary: &Value) -> Option<(Kind, String)> {
    let target = &canary["spec"]["targetRef"];
    let kind = match target["kind"].as_str()? {
        "Deployment" => Kind::Deployment,
        "DaemonSet" => Kind::DaemonSet,
        _ => return None,
    };
    Some((kind, target["name"].as_str()?.to_owned()))
}

/// Field selector for the events about a Canary.
pub fn about(name: &str) -> String {
    format!("involvedObject.kind=Canary,involvedObject.name={name}")
}

/// Why objects of a kind are not shown.
pub fn not_shown(kind: Kind, failure: kube::Error) -> String {
    let plural = kind.resource().plural;
    format!("{plural} are not shown: {}", Complaint::of_api("reading them", failure))
}

fn note<T>(read: Result<T, String>, notes: &mut Vec<String>) -> Option<T> {
    read.map_err(|why| notes.push(why)).ok()
}

fn user_of(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let name = context.or(kubeconfig.current_context.as_deref())?;
    kubeconfig.contexts.iter().find(|named| named.name == name)?.context.as_ref()?.user.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_workloads_with_pods_are_looked_for() {
        let of = |kind: &str| workload_of(&json!({"spec": {"targetRef": {"kind": kind, "name": "podinfo"}}}));
        assert_eq!(of("Deployment"), Some((Kind::Deployment, "podinfo".to_owned())));
        assert_eq!(of("DaemonSet"), Some((Kind::DaemonSet, "podinfo".to_owned())));
        assert_eq!(of("Service"), None);
    }
}
