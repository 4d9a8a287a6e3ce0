//! Canaries that mean nothing: the API server or the condition `Ready` says which field and how to mend it, and the
//! neighbours go on.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use e2e::workload::{self, V0, analysis, intervals};
use e2e::{Scene, objects, wait_for};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    patch: Value,
    field: String,
}

pub(crate) async fn each_is_told_what_to_mend(scene: Arc<Scene>) -> Result<()> {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../../../rollout/tests/parse/malformed.yaml"))?;
    let flags = ["-mesh-provider", "gatewayapi:v1", "-namespace", &scene.namespace, "-no-cross-namespace-refs"];
    let mut serin = scene.serin_with(&flags).await?;
    let (mut refused, mut taken) = (0, Vec::new());
    for (number, case) in cases.into_iter().enumerate() {
        // A status is written by nobody but a controller, and another kind is another object.
        if case.field.starts_with("status") || ["kind", "apiVersion"].contains(&case.field.as_str()) {
            continue;
        }
        let name = format!("bad-{number}");
        let mut canary = workload::canary(&scene.host, &analysis(&json!({"stepWeight": 10})));
        merge(&mut canary, &case.patch);
        canary["metadata"]["name"] = json!(name);
        match scene.apply(&canary).await {
            Ok(()) => taken.push((name, case)),
            Err(refusal) => {
                // A rule over several fields names what they are fields of.
                let said = format!("{refusal:#}");
                let words: Vec<&str> = case.field.split(['.', '[', ']']).filter(|word| !word.is_empty()).collect();
                let words = if words.len() > 1 { &words[1..] } else { &words };
                let named = words.iter().any(|word| said.contains(word));
                ensure!(named, "{} is refused without {}: {said}", case.patch, case.field);
                refused += 1;
            }
        }
    }
    for (name, case) in &taken {
        wait_for(&format!("{name} ({}) to be told of {}", case.patch, case.field), intervals(15), || async {
            let canary =
                objects::get(&scene.cluster.client, &scene.namespace, "flagger.app/v1beta1", "Canary", name).await?;
            let conditions = canary["status"]["conditions"].as_array().context("there are no conditions")?;
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("no Ready")?;
            let message = ready["message"].as_str().unwrap_or_default();
            ensure!(ready["status"] == "False" && message.contains(&case.field), "Ready is {ready}");
            Ok(())
        })
        .await?;
    }
    scene.report(&format!("{refused} refused by the API server, {} by their condition", taken.len()));
    ensure!(refused + taken.len() >= 60, "these are too few to say anything");

    scene.apply(&workload::deployment(V0)).await?;
    scene.apply(&workload::canary(&scene.host, &analysis(&json!({"stepWeight": 50})))).await?;
    scene.phase("Initialized", intervals(15)).await?;
    serin.alive()
}

/// A JSON merge patch.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            if let Some(fields) = into.as_object_mut() {
                fields.remove(key);
            }
        } else {
            merge(&mut into[key], value);
        }
    }
}
