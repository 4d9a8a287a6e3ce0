//! Serin takes over from Flagger: objects as Flagger left them, at the moments of six kinds of rollout, all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::audit::Audit;
use e2e::cluster::folder;
use e2e::workload::{self, V0, V1, intervals};
use e2e::{Observed, Scene, fake, holds_for, objects, wait_for};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

const MOMENTS: [&str; 5] = ["1-initialized", PROGRESSING, "3-waiting-promotion", SUCCEEDED, "5-failed"];
const PROGRESSING: &str = "2-progressing";
const SUCCEEDED: &str = "4-succeeded";
/// Each case with its moments.
const CASES: [(&str, &[&str]); 6] = [
    ("gatewayapi", &MOMENTS),
    ("gatewayapi-ab", &MOMENTS),
    ("gatewayapi-session", &MOMENTS),
    ("kubernetes", &MOMENTS),
    ("traefik", &MOMENTS),
    (NGINX, &[PROGRESSING, SUCCEEDED]),
];
const NGINX: &str = "nginx";
const WATCHED: Duration = Duration::from_secs(60);
const KINDS: [(&str, &str); 10] = [
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "Ingress"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("traefik.io/v1alpha1", "TraefikService"),
    ("flagger.app/v1beta1", "Canary"),
];

pub(crate) async fn nothing_moves(scene: Arc<Scene>) -> Result<()> {
    // The pods' template must stay as Flagger saw it, so the nodes adapt to it: their pods are ready at once.
    fake::only(&scene.cluster.client, true).await?;
    let outcome = taken_over(&scene).await;
    fake::only(&scene.cluster.client, false).await?;
    outcome
}

/// The way back: Flagger takes over what Serin promoted, and no user and no pod notices.
pub(crate) async fn flagger_takes_back(scene: Arc<Scene>) -> Result<()> {
    let Some(flagger) = e2e::flagger() else {
        scene.report("Flagger is not built, so nothing is handed back to it; `e2e/assets/build flagger` builds it");
        return Ok(());
    };
    let mut serin = scene.serin().await?;
    let policy = |interval| {
        let mut analysis = workload::analysis(&json!({"stepWeight": 50}));
        analysis["interval"] = json!(interval);
        workload::canary(&scene.host, &analysis)
    };
    scene.apply(&workload::deployment(V0)).await?;
    scene.apply(&policy("2s")).await?;
    scene.phase("Initialized", intervals(10)).await?;
    let traffic = scene.traffic(|_| ())?;
    traffic.expect_share(V0, 100.0).await?;
    scene.apply(&workload::deployment(V1)).await?;
    scene.promoted(V1, intervals(15)).await?;
    crate::release::scaled_down(&scene).await?;
    scene.apply(&policy("10s")).await?;
    serin.crash()?;

    // What README.md says to do.
    let canaries = objects::api(&scene.cluster.client, &scene.namespace, "flagger.app/v1beta1", "Canary");
    let again = json!({"status": {"phase": "Initializing"}});
    canaries
        .patch_status(workload::NAME, &PatchParams::default(), &Patch::Merge(&again))
        .await
        .context("telling Flagger to look at the Canary as if it were new")?;
    let before = Seen::of(&scene, &scene.namespace).await?;
    let flags = ["-mesh-provider", "gatewayapi:v1", "-namespace", &scene.namespace];
    let mut back = scene.controller(Some(flagger), &flags).await?;
    scene.phase("Initialized", Duration::from_secs(60)).await?;
    holds_for("the pods and the weights as Serin left them", Duration::from_secs(25), || async {
        let now = Seen::of(&scene, &scene.namespace).await?;
        // Those that were ending already may end.
        let pods = |seen: &Seen| {
            let pods = seen.objects.iter().filter(|(name, pod)| name.starts_with("Pod ") && pod["deleted"].is_null());
            pods.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        ensure!(pods(&now) == pods(&before), "the pods were {:?}, they are {:?}", pods(&before), pods(&now));
        let weights = scene.weights().await?;
        ensure!(weights == (100, 0) && now.status.phase == "Initialized", "{weights:?}, {:?}", now.status);
        Ok(())
    })
    .await?;
    let counts = traffic.stop();
    ensure!(counts.failed == 0, "users saw {} of {} requests fail", counts.failed, counts.total);
    back.alive()
}

async fn taken_over(scene: &Scene) -> Result<()> {
    let mut places = Vec::new();
    for (case, moments) in CASES {
        for moment in moments {
            let namespace = format!("fx-{case}-{}", &moment[..1]);
            scene.make_namespace(&namespace).await?;
            restore(scene, case, moment, &namespace).await.with_context(|| format!("restoring {case} {moment}"))?;
            places.push((namespace, Expected::of(case, moment)));
        }
    }
    let mut before = BTreeMap::new();
    for (namespace, _) in &places {
        settled(scene, namespace).await?;
        before.insert(namespace, Seen::of(scene, namespace).await?);
    }

    let audit = Audit::from_now(&scene.cluster, &scene.controller_user())?;
    let mut serin = scene.serin_with(&[]).await?;
    holds_for("everything as Flagger left it", WATCHED, || async {
        for (namespace, expected) in &places {
            let (before, now) = (&before[namespace], Seen::of(scene, namespace).await?);
            match expected {
                Expected::Stays => now.is(before),
                Expected::ComesToItsGate => now.goes_on_from(before),
                Expected::IsPromoted => now.goes_to_its_end_from(before),
            }
            .with_context(|| namespace.clone())?;
        }
        Ok(())
    })
    .await?;
    serin.alive()?;
    if let Some(audit) = audit {
        let writes: BTreeMap<String, usize> = audit
            .requests()?
            .into_iter()
            .filter(|(what, _)| !what.starts_with("watch") && !what.starts_with("list"))
            .collect();
        scene.report(&format!("{} rollouts taken over; requests that were no list or watch: {writes:?}", places.len()));
    }
    for (namespace, expected) in &places {
        let (before, phase) = match expected {
            Expected::Stays => continue,
            Expected::ComesToItsGate => (&before[namespace], "WaitingPromotion"),
            Expected::IsPromoted => (&before[namespace], "Succeeded"),
        };
        wait_for(&format!("{namespace} to come to {phase}"), Duration::from_secs(60), || async {
            let now = Seen::of(scene, namespace).await?;
            match expected {
                Expected::Stays | Expected::ComesToItsGate => now.goes_on_from(before)?,
                Expected::IsPromoted => now.goes_to_its_end_from(before)?,
            }
            ensure!(now.status.phase == phase, "it is {:?}", now.status);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// What becomes of a rollout that is taken over.
enum Expected {
    /// It is over, or waits for a person.
    Stays,
    /// It goes on until its gate before promotion.
    ComesToItsGate,
    /// It has no such gate, and stands at its last weight.
    IsPromoted,
}

impl Expected {
    fn of(case: &str, moment: &str) -> Self {
        match (case, moment) {
            (NGINX, PROGRESSING) => Self::IsPromoted,
            (_, PROGRESSING) => Self::ComesToItsGate,
            (_, _) => Self::Stays,
        }
    }
}

/// All that a takeover must not touch.
struct Seen {
    /// Labels, annotations, owners and content, by kind and name; pods by their identity.
    objects: BTreeMap<String, Value>,
    status: Observed,
}

impl Seen {
    async fn of(scene: &Scene, namespace: &str) -> Result<Self> {
        let (mut seen, mut status) = (BTreeMap::new(), None);
        for (api_version, kind) in KINDS {
            for object in objects::list(&scene.cluster.client, namespace, api_version, kind).await? {
                let meta = &object["metadata"];
                let name = meta["name"].as_str().context("an object has no name")?;
                if name == "kube-root-ca.crt" {
                    continue;
                }
                if kind == "Canary" {
                    status = Some(Observed::of(&object));
                }
                let content = if kind == "Pod" {
                    json!({"uid": meta["uid"], "deleted": meta["deletionTimestamp"]})
                } else {
                    json!({
                        "labels": meta["labels"], "annotations": meta["annotations"], "owners": meta["ownerReferences"],
                        "generation": meta["generation"], "spec": object["spec"], "data": object["data"],
                    })
                };
                seen.insert(format!("{kind} {name}"), content);
            }
        }
        Ok(Self { objects: seen, status: status.with_context(|| format!("no Canary in {namespace}"))? })
    }

    fn is(&self, before: &Self) -> Result<()> {
        let names: BTreeSet<_> = self.objects.keys().chain(before.objects.keys()).collect();
        for name in names {
            let (was, is) = (before.objects.get(name), self.objects.get(name));
            ensure!(was == is, "{name} changed: it was {was:?}, it is {is:?}");
        }
        let (was, is) = (&before.status, &self.status);
        // While Flagger waits for promotion its status says 0 although the route keeps the weight; Serin says what the
        // route says, and the route was compared above.
        let corrected = was.phase == "WaitingPromotion" && was.weight == 0;
        ensure!(
            was.phase == is.phase && (was.weight == is.weight || corrected),
            "the Canary was {was:?}, it is {is:?}"
        );
        Ok(())
    }

    /// A rollout under way may take its next step; it may not begin again, jump, or replace a pod.
    fn goes_on_from(&self, before: &Self) -> Result<()> {
        let (was, is) = (&before.status, &self.status);
        let phase = is.phase.as_str();
        ensure!(matches!(phase, "Progressing" | "WaitingPromotion"), "the Canary was {was:?}, it is {is:?}");
        ensure!(phase == "WaitingPromotion" || is.weight >= was.weight, "the Canary was {was:?}, it is {is:?}");
        for (name, was) in before.objects.iter().filter(|(name, _)| !name.starts_with("Canary")) {
            let is = self.objects.get(name).with_context(|| format!("{name} is gone"))?;
            let routes = name.starts_with("HTTPRoute") || name.starts_with("TraefikService");
            if !routes {
                ensure!(was == is, "{name} changed: it was {was}, it is {is}");
                continue;
            }
            let route = is["spec"].to_string();
            let known = [25, 50].iter().any(|weight| route.contains(&format!("\"weight\":{weight}")));
            let weighted = was["spec"].to_string().contains("\"weight\":25");
            ensure!(!weighted || known, "{name} has weights that no step has: {route}");
        }
        Ok(())
    }

    /// The same at its last step: the canary keeps its users until the primary serves the new version.
    fn goes_to_its_end_from(&self, before: &Self) -> Result<()> {
        let (was, is) = (&before.status, &self.status);
        let known = ["Progressing", "Promoting", "Finalising", "Succeeded"].contains(&is.phase.as_str());
        ensure!(known, "the Canary was {was:?}, it is {is:?}");
        for (name, was) in before.objects.iter().filter(|(name, _)| !name.starts_with("Canary")) {
            let is = self.objects.get(name);
            let rolls = name.starts_with("Pod") || name.starts_with("Deployment");
            if name == "Ingress podinfo-canary" && self.status.phase == "Succeeded" {
                let weight = is.map(|is| &is["annotations"]["nginx.ingress.kubernetes.io/canary-weight"]);
                ensure!(weight == Some(&json!("0")), "the canary's Ingress has weight {weight:?}");
            } else if self.status.phase == "Progressing" || !(rolls || name == "Ingress podinfo-canary") {
                ensure!(is == Some(was), "{name} changed: it was {was}, it is {is:?}");
            }
        }
        Ok(())
    }
}

fn fixtures() -> PathBuf {
    folder().join("../tests/fixtures/flagger-objects")
}

/// Makes the objects of one fixture in `namespace`: content, owners, status, and managed fields as Flagger and its users left them.
async fn restore(scene: &Scene, case: &str, moment: &str, namespace: &str) -> Result<()> {
    let file = fixtures().join(case).join(format!("{moment}.json"));
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let fixture: Value = serde_json::from_str(&text).with_context(|| format!("parsing {}", file.display()))?;
    let old = fixture["items"][0]["metadata"]["namespace"].as_str().context("the fixture's Canary has no namespace")?;
    // The namespace stands alone and, in what kubectl noted, inside a string.
    let text = text.replace(&format!("\"{old}\""), &format!("\"{namespace}\""));
    let text = text.replace(&format!("\\\"{old}\\\""), &format!("\\\"{namespace}\\\""));
    let fixture: Value = serde_json::from_str(&text).with_context(|| format!("parsing {}", file.display()))?;
    let canary = create(scene, namespace, &fixture["items"][0]).await?;
    let old_id = fixture["items"][0]["metadata"]["uid"].as_str().context("the fixture's Canary has no uid")?.to_owned();
    let new_id = canary.metadata.uid.context("the new Canary has no uid")?;
    let owned = fixture["items"].to_string().replace(&old_id, &new_id);
    let rest: Vec<Value> = serde_json::from_str(&owned).context("parsing the fixture with its new owner")?;
    for object in &rest[1..] {
        create(scene, namespace, object).await?;
    }
    let canaries = objects::api(&scene.client(), namespace, "flagger.app/v1beta1", "Canary");
    let status = json!({"status": fixture["items"][0]["status"]});
    canaries
        .patch_status("podinfo", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .context("setting the status")?;
    for object in &rest {
        let (api, name) = place(scene, namespace, object)?;
        let managers = json!({"metadata": {"managedFields": object["metadata"]["managedFields"]}});
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&managers))
            .await
            .context("setting the managed fields")?;
    }
    Ok(())
}

fn place(scene: &Scene, namespace: &str, object: &Value) -> Result<(Api<DynamicObject>, String)> {
    let text =
        |value: &Value| value.as_str().map(str::to_owned).context("the fixture has an object without kind or name");
    let api = objects::api(&scene.client(), namespace, &text(&object["apiVersion"])?, &text(&object["kind"])?);
    Ok((api, text(&object["metadata"]["name"])?))
}

async fn create(scene: &Scene, namespace: &str, object: &Value) -> Result<DynamicObject> {
    let mut fresh = object.clone();
    let whole = fresh.as_object_mut().context("the fixture has an object that is none")?;
    whole.remove("status");
    if let Some(meta) = whole.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            meta.remove(field);
        }
    }
    if let Some(spec) = whole.get_mut("spec").and_then(Value::as_object_mut) {
        for field in ["clusterIP", "clusterIPs"] {
            spec.remove(field);
        }
    }
    let (api, name) = place(scene, namespace, object)?;
    let fresh: DynamicObject = serde_json::from_value(fresh).with_context(|| format!("{name} is no object"))?;
    api.create(&PostParams::default(), &fresh).await.with_context(|| format!("creating {name}"))
}

async fn settled(scene: &Scene, namespace: &str) -> Result<()> {
    wait_for(&format!("the workloads in {namespace} to be available"), Duration::from_secs(60), || async {
        for deployment in objects::list(&scene.cluster.client, namespace, "apps/v1", "Deployment").await? {
            let (wanted, status) = (deployment["spec"]["replicas"].as_i64().unwrap_or(1), &deployment["status"]);
            let available = status["availableReplicas"].as_i64().unwrap_or(0);
            let observed = status["observedGeneration"] == deployment["metadata"]["generation"];
            ensure!(available == wanted && observed, "{} has {status}", deployment["metadata"]["name"]);
        }
        Ok(())
    })
    .await
}
