//! The overview as all streams share it. Kept only while somebody looks; a line is drawn anew only when its Canary
//! changed, and each stream takes what is newer than what it has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::cache::{Cache, CanaryKey};
use crate::clock::Clock;

use super::History;
use super::view::Objects;

/// Lines drawn before others get their turn.
const CHUNK: usize = 128;
/// Canaries that are remembered as gone; a stream that is further behind is told everything.
const GONE: usize = 256;

/// The lines of all Canaries.
pub(super) struct Board {
    cache: Cache,
    history: History,
    clock: Clock,
    lookers: AtomicUsize,
    bell: watch::Sender<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Changed since they were drawn.
    dirty: BTreeSet<CanaryKey>,
    version: u64,
    drawn: BTreeMap<CanaryKey, Drawn>,
    gone: VecDeque<(u64, CanaryKey)>,
    /// Of the last that fell out of `gone`.
    forgotten: u64,
}

struct Drawn {
    /// When the line last changed.
    version: u64,
    /// When anything about the Canary last changed.
    marked: u64,
    json: Arc<str>,
}

/// What a stream has not told yet.
#[derive(Debug, PartialEq)]
pub(super) struct News {
    /// These are all lines, not only the newer ones.
    pub all: bool,
    /// Up to here.
    pub version: u64,
    /// JSON of lines.
    pub lines: Vec<Arc<str>>,
    /// Canaries that are gone.
    pub gone: Vec<CanaryKey>,
}

/// Namespaces.
pub(super) type Unknown = BTreeSet<Arc<str>>;

impl Board {
    /// Draws from this cache.
    pub(super) fn new(cache: Cache, history: History, clock: Clock) -> Arc<Board> {
        let state = Mutex::default();
        Arc::new(Board { cache, history, clock, lookers: AtomicUsize::new(0), bell: watch::Sender::new(()), state })
    }

    /// Something about the Canary changed. Costs nothing while nobody looks.
    pub(super) fn mark(&self, key: &CanaryKey) {
        if self.lookers.load(Ordering::Acquire) == 0 {
            return;
        }
        self.lock().dirty.insert(key.clone());
        self.bell.send_replace(());
    }

    /// Something changed that is about no Canary.
    pub(super) fn ring(&self) {
        self.bell.send_replace(());
    }

    /// Begins to look; the lines are kept until the last looker is dropped.
    pub(super) fn look(self: &Arc<Self>) -> Looker {
        let bell = self.bell.subscribe();
        let mut state = self.lock();
        if self.lookers.fetch_add(1, Ordering::AcqRel) == 0 {
            state.dirty.extend(self.cache.canaries());
        }
        drop(state);
        Looker { board: self.clone(), bell }
    }

    /// Draws some of what changed; true when there is more.
    fn draw_some(&self) -> bool {
        let leads = self.history.standing().leads;
        let mut state = self.lock();
        for _ in 0..CHUNK {
            let Some(key) = state.dirty.pop_first() else { return false };
            let line = Objects::of(&self.cache, &key, leads).map(|objects| objects.line(self.clock.now()));
            state.draw(key, line.and_then(|line| serde_json::to_string(&line).ok()));
        }
        !state.dirty.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn draw(&mut self, key: CanaryKey, json: Option<String>) {
        let Some(json) = json else {
            if self.drawn.remove(&key).is_some() {
                self.version += 1;
                self.gone.push_back((self.version, key));
                if self.gone.len() > GONE {
                    self.forgotten = self.gone.pop_front().map_or(self.forgotten, |(version, _)| version);
                }
            }
            return;
        };
        self.version += 1;
        let marked = self.version;
        match self.drawn.get_mut(&key) {
            Some(drawn) if *drawn.json == *json => drawn.marked = marked,
            Some(_) | None => {
                self.drawn.insert(key, Drawn { version: marked, marked, json: json.into() });
            }
        }
    }
}

/// Somebody who looks at the board.
pub(super) struct Looker {
    board: Arc<Board>,
    bell: watch::Receiver<()>,
}

impl Looker {
    /// Waits until something changed since the last call.
    pub(super) async fn changed(&mut self) {
        // The board, and so the sender, lives as long as its looker.
        let _ = self.bell.changed().await;
    }

    /// Draws what changed.
    pub(super) async fn catch_up(&self) {
        while self.board.draw_some() {
            tokio::task::yield_now().await;
        }
    }

    /// What is newer than this version, in the namespaces that are seen; everything when there is none. The error names
    /// the namespaces of which nobody knows yet whether they are seen.
    pub(super) fn news(&self, since: Option<u64>, sees: impl Fn(&str) -> Option<bool>) -> Result<News, Unknown> {
        let state = self.board.lock();
        let unknown: Unknown =
            state.drawn.keys().filter(|key| sees(&key.namespace).is_none()).map(|key| key.namespace.clone()).collect();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let seen = |key: &CanaryKey| sees(&key.namespace) == Some(true);
        let since = since.filter(|since| *since >= state.forgotten);
        let newer = |version: u64| since.is_none_or(|since| version > since);
        let lines = state.drawn.iter().filter(|(key, drawn)| newer(drawn.version) && seen(key));
        // One that came back is among the lines.
        let gone = state.gone.iter().filter(|(version, key)| {
            since.is_some_and(|since| *version > since) && seen(key) && !state.drawn.contains_key(key)
        });
        Ok(News {
            all: since.is_none(),
            version: state.version,
            lines: lines.map(|(_, drawn)| drawn.json.clone()).collect(),
            gone: gone.map(|(_, key)| key.clone()).collect(),
        })
    }

    /// Version of the last change of anything about this Canary; `None` when it does not exist.
    pub(super) fn marked(&self, key: &CanaryKey) -> Option<u64> {
        self.board.lock().drawn.get(key).map(|drawn| drawn.marked)
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        let mut state = self.board.lock();
        if self.board.lookers.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Versions go on, so that no later stream takes old for new.
            *state = State { version: state.version, forgotten: state.version, ..State::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake::Fake;
    use crate::metrics::Metrics;
    use crate::objects::kinds::CANARY;
    use crate::queue::{Limits, Queue};

    fn canary(namespace: &str, name: &str, weight: u8) -> Value {
        json!({"metadata": {"namespace": namespace, "name": name}, "spec": {},
               "status": {"phase": "Progressing", "canaryWeight": weight}})
    }

    async fn world() -> (Fake, Cache, Arc<Board>) {
        let (fake, metrics) = (Fake::new(), Metrics::new("test", "istio"));
        for (namespace, name) in [("edge", "api"), ("shop", "web")] {
            fake.put(CANARY, canary(namespace, name, 10));
        }
        let cache = Cache::new(fake.client(), None, Queue::new(Limits::default(), metrics.clone()), metrics);
        let board = Board::new(cache.clone(), History::default(), Clock::System);
        let marked = board.clone();
        cache.tell(move |key| marked.mark(key));
        cache.ensure(CANARY);
        while !cache.is_synced(CANARY) {
            tokio::task::yield_now().await;
        }
        (fake, cache, board)
    }

    #[tokio::test]
    async fn a_looker_is_told_what_is_new_to_it() {
        let (fake, _, board) = world().await;
        let mut looker = board.look();
        looker.catch_up().await;
        let first = looker.news(None, |_| Some(true)).unwrap();
        assert!(first.all && first.lines.len() == 2, "{first:?}");
        assert_eq!(looker.news(Some(first.version), |_| Some(true)).unwrap().lines, Vec::<Arc<str>>::new());

        let unknown = looker.news(None, |namespace| (namespace == "edge").then_some(true)).unwrap_err();
        assert_eq!(unknown.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["shop"]);

        fake.put(CANARY, canary("shop", "web", 20));
        looker.changed().await;
        looker.catch_up().await;
        let second = looker.news(Some(first.version), |_| Some(true)).unwrap();
        assert!(!second.all && second.lines.len() == 1 && second.lines[0].contains("\"weight\":20"), "{second:?}");
        assert_eq!(looker.news(Some(first.version), |namespace| Some(namespace == "edge")).unwrap().lines.len(), 0);

        fake.remove(CANARY, "shop", "web");
        looker.changed().await;
        looker.catch_up().await;
        assert_eq!(looker.news(Some(second.version), |_| Some(true)).unwrap().gone, [CanaryKey::new("shop", "web")]);
        assert_eq!(looker.news(Some(second.version), |namespace| Some(namespace == "edge")).unwrap().gone, []);
    }

    #[tokio::test]
    async fn nothing_is_kept_while_nobody_looks() {
        let (fake, cache, board) = world().await;
        let first = board.look();
        let second = board.look();
        second.catch_up().await;
        drop(first);
        assert_eq!(board.lock().drawn.len(), 2);
        drop(second);
        fake.put(CANARY, canary("shop", "web", 30));
        while !cache.canary(&CanaryKey::new("shop", "web")).is_some_and(|canary| canary["status"]["canaryWeight"] == 30)
        {
            tokio::task::yield_now().await;
        }
        assert!(board.lock().drawn.is_empty() && board.lock().dirty.is_empty());
        let again = board.look();
        again.catch_up().await;
        assert_eq!(again.news(None, |_| Some(true)).unwrap().lines.len(), 2, "the next looker sees all again");
    }

    #[test]
    fn a_looker_that_is_far_behind_is_told_everything() {
        let mut state = State::default();
        for index in 0..=GONE {
            let key = CanaryKey::new("shop", &format!("web-{index}"));
            state.draw(key.clone(), Some("{}".into()));
            state.draw(key, None);
        }
        assert_eq!((state.gone.len(), state.forgotten), (GONE, 2));
    }
}
