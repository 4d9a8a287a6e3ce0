//! From the commit to the verdict and back into Git, with a forge and with those who apply what is in it; see `e2e/README.md`.

mod deployer;
mod policy;
mod pull_request;
mod way_round;

use std::process::ExitCode;

use e2e::{Test, test};

const TESTS: &[Test] = &[
    test!(way_round::with_serin_alone, 8),
    test!(way_round::with_flux, 8),
    // Its Applications are in a namespace of their own, so its controller sees all of them.
    test!(way_round::with_argo_cd, 8, alone),
    test!(pull_request::by_pull_request, 8),
    test!(way_round::twenty_restarts_give_one_revert, 8),
    test!(policy::gatekeeper_is_named_and_obeyed, 6),
];

fn main() -> ExitCode {
    e2e::main("gitops", TESTS)
}
