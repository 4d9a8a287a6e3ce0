//! One container in a pod: pulled, started, ready, crashed, started again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::controllers::{behaviour::Life, object::stamp};

/// Waits after failures: the first, doubled each time, up to the last.
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);
const LAST_BACK_OFF: Duration = Duration::from_secs(300);
/// A run after which a crash counts as the first one again.
const LONG_RUN: Duration = Duration::from_secs(600);
/// How long a failed pull shows as an error before it shows as waiting for the next try.
const ERROR_SHOWN: Duration = Duration::from_secs(1);

/// Where a container stands.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Pulling { since: Timestamp },
    PullFailed { at: Timestamp, tries: u32 },
    Running { since: Timestamp },
    Crashed { since: Timestamp, at: Timestamp, again: Option<Timestamp> },
}

/// One container.
#[derive(Debug)]
pub(super) struct Container {
    name: String,
    pub(super) image: String,
    id: String,
    phase: Phase,
    restarts: u32,
    /// Crashes in a row, without a long run between them.
    crashes: u32,
    last: Option<Value>,
}

/// What people are told of a container.
#[derive(Debug, PartialEq)]
pub(super) struct News {
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// What a pod does with containers that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    Never,
}

impl Container {
    pub(super) fn new(spec: &Value, pod: &str, now: Timestamp) -> Container {
        let text = |field: &str| spec[field].as_str().unwrap_or("").to_owned();
        Container {
            name: text("name"),
            image: text("image"),
            id: format!("sim://{pod}/{}", text("name")),
            phase: Phase::Pulling { since: now },
            restarts: 0,
            crashes: 0,
            last: None,
        }
    }

    /// Goes on as far as it comes until `now`; gives back when it goes on next.
    pub(super) fn advance(
        &mut self,
        life: &Life,
        restart: Restart,
        pod: &str,
        now: Timestamp,
        news: &mut Vec<News>,
    ) -> Option<Timestamp> {
        loop {
            let next = self.next(life);
            let Some(at) = next.filter(|at| *at <= now) else {
                return next;
            };
            self.step(at, life, restart, pod, news);
        }
    }

    /// When it changes next.
    fn next(&self, life: &Life) -> Option<Timestamp> {
        match &self.phase {
            Phase::Pulling { since } => Some(life.pull.map_or(*since, |pull| later(*since, pull))),
            Phase::PullFailed { at, tries } => Some(later(*at, back_off(*tries))),
            Phase::Running { since } => life.crash_after.map(|after| later(*since, after)),
            Phase::Crashed { again, .. } => *again,
        }
    }

    fn step(&mut self, at: Timestamp, life: &Life, restart: Restart, pod: &str, news: &mut Vec<News>) {
        let mut tell = |warning, reason, message| news.push(News { warning, reason, message });
        self.phase = match &self.phase {
            Phase::Pulling { .. } | Phase::PullFailed { .. } if life.pull.is_none() => {
                let tries = match &self.phase {
                    Phase::PullFailed { tries, .. } => tries + 1,
                    Phase::Pulling { .. } | Phase::Running { .. } | Phase::Crashed { .. } => 0,
                };
                tell(true, "Failed", format!("Failed to pull image {:?}: not found", self.image));
                tell(true, "Failed", "Error: ErrImagePull".to_owned());
                tell(false, "BackOff", format!("Back-off pulling image {:?}", self.image));
                Phase::PullFailed { at, tries }
            }
            Phase::Pulling { since } => {
                let took = at.duration_since(*since);
                let message = if took.is_zero() {
                    format!(
                        "Container image {:?} already present on machine and can be accessed by the pod",
                        self.image
                    )
                } else {
                    format!("Successfully pulled image {:?} in {}s", self.image, took.as_secs())
                };
                tell(false, "Pulled", message);
                Container::start(at, &mut tell)
            }
            Phase::PullFailed { .. } => Phase::Pulling { since: at },
            Phase::Running { since } => {
                self.last = Some(ended(&self.id, *since, at));
                if later(*since, LONG_RUN) <= at {
                    self.crashes = 0;
                }
                self.crashes += 1;
                match (restart, self.crashes) {
                    (Restart::Never, _) => Phase::Crashed { since: *since, at, again: None },
                    // The first time it is started again at once.
                    (Restart::Always, 1) => {
                        self.restarts += 1;
                        Container::start(at, &mut tell)
                    }
                    (Restart::Always, crashes) => {
                        let message = format!("Back-off restarting failed container {} in pod {pod}", self.name);
                        tell(true, "BackOff", message);
                        let again = Some(later(at, back_off(crashes - 2)));
                        Phase::Crashed { since: *since, at, again }
                    }
                }
            }
            Phase::Crashed { .. } => {
                self.restarts += 1;
                Container::start(at, &mut tell)
            }
        };
    }

    fn start(at: Timestamp, tell: &mut impl FnMut(bool, &'static str, String)) -> Phase {
        tell(false, "Created", "Container created".to_owned());
        tell(false, "Started", "Container started".to_owned());
        Phase::Running { since: at }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// Whether it has ended for good.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Crashed { again: None, .. })
    }

    /// When it is or was ready; none: not in this run.
    pub(super) fn ready_at(&self, life: &Life) -> Option<Timestamp> {
        match &self.phase {
            Phase::Running { since } => life.ready_after.map(|after| later(*since, after)),
            Phase::Pulling { .. } | Phase::PullFailed { .. } | Phase::Crashed { .. } => None,
        }
    }

    /// Whether it is waiting for the next try to pull and shows so from when on.
    pub(super) fn error_shown_until(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::PullFailed { at, .. } => Some(later(*at, ERROR_SHOWN)),
            Phase::Pulling { .. } | Phase::Running { .. } | Phase::Crashed { .. } => None,
        }
    }

    /// The container's status as the pod shows it.
    pub(super) fn status(&self, ready: bool, pod: &str, now: Timestamp) -> Value {
        let waiting = |reason: &str, message: String| json!({"waiting": {"reason": reason, "message": message}});
        let state = match &self.phase {
            Phase::Pulling { .. } => json!({"waiting": {"reason": "ContainerCreating"}}),
            Phase::PullFailed { at, .. } if later(*at, ERROR_SHOWN) > now => {
                waiting("ErrImagePull", format!("failed to pull image {:?}: not found", self.image))
            }
            Phase::PullFailed { .. } => waiting("ImagePullBackOff", format!("Back-off pulling image {:?}", self.image)),
            Phase::Running { since } => json!({"running": {"startedAt": stamp(*since)}}),
            Phase::Crashed { since, at, again: None } => ended(&self.id, *since, *at),
            Phase::Crashed { at, again: Some(again), .. } => {
                let pause = pause(again.duration_since(*at));
                waiting(
                    "CrashLoopBackOff",
                    format!("back-off {pause} restarting failed container={} pod={pod}", self.name),
                )
            }
        };
        let mut status = json!({
            "name": self.name, "image": self.image, "imageID": "", "ready": ready, "started": self.is_running(),
            "restartCount": self.restarts, "state": state, "lastState": {},
        });
        if !matches!(self.phase, Phase::Pulling { .. } | Phase::PullFailed { .. }) {
            status["containerID"] = self.id.clone().into();
            status["imageID"] = self.image.clone().into();
        }
        if let Some(last) = self.last.as_ref().filter(|_| !self.has_ended()) {
            status["lastState"] = last.clone();
        }
        status
    }
}

/// `from` and so much longer.
pub(super) fn later(from: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| from.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

fn back_off(failures_before: u32) -> Duration {
    FIRST_BACK_OFF.saturating_mul(2_u32.saturating_pow(failures_before)).min(LAST_BACK_OFF)
}

/// As Go prints it: 10s, 1m20s, 5m0s.
fn pause(time: SignedDuration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

fn ended(id: &str, since: Timestamp, at: Timestamp) -> Value {
    json!({"terminated": {
        "exitCode": 1, "reason": "Error", "containerID": id, "startedAt": stamp(since), "finishedAt": stamp(at),
    }})
}
