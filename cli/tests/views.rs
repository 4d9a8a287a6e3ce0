//! What people and programs see of a rollout, at five moments that were recorded on a real cluster.

use cli::paint::Paint;
use cli::text;
use cli::view::{Detail, RolloutView, Row, Snapshot};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const MOMENTS: [&str; 5] = ["1-initialized", "2-progressing", "3-waiting-promotion", "4-succeeded", "5-failed"];

fn snapshot(moment: &str) -> Snapshot {
    let path = format!("{}/tests/fixtures/{moment}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    let list: Value = serde_json::from_str(&text).expect(&path);
    let of = |kind: &str| -> Vec<Value> {
        list["items"].as_array().expect("a list").iter().filter(|object| object["kind"] == kind).cloned().collect()
    };
    let named = |name: &str| of("Deployment").into_iter().find(|object| object["metadata"]["name"] == name);
    Snapshot {
        canary: of("Canary").remove(0),
        target: named("podinfo"),
        primary: named("podinfo-primary"),
        replica_sets: of("ReplicaSet"),
        pods: of("Pod"),
        events: of("Event"),
        notes: Vec::new(),
    }
}

/// Forty seconds after the last change.
fn now(snapshot: &Snapshot) -> Timestamp {
    let changed = snapshot.canary["status"]["lastTransitionTime"].as_str().expect("a time");
    changed.parse::<Timestamp>().expect("a time") + SignedDuration::from_secs(40)
}

fn plain(snapshot: &Snapshot, detail: Detail) -> String {
    text::rollout(&RolloutView::of(snapshot, now(snapshot), detail), Paint { colours: false })
}

/// The second moment, as Serin's controller would have it: with checks, a reason to wait, and trouble.
fn troubled() -> Snapshot {
    let mut snapshot = snapshot("2-progressing");
    let status = &mut snapshot.canary["status"];
    status["failedChecks"] = 1.into();
    status["paused"] = true.into();
    status["lastCheckTime"] = "2026-11-22T17:13:22Z".into();
    status["checks"] = json!([
        {"name": "request-success-rate", "result": "Passed", "value": "99.98", "threshold": "≥ 99"},
        {"name": "request-duration", "result": "Failed", "value": "734", "threshold": "≤ 500",
         "message": "734 ms is above 500 ms"},
        {"name": "checkout-errors", "result": "NoData", "threshold": "≤ 1", "message": "the query found no series"},
    ]);
    status["waitingFor"] = json!([
        {"reason": "Paused", "message": "paused by mia; `serin resume podinfo` lets it go on"},
        {"reason": "NoData", "message": "checkout-errors has no value yet"},
    ]);
    status["lastCommand"] = json!({
        "id": "7", "command": "pause", "by": "mia", "outcome": "paused", "time": "2026-11-22T17:13:00Z",
    });
    let pod = &mut snapshot.pods[0]["status"];
    pod["containerStatuses"][0] = json!({
        "ready": false, "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
    });
    snapshot.notes.push("events are not shown: reading them: not allowed".into());
    snapshot.events.clear();
    snapshot
}

#[test]
fn rollouts_read_well_at_every_moment() {
    for moment in MOMENTS {
        insta::assert_snapshot!(moment, plain(&snapshot(moment), Detail::Usual));
    }
}

#[test]
fn a_troubled_rollout_says_what_is_the_matter() {
    insta::assert_snapshot!(plain(&troubled(), Detail::Wide));
}

#[test]
fn structured_output_holds_the_same_facts() {
    let snapshot = troubled();
    insta::assert_json_snapshot!(RolloutView::of(&snapshot, now(&snapshot), Detail::Usual));
}

#[test]
fn a_list_has_a_line_for_each() {
    let canaries = MOMENTS.map(|moment| snapshot(moment).canary);
    let now = now(&snapshot("5-failed"));
    let rows: Vec<Row> = canaries.iter().chain([&troubled().canary]).map(|canary| Row::of(canary, now)).collect();
    insta::assert_snapshot!(text::rows(&rows, Paint { colours: false }, true, true));
}

#[test]
fn a_line_for_logs_changes_only_with_the_rollout() {
    let snapshot = troubled();
    let at = |seconds| {
        let later = now(&snapshot) + SignedDuration::from_secs(seconds);
        text::line(&RolloutView::of(&snapshot, later, Detail::Usual))
    };
    assert_eq!(at(0), at(60));
    insta::assert_snapshot!(at(0));
}

#[test]
fn what_the_ready_condition_adds_is_part_of_the_message() {
    let mut snapshot = snapshot("5-failed");
    let view = |snapshot: &Snapshot| RolloutView::of(snapshot, now(snapshot), Detail::Usual);
    let ready =
        json!({"type": "Ready", "status": "False", "reason": "Failed", "message": "taken back after 3 failed checks"});
    snapshot.canary["status"]["conditions"].as_array_mut().expect("conditions").push(ready);
    let both = "Canary analysis failed, Deployment scaled to zero; taken back after 3 failed checks";
    assert_eq!(view(&snapshot).message.as_deref(), Some(both));
    let waiting = json!([{"reason": "Draining", "message": "taken back after 3 failed checks"}]);
    snapshot.canary["status"]["waitingFor"] = waiting;
    assert_eq!(view(&snapshot).message.as_deref(), Some("Canary analysis failed, Deployment scaled to zero."));
}

#[test]
fn plain_text_has_no_colours_and_no_blanks_at_line_ends() {
    for moment in MOMENTS {
        let text = plain(&snapshot(moment), Detail::Wide);
        assert!(!text.contains('\x1b'));
        assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
    }
}

#[test]
fn a_canary_that_nobody_has_looked_at_is_shown_too() {
    let canary = json!({
        "metadata": {"name": "new", "namespace": "shop"},
        "spec": {"targetRef": {"kind": "Deployment", "name": "new"}, "analysis": {"stepWeight": 50}},
    });
    let snapshot = Snapshot { canary, ..Snapshot::default() };
    let now = "2026-11-22T17:00:00Z".parse().expect("a time");
    insta::assert_snapshot!(text::rollout(&RolloutView::of(&snapshot, now, Detail::Usual), Paint { colours: false }));
}

#[test]
fn objects_of_any_shape_do_no_harm() {
    let odd = [json!(null), json!({}), json!([]), json!({"metadata": 3, "spec": [], "status": {"phase": "Odd"}})];
    let now = "2026-11-22T17:00:00Z".parse().expect("a time");
    for canary in &odd {
        for other in &odd {
            let others = vec![other.clone()];
            let snapshot = Snapshot {
                canary: canary.clone(),
                target: Some(other.clone()),
                primary: Some(other.clone()),
                replica_sets: others.clone(),
                pods: others.clone(),
                events: others,
                notes: Vec::new(),
            };
            let text = text::rollout(&RolloutView::of(&snapshot, now, Detail::Wide), Paint { colours: false });
            assert!(text.starts_with("Name:"));
        }
    }
}
