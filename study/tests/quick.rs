//! A few of the figures on so few rollouts that they are there in seconds: what breaks the judge for good fails here.

use judge::policy::Against;
use study::rules::{Answer, Metric, Rule, Serin};
use study::stream::{Effect, Generator, Plan, Scenario};
use study::tournament::{Tally, play};

fn judge() -> Box<dyn Rule> {
    let judge = Serin::sequential("judge", &[Metric::ErrorRatio], Against::Baseline, 0.05, 1.0);
    Box::new(judge.expect("a policy that can be judged by"))
}

fn played(scenario: Scenario, rate: f64, effect: Effect, rollouts: u64) -> Tally {
    let generator = Generator { plan: Plan::half_hour(rate), scenario, effect, seed: 42 };
    play(&generator, 0, rollouts, &[judge()]).remove(0)
}

/// Of 300 good releases, 28 or more are taken back by chance once in a thousand times if one in twenty is.
#[test]
fn good_releases_stay() {
    for scenario in Scenario::ALL {
        let taken = played(scenario, 600.0, Effect::NONE, 300).worse();
        assert!(taken.hits < 28, "{scenario}: {} of 300 good releases are taken back", taken.hits);
    }
}

#[test]
fn bad_releases_go_and_soon() {
    let tally = played(Scenario::Independent, 600.0, Effect::errors(4.0), 100);
    assert!(tally.worse().hits >= 97, "{:?}", tally.worse());
    assert!(
        tally.minutes(Answer::Worse).value.is_some_and(|minutes| minutes < 11.0),
        "{:?}",
        tally.minutes(Answer::Worse)
    );
}

#[test]
fn nothing_is_said_where_nothing_is_asked() {
    let tally = played(Scenario::Independent, 0.0, Effect::NONE, 1);
    assert_eq!(tally.played[0].answer, Answer::GoOn);
}
