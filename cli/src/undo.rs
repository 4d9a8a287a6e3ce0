//! Going back: in Git where the target comes from there, and else to a template that the Deployment still has.

use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::args::Asked;
use crate::cluster::{Cluster, Kind, as_value, workload_of};
use crate::command::{self, Order};
use crate::complaint::Complaint;
use crate::paint::write_out;
use crate::view::read_status;

const REVISION: &str = "deployment.kubernetes.io/revision";

/// Goes back to the revision, or to the one before. Either way the controller rolls out what comes of it.
pub async fn undo(cluster: &Cluster, asked: &Asked, to: Option<&str>) -> Result<(), Complaint> {
    let canary = cluster.canary(&asked.name).await?;
    let from_git = read_status(&canary, &mut Vec::new()).source.is_some_and(|source| source.applied_by.is_some());
    if from_git {
        return command::give(cluster, asked, Order::undo(to)).await;
    }
    let (name, number) = match workload_of(&canary) {
        Some((Kind::Deployment, name)) => (name, number(to)?),
        Some((kind, name)) => {
            let kind = kind.resource().kind.to_lowercase();
            return Err(Complaint::Refused(format!(
                "{} does not come from Git, and of a {kind} only kubectl knows former revisions: kubectl rollout undo \
                 {kind}/{name} -n {}",
                asked.name, cluster.namespace
            )));
        }
        None => return Err(Complaint::Refused(format!("the target of {} has no pods", asked.name))),
    };
    let api = cluster.api(Kind::Deployment);
    let reading = |failure| Complaint::of_api(format!("reading deployment {name}"), failure);
    let deployment = as_value(&api.get(&name).await.map_err(reading)?, Kind::Deployment);
    let sets = cluster.api(Kind::ReplicaSet).list(&ListParams::default()).await;
    let sets = sets.map_err(|failure| Complaint::of_api(format!("listing replicasets of {name}"), failure))?;
    let sets: Vec<Value> = sets.items.iter().map(|set: &DynamicObject| as_value(set, Kind::ReplicaSet)).collect();
    let (number, template) = former(&deployment, &sets, number).map_err(Complaint::Refused)?;
    let patch = json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": deployment["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/spec/template", "value": template},
    ]);
    let patch = serde_json::from_value(patch).map_err(|failure| Complaint::Render(failure.to_string()))?;
    let parameters = PatchParams { field_manager: Some("serin-cli".to_owned()), ..PatchParams::default() };
    let doing = format!("writing the template of revision {number} into deployment {name}");
    api.patch(&name, &parameters, &Patch::Json::<()>(patch))
        .await
        .map_err(|failure| Complaint::of_api(doing, failure))?;
    Ok(write_out(&format!("{}: undo: deployment {name} has the template of revision {number}\n", asked.name))?)
}

fn number(to: Option<&str>) -> Result<Option<u64>, Complaint> {
    to.map(str::parse).transpose().map_err(|_| {
        Complaint::Refused(format!(
            "{:?} is no number of a revision, and nothing says that the target comes from Git, where revisions are commits",
            to.unwrap_or_default()
        ))
    })
}

/// The template of that revision of the Deployment, or of the last one before the present.
fn former(deployment: &Value, sets: &[Value], wanted: Option<u64>) -> Result<(u64, Value), String> {
    let revision = |object: &Value| object["metadata"]["annotations"][REVISION].as_str()?.parse::<u64>().ok();
    let own = |set: &&Value| {
        let owners = set["metadata"]["ownerReferences"].as_array();
        owners.into_iter().flatten().any(|owner| owner["uid"] == deployment["metadata"]["uid"])
    };
    let present = revision(deployment);
    let mut known: Vec<(u64, &Value)> =
        sets.iter().filter(own).filter_map(|set| Some((revision(set)?, set.pointer("/spec/template")?))).collect();
    known.retain(|(number, _)| Some(*number) != present);
    known.sort_by_key(|(number, _)| *number);
    let chosen = match wanted {
        Some(wanted) => known.iter().find(|(number, _)| *number == wanted),
        None => known.last(),
    };
    let Some((number, template)) = chosen else {
        let numbers: Vec<String> = known.iter().map(|(number, _)| number.to_string()).collect();
        let numbers = if numbers.is_empty() { "none".to_owned() } else { numbers.join(", ") };
        return Err(match wanted {
            Some(wanted) if present == Some(wanted) => format!("revision {wanted} is what stands there"),
            Some(wanted) => format!("there is no revision {wanted} any more; there are {numbers}"),
            None => "there is no former revision to go back to".to_owned(),
        });
    };
    let mut template = (*template).clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    Ok((*number, template))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(number: u64, owner: &str) -> Value {
        json!({
            "metadata": {"annotations": {REVISION: number.to_string()}, "ownerReferences": [{"uid": owner}]},
            "spec": {"template": {"metadata": {"labels": {"app": "shop", "pod-template-hash": "x"}}, "spec": {"n": number}}},
        })
    }

    #[test]
    fn the_template_before_or_that_of_a_number_is_found() {
        let deployment = json!({"metadata": {"uid": "1", "annotations": {REVISION: "4"}}});
        let sets = [set(4, "1"), set(10, "2"), set(2, "1"), set(3, "1")];
        let template = |wanted| former(&deployment, &sets, wanted);
        let expected = json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"n": 3}});
        assert_eq!(template(None), Ok((3, expected)));
        assert_eq!(template(Some(2)).map(|(number, _)| number), Ok(2));
        assert_eq!(template(Some(4)), Err("revision 4 is what stands there".into()));
        assert_eq!(template(Some(9)), Err("there is no revision 9 any more; there are 2, 3".into()));
        assert!(former(&deployment, &sets[..1], None).is_err());
    }
}
