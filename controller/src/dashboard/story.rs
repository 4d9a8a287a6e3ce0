//! The story of one Canary: its last rollout as samples, the values of its checks, and the lines of its log; all bounded.

use std::collections::VecDeque;

use crds::{CanaryStatus, Phase};
use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeSeq, SerializeTuple, Serializer};

/// Changes of weight, phase or counters that are kept of a rollout, and values that are kept of a check.
pub(super) const SAMPLES: usize = 512;
/// Lines of the log that are kept of a Canary.
pub(super) const LINES: usize = 200;
/// Checks of one rollout that are kept.
pub(super) const CHECKS: usize = 32;
/// Bytes of a line; longer ones are cut.
pub(super) const LONGEST: usize = 512;

/// What is known of one Canary.
#[derive(Default)]
pub(super) struct Story {
    /// What the times of samples count from.
    begin: Timestamp,
    /// A rollout is under way.
    rolling: bool,
    samples: VecDeque<Sample>,
    checks: Vec<Series>,
    checked_at: Option<Timestamp>,
    lines: VecDeque<Line>,
    /// The reason that was told last.
    held: Option<Box<str>>,
    /// Number of the last change, as the history counts them.
    pub(super) change: u64,
    /// Its size when it was last measured.
    pub(super) bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Sample {
    /// Milliseconds since the begin.
    at: u32,
    stand: Stand,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stand {
    weight: u8,
    phase: Phase,
    iterations: u16,
    failed: u16,
    mirrored: bool,
    paused: bool,
}

struct Series {
    name: Box<str>,
    points: VecDeque<Point>,
}

#[derive(Clone, Copy)]
struct Point {
    /// Milliseconds since the begin.
    at: u32,
    result: CheckResult,
    /// Not a number when there was none.
    value: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CheckResult {
    Passed,
    Failed,
    /// No data, or not to be read.
    Missing,
}

#[derive(Clone)]
struct Line {
    at: Timestamp,
    kind: LineKind,
    text: Box<str>,
}

/// What a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LineKind {
    /// As planned.
    Normal,
    /// Not as planned.
    Warning,
    /// Why nothing moves.
    Hold,
}

impl Story {
    pub(super) fn record(&mut self, status: &CanaryStatus, now: Timestamp) -> bool {
        let stand = Stand::of(status);
        let rolling = is_rolling(status.phase);
        if rolling && !self.rolling {
            self.begin_rollout(status, now);
        }
        // Between rollouts the last one stands as it ended.
        let ends = self.rolling && !rolling;
        let mut changed = (rolling || ends) && self.sample(stand, status.last_transition_time, now);
        self.rolling = rolling;
        if rolling || ends {
            changed |= self.note_checks(status);
        }
        changed |= self.note_hold(status, now);
        changed
    }

    fn begin_rollout(&mut self, status: &CanaryStatus, now: Timestamp) {
        self.begin = status.last_transition_time.map_or(now, |since| since.min(now));
        self.samples.clear();
        self.checks.clear();
        self.checked_at = None;
    }

    fn sample(&mut self, stand: Stand, since: Option<Timestamp>, now: Timestamp) -> bool {
        let last = self.samples.back().copied();
        if last.is_some_and(|last| last.stand == stand) {
            return false;
        }
        let moved = last.is_none_or(|last| (last.stand.weight, last.stand.phase) != (stand.weight, stand.phase));
        let at = self.offset(since.filter(|_| moved).unwrap_or(now).min(now));
        let at = last.map_or(at, |last| at.max(last.at));
        push(&mut self.samples, Sample { at, stand }, SAMPLES);
        true
    }

    fn note_checks(&mut self, status: &CanaryStatus) -> bool {
        let Some(checked_at) = status.last_check_time.filter(|at| self.checked_at.is_none_or(|last| *at > last)) else {
            return false;
        };
        // Older looks belong to an earlier rollout.
        if checked_at < self.begin {
            return false;
        }
        self.checked_at = Some(checked_at);
        let at = self.offset(checked_at);
        for check in &status.checks {
            let index = match self.checks.iter().position(|series| *series.name == *check.name) {
                Some(index) => index,
                None if self.checks.len() == CHECKS => continue,
                None => {
                    self.checks.push(Series { name: check.name.as_str().into(), points: VecDeque::new() });
                    self.checks.len() - 1
                }
            };
            let result = match check.result.as_str() {
                "Passed" => CheckResult::Passed,
                "Failed" => CheckResult::Failed,
                _ => CheckResult::Missing,
            };
            let value = check.value.as_deref().and_then(|value| value.parse().ok()).unwrap_or(f64::NAN);
            push(&mut self.checks[index].points, Point { at, result, value }, SAMPLES);
        }
        !status.checks.is_empty()
    }

    /// A reason is told when it is new; that a step takes its time is no news.
    fn note_hold(&mut self, status: &CanaryStatus, now: Timestamp) -> bool {
        let held = status.waiting_for.first().filter(|waiting| waiting.reason != "Soaking");
        if held.map(|held| held.reason.as_str()) == self.held.as_deref() {
            return false;
        }
        self.held = held.map(|held| held.reason.as_str().into());
        held.is_some_and(|held| self.tell(LineKind::Hold, &held.message, now))
    }

    pub(super) fn tell(&mut self, kind: LineKind, message: &str, now: Timestamp) -> bool {
        push(&mut self.lines, Line { at: now, kind, text: cut(message).into() }, LINES);
        true
    }

    /// A copy, for those who look.
    pub(super) fn past(&self) -> Past {
        let at = |offset: u32| self.begin.as_millisecond().saturating_add(i64::from(offset));
        Past {
            samples: self.samples.iter().map(|sample| PastSample { at: at(sample.at), stand: sample.stand }).collect(),
            checks: self
                .checks
                .iter()
                .map(|series| PastCheck {
                    name: series.name.to_string(),
                    points: series.points.iter().map(|point| PastPoint { at: at(point.at), point: *point }).collect(),
                })
                .collect(),
            log: self
                .lines
                .iter()
                .map(|line| PastLine { at: line.at.as_millisecond(), kind: line.kind, message: line.text.to_string() })
                .collect(),
        }
    }

    fn offset(&self, at: Timestamp) -> u32 {
        let milliseconds = at.as_millisecond().saturating_sub(self.begin.as_millisecond());
        u32::try_from(milliseconds.max(0)).unwrap_or(u32::MAX)
    }

    /// About as many bytes as it takes.
    pub(super) fn size(&self) -> usize {
        let points: usize = self.checks.iter().map(|series| series.points.len() * size_of::<Point>() + 64).sum();
        let lines: usize = self.lines.iter().map(|line| line.text.len() + size_of::<Line>()).sum();
        size_of::<Story>() + 128 + self.samples.len() * size_of::<Sample>() + points + lines
    }
}

impl Stand {
    fn of(status: &CanaryStatus) -> Stand {
        let count = |value: i32| u16::try_from(value.max(0)).unwrap_or(u16::MAX);
        Stand {
            weight: u8::try_from(status.canary_weight.clamp(0, 100)).unwrap_or(0),
            phase: status.phase,
            iterations: count(status.iterations),
            failed: count(status.failed_checks),
            mirrored: status.mirrored,
            paused: status.paused,
        }
    }
}

/// A rollout is under way.
pub(super) fn is_rolling(phase: Phase) -> bool {
    match phase {
        Phase::Waiting | Phase::Progressing | Phase::WaitingPromotion | Phase::Promoting | Phase::Finalising => true,
        Phase::New
        | Phase::Initializing
        | Phase::Initialized
        | Phase::Succeeded
        | Phase::Failed
        | Phase::Terminating
        | Phase::Terminated => false,
    }
}

/// A copy of what is known of a Canary, oldest first.
#[derive(Serialize)]
pub struct Past {
    samples: Vec<PastSample>,
    checks: Vec<PastCheck>,
    log: Vec<PastLine>,
}

struct PastSample {
    at: i64,
    stand: Stand,
}

#[derive(Serialize)]
struct PastCheck {
    name: String,
    points: Vec<PastPoint>,
}

struct PastPoint {
    at: i64,
    point: Point,
}

#[derive(Serialize)]
struct PastLine {
    at: i64,
    kind: LineKind,
    message: String,
}

/// `[milliseconds, weight, phase, iterations, failed checks, mirrored, paused]`
impl Serialize for PastSample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Stand { weight, phase, iterations, failed, mirrored, paused } = self.stand;
        let mut parts = serializer.serialize_tuple(7)?;
        parts.serialize_element(&self.at)?;
        parts.serialize_element(&weight)?;
        parts.serialize_element(phase.as_str())?;
        parts.serialize_element(&iterations)?;
        parts.serialize_element(&failed)?;
        parts.serialize_element(&mirrored)?;
        parts.serialize_element(&paused)?;
        parts.end()
    }
}

/// `[milliseconds, value or null, "passed" | "failed" | "missing"]`
impl Serialize for PastPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = serializer.serialize_seq(Some(3))?;
        parts.serialize_element(&self.at)?;
        parts.serialize_element(&Some(self.point.value).filter(|value| value.is_finite()))?;
        parts.serialize_element(match self.point.result {
            CheckResult::Passed => "passed",
            CheckResult::Failed => "failed",
            CheckResult::Missing => "missing",
        })?;
        parts.end()
    }
}

/// A ring: the oldest goes when it is full.
fn push<T>(ring: &mut VecDeque<T>, item: T, bound: usize) {
    if ring.len() >= bound {
        ring.pop_front();
    }
    ring.push_back(item);
}

fn cut(message: &str) -> String {
    if message.len() <= LONGEST {
        return message.to_owned();
    }
    let mut end = LONGEST - '…'.len_utf8();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}
