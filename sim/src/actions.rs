//! Subresources that do something rather than be a part of the object.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::path::Parameters;
use crate::service::{answer, ok};
use crate::state::{Author, Options, Target};
use crate::status::Status;
use crate::verbs::Deletion;

/// Annotation of a pod whose value `kubectl logs` shows.
const LOG: &str = "sim/log";

/// Does what the subresource is for.
pub(crate) fn perform(
    cluster: &Cluster,
    target: &Target,
    action: &str,
    body: &Value,
    parameters: &Parameters,
) -> Result<Response<Body>, Status> {
    match action {
        "log" => log(cluster, target, parameters),
        "eviction" => {
            let deletion = Deletion::read(&body["deleteOptions"])?;
            cluster.write(|state| state.delete(target, &deletion))?;
            Ok(answer(
                StatusCode::CREATED,
                &json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
                }),
            ))
        }
        "binding" => {
            cluster.write(|state| {
                let live = state.stored(target)?;
                let mut next = (*live).clone();
                next["spec"]["nodeName"] = body["target"]["name"].clone();
                let options = Options { manager: "kube-scheduler".to_owned(), ..Options::default() };
                state.update_from(target, &live, next, Author::ByChange, &options)
            })?;
            Ok(answer(
                StatusCode::CREATED,
                &json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
                }),
            ))
        }
        "token" => {
            cluster.lock().stored(target)?;
            let mut request = body.clone();
            let user = format!("system:serviceaccount:{}:{}", target.namespace, target.name);
            let seconds = body["spec"]["expirationSeconds"].as_u64().unwrap_or(3600);
            let end = cluster.now().saturating_add(std::time::Duration::from_secs(seconds)).unwrap_or(cluster.now());
            request["status"] = json!({ "token": user, "expirationTimestamp": crate::state::seconds(end) });
            Ok(answer(StatusCode::CREATED, &request))
        }
        _ => Ok(ok(&*cluster.lock().stored(target)?)),
    }
}

fn log(cluster: &Cluster, target: &Target, parameters: &Parameters) -> Result<Response<Body>, Status> {
    let pod = cluster.lock().stored(target)?;
    let containers = pod["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = parameters.text("container");
    let named = |name: &str| containers.iter().any(|container| container["name"] == name);
    if !wanted.is_empty() && !named(wanted) {
        return Err(Status::bad_request(format!("container {wanted} is not valid for pod {}", target.name)));
    }
    let text = pod["metadata"]["annotations"][LOG].as_str().map_or_else(
        || format!("{} runs\n", pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default()),
        str::to_owned,
    );
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
