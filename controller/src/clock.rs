//! What time it is. A simulation runs on tokio's clock, which can be paused and jumps from timer to timer.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Where the time comes from.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// This time at this instant of tokio's clock, and on from there.
    From(Timestamp, Instant),
}

impl Clock {
    /// Starts at `begin` now, and goes as tokio's clock goes.
    pub fn starting_at(begin: Timestamp) -> Clock {
        Clock::From(begin, Instant::now())
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp::now(),
            Clock::From(begin, instant) => after(*begin, instant.elapsed()),
        }
    }
}

fn after(begin: Timestamp, elapsed: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(elapsed)
        .ok()
        .and_then(|elapsed| begin.checked_add(elapsed).ok())
        .unwrap_or(Timestamp::MAX)
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
}
