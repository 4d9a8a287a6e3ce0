//! What is known of a Canary from before this process began to record: the Events that the controllers wrote. They are asked
//! for when somebody looks, and the cluster keeps them for an hour or so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::cache::CanaryKey;
use crate::objects::kinds::EVENT;
use crate::problem::ApiProblem;
use crate::rest::{Rest, Select};

use super::story::LineKind;

/// However many look, the API server is asked for the Events of a Canary once in this time.
const FRESH: Duration = Duration::from_secs(2);
/// Events read of one Canary; the recorder's own limit keeps them well below, in the hour that they last.
const READ: usize = 500;
/// Canaries whose Events are remembered.
const REMEMBERED: usize = 16;
/// Who has written them: this program and the one that it takes over from.
const TELLER: &str = "flagger";

/// The Events asked for of late.
#[derive(Default)]
pub(super) struct Recall {
    seen: Mutex<HashMap<CanaryKey, (Instant, Arc<Recalled>)>>,
}

/// What Events tell of a Canary, oldest first.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Recalled {
    /// As lines of the log.
    pub(super) log: Vec<RecalledLine>,
    /// Weights of the last rollout: when, in milliseconds, and percent.
    pub(super) weights: Vec<(i64, u8)>,
}

/// An Event.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct RecalledLine {
    /// The last time that it was told; in milliseconds.
    at: i64,
    kind: LineKind,
    message: String,
    /// How often.
    count: u64,
}

impl Recall {
    /// What Events tell of this Canary.
    pub(super) async fn of(&self, key: &CanaryKey, rest: &Rest) -> Result<Arc<Recalled>, ApiProblem> {
        // Held while asking, so that those who come meanwhile get the same answer.
        let mut seen = self.seen.lock().await;
        seen.retain(|_, (at, _)| at.elapsed() < FRESH);
        if let Some((_, recalled)) = seen.get(key) {
            return Ok(recalled.clone());
        }
        let about = format!("involvedObject.kind=Canary,involvedObject.name={}", key.name);
        let events = rest.list(EVENT, &key.namespace, Select::Fields(&about), READ).await?;
        let recalled = Arc::new(Recalled::of(&events, key));
        if seen.len() < REMEMBERED {
            seen.insert(key.clone(), (Instant::now(), recalled.clone()));
        }
        Ok(recalled)
    }
}

impl Recalled {
    fn of(events: &[Value], key: &CanaryKey) -> Recalled {
        let mut log: Vec<RecalledLine> = events.iter().filter_map(|event| line(event, key)).collect();
        log.sort_by_key(|line| line.at);
        let weights = weights(&log, key);
        Recalled { log, weights }
    }
}

fn line(event: &Value, key: &CanaryKey) -> Option<RecalledLine> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let told = text("/source/component") == Some(TELLER) || text("/reportingComponent") == Some(TELLER);
    let about = (text("/involvedObject/kind"), text("/involvedObject/name")) == (Some("Canary"), Some(&*key.name));
    if !told || !about {
        return None;
    }
    let times = ["/lastTimestamp", "/eventTime", "/firstTimestamp", "/metadata/creationTimestamp"];
    let at: Timestamp = times.into_iter().find_map(text)?.parse().ok()?;
    let kind = if text("/type") == Some("Warning") { LineKind::Warning } else { LineKind::Normal };
    let count = event["count"].as_u64().unwrap_or(1);
    Some(RecalledLine { at: at.as_millisecond(), kind, message: text("/message")?.to_owned(), count })
}

/// What "Advance … canary weight …" says since the last revision was detected.
fn weights(log: &[RecalledLine], key: &CanaryKey) -> Vec<(i64, u8)> {
    let Some(begin) = log.iter().rposition(|line| line.message.starts_with("New revision detected!")) else {
        return Vec::new();
    };
    let advance = format!("Advance {key} canary weight ");
    let step = |line: &RecalledLine| {
        let weight = line.message.strip_prefix(&advance)?.parse().ok().filter(|weight| *weight <= 100)?;
        Some((line.at, weight))
    };
    std::iter::once((log[begin].at, 0)).chain(log[begin..].iter().filter_map(step)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(second: u32, message: &str, count: u64) -> Value {
        json!({
            "involvedObject": {"kind": "Canary", "name": "web"}, "source": {"component": "flagger"},
            "type": if message.starts_with("Halt") { "Warning" } else { "Normal" }, "message": message, "count": count,
            "firstTimestamp": "2026-03-01T09:00:00Z", "lastTimestamp": format!("2026-03-01T10:00:{second:02}Z"),
        })
    }

    #[test]
    fn events_become_the_log_and_the_weights_of_the_last_rollout() {
        let mut other = event(3, "Advance web.shop canary weight 99", 1);
        other["involvedObject"]["name"] = "web-2".into();
        let mut stranger = event(3, "Advance web.shop canary weight 98", 1);
        stranger["source"]["component"] = "somebody".into();
        let events = [
            event(40, "Halt web.shop advancement success rate 83% < 99%", 1),
            event(30, "Advance web.shop canary weight 25", 1),
            event(20, "Advance web.shop canary weight 10", 2),
            event(5, "Advance web.shop canary weight 50", 1),
            event(10, "New revision detected! Scaling up web.shop", 2),
            event(31, "Advance web.shop canary weight 300", 1),
            json!({"involvedObject": {"kind": "Canary", "name": "web"}, "source": {"component": "flagger"}, "message": 7}),
            other,
            stranger,
        ];
        let recalled = Recalled::of(&events, &CanaryKey::new("shop", "web"));
        let start = "2026-03-01T10:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
        let seconds: Vec<(i64, u8)> =
            recalled.weights.iter().map(|(at, weight)| ((at - start) / 1000, *weight)).collect();
        assert_eq!(seconds, [(10, 0), (20, 10), (30, 25)]);
        let messages: Vec<&str> = recalled.log.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(messages.len(), 6, "{messages:?}");
        assert_eq!(
            (messages[0], messages[5]),
            ("Advance web.shop canary weight 50", events[0]["message"].as_str().unwrap())
        );
        assert_eq!((recalled.log[5].kind, recalled.log[1].count), (LineKind::Warning, 2));
    }

    #[test]
    fn without_a_revision_that_was_detected_there_are_no_weights() {
        let recalled =
            Recalled::of(&[event(20, "Advance web.shop canary weight 10", 1)], &CanaryKey::new("shop", "web"));
        assert_eq!((recalled.log.len(), recalled.weights), (1, Vec::new()));
    }
}
