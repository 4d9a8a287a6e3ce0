//! The Services in front of the target (`-canary`), of the primary (`-primary`) and the one that clients use (the apex).

use std::collections::BTreeSet;

use crds::CustomMetadata;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value, json};

use crate::objects::{At, Desired, Kind, Lookup, kinds};

use super::{Plan, metadata};

const KIND: Kind = kinds::SERVICE;

/// Containers of service meshes, whose ports are not the application's.
const MESH_CONTAINERS: [&str; 2] = ["istio-proxy", "envoy"];

/// The Services of the canary and of the primary.
pub fn services(plan: &Plan<'_>, current: &dyn Lookup) -> Vec<Desired> {
    let name = &plan.spec.service_name;
    let service = &plan.spec.service;
    vec![
        one(plan, current, &format!("{name}-canary"), &plan.selector.value, service.canary.as_ref()),
        one(plan, current, &format!("{name}-primary"), &plan.selector.primary_value(), service.primary.as_ref()),
    ]
}

/// The Service of the copy of the primary that the canary is compared with.
pub fn baseline_service(plan: &Plan<'_>, current: &dyn Lookup) -> Desired {
    let custom = plan.spec.service.primary.as_ref();
    one(plan, current, &plan.spec.baseline_service_name(), &plan.selector.baseline_value(), custom)
}

/// The Service that clients use; it sends to the primary. One that exists and belongs to somebody else gets its
/// selector and ports, and stays theirs.
pub fn apex_service(plan: &Plan<'_>, current: &dyn Lookup) -> Desired {
    let apex = plan.spec.service.apex.as_ref();
    one(plan, current, &plan.spec.service_name, &plan.selector.primary_value(), apex)
}

/// True when the Service that clients use sends to the primary.
pub fn apex_sends_to_primary(plan: &Plan<'_>, current: &dyn Lookup) -> bool {
    current
        .get(KIND, &plan.spec.service_name)
        .is_some_and(|live| live.at("/spec/selector") == Some(&selector(plan, &plan.selector.primary_value())))
}

/// What gives the Service that clients use back to its owner: it sends to the target again. `None` when there is none,
/// or when it is the Canary's own and goes with it. With an `heir` (an owner reference), what is the Canary's own becomes
/// the heir's and stays.
pub fn revert_apex(plan: &Plan<'_>, current: &dyn Lookup, heir: Option<&Value>) -> Option<Desired> {
    let live = current.get(KIND, &plan.spec.service_name)?;
    let owned = plan.owner.controls(&live);
    if owned && heir.is_none() {
        return None;
    }
    let applied = metadata::of(&live, "/metadata/annotations")
        .and_then(|annotations| annotations.get("kubectl.kubernetes.io/last-applied-configuration")?.as_str())
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .and_then(|applied| applied.at("/spec/selector").filter(|selector| selector.is_object()).cloned());
    let selector = applied.unwrap_or_else(|| selector(plan, &plan.selector.value));
    let mut pointer_values = vec![("/spec/selector".into(), Some(selector))];
    if let Some(heir) = heir.filter(|_| owned) {
        pointer_values.push(("/metadata/ownerReferences".into(), Some(json!([heir]))));
    }
    Some(Desired::Patch { kind: KIND, name: plan.spec.service_name.clone(), pointer_values })
}

fn one(plan: &Plan<'_>, current: &dyn Lookup, name: &str, pods: &str, custom: Option<&CustomMetadata>) -> Desired {
    let service = &plan.spec.service;
    let live = current.get(KIND, name);
    let mut labels = strings(custom.map(|custom| &custom.labels));
    labels.retain(|key, _| !metadata::is_flux(key));
    labels.insert(plan.selector.key.clone(), name.into());
    let mut annotations = strings(custom.map(|custom| &custom.annotations));
    annotations.retain(|key, _| !metadata::is_flux(key));
    metadata::opt_out_of_flux(&mut annotations);

    let mut pointers = vec!["/spec/selector".to_owned(), "/spec/ports".to_owned()];
    if live.as_deref().is_none_or(|live| plan.owner.controls(live)) {
        let unmanaged = service.unmanaged_metadata.clone().unwrap_or_default();
        let managed = |fields: &Map<String, Value>, unmanaged: &[String]| {
            let mut fields = fields.clone();
            fields.retain(|key, _| !unmanaged.contains(key));
            fields
        };
        pointers.extend(metadata::pointers("/metadata/labels", &managed(&labels, &unmanaged.labels)));
        pointers.extend(metadata::pointers("/metadata/annotations", &managed(&annotations, &unmanaged.annotations)));
        pointers.push("/spec/trafficDistribution".into());
    }
    let mut body = json!({
        "apiVersion": KIND.api_version(),
        "kind": KIND.kind,
        "metadata": {
            "name": name,
            "namespace": plan.owner.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [plan.owner.reference()],
        },
        "spec": {"type": "ClusterIP", "selector": selector(plan, pods), "ports": ports(plan, live.as_deref())},
    });
    if service.headless {
        body["spec"]["clusterIP"] = "None".into();
    }
    if let Some(distribution) = service.traffic_distribution.as_deref().filter(|text| !text.is_empty()) {
        body["spec"]["trafficDistribution"] = distribution.into();
    }
    Desired::Replace { kind: KIND, body, pointers }
}

fn selector(plan: &Plan<'_>, value: &str) -> Value {
    json!({plan.selector.key.as_str(): value})
}

fn strings<'m>(fields: Option<impl IntoIterator<Item = (&'m String, &'m String)>>) -> Map<String, Value> {
    fields.into_iter().flatten().map(|(key, value)| (key.clone(), value.as_str().into())).collect()
}

/// The ports, in the order of the live Service where it has them, with the node ports that it was given.
fn ports(plan: &Plan<'_>, live: Option<&Value>) -> Value {
    let service = &plan.spec.service;
    let name = service.port_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("http");
    let target = match &service.target_port {
        Some(IntOrString::Int(0)) | None => json!(service.port),
        Some(IntOrString::Int(number)) => json!(number),
        Some(IntOrString::String(name)) => json!(name),
    };
    let mut main = json!({"name": name, "port": service.port, "protocol": "TCP", "targetPort": target});
    if let Some(protocol) = service.app_protocol.as_deref().filter(|protocol| !protocol.is_empty()) {
        main["appProtocol"] = protocol.into();
    }
    let mut ports = vec![main];
    if service.port_discovery {
        discover(plan.target, &target, &mut ports);
    }
    let live: &[Value] =
        live.and_then(|live| live.at("/spec/ports")).and_then(Value::as_array).map_or(&[], Vec::as_slice);
    for port in &mut ports {
        // A port may be renamed; its node port must not change because of it.
        let same = |field: &'static str| live.iter().find(|other| other.get(field) == port.get(field));
        let node_port = same("name").or_else(|| same("port")).and_then(|same| same.get("nodePort")).cloned();
        if let Some(node_port) = node_port {
            port["nodePort"] = node_port;
        }
    }
    ports.sort_by_key(|port| live.iter().position(|other| other.get("name") == port.get("name")).unwrap_or(usize::MAX));
    Value::Array(ports)
}

/// Adds every port of the target's containers but `main`, and but those that the API server would refuse next to what
/// is there already.
fn discover(target: &Value, main: &Value, ports: &mut Vec<Value>) {
    let containers = target.at("/spec/template/spec/containers").and_then(Value::as_array);
    for container in containers.into_iter().flatten() {
        let container_name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        if MESH_CONTAINERS.contains(&container_name) {
            continue;
        }
        for (index, port) in container.get("ports").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let Some(number) = port.get("containerPort").and_then(Value::as_i64) else { continue };
            let named = port.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
            let is_main = match main {
                Value::String(name) => named == Some(name),
                Value::Number(main) => main.as_i64() == Some(number),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
            };
            let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
            let taken = ports.iter().any(|other| other["port"] == number && other["protocol"] == protocol);
            if is_main || taken {
                continue;
            }
            let mut name = named.map_or_else(|| format!("tcp-{container_name}-{index}"), String::from);
            let names: BTreeSet<&str> = ports.iter().filter_map(|other| other["name"].as_str()).collect();
            if names.contains(name.as_str()) {
                name = format!("{name}-{number}");
            }
            ports.push(json!({"name": name, "port": number, "protocol": protocol, "targetPort": number}));
        }
    }
}

#[cfg(test)]
mod tests {
    use crds::UnmanagedMetadata;

    use super::super::fixtures::{Case, apply};
    use super::*;

    fn ports_of(case: &Case) -> Value {
        ports(&case.plan().unwrap(), None)
    }

    fn brief(ports: &Value) -> Vec<String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
        ports
            .as_array()
            .unwrap()
            .iter()
            .map(|port| {
                format!(
                    "{} {}/{}>{}",
                    text(&port["name"]),
                    port["port"],
                    text(&port["protocol"]),
                    text(&port["targetPort"])
                )
            })
            .collect()
    }

    #[test]
    fn new_services_are_whole_objects() {
        let mut case = Case::deployment();
        case.objects.retain(|(kind, _), _| *kind != KIND);
        let plan = case.plan().unwrap();
        let mut all = services(&plan, &case.objects);
        all.push(apex_service(&plan, &case.objects));
        let all: Vec<_> = all.iter().map(|desired| apply(None, desired)).collect();
        insta::assert_yaml_snapshot!(all);
    }

    #[test]
    fn the_main_port_is_as_the_canary_says() {
        let mut case = Case::deployment();
        case.spec.service.port_discovery = false;
        let service = &mut case.spec.service;
        service.port = 80;
        service.target_port = None;
        assert_eq!(brief(&ports_of(&case)), ["http 80/TCP>80"]);
        case.spec.service.target_port = Some(IntOrString::Int(0));
        assert_eq!(brief(&ports_of(&case)), ["http 80/TCP>80"]);
        case.spec.service.target_port = Some(IntOrString::String("web".into()));
        case.spec.service.port_name = Some("grpc".into());
        case.spec.service.app_protocol = Some("kubernetes.io/h2c".into());
        let ports = ports_of(&case);
        assert_eq!(brief(&ports), ["grpc 80/TCP>web"]);
        assert_eq!(ports[0]["appProtocol"], json!("kubernetes.io/h2c"));
    }

    #[test]
    fn ports_of_containers_are_discovered() {
        let port = |name: Option<&str>, number: i64| match name {
            Some(name) => json!({"name": name, "containerPort": number}),
            None => json!({"containerPort": number}),
        };
        for (name, target_port, containers, expected) in [
            (
                "all but the main one, by number",
                IntOrString::Int(9898),
                json!([{"name": "a", "ports": [port(Some("web"), 9898), port(Some("metrics"), 9797), port(None, 9999)]}]),
                vec!["http 80/TCP>9898", "metrics 9797/TCP>9797", "tcp-a-2 9999/TCP>9999"],
            ),
            (
                "all but the main one, by name",
                IntOrString::String("web".into()),
                json!([{"name": "a", "ports": [port(Some("web"), 9898), port(Some("metrics"), 9797)]}]),
                vec!["http 80/TCP>web", "metrics 9797/TCP>9797"],
            ),
            (
                "not those of the mesh",
                IntOrString::Int(9898),
                json!([{"name": "istio-proxy", "ports": [port(None, 15090)]}, {"name": "envoy", "ports": [port(None, 1)]}]),
                vec!["http 80/TCP>9898"],
            ),
            (
                "with their protocol",
                IntOrString::Int(9898),
                json!([{"name": "a", "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}, port(Some("dns-tcp"), 53)]}]),
                vec!["http 80/TCP>9898", "dns 53/UDP>53", "dns-tcp 53/TCP>53"],
            ),
            (
                "not a second time",
                IntOrString::Int(9898),
                json!([{"name": "a", "ports": [port(Some("web"), 80), port(Some("x"), 81)]}, {"name": "b", "ports": [port(Some("y"), 81)]}]),
                vec!["http 80/TCP>9898", "x 81/TCP>81"],
            ),
            (
                "under a name of their own",
                IntOrString::Int(9898),
                json!([{"name": "a", "ports": [port(Some("http"), 8080)]}]),
                vec!["http 80/TCP>9898", "http-8080 8080/TCP>8080"],
            ),
        ] {
            let mut case = Case::deployment();
            case.spec.service.target_port = Some(target_port);
            case.target["spec"]["template"]["spec"]["containers"] = containers;
            assert_eq!(brief(&ports_of(&case)), expected, "{name}");
        }
    }

    #[test]
    fn a_service_of_somebody_else_is_taken_over_without_ownership() {
        let mut case = Case::deployment();
        case.spec.service.port_discovery = false;
        let live = json!({
            "metadata": {"name": "podinfo", "labels": {"theirs": "1"}, "annotations": {"cloud/lb": "a"}},
            "spec": {"type": "LoadBalancer", "selector": {"app": "podinfo", "tier": "web"},
                "ports": [{"name": "web", "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080}]},
        });
        case.put(KIND, "podinfo", live.clone());
        let plan = case.plan().unwrap();
        assert!(!apex_sends_to_primary(&plan, &case.objects));
        let desired = apex_service(&plan, &case.objects);
        let after = apply(Some(&live), &desired);
        assert_eq!(after["metadata"], live["metadata"]);
        assert_eq!(
            after["spec"],
            json!({"type": "LoadBalancer", "selector": {"app": "podinfo-primary"},
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 9898, "nodePort": 30080}]})
        );
        case.put(KIND, "podinfo", after.clone());
        let plan = case.plan().unwrap();
        assert!(apex_service(&plan, &case.objects).met_by(Some(&after)));
        assert!(apex_sends_to_primary(&plan, &case.objects));
    }

    #[test]
    fn a_service_is_given_back_with_the_selector_it_had() {
        let applied = json!({"spec": {"selector": {"app": "podinfo", "tier": "web"}}}).to_string();
        for (annotations, expected) in [
            (
                json!({"kubectl.kubernetes.io/last-applied-configuration": applied}),
                json!({"app": "podinfo", "tier": "web"}),
            ),
            (json!({"kubectl.kubernetes.io/last-applied-configuration": "not json"}), json!({"app": "podinfo"})),
            (json!({}), json!({"app": "podinfo"})),
        ] {
            let mut case = Case::deployment();
            let live =
                json!({"metadata": {"annotations": annotations}, "spec": {"selector": {"app": "podinfo-primary"}}});
            case.put(KIND, "podinfo", live.clone());
            let desired = revert_apex(&case.plan().unwrap(), &case.objects, None).unwrap();
            assert_eq!(apply(Some(&live), &desired)["spec"]["selector"], expected);
        }
        // The Canary's own goes with it.
        let case = Case::deployment();
        assert_eq!(revert_apex(&case.plan().unwrap(), &case.objects, None), None);
        // Unless there is somebody to have it.
        let heir = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo", "uid": "d"});
        let live = (*case.objects[&(KIND, "podinfo".into())]).clone();
        let desired = revert_apex(&case.plan().unwrap(), &case.objects, Some(&heir)).unwrap();
        let after = apply(Some(&live), &desired);
        assert_eq!(after["metadata"]["ownerReferences"], json!([heir]));
        assert_eq!(after["spec"]["selector"], json!({"app": "podinfo"}));
    }

    #[test]
    fn metadata_of_others_and_unmanaged_metadata_survive() {
        let mut case = Case::deployment();
        case.spec.service.unmanaged_metadata = Some(UnmanagedMetadata {
            labels: vec!["example.com/team".into()],
            annotations: vec!["example.com/note".into()],
        });
        let mut live = (*case.objects[&(KIND, "podinfo".into())]).clone();
        live["metadata"]["labels"]["example.com/team"] = json!("changed");
        live["metadata"]["annotations"]["example.com/note"] = json!("changed");
        live["metadata"]["annotations"]["cloud.example/neg"] = json!("added");
        case.put(KIND, "podinfo", live.clone());
        assert!(apex_service(&case.plan().unwrap(), &case.objects).met_by(Some(&live)));
    }

    #[test]
    fn metadata_that_the_canary_wants_is_corrected() {
        let mut case = Case::deployment();
        let mut live = (*case.objects[&(KIND, "podinfo".into())]).clone();
        live["metadata"]["annotations"]["example.com/note"] = json!("changed");
        live["spec"]["trafficDistribution"] = json!("PreferClose");
        case.put(KIND, "podinfo", live.clone());
        let after = apply(Some(&live), &apex_service(&case.plan().unwrap(), &case.objects));
        assert_eq!(after["metadata"]["annotations"]["example.com/note"], json!("apex"));
        assert_eq!(after["spec"].get("trafficDistribution"), None);
    }

    #[test]
    fn headless_and_traffic_distribution_are_set_on_new_services() {
        let mut case = Case::deployment();
        case.objects.retain(|(kind, _), _| *kind != KIND);
        case.spec.service.headless = true;
        case.spec.service.traffic_distribution = Some("PreferClose".into());
        for desired in services(&case.plan().unwrap(), &case.objects) {
            let new = apply(None, &desired);
            assert_eq!(new["spec"]["clusterIP"], json!("None"));
            assert_eq!(new["spec"]["trafficDistribution"], json!("PreferClose"));
        }
    }
}
