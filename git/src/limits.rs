//! How much a repository may take, and the guard that sees to it while a fetch runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gix::progress::{Count, Id, MessageLevel, NestedProgress, Progress, Step, StepShared, Unit};

use crate::{Error, Remote};

/// How often the guard looks at the clock and at the caller's flag.
const LOOK: Duration = Duration::from_millis(20);

/// How much a repository may take of time, network, disk and memory.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Commits of history that are fetched, at least 1.
    pub depth: u32,
    /// The most bytes that one fetch may bring over the network; an object that unpacks to more is refused as well.
    pub pack_bytes: u64,
    /// The longest that a fetch or a push may take.
    pub deadline: Duration,
    /// The most files and folders that may be read at once.
    pub files: usize,
    /// The most bytes of one file.
    pub file_bytes: u64,
    /// The most bytes of all files that are read at once.
    pub total_bytes: u64,
    /// Raised from another thread, it ends a fetch or a push soon.
    pub interrupt: Arc<AtomicBool>,
}

impl Default for Limits {
    /// One commit, 256 MiB, 60 s; 10,000 files of at most 8 MiB, 64 MiB together.
    fn default() -> Self {
        Self {
            depth: 1,
            pack_bytes: 256 << 20,
            deadline: Duration::from_secs(60),
            files: 10_000,
            file_bytes: 8 << 20,
            total_bytes: 64 << 20,
            interrupt: Arc::default(),
        }
    }
}

/// Sees to the limits of one fetch, and knows afterwards which of them ended it.
pub(crate) struct Guard {
    shared: Arc<Shared>,
    started: Instant,
    limits: Limits,
}

#[derive(Default)]
struct Shared {
    /// What gix looks at.
    stop: AtomicBool,
    done: AtomicBool,
    received: AtomicU64,
    too_much: AtomicBool,
}

impl Guard {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { shared: Arc::default(), started: Instant::now(), limits: limits.clone() }
    }

    pub(crate) fn left(&self) -> Duration {
        self.limits.deadline.saturating_sub(self.started.elapsed())
    }

    /// Runs `work` under the limits: it gets the flag that gix looks at and the progress that counts bytes.
    pub(crate) fn run<T>(&self, work: impl FnOnce(&AtomicBool, Counter) -> T) -> T {
        self.shared.done.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                while !self.shared.done.load(Ordering::Relaxed) {
                    if self.limits.interrupt.load(Ordering::Relaxed) || self.left().is_zero() {
                        self.shared.stop.store(true, Ordering::Relaxed);
                    }
                    std::thread::park_timeout(LOOK);
                }
            });
            let _ended = Ended { shared: &self.shared, watch: watch.thread().clone() };
            let counter = Counter {
                shared: self.shared.clone(),
                limit: self.limits.pack_bytes,
                step: Arc::default(),
                bytes: false,
            };
            work(&self.shared.stop, counter)
        })
    }

    /// The limit that was broken, if one was: it explains whatever error came of it.
    pub(crate) fn broken(&self, remote: &Remote) -> Option<Error> {
        let url = remote.url().to_owned();
        if self.shared.too_much.load(Ordering::Relaxed) {
            Some(Error::PackTooLarge { url, limit: self.limits.pack_bytes })
        } else if self.limits.interrupt.load(Ordering::Relaxed) {
            Some(Error::Interrupted)
        } else if self.left().is_zero() {
            Some(Error::Deadline { url, seconds: self.limits.deadline.as_secs() })
        } else {
            None
        }
    }
}

/// Lets the watching thread go, also when the work panics.
struct Ended<'a> {
    shared: &'a Shared,
    watch: std::thread::Thread,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.shared.done.store(true, Ordering::Relaxed);
        self.watch.unpark();
    }
}

/// Takes part in gix's progress reports for the one figure of interest: bytes that came over the network.
pub(crate) struct Counter {
    shared: Arc<Shared>,
    limit: u64,
    step: StepShared,
    bytes: bool,
}

impl Count for Counter {
    fn set(&self, step: Step) {
        self.step.store(step, Ordering::Relaxed);
    }
    fn step(&self) -> Step {
        self.step.load(Ordering::Relaxed)
    }
    fn inc_by(&self, step: Step) {
        self.step.fetch_add(step, Ordering::Relaxed);
        if self.bytes {
            let received = self.shared.received.fetch_add(step as u64, Ordering::Relaxed) + step as u64;
            if received > self.limit {
                self.shared.too_much.store(true, Ordering::Relaxed);
                self.shared.stop.store(true, Ordering::Relaxed);
            }
        }
    }
    fn counter(&self) -> Arc<AtomicUsize> {
        self.step.clone()
    }
}

impl Progress for Counter {
    fn init(&mut self, _max: Option<Step>, _unit: Option<Unit>) {}
    fn set_name(&mut self, _name: String) {}
    fn name(&self) -> Option<String> {
        None
    }
    fn id(&self) -> Id {
        gix::progress::UNKNOWN
    }
    fn message(&self, _level: MessageLevel, _message: String) {}
}

impl NestedProgress for Counter {
    type SubProgress = Counter;

    fn add_child(&mut self, name: impl Into<String>) -> Counter {
        self.add_child_with_id(name, gix::progress::UNKNOWN)
    }

    fn add_child_with_id(&mut self, _name: impl Into<String>, id: Id) -> Counter {
        // The id under which gix-pack counts what it reads from the network.
        Counter { shared: self.shared.clone(), limit: self.limit, step: Arc::default(), bytes: id == *b"BWRB" }
    }
}
