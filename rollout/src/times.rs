//! Times that were written down by a clock that has been set since. Waits keep their length: what was noted moves with
//! the clock. A time that has not come yet was noted by a clock that was ahead, and so were the others beside it: the
//! latest of them counts as now.

use jiff::{SignedDuration, Timestamp};

use crate::observation::Memory;
use crate::state::State;

/// The times of a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    since: Option<Timestamp>,
    checked_at: Option<Timestamp>,
    former_traffic: Option<Timestamp>,
    unavailable_since: Option<Timestamp>,
}

impl State {
    /// Its times.
    pub fn times(&self) -> Times {
        let State { since, checked_at, former_traffic, unavailable_since, .. } = *self;
        Times { since, checked_at, former_traffic, unavailable_since }
    }

    /// The state by a clock that was set by `set` since the state had the times `known`, and shows `now`. Times that
    /// are others by now were noted by somebody else, whose clock is not known to have been set.
    pub fn by_clock(self, known: &Times, set: SignedDuration, now: Timestamp) -> State {
        let moved = |time: Option<Timestamp>, known: Option<Timestamp>| {
            later(time, if time == known { set } else { SignedDuration::ZERO })
        };
        let since = moved(self.since, known.since);
        let checked_at = moved(self.checked_at, known.checked_at);
        let former_traffic = moved(self.former_traffic, known.former_traffic);
        let unavailable_since = moved(self.unavailable_since, known.unavailable_since);
        let latest = [since, checked_at, former_traffic, unavailable_since].into_iter().flatten().max();
        let back = latest.map_or(SignedDuration::ZERO, |latest| now.duration_since(latest.max(now)));
        State {
            since: later(since, back),
            checked_at: later(checked_at, back),
            former_traffic: later(former_traffic, back),
            unavailable_since: later(unavailable_since, back),
            ..self
        }
    }
}

impl Memory {
    /// The memory by a clock that was set by `set` since, and shows `now`.
    pub fn by_clock(self, set: SignedDuration, now: Timestamp) -> Memory {
        let moved = |time| later(time, set).map(|time| time.min(now));
        Memory {
            matched_since: moved(self.matched_since),
            ready_since: moved(self.ready_since),
            asked_at: moved(self.asked_at),
            scaled_up_at: moved(self.scaled_up_at),
            ..self
        }
    }
}

fn later(time: Option<Timestamp>, by: SignedDuration) -> Option<Timestamp> {
    let time = time?;
    Some(time.saturating_add(by).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).expect("a time of this century")
    }

    fn at(minute: i64) -> Option<Timestamp> {
        Some(moment(minute))
    }

    fn state(since: Option<Timestamp>, checked_at: Option<Timestamp>) -> State {
        State { since, checked_at, former_traffic: since, ..State::default() }
    }

    #[test]
    fn times_move_with_the_clock_and_never_into_the_future() {
        let ten = SignedDuration::from_mins(10);
        let table = [
            ("forward", ten, 15, state(at(2), at(4)), state(at(12), at(14))),
            ("back", -ten, 0, state(at(2), at(4)), state(at(-8), at(-6))),
            ("not at all", SignedDuration::ZERO, 5, state(at(2), at(4)), state(at(2), at(4))),
            ("noted by a clock that was ahead", SignedDuration::ZERO, -9, state(at(2), at(4)), state(at(-11), at(-9))),
        ];
        for (name, set, now, before, after) in table {
            let known = before.times();
            assert_eq!(before.by_clock(&known, set, moment(now)), after, "{name}");
        }
    }

    #[test]
    fn what_somebody_else_noted_does_not_move() {
        let known = state(at(2), at(4)).times();
        let moved = state(at(2), at(15)).by_clock(&known, SignedDuration::from_mins(10), moment(15));
        assert_eq!(moved, state(at(12), at(15)));
    }

    #[test]
    fn a_memory_moves_with_the_clock() {
        let memory = Memory { matched_since: at(2), asked_at: at(4), ..Memory::default() };
        let moved = memory.by_clock(SignedDuration::from_mins(10), moment(13));
        assert_eq!(moved, Memory { matched_since: at(12), asked_at: at(13), ..Memory::default() });
    }
}
