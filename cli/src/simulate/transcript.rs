//! What was seen while a scenario played: the states of the Canaries, what they told, and what was done to them.

use std::collections::BTreeMap;
use std::fmt;

use controller::rollout_view::{phase_word, read_status};
use crds::{CanaryStatus, Phase};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sim::Cluster;

use super::invariants::Invariants;

/// Lines in the order of time.
#[derive(Debug)]
pub struct Transcript {
    begin: Timestamp,
    version: u64,
    lines: Vec<Line>,
    states: BTreeMap<String, Shown>,
    /// Reasons of waits, by Canary.
    waits: BTreeMap<String, Vec<String>>,
    leader: String,
    changes: u64,
}

/// One thing that was seen.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Seconds since the beginning.
    pub seconds: f64,
    /// Whom it is about.
    pub subject: String,
    /// What kind of thing it is.
    pub seen: Seen,
}

/// What can be seen.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Seen {
    /// Another state of a Canary, in words.
    State(String),
    /// What a Canary told.
    Told(String),
    /// What it told as a warning.
    Warned(String),
    /// What a Canary begins to wait for: the reason, and in words.
    Waits(String),
    /// What somebody did.
    Done(String),
}

#[derive(Clone, Debug, PartialEq)]
struct Shown {
    phase: Phase,
    weight: i32,
    iterations: i32,
    failed_checks: i32,
    mirrored: bool,
}

impl Transcript {
    pub(crate) fn new(cluster: &Cluster, begin: Timestamp) -> Transcript {
        Transcript {
            begin,
            version: cluster.version(),
            lines: Vec::new(),
            states: BTreeMap::new(),
            waits: BTreeMap::new(),
            leader: String::new(),
            changes: 0,
        }
    }

    /// All that was seen.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// How often a Canary was seen in another state or telling something.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn note(&mut self, now: Timestamp, subject: &str, what: &str) {
        self.push(now, subject, Seen::Done(what.to_owned()));
    }

    /// Takes in what has changed in the cluster since the last time.
    pub(crate) fn catch_up(&mut self, cluster: &Cluster, invariants: &mut Invariants) {
        let now = cluster.now();
        let (since, version) = (self.version, cluster.version());
        self.version = version;
        let Ok(changes) = cluster.watch_from(since) else { return };
        for change in changes {
            invariants.look(now, &change);
            let object = &change.object;
            match object["kind"].as_str() {
                Some("Canary") => self.canary(now, object),
                Some("Event") => self.event(now, object),
                Some("Lease") => self.lease(now, object),
                Some(_) | None => {}
            }
        }
    }

    fn canary(&mut self, now: Timestamp, canary: &Value) {
        let name = canary["metadata"]["name"].as_str().unwrap_or_default();
        let status = read_status(canary, &mut Vec::new());
        self.state(now, name, &status);
        let reasons: Vec<String> = status.waiting_for.iter().map(|wait| wait.reason.clone()).collect();
        let before = self.waits.insert(name.to_owned(), reasons).unwrap_or_default();
        // Words alone change with every look; what is news is another reason.
        for wait in status.waiting_for.iter().filter(|wait| !before.contains(&wait.reason)) {
            self.push(now, name, Seen::Waits(format!("{}: {}", wait.reason, wait.message)));
        }
    }

    fn state(&mut self, now: Timestamp, name: &str, status: &CanaryStatus) {
        let shown = Shown {
            phase: status.phase,
            weight: status.canary_weight,
            iterations: status.iterations,
            failed_checks: status.failed_checks,
            mirrored: status.mirrored,
        };
        if self.states.get(name) == Some(&shown) {
            return;
        }
        let mut text = phase_word(shown.phase).to_owned();
        if shown.weight > 0 {
            text.push_str(&format!(", weight {}", shown.weight));
        }
        if shown.mirrored {
            text.push_str(", mirrored");
        }
        if shown.iterations > 0 {
            text.push_str(&format!(", iteration {}", shown.iterations));
        }
        if shown.failed_checks > 0 {
            text.push_str(&format!(", failed checks {}", shown.failed_checks));
        }
        self.states.insert(name.to_owned(), shown);
        self.changes += 1;
        self.push(now, name, Seen::State(text));
    }

    fn lease(&mut self, now: Timestamp, lease: &Value) {
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        if self.leader != holder {
            self.leader = holder.to_owned();
            let (subject, what) = if holder.is_empty() { ("serin", "nobody leads") } else { (holder, "leads") };
            self.push(now, subject, Seen::Done(what.to_owned()));
        }
    }

    fn event(&mut self, now: Timestamp, event: &Value) {
        // Of Canaries, and of workloads that ask for one.
        if event["source"]["component"] != "flagger" {
            return;
        }
        let name = event["involvedObject"]["name"].as_str().unwrap_or_default();
        let message = event["message"].as_str().unwrap_or_default().to_owned();
        let seen = if event["type"] == "Warning" { Seen::Warned(message) } else { Seen::Told(message) };
        self.changes += 1;
        self.push(now, name, seen);
    }

    fn push(&mut self, now: Timestamp, subject: &str, seen: Seen) {
        let seconds = now.duration_since(self.begin).as_secs_f64();
        self.lines.push(Line { seconds, subject: subject.to_owned(), seen });
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(formatter, "{line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.seconds * 10.0).floor();
        let (minutes, seconds) = ((tenths / 600.0).floor(), (tenths % 600.0) / 10.0);
        let (mark, text) = match &self.seen {
            Seen::State(text) => ("=", text),
            Seen::Told(text) => (" ", text),
            Seen::Warned(text) => ("!", text),
            Seen::Waits(text) => ("~", text),
            Seen::Done(text) => (">", text),
        };
        write!(formatter, "{minutes:>3.0}:{seconds:04.1}  {mark} {}: {text}", self.subject)
    }
}
