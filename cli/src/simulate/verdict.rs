//! Whether a scenario ended as it should.

use controller::rollout_view::{phase_word, read_status};
use crds::{CanaryStatus, Phase};
use serde::Serialize;
use serde_json::Value;
use sim::world::World;
use sim::{Cluster, Kind};

use super::CANARY;
use super::scenario::{Scenario, ScenarioError};
use super::transcript::{Seen, Transcript};

/// How it ended.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What is not as it should be; empty when all is.
    pub objections: Vec<String>,
    /// Requests that users sent.
    pub requests: u64,
    /// Requests that failed.
    pub failed_requests: u64,
}

impl Verdict {
    /// True when all is as it should be.
    pub fn is_met(&self) -> bool {
        self.objections.is_empty()
    }
}

/// True when every Canary is where it can stay.
pub(crate) fn at_rest(cluster: &Cluster) -> bool {
    cluster.list(CANARY, "").iter().all(|canary| {
        let status = read_status(canary, &mut Vec::new());
        match status.phase {
            // What is owed is still to be done: a canary that drains has its pods.
            Phase::Initialized | Phase::Succeeded | Phase::Failed => status.owed.is_empty(),
            Phase::New
            | Phase::Initializing
            | Phase::Waiting
            | Phase::Progressing
            | Phase::WaitingPromotion
            | Phase::Promoting
            | Phase::Finalising
            | Phase::Terminating
            | Phase::Terminated => is_refused(&status),
        }
    })
}

pub(crate) fn judge(
    scenario: &Scenario,
    cluster: &Cluster,
    world: &World,
    transcript: &Transcript,
    broken: Vec<String>,
    in_time: bool,
) -> Result<Verdict, ScenarioError> {
    let mut objections = broken;
    let canaries = cluster.list(CANARY, "");
    if !in_time {
        let waits = canaries.iter().map(|canary| waits(canary)).collect::<Vec<_>>().join("; ");
        objections.push(format!("it did not end within {} s: {waits}", scenario.within.as_secs()));
    }
    let expect = &scenario.expect;
    for (name, phase) in &expect.phases {
        match canaries.iter().find(|canary| canary["metadata"]["name"] == name.as_str()) {
            None => objections.push(format!("there is no Canary {name}")),
            Some(canary) => {
                let status = read_status(canary, &mut Vec::new());
                if status.phase != *phase {
                    objections.push(format!("{}, it should be {}", waits(canary), phase_word(*phase)));
                }
            }
        }
    }
    if expect.phases.is_empty() && !expect.may_fail {
        for canary in &canaries {
            let status = read_status(canary, &mut Vec::new());
            if status.phase == Phase::Failed || is_refused(&status) {
                objections.push(waits(canary));
            }
        }
    }
    for (name, image) in &expect.serving {
        let serving = serving(cluster, &scenario.namespace, name);
        if serving.as_deref() != Some(image) {
            let serving = serving.unwrap_or_else(|| "nothing".into());
            objections.push(format!("{name} serves {serving}, it should serve {image}"));
        }
    }
    let mut told = transcript.lines().iter().filter_map(|line| match &line.seen {
        Seen::Told(text) | Seen::Warned(text) => Some(text),
        Seen::State(_) | Seen::Waits(_) | Seen::Done(_) => None,
    });
    for wanted in &expect.events {
        if !told.any(|text| text.contains(wanted.as_str())) {
            objections.push(format!("no event told {wanted:?}, at least not in its turn"));
            break;
        }
    }
    let mut waits = transcript.lines().iter().filter_map(|line| match &line.seen {
        Seen::Waits(text) => Some(text),
        Seen::State(_) | Seen::Told(_) | Seen::Warned(_) | Seen::Done(_) => None,
    });
    for wanted in &expect.waits {
        if !waits.any(|text| text.contains(wanted.as_str())) {
            objections.push(format!("nobody waited for {wanted:?}, at least not in its turn"));
            break;
        }
    }
    let total = world.total();
    let failed_requests = total.failures.values().sum();
    if let Some(most) = expect.failed_requests
        && failed_requests > most
    {
        objections.push(format!("{failed_requests} requests failed, {most} may"));
    }
    for object in &expect.absent {
        let (kind, name) = super::happenings::named(object)?;
        if cluster.get(kind, &scenario.namespace, name).is_some() {
            objections.push(format!("{object} is still there"));
        }
    }
    Ok(Verdict { objections, requests: total.requests, failed_requests })
}

/// True for a Canary that means nothing.
fn is_refused(status: &CanaryStatus) -> bool {
    status.waiting_for.iter().any(|wait| wait.reason == "InvalidSpec")
}

/// Where a Canary is, and what it waits for.
fn waits(canary: &Value) -> String {
    let name = canary["metadata"]["name"].as_str().unwrap_or_default();
    let status = read_status(canary, &mut Vec::new());
    let reasons: Vec<String> = status.waiting_for.iter().map(|wait| wait.message.clone()).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
    format!("{name} is {}{reasons}", phase_word(status.phase))
}

/// The image of the first container of the Canary's primary.
fn serving(cluster: &Cluster, namespace: &str, name: &str) -> Option<String> {
    let canary = cluster.get(CANARY, namespace, name)?;
    let target = canary["spec"]["targetRef"]["name"].as_str()?;
    let kind = canary["spec"]["targetRef"]["kind"].as_str()?;
    let primary = cluster.get(Kind { group: "apps", kind }, namespace, &format!("{target}-primary"))?;
    primary["spec"]["template"]["spec"]["containers"][0]["image"].as_str().map(str::to_owned)
}
