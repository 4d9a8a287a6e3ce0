//! Times as Go writes them: `1h15m30.5s`, `500ms`.

use std::time::Duration;

/// Why a text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// There is nothing.
    #[error("is empty")]
    Empty,
    /// A time before now.
    #[error("is negative")]
    Negative,
    /// Something other than a number, where one must be.
    #[error("has no number where one must be")]
    NoNumber,
    /// A number without a unit.
    #[error("has a number without a unit")]
    NoUnit,
    /// A unit that is none of ns, us, ms, s, m and h.
    #[error("has a unit that is none of ns, us, ms, s, m, h")]
    UnknownUnit,
    /// More than 292 years.
    #[error("is too long")]
    TooLong,
}

/// Reads a time as Go writes it: numbers, also with a fraction, each with a unit (ns, us, µs, ms, s, m, h), one after
/// the other; or `0`.
///
/// # Errors
/// When the text is not such a time, is negative, or is longer than Go can say.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    let mut rest = match text.strip_prefix('-') {
        Some("") => return Err(DurationError::NoNumber),
        Some(_) => return Err(DurationError::Negative),
        None => text.strip_prefix('+').unwrap_or(text),
    };
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(DurationError::NoNumber);
        }
        let end = after.find(|character: char| character == '.' || character.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        nanoseconds = nanoseconds.saturating_add(part(whole, fraction, unit_nanoseconds(unit)?));
        if nanoseconds > i64::MAX as u128 {
            return Err(DurationError::TooLong);
        }
        rest = after;
    }
    u64::try_from(nanoseconds).map(Duration::from_nanos).map_err(|_| DurationError::TooLong)
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len()))
}

fn unit_nanoseconds(unit: &str) -> Result<u128, DurationError> {
    match unit {
        "" => Err(DurationError::NoUnit),
        "ns" => Ok(1),
        "us" | "\u{b5}s" | "\u{3bc}s" => Ok(1_000),
        "ms" => Ok(1_000_000),
        "s" => Ok(1_000_000_000),
        "m" => Ok(60_000_000_000),
        "h" => Ok(3_600_000_000_000),
        _ => Err(DurationError::UnknownUnit),
    }
}

/// Saturates; the caller refuses what is too long.
fn part(whole: &str, fraction: &str, unit: u128) -> u128 {
    let number = |text: &str| {
        text.bytes().fold(0u128, |sum, digit| sum.saturating_mul(10).saturating_add(u128::from(digit - b'0')))
    };
    // An hour has 3.6e12 nanoseconds: digits further behind say less than one.
    let fraction = &fraction[..fraction.len().min(15)];
    let scale = 10u128.pow(fraction.len() as u32);
    number(whole).saturating_mul(unit).saturating_add(number(fraction) * unit / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        for (text, milliseconds) in [
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1h", 3_600_000),
            ("1h15m30.5s", 4_530_500),
            (".5s", 500),
            ("1.s", 1_000),
            ("+2s", 2_000),
            ("0", 0),
            ("0s", 0),
            ("1000000us", 1_000),
            ("1000µs", 1),
            ("1s1s", 2_000),
            ("0.0000000000000000000000001h", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for (text, error) in [
            ("", DurationError::Empty),
            ("+", DurationError::Empty),
            ("-", DurationError::NoNumber),
            ("-1s", DurationError::Negative),
            ("60", DurationError::NoUnit),
            ("1m30", DurationError::NoUnit),
            ("s", DurationError::NoNumber),
            (".s", DurationError::NoNumber),
            ("1d", DurationError::UnknownUnit),
            ("1 m", DurationError::UnknownUnit),
            ("1M", DurationError::UnknownUnit),
            ("99999999999999999999999999999999999999999999h", DurationError::TooLong),
            ("292y", DurationError::UnknownUnit),
            ("2562048h", DurationError::TooLong),
        ] {
            assert_eq!(duration(text), Err(error), "{text}");
        }
    }
}
