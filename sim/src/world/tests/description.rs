use std::time::Duration;

use super::super::Description;
use super::description;
use crate::controllers::Behaviour;

#[test]
fn containers_live_as_described() {
    let text = r#"
traffic: {rate: 1/s}
versions:
  "1": {start: 3s, crash: 90s, pull: 2s, stop: 5s}
  "2": {readiness: Never, image: Missing}
  "*": {start: 1s}
"#;
    let applications = description(text).versions;
    let seconds = Duration::from_secs;
    let life = |image: &str| Behaviour::of(&applications, image, Duration::ZERO);
    let (first, second) = (life("podinfo:1"), life("podinfo:2"));
    assert_eq!((first.pull, first.ready_after), (Some(seconds(2)), Some(seconds(3))));
    assert_eq!((first.crash_after, first.end_after), (Some(seconds(90)), seconds(5)));
    assert_eq!((second.pull, second.ready_after, second.crash_after), (None, None, None));
    assert_eq!(life("podinfo:3").ready_after, Some(seconds(1)));
}

#[test]
fn a_description_that_is_wrong_says_where() {
    let table = [
        ("traffic: {rat: 1/s}", "rat"),
        ("traffic: {rate: 600}", "600"),
        ("traffic: {rate: 600/day}", "600/min"),
        ("traffic: {rate: -1/s}", "600/min"),
        ("traffic: {rate: {ramp: {from: 1/s, to: 2/s}}}", "over"),
        ("traffic: {rate: {wave: {}}}", "wave"),
        ("traffic: {rate: 1/s, through: Istio}", "Istio"),
        ("traffic: {rate: 1/s, through: Service}", "traffic.service is needed"),
        ("traffic: {rate: 1/s, users: 0}", "traffic.users"),
        ("traffic: {rate: 1/s, classes: [{name: a}]}", "traffic.classes[0] needs either share or rate"),
        ("traffic: {rate: 1/s, classes: [{name: a, share: 60%}, {name: b, share: 50%}]}", "110% together"),
        ("traffic: {rate: 1/s, classes: [{name: users, share: 6%}]}", "traffic.classes[0].name"),
        ("traffic: {rate: 1/s, classes: [{name: a, share: 101%}]}", "101%"),
        ("traffic: {rate: 1/s, classes: [{name: a, share: 5}]}", "0% to 100%"),
        ("{traffic: {rate: 1/s}, versions: {'1': {latency: {median: 0s, p99: 1s}}}}", "median"),
        ("{traffic: {rate: 1/s}, versions: {'1': {latency: {median: 2s, p99: 1s}}}}", "p99"),
        ("{traffic: {rate: 1/s}, versions: {'1': {start: soon}}}", "soon"),
        ("{traffic: {rate: 1/s}, versions: {'1': {warm_up: {for: 1s, factor: 0}}}}", "warm_up.factor"),
        ("{traffic: {rate: 1/s}, metrics: {outage: [{from: 2m, to: 1m, kind: Slow}]}}", "to is not after from"),
        ("{traffic: {rate: 1/s}, metrics: {outage: [{from: 1m, to: 2m, kind: Down}]}}", "Down"),
        ("{traffic: {rate: 1/s}, metric: {}}", "metric"),
        ("versions: {}", "traffic"),
    ];
    for (text, wanted) in table {
        let error = serde_saphyr::from_str::<Description>(text).expect_err(text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}
