//! The end-to-end suite; see `e2e/README.md`.

mod adoption;
mod crash;
mod dashboard;
mod deletion;
mod harness;
mod idle;
mod malformed;
mod release;
mod rollback;
mod router;
mod steps;
mod strategy;
mod target;

use std::process::ExitCode;

use e2e::{Test, test};

const TESTS: &[Test] = &[
    test!(harness::gateway_follows_weights),
    test!(harness::bad_releases_are_bad),
    // The longest first, so that the last ones do not run alone.
    test!(release::ten_promotions_fail_no_request, 15),
    test!(release::commit_reaches_all_users_step_by_step),
    test!(steps::each_costs_four_writes_and_no_read),
    test!(rollback::release_with_errors_is_taken_back),
    test!(rollback::slow_release_is_taken_back),
    test!(router::traefik_shares_and_counts),
    test!(router::ingress_annotations_share),
    test!(router::older_gateway_api_shares),
    test!(target::daemon_set_is_rolled_out),
    test!(crash::rollout_goes_on_where_it_was),
    test!(dashboard::rights_of_the_cluster_decide),
    test!(strategy::blue_green_switches_users_at_once),
    test!(strategy::services_alone_switch_users_at_once),
    test!(strategy::header_chooses_the_version),
    test!(strategy::header_chooses_the_version_behind_an_ingress),
    test!(strategy::users_stay_on_the_version_they_met),
    test!(deletion::without_revert_what_was_made_goes),
    test!(deletion::with_revert_users_do_not_notice),
    test!(malformed::each_is_told_what_to_mend),
    test!(adoption::flagger_takes_back),
    test!(adoption::nothing_moves, 8, alone),
    test!(idle::hundred_canaries_cost_next_to_nothing, 8, alone),
    test!(harness::fake_nodes_take_three_hundred_deployments, 5, alone),
];

fn main() -> ExitCode {
    e2e::main("suite", TESTS)
}
