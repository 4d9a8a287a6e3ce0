//! Says in plain sentences what happens to the Canary, as it happens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use controller::rollout_view::read_status;
use crds::{CanaryStatus, Phase};
use serde_json::Value;
use sim::world::Tick;
use sim::world::routing::version_of;
use sim::{Cluster, Kind};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep};

use super::repository::Delivery;
use super::{NAME, NAMESPACE};
use crate::paint::{Paint, Tone, write_out};
use crate::simulate::CANARY;
use crate::simulate::surroundings::Around;
use crate::text::bar;

const DEPLOYMENT: Kind<'static> = Kind { group: "apps", kind: "Deployment" };

/// As long as the reasons of a state come after it, at most.
const REASONS: Duration = Duration::from_millis(500);

/// Follows the cluster and tells.
pub(super) struct Narrator {
    cluster: Cluster,
    around: Around,
    deliveries: UnboundedReceiver<Delivery>,
    paint: Paint,
    begin: Instant,
    /// Up to which version of the cluster things are seen.
    version: u64,
    /// Seen and not told yet.
    unread: VecDeque<Arc<Value>>,
    shown: Option<Shown>,
    /// What had flowed when a weight was told last.
    flowed: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    phase: Phase,
    weight: i32,
    failed_checks: i32,
}

impl Narrator {
    pub(super) fn new(
        cluster: Cluster,
        around: Around,
        deliveries: UnboundedReceiver<Delivery>,
        paint: Paint,
    ) -> Narrator {
        Narrator {
            version: cluster.version(),
            cluster,
            around,
            deliveries,
            paint,
            begin: Instant::now(),
            unread: VecDeque::new(),
            shown: None,
            flowed: Tick::default(),
        }
    }

    /// Tells until the Canary comes into one of these phases; which one.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub(super) async fn until(&mut self, phases: &[Phase]) -> std::io::Result<Phase> {
        let mut changed = self.cluster.changed();
        loop {
            changed.mark_unchanged();
            self.look();
            while let Some(object) = self.unread.pop_front() {
                if is_failed(&object) && self.shown.is_some_and(|shown| shown.phase != Phase::Failed) {
                    self.hear_reasons().await?;
                }
                if let Some(phase) = self.tell(&object)?
                    && phases.contains(&phase)
                {
                    return Ok(phase);
                }
            }
            tokio::select! {
                () = changed.changed() => {}
                Some(delivery) = self.deliveries.recv() => match delivery {
                    Delivery::Applied(commit) => {
                        self.say(Tone::Faint, &format!("GitOps: commit {commit} is applied to the cluster."))?;
                    }
                    Delivery::Refused(why) => self.say(Tone::Bad, &format!("GitOps: {why}"))?,
                },
            }
        }
    }

    /// A sentence, with the seconds since the beginning.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub(super) fn say(&self, tone: Tone, sentence: &str) -> std::io::Result<()> {
        let seconds = format!("{:>5.1}s  ", self.begin.elapsed().as_secs_f64());
        write_out(&format!("{}{}\n", self.paint.put(Tone::Faint, &seconds), self.paint.put(tone, sentence)))
    }

    /// Text as it is.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub(super) fn print(&self, text: &str) -> std::io::Result<()> {
        write_out(text)
    }

    pub(super) fn paint(&self) -> Paint {
        self.paint
    }

    pub(super) fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// All that has flowed since users came.
    pub(super) fn flowed(&self) -> Tick {
        self.around.world().total().clone()
    }

    /// The tag that serves everybody.
    pub(super) fn serving(&self) -> String {
        self.tag_of(&format!("{NAME}-primary"))
    }

    /// Where the Canary is and what it waits for, for the case that it goes on no more.
    pub(super) fn whereabouts(&self) -> String {
        let Some(canary) = self.cluster.get(CANARY, NAMESPACE, NAME) else { return "there is no Canary".to_owned() };
        let status = read_status(&canary, &mut Vec::new());
        let reasons: Vec<String> = status.waiting_for.into_iter().map(|wait| wait.message).collect();
        format!("it is {} and waits for: {}", status.phase.as_str(), reasons.join("; "))
    }

    /// The controller writes the state first and its reasons then; who listens wants them the other way round.
    async fn hear_reasons(&mut self) -> std::io::Result<()> {
        sleep(REASONS).await;
        self.look();
        let (reasons, others) = self.unread.drain(..).partition(|object| object["kind"] == "Event");
        self.unread = others;
        let reasons: VecDeque<Arc<Value>> = reasons;
        reasons.iter().try_for_each(|reason| self.tell(reason).map(drop))
    }

    fn look(&mut self) {
        let (since, version) = (self.version, self.cluster.version());
        self.version = version;
        // What is forgotten before it was seen is not told; the next state is.
        let changes = self.cluster.watch_from(since).unwrap_or_default();
        self.unread.extend(changes.into_iter().map(|change| change.object));
    }

    /// Tells of an object that has changed; its phase, if it is the Canary.
    fn tell(&mut self, object: &Value) -> std::io::Result<Option<Phase>> {
        let about = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
        match about("/kind") {
            "Canary" if about("/metadata/name") == NAME => {
                let status = read_status(object, &mut Vec::new());
                self.state(&status)?;
                Ok(Some(status.phase))
            }
            // Of one commit, the Canary may be seen a moment before its workload: nothing that anybody should mend.
            "Event" if self.shown.is_none() => Ok(None),
            "Event" if about("/involvedObject/kind") == "Canary" && about("/type") == "Warning" => {
                self.say(Tone::Held, &format!("Serin warns: {}.", about("/message").trim_end_matches('.')))?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn state(&mut self, status: &CanaryStatus) -> std::io::Result<()> {
        let now = Shown { phase: status.phase, weight: status.canary_weight, failed_checks: status.failed_checks };
        let before = self.shown.replace(now);
        let (new, stable) = (self.tag_of(NAME), self.serving());
        if before.map(|before| before.phase) != Some(now.phase) {
            let Some((tone, sentence)) = of_phase(now.phase, &new, &stable) else { return Ok(()) };
            self.say(tone, &sentence)?;
        }
        if now.phase == Phase::Progressing {
            let earlier = before.map_or(0, |before| before.weight);
            if now.weight != earlier {
                let lately = self.lately(&new);
                let seen = if earlier > 0 { format!("; before that, {lately}") } else { String::new() };
                let bar = self.paint.put(Tone::Busy, &bar(now.weight.into()));
                self.say(Tone::Plain, &format!("{bar} for {new}{seen}"))?;
            }
        }
        Ok(())
    }

    /// What has flowed to that version since this was asked last.
    fn lately(&mut self, tag: &str) -> String {
        let now = self.flowed();
        let count =
            |tick: &Tick| tick.by_version.get(tag).map_or((0, 0), |answers| (answers.count(), answers.errors()));
        let ((before, errors_before), (after, errors_after)) = (count(&self.flowed), count(&now));
        let all = now.requests.saturating_sub(self.flowed.requests);
        self.flowed = now;
        let met = after.saturating_sub(before);
        format!("{met} of {all} requests met it and {} failed", errors_after.saturating_sub(errors_before))
    }

    fn tag_of(&self, workload: &str) -> String {
        let workload = self.cluster.get(DEPLOYMENT, NAMESPACE, workload);
        let image = workload.as_ref().and_then(|found| found.pointer("/spec/template/spec/containers/0/image"));
        version_of(image.and_then(Value::as_str).unwrap_or_default()).to_owned()
    }
}

/// What it means that the Canary has come into this phase; some say nothing.
pub(super) fn of_phase(phase: Phase, new: &str, stable: &str) -> Option<(Tone, String)> {
    Some(match phase {
        Phase::New | Phase::Terminating | Phase::Terminated => return None,
        Phase::Initializing => {
            (Tone::Busy, format!("Serin copies {NAME} to {NAME}-primary, which is to serve the users."))
        }
        Phase::Initialized => (
            Tone::Good,
            format!("{NAME}-primary serves all requests with {stable}; {NAME} waits for a release without a pod."),
        ),
        Phase::Waiting => (Tone::Held, "The release waits at a gate.".to_owned()),
        Phase::Progressing => (Tone::Busy, format!("Serin sees {new} and starts it as the canary, beside {stable}.")),
        Phase::WaitingPromotion => (Tone::Held, "The analysis is done; promotion waits at a gate.".to_owned()),
        Phase::Promoting => (Tone::Busy, format!("Every check has passed: {NAME}-primary takes {new}, pod by pod.")),
        Phase::Finalising => (
            Tone::Busy,
            format!("{NAME}-primary runs {stable} and gets all requests back; then the canary's pods end."),
        ),
        Phase::Succeeded => (Tone::Good, format!("✔ Promoted: {stable} serves everybody.")),
        Phase::Failed => (Tone::Bad, format!("✖ Rolled back: {new} is gone, {stable} serves everybody.")),
    })
}

fn is_failed(object: &Value) -> bool {
    object["kind"] == "Canary" && read_status(object, &mut Vec::new()).phase == Phase::Failed
}
