//! The controller dies after each write of a rollout in turn.

use std::path::Path;

use cli::simulate::scenario::Scenario;
use cli::simulate::stage::play;

/// Writes of the rollout, its end included; those before it make the primary.
const WRITES: std::ops::RangeInclusive<u64> = 10..=36;

#[test]
fn no_death_leaves_anything_of_a_baseline() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/baseline-killed.yaml");
    let scenario = Scenario::read(&file).expect("a scenario");
    for write in WRITES {
        let scenario = Scenario { dies_after_writes: vec![write], ..scenario.clone() };
        let played = play(&scenario, file.parent().expect("a folder")).expect("a play");
        let objections = &played.verdict.objections;
        assert!(played.verdict.is_met(), "died after write {write}: {objections:#?}\n{}", played.transcript);
    }
}
