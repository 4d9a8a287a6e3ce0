//! Looks at the keys that are due: a bound on what runs at once, and an error or a panic of one hurts that one alone.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::metrics::{Metrics, PassOutcome};
use crate::schedule::Schedule;

/// Due keys that are counted at any time; more are counted once a second.
const FEW: usize = 64;

/// What a key must be.
pub trait Key: Clone + Eq + Hash + Ord + Display + Send + Sync + 'static {}
impl<K: Clone + Eq + Hash + Ord + Display + Send + Sync + 'static> Key for K {}

/// How a pass ended well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Look again after this time even if nothing changes; `None`: only when something changes.
    pub requeue_after: Option<Duration>,
}

/// Bounds of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Passes at once.
    pub passes: usize,
    /// First delay after an error; doubles with every further one.
    pub first_backoff: Duration,
    /// Longest delay after an error.
    pub longest_backoff: Duration,
    /// Passes of one key that may follow each other at once; beyond, `sustained` holds. Two controllers that fight over
    /// an object must not become a storm of requests.
    pub burst: f64,
    /// Passes per second of one key in the long run.
    pub sustained: f64,
    /// How long running passes may take to end when the queue is stopped.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            passes: 512,
            first_backoff: Duration::from_millis(200),
            longest_backoff: Duration::from_secs(60),
            burst: 30.0,
            sustained: 1.0,
            drain: Duration::from_secs(20),
        }
    }
}

/// A queue of keys. Cheap to clone; all clones are the same queue.
pub struct Queue<K: Key> {
    shared: Arc<Shared<K>>,
}

impl<K: Key> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Queue { shared: self.shared.clone() }
    }
}

struct Shared<K> {
    /// What its keys name.
    noun: &'static str,
    limits: Limits,
    metrics: Metrics,
    schedule: Mutex<Schedule<K>>,
    changed: Notify,
}

impl<K: Key> Queue<K> {
    /// An empty queue of Canaries.
    pub fn new(limits: Limits, metrics: Metrics) -> Queue<K> {
        Queue::of("canary", limits, metrics)
    }

    /// An empty queue; `noun` says in logs what its keys name.
    pub fn of(noun: &'static str, limits: Limits, metrics: Metrics) -> Queue<K> {
        let schedule = Mutex::new(Schedule::new(limits));
        Queue { shared: Arc::new(Shared { noun, limits, metrics, schedule, changed: Notify::new() }) }
    }

    /// Looks at the key as soon as possible.
    pub fn add(&self, key: K) {
        self.add_after(key, Duration::ZERO);
    }

    /// Looks at the key after `delay`, or earlier when it was due earlier.
    #[expect(clippy::needless_pass_by_value, reason = "the queue keeps the key")]
    pub fn add_after(&self, key: K, delay: Duration) {
        let now = Instant::now();
        if self.schedule().add(&key, now + delay, now) {
            self.shared.changed.notify_one();
        }
    }

    /// Forgets the key, its back-off and its due time; a running pass ends as it will.
    pub fn forget(&self, key: &K) {
        self.schedule().forget(key);
    }

    /// Keys that are due now and wait for a place.
    pub fn depth(&self) -> usize {
        self.depth_up_to(usize::MAX)
    }

    /// Runs `work` for every due key until `stop` resolves; then waits for running passes, no longer than the drain
    /// limit. A panic ends its pass alone and counts as an error of that key.
    pub async fn run<W, F, E>(&self, stop: impl Future<Output = ()>, work: W)
    where
        W: Fn(K) -> F,
        F: Future<Output = Result<Outcome, E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let mut passes: JoinSet<Result<Outcome, E>> = JoinSet::new();
        let mut keys: HashMap<Id, K> = HashMap::new();
        let mut counted = Instant::now();
        tokio::pin!(stop);
        loop {
            while passes.len() < self.shared.limits.passes
                && let Some(key) = self.next()
            {
                let handle = passes.spawn(work(key.clone()));
                keys.insert(handle.id(), key);
            }
            // Counting thousands after each of thousands of passes would cost more than the passes.
            let few = self.depth_up_to(FEW);
            if few < FEW || counted.elapsed() >= Duration::from_secs(1) {
                self.shared.metrics.queue(if few < FEW { few } else { self.depth() }, passes.len());
                counted = Instant::now();
            }
            let next = if passes.len() < self.shared.limits.passes { self.schedule().next_due() } else { None };
            tokio::select! {
                biased; // nothing here is left to chance, so that a simulation can be run again
                () = &mut stop => break,
                Some(ended) = passes.join_next_with_id(), if !passes.is_empty() => self.ended(&mut keys, ended),
                () = self.shared.changed.notified() => {}
                () = sleep_until(next) => {}
            }
        }
        let drain = async {
            while let Some(ended) = passes.join_next_with_id().await {
                self.ended(&mut keys, ended);
            }
        };
        if tokio::time::timeout(self.shared.limits.drain, drain).await.is_err() {
            tracing::warn!(passes = passes.len(), "giving up passes that did not end in time");
            passes.shutdown().await;
        }
    }

    fn next(&self) -> Option<K> {
        self.schedule().take(Instant::now())
    }

    fn depth_up_to(&self, most: usize) -> usize {
        self.schedule().depth(Instant::now(), most)
    }

    fn ended<E: Display>(&self, keys: &mut HashMap<Id, K>, ended: Result<(Id, Result<Outcome, E>), JoinError>) {
        let (id, result) = match ended {
            Ok((id, Ok(outcome))) => (id, Ok(outcome)),
            Ok((id, Err(error))) => (id, Err((PassOutcome::Error, error.to_string()))),
            Err(error) => {
                let id = error.id();
                let text = match error.try_into_panic() {
                    Ok(panic) => panic_text(panic.as_ref()),
                    Err(cancelled) => cancelled.to_string(),
                };
                (id, Err((PassOutcome::Panic, format!("the pass panicked: {text}"))))
            }
        };
        let Some(key) = keys.remove(&id) else { return };
        match result {
            Ok(outcome) => {
                self.shared.metrics.pass(PassOutcome::Ok);
                self.schedule().succeeded(&key, outcome.requeue_after, Instant::now());
            }
            Err((outcome, text)) => {
                self.shared.metrics.pass(outcome);
                let delay = self.schedule().failed(&key, Instant::now());
                let (canary, other) = match self.shared.noun {
                    "canary" => (Some(key.to_string()), None),
                    noun => (None, Some(format!("{noun} {key}"))),
                };
                match outcome {
                    PassOutcome::Panic => tracing::error!(canary, object = other, retry_in = ?delay, "{text}"),
                    PassOutcome::Ok | PassOutcome::Error => {
                        tracing::warn!(canary, object = other, retry_in = ?delay, "{text}");
                    }
                }
            }
        }
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule<K>> {
        self.shared.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    type Answer = Box<dyn Fn(usize) -> Result<Outcome, String> + Send + Sync>;

    /// Runs a queue whose passes answer by their number, and tells when each began.
    fn start(limits: Limits, answer: Answer) -> (Queue<String>, mpsc::UnboundedReceiver<(String, Instant)>) {
        let queue = Queue::new(limits, Metrics::new("test", "istio"));
        let (sender, receiver) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        let count = Arc::new(AtomicUsize::new(0));
        let running = queue.clone();
        tokio::spawn(async move {
            running
                .run(std::future::pending(), move |key: String| {
                    let _ = sender.send((key, Instant::now()));
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    let answer = answer.clone();
                    async move { answer(number) }
                })
                .await;
        });
        (queue, receiver)
    }

    #[tokio::test(start_paused = true)]
    async fn looks_again_when_asked_and_sooner_when_something_changes() {
        let after = Duration::from_secs(30);
        let (queue, mut passes) =
            start(Limits::default(), Box::new(move |_| Ok(Outcome { requeue_after: Some(after) })));
        let begin = Instant::now();
        queue.add("a".into());
        queue.add("a".into());
        assert_eq!(passes.recv().await.unwrap().1 - begin, Duration::ZERO);
        let second = passes.recv().await.unwrap().1;
        assert!(second - begin >= after && second - begin < after + Duration::from_millis(50));
        queue.add("a".into());
        assert!(passes.recv().await.unwrap().1 - second < Duration::from_millis(50));
    }

    #[tokio::test(start_paused = true)]
    async fn errors_back_off_and_success_resets() {
        let answers = |number| if number < 4 { Err("no".to_owned()) } else { Ok(Outcome::default()) };
        let (queue, mut passes) = start(Limits::default(), Box::new(answers));
        queue.add("a".into());
        let mut last = passes.recv().await.unwrap().1;
        for expected in [200, 400, 800, 1600] {
            let now = passes.recv().await.unwrap().1;
            let waited = (now - last).as_millis() as f64;
            assert!(
                waited >= f64::from(expected) * 0.74 && waited <= f64::from(expected) * 1.26,
                "{waited} {expected}"
            );
            last = now;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn back_off_has_an_end() {
        let (queue, mut passes) = start(Limits::default(), Box::new(|_| Err("no".to_owned())));
        queue.add("a".into());
        let mut last = passes.recv().await.unwrap().1;
        for _ in 0..20 {
            let now = passes.recv().await.unwrap().1;
            assert!(now - last <= Duration::from_millis(60_050));
            last = now;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_during_back_off_wakes_but_does_not_spin() {
        let (queue, mut passes) = start(Limits::default(), Box::new(|_| Err("no".to_owned())));
        queue.add("a".into());
        let mut last = passes.recv().await.unwrap().1;
        for _ in 0..10 {
            last = passes.recv().await.unwrap().1;
        }
        queue.add("a".into());
        let waited = passes.recv().await.unwrap().1 - last;
        assert!(waited >= Duration::from_millis(900) && waited < Duration::from_millis(1100), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_pass_at_a_time_per_key_and_none_lost() {
        let queue = Queue::new(Limits::default(), Metrics::new("test", "istio"));
        let at_once = Arc::new(AtomicUsize::new(0));
        let done = Arc::new(AtomicUsize::new(0));
        let (counted, ended, running) = (at_once.clone(), done.clone(), queue.clone());
        tokio::spawn(async move {
            running
                .run(std::future::pending(), move |_: String| {
                    let (counted, ended) = (counted.clone(), ended.clone());
                    async move {
                        assert_eq!(counted.fetch_add(1, Ordering::SeqCst), 0);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        counted.fetch_sub(1, Ordering::SeqCst);
                        ended.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, String>(Outcome::default())
                    }
                })
                .await;
        });
        queue.add("a".to_owned());
        tokio::time::sleep(Duration::from_millis(500)).await;
        queue.add("a".to_owned());
        queue.add("a".to_owned());
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(done.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_bound_holds_and_others_get_their_turn() {
        let limits = Limits { passes: 2, ..Limits::default() };
        let queue = Queue::new(limits, Metrics::new("test", "istio"));
        let at_once = Arc::new(AtomicUsize::new(0));
        let (counted, running) = (at_once.clone(), queue.clone());
        let (sender, mut receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            running
                .run(std::future::pending(), move |key: String| {
                    let (counted, sender) = (counted.clone(), sender.clone());
                    async move {
                        assert!(counted.fetch_add(1, Ordering::SeqCst) < 2);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        counted.fetch_sub(1, Ordering::SeqCst);
                        let _ = sender.send(key);
                        Ok::<_, String>(Outcome::default())
                    }
                })
                .await;
        });
        for key in 0..6 {
            queue.add(key.to_string());
        }
        let mut seen = BTreeSet::new();
        for _ in 0..6 {
            seen.insert(receiver.recv().await.unwrap());
        }
        assert_eq!(seen.len(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_an_error_of_that_key_alone() {
        let (queue, mut passes) = start(
            Limits::default(),
            Box::new(|number| if number == 0 { panic!("bad object") } else { Ok(Outcome::default()) }),
        );
        queue.add("a".into());
        assert_eq!(passes.recv().await.unwrap().0, "a");
        queue.add("b".into());
        assert_eq!(passes.recv().await.unwrap().0, "b");
        assert_eq!(passes.recv().await.unwrap().0, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_keeps_changing_is_slowed_down() {
        let limits = Limits { burst: 5.0, sustained: 1.0, ..Limits::default() };
        let (queue, mut passes) = start(limits, Box::new(|_| Ok(Outcome { requeue_after: Some(Duration::ZERO) })));
        let begin = Instant::now();
        queue.add("a".into());
        for _ in 0..15 {
            passes.recv().await.unwrap();
        }
        assert!(begin.elapsed() >= Duration::from_millis(9_500), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_waits_for_running_passes_but_not_for_ever() {
        for (pass, limit, ends) in [(5, 20, true), (500, 20, false)] {
            let queue = Queue::new(
                Limits { drain: Duration::from_secs(limit), ..Limits::default() },
                Metrics::new("test", "istio"),
            );
            let done = Arc::new(AtomicUsize::new(0));
            let ended = done.clone();
            let (stop, stopped) = oneshot::channel::<()>();
            let running = queue.clone();
            let task = tokio::spawn(async move {
                let stopped = async {
                    let _ = stopped.await;
                };
                running
                    .run(stopped, move |_: String| {
                        let ended = ended.clone();
                        async move {
                            tokio::time::sleep(Duration::from_secs(pass)).await;
                            ended.fetch_add(1, Ordering::SeqCst);
                            Ok::<_, String>(Outcome::default())
                        }
                    })
                    .await;
            });
            queue.add("a".to_owned());
            tokio::time::sleep(Duration::from_secs(1)).await;
            stop.send(()).unwrap();
            let begin = Instant::now();
            task.await.unwrap();
            assert_eq!(done.load(Ordering::SeqCst) == 1, ends);
            assert!(begin.elapsed() <= Duration::from_secs(limit + 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_forgotten_key_does_not_run() {
        let (queue, mut passes) = start(Limits::default(), Box::new(|_| Ok(Outcome::default())));
        queue.add_after("a".into(), Duration::from_secs(5));
        queue.forget(&"a".to_owned());
        queue.add_after("b".into(), Duration::from_secs(10));
        assert_eq!(passes.recv().await.unwrap().0, "b");
    }
}
