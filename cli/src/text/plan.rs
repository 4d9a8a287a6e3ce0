//! What a policy will do, as text for people.

use super::age::span;
use super::section;
use super::table::{Cell, Table};
use crate::paint::{Paint, Tone};
use crate::plan::Foresight;

/// What will happen.
pub fn plans(foreseen: &[Foresight], paint: Paint) -> String {
    foreseen.iter().map(|foresight| plan(foresight, paint)).collect::<Vec<_>>().join("\n")
}

fn plan(foresight: &Foresight, paint: Paint) -> String {
    let mut facts = Table::default();
    let mut fact = |label: &str, value: String| {
        facts.row(vec![Cell::new(Tone::Strong, label), Cell::plain(value)]);
    };
    fact("Canary:", foresight.canary.clone());
    fact(
        "Traffic:",
        foresight.requests_per_minute.map_or_else(
            || "not given: add --requests-per-minute or --metrics-server".to_owned(),
            |rate| format!("{rate} requests a minute"),
        ),
    );
    fact("Promotion:", format!("{} after the first look, when all goes well", span(seconds(foresight.finish_seconds))));
    if let Some(share) = foresight.false_rollbacks {
        fact("Good releases:", format!("{} are taken back", percent(share)));
    }
    if let Some(lost) = foresight.lost_in_outage {
        fact("Outage:", format!("about {lost:.0} requests fail until a canary is taken back that fails all"));
    }
    if let (Some(after), Some(lost)) = (foresight.found_out_seconds, foresight.lost_until_found_out) {
        let after = span(seconds(after));
        fact(
            "Bad releases:",
            format!("found out after {after} and {lost:.0} failed requests, when worse by just as much as matters"),
        );
    }
    let mut text = facts.render(paint, 0);
    text.push_str(&section("Steps", paint));
    let mut table = Table::headed(&["FROM", "CANARY", "REQUESTS BEHIND ITS CHECK", "FAILS FOR A GOOD RELEASE"]);
    for step in &foresight.steps {
        let share = match (step.weight, step.mirrored) {
            (_, true) => "a copy".to_owned(),
            (Some(weight), false) => format!("{weight} %"),
            (None, false) => "by match".to_owned(),
        };
        table.row(vec![
            Cell::plain(span(seconds(step.from_seconds))),
            Cell::plain(share),
            Cell::plain(step.requests.map_or_else(|| "-".to_owned(), |requests| format!("{requests:.0}"))),
            Cell::plain(step.fails.map_or_else(|| "-".to_owned(), percent)),
        ]);
    }
    text.push_str(&table.render(paint, 2));
    if !foresight.findings.is_empty() {
        text.push_str(&section("To be changed", paint));
        text.push_str(&advice(foresight, paint));
    }
    text
}

/// What should be changed.
pub fn findings(foreseen: &[Foresight], paint: Paint) -> String {
    let mut text = String::new();
    for foresight in foreseen {
        let (tone, words) = match foresight.findings.len() {
            0 => (Tone::Good, "✔ nothing to be changed".to_owned()),
            count => (Tone::Bad, format!("✖ {count} to be changed")),
        };
        text.push_str(&format!("{}: {}\n", foresight.canary, paint.put(tone, &words)));
        text.push_str(&advice(foresight, paint));
    }
    text
}

fn advice(foresight: &Foresight, paint: Paint) -> String {
    let mut table = Table::default();
    for finding in &foresight.findings {
        table.row(vec![Cell::new(Tone::Held, finding.reason), Cell::plain(finding.message.clone())]);
    }
    table.render(paint, 2)
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "never".to_owned(),
        percent if percent < 0.01 => "below 0.01 %".to_owned(),
        percent if percent < 1.0 => format!("{percent:.2} %"),
        percent => format!("{percent:.1} %"),
    }
}

fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
