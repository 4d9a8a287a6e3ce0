//! Records of rollouts as text for people.

use crds::Check;
use jiff::Timestamp;

use super::age::span;
use super::table::{Cell, Table};
use super::{Look, icon, section};
use crate::paint::{Paint, Tone};
use crate::record::explain::Explanation;
use crate::record::history::PastRollout;
use crate::record::replay::Replayed;
use crate::record::{Verdict, commit};

/// Rollouts, one a line.
pub fn history(past: &[PastRollout], paint: Paint) -> String {
    if past.is_empty() {
        return "there is no rollout on record yet\n".to_owned();
    }
    let mut table = Table::headed(&["RECORD", "BEGUN", "VERDICT", "AFTER", "COMMIT", "WHY"]);
    for rollout in past {
        let (words, tone) = verdict(&rollout.verdict);
        table.row(vec![
            Cell::plain(rollout.run.clone()),
            Cell::plain(moment(rollout.begun)),
            Cell::new(tone, words),
            Cell::plain(span(rollout.verdict.seconds)),
            Cell::plain(commit(rollout.source.as_ref()).unwrap_or_else(|| "-".to_owned())),
            Cell::plain(rollout.verdict.why.clone().unwrap_or_default()),
        ]);
    }
    table.render(paint, 0)
}

/// A rollout that was decided once more.
pub fn replayed(replayed: &Replayed, paint: Paint) -> String {
    let mut facts = Table::default();
    let mut fact = |label: &str, tone: Tone, value: String| {
        facts.row(vec![Cell::new(Tone::Strong, label), Cell::new(tone, value)]);
    };
    fact("Record:", Tone::Plain, format!("{} of canary {}/{}", replayed.run, replayed.namespace, replayed.canary));
    fact("Begun:", Tone::Plain, moment(replayed.begun));
    if replayed.truncated > 0 {
        fact("Truncated:", Tone::Held, format!("{} entries were left out behind the first", replayed.truncated));
    }
    fact("Recorded:", verdict(&replayed.recorded).1, was(&replayed.recorded));
    match &replayed.policy {
        None if replayed.same => {
            let count = replayed.decisions.len();
            fact("Replayed:", Tone::Good, format!("the same in each of {count} decisions"));
        }
        None => fact("Replayed:", Tone::Bad, format!("otherwise: it would have been {}", was(&replayed.replayed))),
        Some(policy) => {
            let words = match replayed.replayed.verdict {
                "Open" => format!("it would not have been decided by {}", after(replayed.replayed.seconds)),
                _ => format!("it would have been {}", was(&replayed.replayed)),
            };
            fact("What if:", verdict(&replayed.replayed).1, format!("by {policy} {words}"));
        }
    }
    if let Some(difference) = &replayed.difference {
        fact("They part:", Tone::Held, format!("at {}", after(difference.seconds)));
        fact("  Recorded:", Tone::Plain, difference.recorded.clone());
        fact("  Replayed:", Tone::Plain, difference.replayed.clone());
    }
    let mut text = facts.render(paint, 0);
    text.push_str(&section("Decisions", paint));
    let mut table = Table::headed(&["AFTER", "PHASE", "WEIGHT", "FAILED CHECKS", "TOLD"]);
    for decided in &replayed.decisions {
        let given = decided.given.then_some("(not replayed)");
        let told: Vec<&str> = given.into_iter().chain(decided.told.iter().map(String::as_str)).collect();
        table.row(vec![
            Cell::plain(span(decided.seconds)),
            Cell::plain(decided.phase),
            Cell::plain(decided.weight.to_string()),
            Cell::plain(decided.failed_checks.to_string()),
            Cell::plain(told.join("; ")),
        ]);
    }
    text.push_str(&table.render(paint, 2));
    if !replayed.notes.is_empty() {
        text.push_str(&section("Notes", paint));
        for note in &replayed.notes {
            text.push_str(&format!("  {}\n", paint.put(Tone::Held, note)));
        }
    }
    text
}

/// Why the last decision was taken.
pub fn explanation(explanation: &Explanation, paint: Paint) -> String {
    let canary = format!("{}/{}", explanation.namespace, explanation.canary);
    let (_, tone) = verdict(&explanation.verdict);
    let summary = match explanation.verdict.verdict {
        "Open" => format!("The rollout of {canary} is not decided yet."),
        _ => format!("The rollout of {canary} was {}.", was(&explanation.verdict)),
    };
    let mut text = format!("{}\n", paint.put(tone, &summary));
    if let Some(sentence) = explanation.source.as_ref().and_then(crds::Source::sentence) {
        text.push_str(&format!("It brought {sentence}.\n"));
    }
    let since = after(explanation.decided.duration_since(explanation.begun).as_secs());
    let weight = explanation.weight;
    text.push_str(&format!(
        "The decision was taken at {} UTC, {since} after the rollout began, when the canary had {weight} % of the traffic.\n",
        explanation.decided.strftime("%H:%M:%S")
    ));
    if let Some(taken) = &explanation.command {
        let by = taken.by.as_deref().unwrap_or("someone");
        text.push_str(&format!("{by} asked for it: {}: {}.\n", taken.command, taken.outcome));
    }
    if let (Some(threshold), 1..) = (explanation.threshold, explanation.failed_checks) {
        text.push_str(&format!(
            "{} of {} looks went against the canary; {threshold} failed checks end a rollout.\n",
            explanation.failed_looks, explanation.looks
        ));
    }
    for told in &explanation.told {
        text.push_str(&format!("  {told}\n"));
    }
    if let Some(waiting) = &explanation.waiting_for {
        text.push_str(&format!("Since then: {}\n", waiting.message));
    }
    if let Some(doubt) = &explanation.doubt {
        text.push_str(&format!("{}\n", paint.put(Tone::Held, doubt)));
    }
    if !explanation.checks.is_empty() {
        text.push_str(&section("Checks", paint));
        text.push_str(&checks(&explanation.checks, paint));
    }
    let refused: Vec<_> = explanation.hooks.iter().filter(|hook| hook.answer != "Yes").collect();
    if !refused.is_empty() {
        text.push_str(&section("Hooks", paint));
        for hook in refused {
            let why = hook.message.as_deref().unwrap_or_default();
            text.push_str(&format!("  {} ({}): {} {why}\n", hook.name, hook.type_, hook.answer));
        }
    }
    if !explanation.queries.is_empty() {
        text.push_str(&section("Asked", paint));
        for asked in &explanation.queries {
            let (metric, at, window) = (&asked.metric, asked.at.strftime("%H:%M:%S"), asked.window_seconds);
            let query = asked.query.as_deref().unwrap_or("no question could be made");
            text.push_str(&format!("  {metric} at {at} UTC, over {window} s:\n    {query}\n"));
        }
    }
    if explanation.truncated > 0 {
        text.push_str(&format!("\n{} entries were left out of the record.\n", explanation.truncated));
    }
    text
}

fn checks(checks: &[Check], paint: Paint) -> String {
    let mut table = Table::headed(&["CHECK", "VALUE", "THRESHOLD", "RESULT", "WHY"]);
    for check in checks {
        let (look, tone) = match check.result.as_str() {
            "Passed" => (Look::Good, Tone::Good),
            "Failed" => (Look::Bad, Tone::Bad),
            _ => (Look::Unknown, Tone::Held),
        };
        table.row(vec![
            Cell::plain(check.name.clone()),
            Cell::plain(check.value.clone().unwrap_or_else(|| "-".to_owned())),
            Cell::plain(check.threshold.clone().unwrap_or_else(|| "-".to_owned())),
            Cell::new(tone, format!("{} {}", icon(look), check.result)),
            Cell::plain(check.message.clone().unwrap_or_default()),
        ]);
    }
    table.render(paint, 2)
}

fn verdict(verdict: &Verdict) -> (String, Tone) {
    match verdict.verdict {
        "Promoted" => ("✔ promoted".to_owned(), Tone::Good),
        "RolledBack" => ("✖ rolled back".to_owned(), Tone::Bad),
        "Withdrawn" => ("• withdrawn".to_owned(), Tone::Faint),
        _ => ("◌ under way".to_owned(), Tone::Busy),
    }
}

/// As in "it was …".
fn was(verdict: &Verdict) -> String {
    let why = verdict.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let at = after(verdict.seconds);
    match verdict.verdict {
        "Promoted" => format!("promoted at {at}"),
        "RolledBack" => format!("rolled back at {at}{why}"),
        "Withdrawn" => format!("withdrawn at {at}{why}"),
        _ => format!("not decided by {at}{why}"),
    }
}

/// As in "3 min 20 s".
fn after(seconds: i64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
