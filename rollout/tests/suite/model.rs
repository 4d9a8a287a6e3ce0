//! Random worlds against rules that hold in every one of them, with crashes between any two writes.

mod rules;
mod scenario;

use proptest::prelude::*;
use rollout::State;

use crate::support::build::at;
use crate::support::world::Pass;
use rules::Rules;
use scenario::{End, Scenario, any_state, calm, wild};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, and wherever the process dies, the rules hold and the run ends or says what it waits for.
    #[test]
    fn every_world_keeps_the_rules(scenario in wild()) {
        play(&scenario, true);
    }

    /// A crash costs time, never the outcome.
    #[test]
    fn a_crash_does_not_change_the_end(scenario in calm()) {
        prop_assert_eq!(play(&scenario, false), play(&scenario, true));
    }

    /// The status is all that survives; it says all.
    #[test]
    fn every_state_survives_the_status(state in any_state()) {
        let text = serde_json::to_string(&state.to_status()).expect("a status is JSON");
        let status = serde_json::from_str(&text).expect("a status is read back");
        prop_assert_eq!(State::from_status(&status), state);
    }
}

/// Plays a scenario to its end and checks every pass.
fn play(scenario: &Scenario, crashes: bool) -> End {
    let (mut world, mut rules, mut number) = (scenario.world(), Rules::new(), 0_usize);
    let mut events = scenario.events.iter().peekable();
    let horizon = at(4 * 3600);
    let mut settled = false;
    while world.now < horizon {
        while let Some((_, event)) = events.next_if(|(time, _)| at(*time) <= world.now) {
            event.happen(&mut world);
        }
        let crash = scenario.crashes.iter().find(|(pass, _)| crashes && *pass == number).map(|(_, write)| *write);
        let before = world.clone();
        let pass: Pass = world.pass(crash);
        rules.check(&before, &world, &pass);
        number += 1;
        let next_event = events.peek().map(|(time, _)| at(*time).max(world.now));
        let next = world.next_look(&pass).into_iter().chain(next_event).min();
        let Some(next) = next else {
            settled = true;
            rules.check_rest(&world, &pass);
            break;
        };
        world.now = next.max(world.now + jiff::SignedDuration::from_millis(1));
    }
    rules.check_end(&world, settled);
    End::of(&world)
}
