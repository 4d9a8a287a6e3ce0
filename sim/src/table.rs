//! Tables for `kubectl get`.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::jsonpath;
use crate::state::Target;

/// Name and type of a column, and whether it is only shown in wide output.
type Column = (&'static str, &'static str, bool);

/// The columns of a kind.
pub(crate) fn columns(target: &Target) -> Vec<Value> {
    let column = |name: &str, kind: &str, format: &str, description: &str, priority: i64| json!({ "name": name, "type": kind, "format": format, "description": description, "priority": priority });
    let mut columns = vec![column("Name", "string", "name", "Name must be unique within a namespace.", 0)];
    if !target.resource.custom {
        let known = builtin(target);
        columns.extend(known.iter().map(|(name, kind, wide)| column(name, kind, "", "", i64::from(*wide))));
        return columns;
    }
    let stated = &target.version().columns;
    for one in stated {
        let text = |field: &str| one[field].as_str().unwrap_or_default();
        let priority = one["priority"].as_i64().unwrap_or_default();
        columns.push(column(text("name"), text("type"), text("format"), text("description"), priority));
    }
    if stated.is_empty() {
        columns.push(column("Age", "date", "", "CreationTimestamp is a timestamp representing the server time", 0));
    }
    columns
}

/// The cells of an object, one for each column.
pub(crate) fn cells(target: &Target, object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![object["metadata"]["name"].clone()];
    if !target.resource.custom {
        cells.extend(builtin_cells(target, object, now));
        return cells;
    }
    let stated = &target.version().columns;
    for column in stated {
        let path = column["jsonPath"].as_str().unwrap_or_default();
        let found = jsonpath::find(object, path).into_iter().next();
        cells.push(match (column["type"].as_str().unwrap_or_default(), found) {
            (_, None | Some(Value::Null)) => Value::Null,
            ("date", Some(value)) => value.as_str().map_or(Value::Null, |time| age(time, now).into()),
            ("string", Some(value)) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                text.into()
            }
            (_, Some(value)) => value.clone(),
        });
    }
    if stated.is_empty() {
        cells.push(age_of(object, now));
    }
    cells
}

const AGE: Column = ("Age", "string", false);

fn builtin(target: &Target) -> Vec<Column> {
    let text = |name| (name, "string", false);
    let number = |name| (name, "integer", false);
    let wide = |name| (name, "string", true);
    match (target.resource.group.as_str(), target.resource.kind.as_str()) {
        ("apps", "Deployment") => vec![
            text("Ready"),
            number("Up-to-date"),
            number("Available"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
        ("apps", "ReplicaSet") => vec![
            number("Desired"),
            number("Current"),
            number("Ready"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
        ("apps", "DaemonSet") => vec![
            number("Desired"),
            number("Current"),
            number("Ready"),
            number("Up-to-date"),
            number("Available"),
            text("Node Selector"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
        ("apps", "StatefulSet") => vec![text("Ready"), AGE, wide("Containers"), wide("Images")],
        ("apps", "ControllerRevision") => vec![text("Controller"), text("Revision"), AGE],
        ("", "Pod") => vec![
            text("Ready"),
            text("Status"),
            text("Restarts"),
            AGE,
            wide("IP"),
            wide("Node"),
            wide("Nominated Node"),
            wide("Readiness Gates"),
        ],
        ("", "Service") => {
            vec![text("Type"), text("Cluster-IP"), text("External-IP"), text("Port(s)"), AGE, wide("Selector")]
        }
        ("" | "events.k8s.io", "Event") => {
            vec![
                text("Last Seen"),
                text("Type"),
                text("Reason"),
                text("Object"),
                wide("Subobject"),
                wide("Source"),
                text("Message"),
            ]
        }
        ("", "Namespace") => vec![text("Status"), AGE],
        ("", "Node") => vec![text("Status"), text("Roles"), AGE, text("Version")],
        ("", "ConfigMap") => vec![text("Data"), AGE],
        ("", "Secret") => vec![text("Type"), number("Data"), AGE],
        ("autoscaling", _) => {
            vec![text("Reference"), text("Targets"), text("MinPods"), text("MaxPods"), number("Replicas"), AGE]
        }
        ("networking.k8s.io", "Ingress") => vec![text("Class"), text("Hosts"), text("Address"), text("Ports"), AGE],
        ("networking.k8s.io", "IngressClass") => vec![text("Controller"), text("Parameters"), AGE],
        ("coordination.k8s.io", _) => vec![text("Holder"), AGE],
        ("discovery.k8s.io", _) => vec![text("AddressType"), text("Ports"), text("Endpoints"), AGE],
        ("batch", "Job") => vec![text("Status"), text("Completions"), text("Duration"), AGE],
        ("batch", "CronJob") => vec![text("Schedule"), text("Suspend"), AGE],
        ("apiextensions.k8s.io", _) | ("rbac.authorization.k8s.io", "ClusterRole") => {
            vec![("Created At", "date", false)]
        }
        _ => vec![AGE],
    }
}

fn builtin_cells(target: &Target, object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let age = age_of(object, now);
    let count = |value: &Value| json!(value.as_i64().unwrap_or_default());
    let of = |value: &Value, all: &Value| {
        json!(format!("{}/{}", value.as_i64().unwrap_or_default(), all.as_i64().unwrap_or_default()))
    };
    let text =
        |value: &Value| value.as_str().filter(|text| !text.is_empty()).map_or(json!("<none>"), |text| json!(text));
    let template = &spec["template"]["spec"];
    let selector = json!(crate::verbs::selector_text(&spec["selector"]));
    match (target.resource.group.as_str(), target.resource.kind.as_str()) {
        ("apps", "Deployment") => vec![
            of(&status["readyReplicas"], &spec["replicas"]),
            count(&status["updatedReplicas"]),
            count(&status["availableReplicas"]),
            age,
            containers(template, "name"),
            containers(template, "image"),
            selector,
        ],
        ("apps", "ReplicaSet") => vec![
            count(&spec["replicas"]),
            count(&status["replicas"]),
            count(&status["readyReplicas"]),
            age,
            containers(template, "name"),
            containers(template, "image"),
            selector,
        ],
        ("apps", "DaemonSet") => vec![
            count(&status["desiredNumberScheduled"]),
            count(&status["currentNumberScheduled"]),
            count(&status["numberReady"]),
            count(&status["updatedNumberScheduled"]),
            count(&status["numberAvailable"]),
            labels(&template["nodeSelector"]),
            age,
            containers(template, "name"),
            containers(template, "image"),
            selector,
        ],
        ("apps", "StatefulSet") => vec![
            of(&status["readyReplicas"], &spec["replicas"]),
            age,
            containers(template, "name"),
            containers(template, "image"),
        ],
        ("apps", "ControllerRevision") => {
            let owner = &object["metadata"]["ownerReferences"][0];
            let controller = format!(
                "{}.apps/{}",
                owner["kind"].as_str().unwrap_or_default().to_lowercase(),
                owner["name"].as_str().unwrap_or_default()
            );
            vec![controller.into(), object["revision"].clone(), age]
        }
        ("", "Pod") => pod(object, age),
        ("", "Service") => service(object, age),
        ("" | "events.k8s.io", "Event") => event(object, now),
        ("", "Namespace") => vec![status["phase"].clone(), age],
        ("", "Node") => vec![node_status(object), json!("<none>"), age, text(&status["nodeInfo"]["kubeletVersion"])],
        ("", "ConfigMap") => {
            let size = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
            vec![json!(size("data") + size("binaryData")), age]
        }
        ("", "Secret") => {
            vec![object["type"].clone(), json!(object["data"].as_object().map_or(0, serde_json::Map::len)), age]
        }
        ("autoscaling", _) => autoscaler(object, age),
        ("networking.k8s.io", "Ingress") => {
            let hosts: Vec<&str> = spec["rules"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|rule| rule["host"].as_str().unwrap_or("*"))
                .collect();
            let hosts = if hosts.is_empty() { "*".to_owned() } else { hosts.join(",") };
            let address = status["loadBalancer"]["ingress"][0]["ip"].as_str().unwrap_or_default();
            let ports = if spec["tls"].is_null() { "80" } else { "80, 443" };
            vec![text(&spec["ingressClassName"]), hosts.into(), address.into(), ports.into(), age]
        }
        ("networking.k8s.io", "IngressClass") => vec![spec["controller"].clone(), json!("<none>"), age],
        ("coordination.k8s.io", _) => vec![json!(spec["holderIdentity"].as_str().unwrap_or_default()), age],
        ("discovery.k8s.io", _) => {
            let ports: Vec<String> =
                object["ports"].as_array().into_iter().flatten().map(|port| port["port"].to_string()).collect();
            let endpoints = object["endpoints"].as_array().into_iter().flatten();
            let addresses = endpoints.flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten());
            let addresses: Vec<&str> = addresses.filter_map(Value::as_str).collect();
            let shown = |list: Vec<String>| if list.is_empty() { "<unset>".to_owned() } else { list.join(",") };
            let addresses = shown(addresses.into_iter().map(str::to_owned).collect());
            vec![object["addressType"].clone(), shown(ports).into(), addresses.into(), age]
        }
        ("batch", "Job") => {
            let done = status["succeeded"].as_i64().unwrap_or_default();
            let all = spec["completions"].as_i64().unwrap_or(1);
            let state = if done >= all { "Complete" } else { "Running" };
            vec![state.into(), format!("{done}/{all}").into(), Value::Null, age]
        }
        ("batch", "CronJob") => {
            let suspended = if spec["suspend"] == true { "True" } else { "False" };
            vec![spec["schedule"].clone(), suspended.into(), age]
        }
        ("apiextensions.k8s.io", _) | ("rbac.authorization.k8s.io", "ClusterRole") => {
            vec![object["metadata"]["creationTimestamp"].clone()]
        }
        _ => vec![age],
    }
}

fn pod(object: &Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let statuses = status["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let all = spec["containers"].as_array().map_or(0, Vec::len);
    let ready = statuses.iter().filter(|container| container["ready"] == true).count();
    let restarts: i64 = statuses.iter().filter_map(|container| container["restartCount"].as_i64()).sum();
    let mut reason = status["reason"].as_str().or(status["phase"].as_str()).unwrap_or("Unknown").to_owned();
    for container in statuses {
        let state = &container["state"];
        if let Some(waiting) = state["waiting"]["reason"].as_str().or(state["terminated"]["reason"].as_str()) {
            reason = waiting.to_owned();
        }
    }
    if !object["metadata"]["deletionTimestamp"].is_null() {
        reason = "Terminating".to_owned();
    }
    let text = |value: &Value| json!(value.as_str().unwrap_or("<none>"));
    vec![
        format!("{ready}/{all}").into(),
        reason.into(),
        restarts.to_string().into(),
        age,
        text(&status["podIP"]),
        text(&spec["nodeName"]),
        text(&status["nominatedNodeName"]),
        json!("<none>"),
    ]
}

fn service(object: &Value, age: Value) -> Vec<Value> {
    let spec = &object["spec"];
    let ports: Vec<String> = spec["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            let node = port["nodePort"].as_i64().map(|node| format!(":{node}")).unwrap_or_default();
            format!("{}{node}/{}", port["port"], port["protocol"].as_str().unwrap_or("TCP"))
        })
        .collect();
    let ports = if ports.is_empty() { "<none>".to_owned() } else { ports.join(",") };
    let external = match spec["type"].as_str() {
        Some("ExternalName") => spec["externalName"].as_str().unwrap_or_default(),
        Some("LoadBalancer") => "<pending>",
        Some(_) | None => "<none>",
    };
    let address = spec["clusterIP"].as_str().unwrap_or("<none>");
    vec![spec["type"].clone(), address.into(), external.into(), ports.into(), age, labels(&spec["selector"])]
}

fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let pick = |names: [&str; 2]| names.into_iter().map(|name| &object[name]).find(|value| !value.is_null());
    let about = pick(["involvedObject", "regarding"]).cloned().unwrap_or_default();
    let times = [pick(["lastTimestamp", "deprecatedLastTimestamp"]), pick(["eventTime", "eventTime"])];
    let last = times.into_iter().flatten().find_map(Value::as_str);
    let last = last.map_or_else(|| "<unknown>".to_owned(), |time| age(time, now));
    let kind = about["kind"].as_str().unwrap_or_default().to_lowercase();
    let name = format!("{kind}/{}", about["name"].as_str().unwrap_or_default());
    let source = pick(["reportingComponent", "reportingController"]).and_then(Value::as_str).unwrap_or_default();
    let source = if source.is_empty() { object["source"]["component"].as_str().unwrap_or_default() } else { source };
    let message = pick(["message", "note"]).and_then(Value::as_str).unwrap_or_default().trim();
    vec![
        last.into(),
        object["type"].clone(),
        object["reason"].clone(),
        name.into(),
        json!(about["fieldPath"].as_str().unwrap_or_default()),
        source.into(),
        message.into(),
    ]
}

fn node_status(object: &Value) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    let mut text = match ready.map(|ready| ready["status"] == "True") {
        Some(true) => "Ready".to_owned(),
        Some(false) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object["spec"]["unschedulable"] == true {
        text.push_str(",SchedulingDisabled");
    }
    text.into()
}

fn autoscaler(object: &Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let reference = format!(
        "{}/{}",
        spec["scaleTargetRef"]["kind"].as_str().unwrap_or_default(),
        spec["scaleTargetRef"]["name"].as_str().unwrap_or_default()
    );
    let targets: Vec<String> = spec["metrics"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(index, metric)| {
            let name = metric["resource"]["name"].as_str().unwrap_or_default();
            let current = status["currentMetrics"][index]["resource"]["current"]["averageUtilization"].as_i64();
            let current = current.map_or_else(|| "<unknown>".to_owned(), |current| format!("{current}%"));
            let target = metric["resource"]["target"]["averageUtilization"].as_i64();
            let target = target.map_or_else(|| "<auto>".to_owned(), |target| format!("{target}%"));
            format!("{name}: {current}/{target}")
        })
        .collect();
    vec![
        reference.into(),
        targets.join(", ").into(),
        spec["minReplicas"].to_string().into(),
        spec["maxReplicas"].to_string().into(),
        json!(status["currentReplicas"].as_i64().unwrap_or_default()),
        age,
    ]
}

fn containers(spec: &Value, field: &str) -> Value {
    let containers = spec["containers"].as_array().into_iter().flatten();
    let texts: Vec<&str> = containers.filter_map(|container| container[field].as_str()).collect();
    texts.join(",").into()
}

fn labels(labels: &Value) -> Value {
    let pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { json!("<none>") } else { pairs.join(",").into() }
}

fn age_of(object: &Value, now: Timestamp) -> Value {
    object["metadata"]["creationTimestamp"].as_str().map_or(json!("<unknown>"), |time| age(time, now).into())
}

/// How long ago, as kubectl writes it: two units at most, and only one where the second says little.
fn age(time: &str, now: Timestamp) -> String {
    let Ok(time) = time.parse::<Timestamp>() else { return "<invalid>".to_owned() };
    let seconds = now.as_second() - time.as_second();
    let both = |large: i64, small: i64, names: (&str, &str)| {
        if small == 0 { format!("{large}{}", names.0) } else { format!("{large}{}{small}{}", names.0, names.1) }
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        i64::MIN..0 => {
            if seconds >= -2 {
                "0s".to_owned()
            } else {
                "<invalid>".to_owned()
            }
        }
        0..120 => format!("{seconds}s"),
        120..600 => both(minutes, seconds % 60, ("m", "s")),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => both(hours, minutes % 60, ("h", "m")),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => both(days, hours % 24, ("d", "h")),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => both(days / 365, days % 365, ("y", "d")),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_as_kubectl_writes_them() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (3599, "59m"),
            (7200, "120m"),
            (3 * 3600 + 60, "3h1m"),
            (30 * 3600, "30h"),
            (50 * 3600, "2d2h"),
            (20 * 86_400, "20d"),
            (800 * 86_400, "2y70d"),
        ] {
            let now = Timestamp::from_second(1_000_000_000 + seconds).unwrap();
            assert_eq!(age("2001-09-09T01:46:40Z", now), expected, "{seconds}");
        }
    }
}
