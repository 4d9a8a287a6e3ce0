//! Server-sent events: first everything, then what changed. A stream asks for the newest when it can send, so that a slow
//! one skips what is past and nothing is ever queued for it.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::response::sse::Event;
use futures::stream::{self, Stream, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cache::CanaryKey;

use super::Shared;
use super::access::{Asker, Refusal, Right};
use super::board::{Looker, Unknown};
use super::history::Standing;
use super::view::Objects;

/// Streams at once.
const STREAMS: usize = 64;
/// Streams of one user at once.
const STREAMS_EACH: usize = 8;
/// Changes within this time are told together.
const GATHERED: Duration = Duration::from_millis(150);
/// A stream ends after this; the page opens another, whose rights are asked for anew.
const LIFETIME: Duration = Duration::from_secs(300);
/// A comment after so much silence tells both ends that the other is there.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
/// Namespaces asked about at once.
const REVIEWS: usize = 8;

/// What a stream tells of.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// All that the asker may see.
    Overview,
    /// One rollout, in full.
    Rollout(CanaryKey),
}

/// Counts the streams.
#[derive(Default)]
pub(super) struct Seats {
    taken: Mutex<HashMap<String, usize>>,
}

/// Held by a stream.
pub(super) struct Seat {
    seats: Arc<Seats>,
    user: String,
}

impl Seats {
    /// A seat for this user; `None` when there is none.
    pub(super) fn take(self: &Arc<Self>, user: &str) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(user).copied().unwrap_or_default();
        if all >= STREAMS || own >= STREAMS_EACH {
            return None;
        }
        taken.insert(user.to_owned(), own + 1);
        Some(Seat { seats: self.clone(), user: user.to_owned() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.user);
            }
        }
    }
}

/// The events for this asker, until the stream has lived long enough or the process ends.
pub(super) fn events(
    shared: Arc<Shared>,
    asker: Asker,
    wanted: Wanted,
    seat: Seat,
    stop: watch::Receiver<bool>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    messages(shared, asker, wanted, seat, stop)
        .map(|message| Ok(Event::default().event(message.name).data(message.data)))
}

/// One event.
#[derive(Debug, PartialEq)]
struct Message {
    name: &'static str,
    /// JSON.
    data: String,
}

struct Telling {
    shared: Arc<Shared>,
    asker: Asker,
    wanted: Wanted,
    looker: Looker,
    /// What was told last; nothing before the first.
    told: Told,
    /// The standing that was told last.
    stood: Option<Standing>,
    sees: Sees,
    until: Instant,
    stop: watch::Receiver<bool>,
    _seat: Seat,
}

/// Up to which version a stream has told.
enum Told {
    Nothing,
    Version(u64),
    /// Of a rollout that does not exist.
    Missing,
    /// There is nothing more to tell.
    End,
}

#[derive(Default)]
struct Sees {
    everything: bool,
    namespaces: BTreeMap<Arc<str>, bool>,
}

impl Sees {
    /// `None` when nobody knows yet.
    fn sees(&self, namespace: &str) -> Option<bool> {
        if self.everything { Some(true) } else { self.namespaces.get(namespace).copied() }
    }
}

fn messages(
    shared: Arc<Shared>,
    asker: Asker,
    wanted: Wanted,
    seat: Seat,
    stop: watch::Receiver<bool>,
) -> impl Stream<Item = Message> + Send {
    let looker = shared.board.look();
    let until = Instant::now() + LIFETIME;
    let (told, sees) = (Told::Nothing, Sees::default());
    let telling = Telling { shared, asker, wanted, looker, told, stood: None, sees, until, stop, _seat: seat };
    stream::unfold(telling, |mut telling| async move {
        let message = telling.next().await?;
        Some((message, telling))
    })
}

impl Telling {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Message> {
        loop {
            match self.told {
                Told::End => return None,
                Told::Nothing => {}
                Told::Version(_) | Told::Missing => {
                    let changed = async {
                        self.looker.changed().await;
                        sleep(GATHERED).await;
                    };
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(self.until) => return None,
                        _ = self.stop.wait_for(|stop| *stop) => return None,
                    }
                }
            }
            self.looker.catch_up().await;
            let message = match self.wanted.clone() {
                Wanted::Overview => self.overview().await,
                Wanted::Rollout(key) => self.rollout(&key).await,
            };
            match message {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {
                    if self.stood.as_ref() != Some(&self.shared.history.standing()) {
                        let data = format!("{{\"at\":{},\"standing\":{}}}", self.now(), self.standing());
                        return Some(Message { name: "standing", data });
                    }
                }
                Err(refusal) => {
                    self.told = Told::End;
                    return Some(Message { name: "refused", data: json!({"error": refusal.to_string()}).to_string() });
                }
            }
        }
    }

    async fn overview(&mut self) -> Result<Option<Message>, Refusal> {
        let mut since = match self.told {
            Told::Version(version) => Some(version),
            Told::Nothing | Told::Missing | Told::End => {
                self.sees.everything = self.shared.access.may(&self.asker, Right::See, "").await?;
                None
            }
        };
        let news = loop {
            match self.looker.news(since, |namespace| self.sees.sees(namespace)) {
                Ok(news) => break news,
                Err(unknown) => {
                    if self.learn(unknown).await? {
                        // What is there of a namespace that is new may be older than what was told.
                        since = None;
                    }
                }
            }
        };
        self.told = Told::Version(news.version);
        if !news.all && news.lines.is_empty() && news.gone.is_empty() {
            return Ok(None);
        }
        // The lines are JSON already.
        let (at, standing) = (self.now(), self.standing());
        let mut data =
            format!("{{\"at\":{at},\"standing\":{standing},\"everything\":{},\"rollouts\":[", self.sees.everything);
        for (index, line) in news.lines.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(data, "{comma}{line}");
        }
        let gone: Vec<Value> = news.gone.iter().map(|key| json!([&*key.namespace, &*key.name])).collect();
        let _ = write!(data, "],\"gone\":{}}}", Value::Array(gone));
        Ok(Some(Message { name: if news.all { "all" } else { "some" }, data }))
    }

    /// Asks about namespaces that are new; true when one of them is seen.
    async fn learn(&mut self, unknown: Unknown) -> Result<bool, Refusal> {
        let (access, asker) = (&self.shared.access, &self.asker);
        let answers: Vec<_> = stream::iter(unknown)
            .map(|namespace| async move { (access.may(asker, Right::See, &namespace).await, namespace) })
            .buffer_unordered(REVIEWS)
            .collect()
            .await;
        let mut any = false;
        for (answer, namespace) in answers {
            let sees = answer?;
            any |= sees;
            self.sees.namespaces.insert(namespace, sees);
        }
        Ok(any)
    }

    async fn rollout(&mut self, key: &CanaryKey) -> Result<Option<Message>, Refusal> {
        let leads = self.shared.history.standing().leads;
        let marked = self.looker.marked(key);
        match (&self.told, marked) {
            (Told::Version(told), Some(marked)) if *told == marked => return Ok(None),
            (Told::Missing, None) => return Ok(None),
            (Told::Nothing | Told::Version(_) | Told::Missing | Told::End, _) => {}
        }
        let Some((version, objects)) = marked.zip(Objects::of(&self.shared.cache, key, leads)) else {
            self.told = Told::Missing;
            return Ok(Some(Message { name: "missing", data: json!({"at": self.now()}).to_string() }));
        };
        self.told = Told::Version(version);
        let may_act = self.shared.access.may(&self.asker, Right::Act, &key.namespace).await?;
        let rollout = objects.rollout(self.shared.history.of(key), self.shared.clock.now());
        let rollout = serde_json::to_string(&rollout).unwrap_or_else(|_| "null".into());
        let (at, standing) = (self.now(), self.standing());
        let data = format!("{{\"at\":{at},\"standing\":{standing},\"mayAct\":{may_act},\"rollout\":{rollout}}}");
        Ok(Some(Message { name: "rollout", data }))
    }

    /// JSON of the standing, which is told with it.
    fn standing(&mut self) -> String {
        let standing = self.stood.insert(self.shared.history.standing());
        serde_json::to_string(standing).unwrap_or_else(|_| "null".into())
    }

    fn now(&self) -> i64 {
        self.shared.clock.now().as_millisecond()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_seats() {
        let seats = Arc::new(Seats::default());
        let mias: Vec<Seat> = (0..STREAMS_EACH).filter_map(|_| seats.take("mia")).collect();
        assert_eq!(mias.len(), STREAMS_EACH);
        assert!(seats.take("mia").is_none());
        let others: Vec<Seat> = (0..STREAMS).filter_map(|index| seats.take(&format!("user-{index}"))).collect();
        assert_eq!(others.len(), STREAMS - STREAMS_EACH);
        drop(mias);
        assert!(seats.take("mia").is_some());
    }
}
