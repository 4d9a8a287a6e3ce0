//! What time it is. A simulation runs on tokio's clock, which can be paused and jumps from timer to timer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that was set by less than this counts as one that was not: nobody waits by the second.
const SET: SignedDuration = SignedDuration::from_secs(1);

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// One that a simulation sets. All clones are the same clock.
    Dial(Dial),
}

/// Shows a time at an instant of tokio's clock, and goes on from there as that does.
#[derive(Clone, Debug)]
pub struct Dial {
    begin: Timestamp,
    instant: Instant,
    ahead: Arc<Mutex<SignedDuration>>,
}

/// The time on two clocks at once: one that can be set, and one that only ever goes on.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// What people read and objects carry.
    pub wall: Timestamp,
    steady: Instant,
}

impl Clock {
    /// Starts at `begin` now, and goes as tokio's clock goes.
    pub fn starting_at(begin: Timestamp) -> Clock {
        Clock::Dial(Dial::starting_at(begin))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp::now(),
            Clock::Dial(dial) => dial.now(),
        }
    }

    /// The time, to be compared with a later one.
    pub fn moment(&self) -> Moment {
        Moment { wall: self.now(), steady: Instant::now() }
    }
}

impl Dial {
    /// Shows `begin` now.
    pub fn starting_at(begin: Timestamp) -> Dial {
        Dial { begin, instant: Instant::now(), ahead: Arc::default() }
    }

    /// Sets it forward, or back when `by` is negative.
    pub fn set(&self, by: SignedDuration) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        *ahead = ahead.saturating_add(by);
    }

    fn now(&self) -> Timestamp {
        let ahead = *self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        after(after(self.begin, signed(self.instant.elapsed())), ahead)
    }
}

impl Moment {
    /// By how much the clock was set since `earlier`; zero when it only went on.
    pub fn set_since(&self, earlier: &Moment) -> SignedDuration {
        let passed = signed(self.steady.saturating_duration_since(earlier.steady));
        let set = self.wall.duration_since(earlier.wall).saturating_sub(passed);
        if set.abs() < SET { SignedDuration::ZERO } else { set }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn after(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_started_clock_goes_as_tokios() {
        let begin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(begin);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now().to_string(), "2026-01-01T00:01:30Z");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_clock_was_set_by_is_told_apart_from_time_that_passed() {
        let dial = Dial::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let clock = Clock::Dial(dial.clone());
        let first = clock.moment();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.moment().set_since(&first), SignedDuration::ZERO);
        dial.set(SignedDuration::from_mins(10));
        assert_eq!(clock.now().to_string(), "2026-01-01T00:11:30Z");
        assert_eq!(clock.moment().set_since(&first), SignedDuration::from_mins(10));
        dial.set(SignedDuration::from_mins(-15));
        assert_eq!(clock.moment().set_since(&first), SignedDuration::from_mins(-5));
        dial.set(SignedDuration::from_mins(5) + SignedDuration::from_millis(900));
        assert_eq!(clock.moment().set_since(&first), SignedDuration::ZERO, "a clock that is put right bit by bit");
    }
}
