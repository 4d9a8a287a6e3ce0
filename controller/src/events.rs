//! Kubernetes Events on Canaries, as `kubectl describe` shows them. Writing them never holds a pass up.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::objects::kinds::EVENT;
use crate::rest::{PatchType, Rest};

/// Events that wait to be written; further ones are dropped.
const WAITING: usize = 1024;
/// A repeat within this time raises the count of the first instead of making another Event.
const REPEAT: Duration = Duration::from_secs(10 * 60);
/// Events per Canary at once, and the time after which there may be one more. Rollouts tell a story of dozens of
/// sentences; a limit of 25, as the Go client has it, loses its end.
const BURST: f64 = 100.0;
const REFILL: Duration = Duration::from_secs(30);
/// Distinct messages and Canaries remembered.
const REMEMBERED: usize = 4096;
/// The API refuses longer messages in newer Events.
const LONGEST: usize = 1024;

/// How good the news is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// As planned.
    Normal,
    /// Not as planned.
    Warning,
}

impl EventType {
    /// As written in an Event.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

/// Takes Events and writes them in the background. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Note>,
    metrics: Metrics,
}

struct Note {
    regarding: Regarding,
    event_type: EventType,
    message: String,
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Regarding {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    resource_version: String,
}

impl Recorder {
    /// Starts writing. The task ends when the last clone of the recorder is dropped and all that waits is written.
    pub fn start(rest: Rest, metrics: Metrics, clock: Clock) -> (Recorder, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let task = tokio::spawn(write_all(rest, metrics.clone(), clock, receiver));
        (Recorder { sender, metrics }, task)
    }

    /// Tells of the Canary, or of another object that names its kind; returns at once. The Event is dropped, and counted as dropped, when too many wait.
    pub fn publish(
        &self,
        object: &Value,
        event_type: EventType,
        message: impl Into<String>,
        annotations: BTreeMap<String, String>,
    ) {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let regarding = Regarding {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            uid: text("/metadata/uid"),
            resource_version: text("/metadata/resourceVersion"),
        };
        if self.sender.try_send(Note { regarding, event_type, message: shorten(message.into()), annotations }).is_err()
        {
            self.metrics.event_dropped();
        }
    }
}

async fn write_all(rest: Rest, metrics: Metrics, clock: Clock, mut notes: mpsc::Receiver<Note>) {
    let mut memory = Memory::default();
    while let Some(note) = notes.recv().await {
        let wall = clock.now();
        let result = match memory.decide(&note, Instant::now(), wall) {
            Decision::Drop => {
                metrics.event_dropped();
                continue;
            }
            Decision::Create { name } => {
                let event = event(&note, &name, wall);
                rest.create(EVENT, &note.regarding.namespace, &event).await
            }
            Decision::Repeat { name, count } => {
                let repeat =
                    json!({ "count": count, "lastTimestamp": wall.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() });
                rest.patch(EVENT, &note.regarding.namespace, &name, None, PatchType::Merge, &repeat).await
            }
        };
        if let Err(problem) = result {
            metrics.event_dropped();
            memory.forget(&note);
            tracing::debug!(canary = %format_args!("{}.{}", note.regarding.name, note.regarding.namespace), "{problem}");
        }
    }
}

fn event(note: &Note, name: &str, now: Timestamp) -> Value {
    let Note { regarding, event_type, message, annotations } = note;
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut metadata = json!({ "name": name, "namespace": regarding.namespace });
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": metadata,
        "involvedObject": {
            "apiVersion": regarding.api_version,
            "kind": regarding.kind,
            "namespace": regarding.namespace,
            "name": regarding.name,
            "uid": regarding.uid,
            "resourceVersion": regarding.resource_version,
        },
        "reason": "Synced",
        "message": message,
        "type": event_type.as_str(),
        "source": { "component": "flagger" },
        "reportingComponent": "flagger",
        "reportingInstance": "",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}

fn shorten(mut message: String) -> String {
    if message.len() > LONGEST {
        let mut end = LONGEST - '…'.len_utf8();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Create { name: String },
    Repeat { name: String, count: u64 },
    Drop,
}

/// What was told of late.
#[derive(Default)]
struct Memory {
    told: HashMap<(String, EventType, String), Told>,
    order: VecDeque<(String, EventType, String)>,
    buckets: HashMap<String, (f64, Instant)>,
    last_nanosecond: i128,
}

struct Told {
    name: String,
    count: u64,
    first: Instant,
}

impl Memory {
    fn decide(&mut self, note: &Note, now: Instant, wall: Timestamp) -> Decision {
        if !self.spend(&note.regarding.uid, now) {
            return Decision::Drop;
        }
        let key = key(note);
        if let Some(told) = self.told.get_mut(&key)
            && now.duration_since(told.first) < REPEAT
        {
            told.count += 1;
            return Decision::Repeat { name: told.name.clone(), count: told.count };
        }
        // Unique as in the Go client: the name of the object and the time. Never the same time twice.
        self.last_nanosecond = wall.as_nanosecond().max(self.last_nanosecond + 1);
        let name = format!("{}.{:x}", note.regarding.name, self.last_nanosecond);
        if self.told.insert(key.clone(), Told { name: name.clone(), count: 1, first: now }).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.told.remove(&oldest);
            }
        }
        Decision::Create { name }
    }

    /// After a failed write: a repeat must not patch an Event that does not exist.
    fn forget(&mut self, note: &Note) {
        let key = key(note);
        if self.told.remove(&key).is_some() {
            self.order.retain(|known| *known != key);
        }
    }

    fn spend(&mut self, uid: &str, now: Instant) -> bool {
        if self.buckets.len() > REMEMBERED {
            self.buckets.retain(|_, (_, refilled)| now.duration_since(*refilled) < REFILL * 100);
        }
        let (tokens, refilled) = self.buckets.entry(uid.to_owned()).or_insert((BURST, now));
        let earned = now.duration_since(*refilled).as_secs_f64() / REFILL.as_secs_f64();
        *tokens = (*tokens + earned).min(BURST);
        *refilled = now;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}

fn key(note: &Note) -> (String, EventType, String) {
    (note.regarding.uid.clone(), note.event_type, note.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(message: &str) -> Note {
        let regarding = Regarding {
            api_version: "flagger.app/v1beta1".into(),
            kind: "Canary".into(),
            namespace: "shop".into(),
            name: "podinfo".into(),
            uid: "u1".into(),
            resource_version: "7".into(),
        };
        Note { regarding, event_type: EventType::Normal, message: message.into(), annotations: BTreeMap::new() }
    }

    fn wall() -> Timestamp {
        "2026-03-01T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_event_is_what_the_go_client_would_have_written() {
        let event = event(&note("Advance podinfo.shop canary weight 10"), "podinfo.1", wall());
        insta::assert_json_snapshot!(event, @r#"
        {
          "apiVersion": "v1",
          "count": 1,
          "firstTimestamp": "2026-03-01T10:00:00Z",
          "involvedObject": {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "name": "podinfo",
            "namespace": "shop",
            "resourceVersion": "7",
            "uid": "u1"
          },
          "kind": "Event",
          "lastTimestamp": "2026-03-01T10:00:00Z",
          "message": "Advance podinfo.shop canary weight 10",
          "metadata": {
            "name": "podinfo.1",
            "namespace": "shop"
          },
          "reason": "Synced",
          "reportingComponent": "flagger",
          "reportingInstance": "",
          "source": {
            "component": "flagger"
          },
          "type": "Normal"
        }
        "#);
    }

    #[test]
    fn repeats_raise_the_count_for_ten_minutes() {
        let mut memory = Memory::default();
        let now = Instant::now();
        let Decision::Create { name } = memory.decide(&note("a"), now, wall()) else { panic!("not created") };
        assert_eq!(memory.decide(&note("a"), now + REPEAT / 2, wall()), Decision::Repeat { name, count: 2 });
        assert!(matches!(memory.decide(&note("b"), now, wall()), Decision::Create { .. }));
        assert!(matches!(memory.decide(&note("a"), now + REPEAT, wall()), Decision::Create { .. }));
    }

    #[test]
    fn names_are_unique_even_at_the_same_instant() {
        let mut memory = Memory::default();
        let now = Instant::now();
        assert_ne!(memory.decide(&note("a"), now, wall()), memory.decide(&note("b"), now, wall()));
    }

    #[test]
    fn a_story_of_a_hundred_sentences_is_told_whole() {
        let mut memory = Memory::default();
        let now = Instant::now();
        for number in 0..100 {
            assert_ne!(memory.decide(&note(&number.to_string()), now, wall()), Decision::Drop);
        }
        assert_eq!(memory.decide(&note("one too many"), now, wall()), Decision::Drop);
        assert_ne!(memory.decide(&note("later"), now + REFILL, wall()), Decision::Drop);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let cut = shorten("ä".repeat(1000));
        assert!(cut.len() <= LONGEST && cut.ends_with('…'));
    }
}
