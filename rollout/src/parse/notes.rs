//! What is wrong with a Canary and what was understood otherwise, as it is found.

use std::time::Duration;

use super::{Invalid, duration};

/// Longest time that any field may say; longer ones are slips, and would overflow a calendar.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Most characters of a user's text that a message repeats.
const LONGEST_QUOTE: usize = 80;

#[derive(Default)]
pub(super) struct Notes {
    pub(super) errors: Vec<Invalid>,
    pub(super) warnings: Vec<String>,
}

impl Notes {
    pub(super) fn refuse(&mut self, field: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) {
        self.errors.push(Invalid { field: field.into(), why: why.into(), mend: mend.into() });
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// A percent, 0 to 100.
    pub(super) fn percent(&mut self, field: impl Into<String>, value: i64) -> Option<u8> {
        let percent = u8::try_from(value).ok().filter(|percent| *percent <= 100);
        if percent.is_none() {
            self.refuse(field, format!("{value} is no percent"), "write a whole number from 0 to 100");
        }
        percent
    }

    /// A count, 0 or more.
    pub(super) fn count(&mut self, field: impl Into<String>, value: i64) -> Option<u32> {
        let count = u32::try_from(value).ok();
        if count.is_none() {
            let bound = if value < 0 { "negative" } else { "too large" };
            self.refuse(field, format!("{value} is {bound}"), format!("write a whole number from 0 to {}", u32::MAX));
        }
        count
    }

    /// A time in whole seconds, above zero. `i32::MAX` is how Kubernetes says never.
    pub(super) fn seconds(&mut self, field: &str, value: i64) -> Option<Duration> {
        match u32::try_from(value).ok().filter(|seconds| (1..=i32::MAX as u32).contains(seconds)) {
            Some(seconds) => Some(Duration::from_secs(seconds.into())),
            None => {
                let why = format!("{value} seconds cannot be waited");
                self.refuse(field, why, format!("write a whole number from 1 to {}", i32::MAX));
                None
            }
        }
    }

    /// A time as Go writes it, above zero.
    pub(super) fn duration(&mut self, field: impl Into<String>, text: &str) -> Option<Duration> {
        const MEND: &str = "write a number with a unit (h, m, s, ms), as 30s or 1m30s";
        match duration(text) {
            Ok(time) if time.is_zero() => self.refuse(field, "must be longer than nothing", MEND),
            Ok(time) if time > YEAR => self.refuse(field, "is longer than a year", MEND),
            Ok(time) => return Some(time),
            Err(error) => self.refuse(field, format!("{} {error}", quoted(text)), MEND),
        }
        None
    }
}

/// A user's text in quotation marks, escaped, cut when it is long.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", cut(text))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The complaint of serde at `path`, with a field and a mend.
pub(super) fn wrong_type(path: &str, error: &serde_json::Error) -> Invalid {
    let path = if path == "." { String::new() } else { cut(path) };
    let message = error.to_string();
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let field = match missing {
        Some(name) if path.is_empty() => name.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None if path.is_empty() => "the object".to_owned(),
        None => path,
    };
    let why = if missing.is_some() { "is missing".to_owned() } else { cut_quotes(&message) };
    let mut explain = String::from("canary");
    for part in field.split('.').filter(|_| field != "the object") {
        explain.push('.');
        explain.push_str(part.split('[').next().unwrap_or_default());
    }
    Invalid { field, why, mend: format!("write what `kubectl explain {explain}` shows") }
}

/// serde repeats a user's text in full, between these marks.
fn cut_quotes(message: &str) -> String {
    for (open, close) in [("string \"", "\", expected"), ("variant `", "`, expected")] {
        if let Some(start) = message.find(open).map(|at| at + open.len())
            && let Some(end) = message.rfind(close).filter(|end| *end >= start)
        {
            return format!("{}{}{}", &message[..start], cut(&message[start..end]), &message[end..]);
        }
    }
    message.chars().take(3 * LONGEST_QUOTE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "ä".repeat(1_000_000);
        assert_eq!(quoted(&text).chars().count(), LONGEST_QUOTE + 3);
        assert_eq!(quoted("a\"b\n"), r#""a\"b\n""#);
    }

    #[test]
    fn texts_that_serde_repeats_are_cut() {
        let message = format!("invalid type: string \"{}\", expected a map", "x".repeat(1_000_000));
        let cut = cut_quotes(&message);
        assert!(cut.len() < 200 && cut.ends_with("\", expected a map"), "{cut}");
    }
}
