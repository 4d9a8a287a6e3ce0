//! What the demo needs of a cluster, and what of it is there.

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use serde_json::Value;

use super::super::Demonstration;
use super::manifests::Way;
use super::objects::{DEFINITION, DEPLOYMENT, GATEWAY, NAMESPACES, OURS, resource, value};
use super::{ClusterError, NAMESPACE};
use crate::complaint::is_not_found;
use crate::paint::{Paint, Tone};

/// Group, resource, subresource and verbs; in the namespace of the demo.
type Right = (&'static str, &'static str, &'static str, &'static [&'static str]);

const RIGHTS: [Right; 8] = [
    ("apps", "deployments", "", &["get", "list", "watch", "create", "patch"]),
    ("apps", "replicasets", "", &["list"]),
    ("", "services", "", &["get", "list", "watch", "create", "patch"]),
    ("", "pods", "", &["get", "list", "create"]),
    ("", "events", "", &["list", "create", "patch"]),
    ("flagger.app", "canaries", "", &["get", "list", "watch", "create", "patch"]),
    ("flagger.app", "canaries", "status", &["patch"]),
    ("autoscaling", "horizontalpodautoscalers", "", &["get", "list", "watch"]),
];

const WITH_GATEWAY: Right =
    ("gateway.networking.k8s.io", "httproutes", "", &["get", "list", "watch", "create", "patch"]);

/// What was found.
#[derive(Debug)]
pub(super) struct Survey {
    version: String,
    /// Definitions that are not there.
    pub(super) definitions: Vec<Value>,
    /// How requests get to the workload.
    pub(super) way: Way,
    /// Why it is not a better one.
    way_why: Option<String>,
    /// The namespace of an earlier demo is still there.
    pub(super) leftover: bool,
    missing: Vec<String>,
}

impl Survey {
    /// Looks around. Nothing is written.
    pub(super) async fn of(client: &Client, gateway: Option<&str>) -> Result<Survey, ClusterError> {
        let version = client
            .apiserver_version()
            .await
            .map_err(|why| ClusterError::api("asking the Kubernetes API server for its version", &why))?;
        let mut missing = Vec::new();
        let mut definitions = Vec::new();
        for definition in crds::definitions() {
            let name = definition["metadata"]["name"].as_str().unwrap_or_default();
            let found = Api::<DynamicObject>::all_with(client.clone(), &resource(DEFINITION)).get(name).await;
            match found {
                Ok(_) => {}
                Err(why) if is_not_found(&why) => definitions.push(definition),
                Err(why) => return Err(ClusterError::api(format!("reading the definition {name}"), &why)),
            }
        }
        let (way, way_why) = way(client, gateway).await?;
        let leftover = leftover(client, &mut missing).await?;
        missing.extend(rivals(client).await);
        missing.extend(rights(client, &way, !definitions.is_empty()).await?);
        Ok(Survey { version: version.git_version, definitions, way, way_why, leftover, missing })
    }

    /// What has to be there first.
    pub(super) fn missing(&self) -> Vec<String> {
        self.missing.clone()
    }

    /// What was found, for people.
    pub(super) fn told(&self, context: &str, paint: Paint) -> String {
        let mut text = paint.put(Tone::Strong, &format!("Serin's demo in the cluster of context {context}"));
        text.push_str(&format!(" (Kubernetes {})\n\n", self.version));
        let way = match &self.way {
            Way::Gateway { namespace, name, address: Some(address) } => {
                format!("Gateway {namespace}/{name} at {address}: the canary gets 10, 25, 50 % of the requests")
            }
            Way::Gateway { namespace, name, address: None } => format!(
                "Gateway {namespace}/{name}, which names no address: the canary gets 10, 25, 50 % of what comes through it, \
                 but the demo's users ask the Service and stay on the old release until the new one is promoted"
            ),
            Way::Services => "Services alone: users stay on the old release until the new one is promoted".to_owned(),
        };
        text.push_str(&format!("  {}{way}\n", paint.put(Tone::Faint, "traffic     ")));
        if let Some(why) = &self.way_why {
            text.push_str(&format!("              {}\n", paint.put(Tone::Faint, why)));
        }
        text.push('\n');
        text
    }

    /// What will be done, for people.
    pub(super) fn plan(&self, wanted: &Demonstration, paint: Paint) -> String {
        let mut steps = Vec::new();
        if !self.definitions.is_empty() {
            let names: Vec<&str> =
                self.definitions.iter().filter_map(|definition| definition["metadata"]["name"].as_str()).collect();
            steps.push(format!("installs the definitions {}", names.join(", ")));
        }
        if self.leftover {
            steps.push(format!("deletes the namespace {NAMESPACE} that an earlier demo left"));
        }
        steps.push(format!("makes the namespace {NAMESPACE} and works in it alone, with the image {}", wanted.image));
        steps.push("runs the controller in this process, for that namespace only".to_owned());
        steps.push("deletes all that it made when it ends".to_owned());
        let steps: String = steps.iter().map(|step| format!("  - {step}\n")).collect();
        format!("{}\n{steps}\n", paint.put(Tone::Strong, "The demo"))
    }
}

async fn leftover(client: &Client, missing: &mut Vec<String>) -> Result<bool, ClusterError> {
    match Api::<DynamicObject>::all_with(client.clone(), &resource(NAMESPACES)).get(NAMESPACE).await {
        Ok(found) if found.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(OURS)) => Ok(true),
        Ok(_) => {
            missing.push(format!(
                "the namespace {NAMESPACE} is there and was not made by the demo (it has no label {OURS}): rename or delete it"
            ));
            Ok(false)
        }
        Err(why) if is_not_found(&why) => Ok(false),
        Err(why) => Err(ClusterError::api(format!("reading the namespace {NAMESPACE}"), &why)),
    }
}

/// Controllers that would work on the demo's Canary as well.
async fn rivals(client: &Client) -> Vec<String> {
    let named = ListParams::default().labels("app.kubernetes.io/name in (flagger,serin)");
    // Who may not see them is not told of them.
    let found = Api::<DynamicObject>::all_with(client.clone(), &resource(DEPLOYMENT)).list(&named).await;
    let found: Vec<Value> = found.map(|list| list.items.iter().map(value).collect()).unwrap_or_default();
    found.iter().filter_map(rival).collect()
}

fn rival(deployment: &Value) -> Option<String> {
    let at = |pointer: &str| deployment.pointer(pointer);
    let arguments = ["args", "command"]
        .into_iter()
        .filter_map(|field| deployment.pointer(&format!("/spec/template/spec/containers/0/{field}"))?.as_array());
    let elsewhere = arguments.flatten().filter_map(Value::as_str).any(|argument| {
        let namespace = argument.trim_start_matches('-').strip_prefix("namespace=");
        namespace.is_some_and(|namespace| !namespace.is_empty() && namespace != NAMESPACE)
    });
    if at("/spec/replicas").and_then(Value::as_u64) == Some(0) || elsewhere {
        return None;
    }
    let name = |field: &str| deployment["metadata"][field].as_str().unwrap_or_default();
    Some(format!(
        "the controller {}/{} runs in the cluster and would work on the demo's Canary as well: scale it to zero meanwhile, or \
         take a cluster without one",
        name("namespace"),
        name("name")
    ))
}

async fn way(client: &Client, wanted: Option<&str>) -> Result<(Way, Option<String>), ClusterError> {
    let found = Api::<DynamicObject>::all_with(client.clone(), &resource(GATEWAY)).list(&ListParams::default()).await;
    let gateways: Vec<Value> = match found {
        Ok(list) => list.items.iter().map(value).collect(),
        Err(kube::Error::Api(status)) if [403, 404].contains(&status.code) && wanted.is_none() => {
            let why =
                if status.code == 404 { "the Gateway API is not installed" } else { "Gateways may not be listed" };
            return Ok((Way::Services, Some(why.to_owned())));
        }
        Err(why) => return Err(ClusterError::api("listing the Gateways", &why)),
    };
    choose(&gateways, wanted).map_err(|why| ClusterError::Missing(vec![why]))
}

/// The Gateway that is asked for, or the first that will do; the words say why there is none.
fn choose(gateways: &[Value], wanted: Option<&str>) -> Result<(Way, Option<String>), String> {
    let name = |gateway: &Value, field: &str| gateway["metadata"][field].as_str().unwrap_or_default().to_owned();
    let full = |gateway: &Value| format!("{}/{}", name(gateway, "namespace"), name(gateway, "name"));
    let mut unfit = Vec::new();
    for gateway in gateways.iter().filter(|gateway| wanted.is_none_or(|wanted| wanted == full(gateway))) {
        match port_of(gateway) {
            Ok(port) => {
                let address = gateway.pointer("/status/addresses/0/value").and_then(Value::as_str);
                let address = address.map(|address| format!("{address}:{port}"));
                let (namespace, name) = (name(gateway, "namespace"), name(gateway, "name"));
                return Ok((Way::Gateway { namespace, name, address }, None));
            }
            Err(why) => unfit.push(format!("the Gateway {} {why}", full(gateway))),
        }
    }
    match (wanted, unfit.is_empty()) {
        (None, true) => Ok((Way::Services, Some("there is no Gateway".to_owned()))),
        (None, false) => Ok((Way::Services, Some(unfit.join("; ")))),
        (Some(wanted), true) => {
            let known: Vec<String> = gateways.iter().map(full).collect();
            let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
            Err(format!("there is no Gateway {wanted}; known are: {known}"))
        }
        (Some(_), false) => Err(unfit.join("; ")),
    }
}

/// The port of the listener that takes the demo's route.
fn port_of(gateway: &Value) -> Result<u64, &'static str> {
    let conditions = gateway.pointer("/status/conditions").and_then(Value::as_array);
    let programmed = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Programmed" && condition["status"] == "True");
    if !programmed {
        return Err("is not programmed: look at its status and at the log of its controller");
    }
    let listeners = gateway.pointer("/spec/listeners").and_then(Value::as_array);
    listeners
        .into_iter()
        .flatten()
        .find(|listener| {
            listener["protocol"] == "HTTP"
                && listener["hostname"].is_null()
                && listener.pointer("/allowedRoutes/namespaces/from") == Some(&Value::from("All"))
        })
        .and_then(|listener| listener["port"].as_u64())
        .ok_or("has no HTTP listener for all hosts with allowedRoutes.namespaces.from: All")
}

async fn rights(client: &Client, way: &Way, definitions: bool) -> Result<Vec<String>, ClusterError> {
    let mut asked: Vec<(Right, &str)> = vec![(("", "namespaces", "", &["create", "delete"]), "")];
    if definitions {
        asked.push((("apiextensions.k8s.io", "customresourcedefinitions", "", &["create", "delete"]), ""));
    }
    asked.extend(RIGHTS.map(|right| (right, NAMESPACE)));
    if let Way::Gateway { .. } = way {
        asked.push((WITH_GATEWAY, NAMESPACE));
    }
    let each = asked.iter().flat_map(|((group, resource, subresource, verbs), namespace)| {
        verbs.iter().map(move |verb| may(client, group, resource, subresource, verb, namespace))
    });
    let answers: Result<Vec<Option<String>>, ClusterError> = join_all(each).await.into_iter().collect();
    let lacking: Vec<String> = answers?.into_iter().flatten().collect();
    if lacking.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![format!("rights are missing, ask for them or take a context that has them: {}", lacking.join(", "))])
}

/// Nothing when that is allowed, else its name.
async fn may(
    client: &Client,
    group: &str,
    resource: &str,
    subresource: &str,
    verb: &str,
    namespace: &str,
) -> Result<Option<String>, ClusterError> {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: given(group),
                resource: given(resource),
                subresource: given(subresource),
                verb: given(verb),
                namespace: given(namespace),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews
        .create(&PostParams::default(), &review)
        .await
        .map_err(|why| ClusterError::api("asking which rights this context has", &why))?;
    let allowed = answer.status.is_some_and(|status| status.allowed);
    let slash = if subresource.is_empty() { "" } else { "/" };
    Ok((!allowed).then(|| format!("{verb} {resource}{slash}{subresource}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gateway(name: &str, programmed: bool, from: &str) -> Value {
        json!({
            "metadata": {"namespace": "edge", "name": name},
            "spec": {"listeners": [{"protocol": "HTTP", "port": 8080, "allowedRoutes": {"namespaces": {"from": from}}}]},
            "status": {
                "addresses": [{"value": "10.0.0.7"}],
                "conditions": [{"type": "Programmed", "status": if programmed { "True" } else { "False" }}],
            },
        })
    }

    #[test]
    fn a_gateway_that_will_do_is_taken_and_why_not_is_said() {
        let fit = Way::Gateway { namespace: "edge".into(), name: "c".into(), address: Some("10.0.0.7:8080".into()) };
        let all = [gateway("a", false, "All"), gateway("b", true, "Same"), gateway("c", true, "All")];
        assert_eq!(choose(&all, None), Ok((fit.clone(), None)));
        assert_eq!(choose(&all, Some("edge/c")), Ok((fit, None)));
        assert_eq!(choose(&[], None), Ok((Way::Services, Some("there is no Gateway".into()))));
        let (way, why) = choose(&all[..2], None).unwrap();
        let why = why.unwrap();
        assert!(
            way == Way::Services && why.contains("edge/a is not programmed") && why.contains("edge/b has no"),
            "{why}"
        );
        assert!(choose(&all, Some("edge/a")).unwrap_err().contains("not programmed"));
        assert!(choose(&all, Some("edge/z")).unwrap_err().contains("edge/a, edge/b, edge/c"));
    }

    #[test]
    fn a_controller_that_watches_the_demo_as_well_is_a_rival() {
        let deployment = |replicas: u8, argument: &str| {
            json!({"metadata": {"namespace": "system", "name": "serin"}, "spec": {"replicas": replicas,
                   "template": {"spec": {"containers": [{"args": [argument]}]}}}})
        };
        assert!(rival(&deployment(1, "-log-level=info")).is_some_and(|why| why.contains("system/serin")));
        assert!(rival(&deployment(1, "-namespace=serin-demo")).is_some());
        assert!(rival(&deployment(1, "-namespace=")).is_some());
        assert!(rival(&deployment(0, "-log-level=info")).is_none());
        assert!(rival(&deployment(1, "--namespace=shop")).is_none());
    }
}
