//! What goes wrong between the controller and the Kubernetes API, as a scenario says it: by time, request and chance.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use sim::world::quantity::Percent;
use sim::{Call, Fault, Faults, Status};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::scenario::duration;

/// Requests of the controller that go wrong.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Trouble {
    /// Since when, counted from the very beginning.
    #[serde(deserialize_with = "duration")]
    pub from: Duration,
    /// Until when.
    #[serde(deserialize_with = "duration")]
    pub to: Duration,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`; all that can be met unless some are named.
    #[serde(default)]
    pub verbs: Vec<String>,
    /// Kinds of objects; all unless some are named.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// How many of these requests, by chance.
    #[serde(default)]
    pub share: Option<Percent>,
    /// Every so many-th of these requests.
    #[serde(default)]
    pub every: Option<u64>,
    /// What happens to them.
    pub fault: Kind,
}

/// What happens to a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A write is refused, 409.
    Conflict,
    /// Refused, 429, to be asked again after so many seconds.
    TooManyRequests(u32),
    /// A write is refused by admission, 403, with this message.
    Deny(String),
    /// Refused, 500.
    Internal,
    /// It waits.
    Delay(#[serde(deserialize_with = "duration")] Duration),
    /// The connection breaks before anything is done.
    Unheard,
    /// It is done, and the connection breaks before the answer.
    Unanswered,
    /// A read answers as it was that many changes ago.
    Stale(u64),
    /// A watch breaks after that many events.
    Break(usize),
}

/// Decides about each request by the scenario's seed, and kills the controller after certain writes.
/// All clones share one past.
#[derive(Clone)]
pub(crate) struct Weather {
    troubles: Arc<[Trouble]>,
    deaths: Arc<[u64]>,
    begin: Instant,
    death: Arc<Notify>,
    past: Arc<Mutex<Past>>,
}

struct Past {
    chance: ChaCha8Rng,
    /// Requests that each trouble could have met.
    met: Vec<u64>,
    writes: u64,
    last_death: Option<Instant>,
}

impl Weather {
    pub(crate) fn new(troubles: Vec<Trouble>, deaths: Vec<u64>, seed: u64, death: Arc<Notify>) -> Weather {
        let met = vec![0; troubles.len()];
        let past = Past { chance: ChaCha8Rng::seed_from_u64(seed), met, writes: 0, last_death: None };
        let past = Arc::new(Mutex::new(past));
        Weather { troubles: troubles.into(), deaths: deaths.into(), begin: Instant::now(), death, past }
    }

    /// A controller has died.
    pub(crate) fn mourn(&self) {
        self.past.lock().unwrap_or_else(PoisonError::into_inner).last_death = Some(Instant::now());
    }

    /// Whether a controller has died since.
    pub(crate) fn died_since(&self, then: Instant) -> bool {
        let death = self.past.lock().unwrap_or_else(PoisonError::into_inner).last_death;
        death.is_some_and(|death| death >= then)
    }

    /// When the last trouble is over, deaths so far among them; the beginning where there is none.
    pub(crate) fn clears_at(&self) -> Instant {
        let last = self.begin + self.troubles.iter().map(|trouble| trouble.to).max().unwrap_or_default();
        let death = self.past.lock().unwrap_or_else(PoisonError::into_inner).last_death;
        death.map_or(last, |death| death.max(last))
    }
}

impl Faults for Weather {
    fn before(&self, call: &Call) -> Fault {
        let time = self.begin.elapsed();
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, trouble) in self.troubles.iter().enumerate() {
            if time < trouble.from || time >= trouble.to || !trouble.can_meet(call) {
                continue;
            }
            past.met[at] += 1;
            let in_turn = trouble.every.is_none_or(|every| past.met[at].is_multiple_of(every.max(1)));
            let by_chance = trouble.share.is_none_or(|share| past.chance.random_bool(share.0.clamp(0.0, 1.0)));
            if in_turn && by_chance {
                return trouble.fault.fault();
            }
        }
        Fault::Pass
    }

    fn after(&self, call: &Call) {
        if !is_write(&call.verb) || call.kind == "Event" || call.kind == "Lease" {
            return;
        }
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.writes += 1;
        if self.deaths.contains(&past.writes) {
            self.death.notify_one();
        }
    }
}

impl Trouble {
    fn can_meet(&self, call: &Call) -> bool {
        let named = |names: &[String], name: &str| names.is_empty() || names.iter().any(|named| named == name);
        let fits = match self.fault {
            Kind::Conflict => is_write(&call.verb) && call.verb != "create",
            Kind::Deny(_) => is_write(&call.verb) && call.verb != "delete",
            Kind::Stale(_) => matches!(call.verb.as_str(), "get" | "list"),
            Kind::Break(_) => call.verb == "watch",
            Kind::TooManyRequests(_) | Kind::Internal | Kind::Delay(_) | Kind::Unheard | Kind::Unanswered => true,
        };
        fits && named(&self.verbs, &call.verb) && named(&self.kinds, &call.kind)
    }
}

impl Kind {
    fn fault(&self) -> Fault {
        match self {
            Kind::Conflict => Fault::conflict(),
            Kind::TooManyRequests(seconds) => Fault::too_many_requests(*seconds),
            Kind::Deny(message) => Fault::Refuse(Status::new(403, "Forbidden", message)),
            Kind::Internal => Fault::internal(),
            Kind::Delay(time) => Fault::Delay(*time),
            Kind::Unheard => Fault::Unheard,
            Kind::Unanswered => Fault::Unanswered,
            Kind::Stale(changes) => Fault::Stale(*changes),
            Kind::Break(events) => Fault::Break(*events),
        }
    }
}

fn is_write(verb: &str) -> bool {
    matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection")
}
