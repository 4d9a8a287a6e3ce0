//! The end-to-end suite; see `e2e/README.md`.

mod harness;

use std::process::ExitCode;

use e2e::{Test, test};

const TESTS: &[Test] = &[
    test!(harness::gateway_follows_weights),
    test!(harness::bad_releases_are_bad),
    test!(harness::fake_nodes_take_three_hundred_deployments, 5, alone),
];

fn main() -> ExitCode {
    e2e::main("suite", TESTS)
}
