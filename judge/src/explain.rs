//! Verdicts in words, with the numbers behind them.

use std::fmt::Write;

use crate::sample::Millis;
use crate::verdict::{Decision, Evidence, Finding, Measured, Needs, Opinion, Reason, Then, Trouble, Verdict};

/// The verdict in a sentence or two, then a line for each metric and each thing that is wrong with the data.
pub fn explain(verdict: &Verdict) -> String {
    let mut text = headline(&verdict.decision, verdict.at);
    for evidence in &verdict.metrics {
        // Writing into a String cannot fail.
        let _ = write!(text, "\n  {}", line(evidence));
    }
    for finding in &verdict.findings {
        let _ = write!(text, "\n  {}", trouble(finding));
    }
    text
}

/// The decision in a sentence or two.
pub fn headline(decision: &Decision, at: Millis) -> String {
    match decision {
        Decision::Worse { metrics, since } => {
            let ago =
                if at > *since { format!(", since {} ago", time((at - since) as f64 / 1000.0)) } else { String::new() };
            format!("the canary is worse: {}{ago}", metrics.join(", "))
        }
        Decision::NotWorse { .. } => "the canary is not worse by as much as matters".into(),
        Decision::CannotTell { reason, needs, then } => {
            let mut text = format!("cannot tell yet: {}", why(reason, at));
            if let Some(needs) = needs {
                let _ = write!(text, "; {}", wants(*needs));
            }
            match then {
                Some(Then::Rollback) => text.push_str("; the time to hold is over and the policy says roll back"),
                Some(Then::Promote) => text.push_str("; the time to hold is over and the policy says promote"),
                Some(Then::Pause) => text.push_str("; the time to hold is over and a person has to decide"),
                None => {}
            }
            text
        }
    }
}

fn why(reason: &Reason, at: Millis) -> String {
    match reason {
        Reason::NoMetrics => "the policy has no metrics".into(),
        Reason::NoData => "nothing usable was measured".into(),
        Reason::WarmingUp { until } => {
            format!("pods are warming up for another {}", time(until.saturating_sub(at) as f64 / 1000.0))
        }
        Reason::NotEnoughTraffic => "not enough traffic".into(),
        Reason::Close => "there is a difference, and it is open whether it is large enough to matter".into(),
        Reason::FailedCheck { failed, limit } => format!("{failed} of {limit} checks have failed"),
        Reason::MissingData { since, until } => {
            let held = until.saturating_sub(*since) as f64 / 1000.0;
            format!("a metric cannot be read, which is held for at most {}", time(held))
        }
        Reason::WrongSplit { intended, seen } => format!(
            "the canary has {} of the requests that are compared instead of {}",
            percent(*seen),
            percent(*intended)
        ),
    }
}

fn wants(needs: Needs) -> String {
    format!("needs about {} more requests, {} at the present rate", rounded(needs.requests), time(needs.seconds))
}

fn line(evidence: &Evidence) -> String {
    let opinion = match evidence.opinion {
        Opinion::Worse => "worse",
        Opinion::NotWorse => "not worse",
        Opinion::Open => "open",
        Opinion::Failing => "failing",
        Opinion::Missing => "missing",
    };
    let mut text = format!("{}: {opinion}", evidence.metric);
    if let Some(canary) = evidence.canary {
        let _ = write!(text, "; canary {}", measured(canary));
    }
    if let Some(reference) = evidence.reference {
        let _ = write!(text, ", compared with {}", measured(reference));
    }
    if let Some(ratio) = evidence.ratio {
        let _ = write!(text, " (×{ratio:.2})");
    }
    let _ = write!(
        text,
        "; evidence for worse {} of {}, for not worse {} of {}, over {} windows",
        number(evidence.worse.reached),
        number(evidence.worse.needed),
        number(evidence.not_worse.reached),
        number(evidence.not_worse.needed),
        evidence.windows
    );
    if let Some(needs) = evidence.needs {
        let _ = write!(text, "; {}", wants(needs));
    }
    text
}

fn trouble(finding: &Finding) -> String {
    let what = match &finding.what {
        Trouble::Empty => "no such series".into(),
        Trouble::NotANumber => "an answer that is no number".into(),
        Trouble::Outage(why) => format!("the metrics server could not be asked: {why}"),
        Trouble::Reset => "a counter went back".into(),
        Trouble::Stale => "the newest point was too old".into(),
        Trouble::Unpaired => "windows of the canary alone".into(),
        Trouble::WrongSplit { intended, seen } => {
            format!("the canary has {} of the requests instead of {}", percent(*seen), percent(*intended))
        }
        Trouble::Coverage { share } => format!("{} of all answers could be used", percent(*share)),
    };
    let about = finding.metric.as_deref().unwrap_or("traffic");
    if finding.times > 1 { format!("{about}: {what} ({} times)", finding.times) } else { format!("{about}: {what}") }
}

fn measured(measured: Measured) -> String {
    match measured {
        Measured::Counts { requests, events } => {
            let share = if requests > 0.0 { events / requests } else { 0.0 };
            format!("{} of {} ({})", number(events), number(requests), percent(share))
        }
        Measured::Value(value) => number(value),
    }
}

fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

/// Three digits, or all that are before the point.
fn number(value: f64) -> String {
    let size = value.abs();
    let digits = if size >= 100.0 || size == 0.0 {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Two digits of a large number, with its thousands apart.
fn rounded(value: f64) -> String {
    let unit = if value >= 100.0 { libm::pow(10.0, libm::floor(libm::log10(value)) - 1.0) } else { 1.0 };
    let digits = format!("{:.0}", libm::ceil(value / unit) * unit);
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn time(seconds: f64) -> String {
    let seconds = libm::ceil(seconds);
    if seconds < 90.0 {
        format!("{seconds:.0} s")
    } else if seconds < 5400.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_says_how_long_it_lasts() {
        let decision = Decision::CannotTell { reason: Reason::WarmingUp { until: 90_000 }, needs: None, then: None };
        assert_eq!(headline(&decision, 50_000), "cannot tell yet: pods are warming up for another 40 s");
    }

    #[test]
    fn needs_are_told_in_round_numbers() {
        let needs = Some(Needs { requests: 4178.3, seconds: 357.0 });
        let decision = Decision::CannotTell { reason: Reason::NotEnoughTraffic, needs, then: None };
        let text = "cannot tell yet: not enough traffic; needs about 4,200 more requests, 6 min at the present rate";
        assert_eq!(headline(&decision, 0), text);
    }
}
