//! Times as people say them.

/// How long, in the two largest units that matter: `45s`, `3m20s`, `5h`, `2d3h`. Negative spans, which clocks that
/// disagree bring, count as none.
pub fn span(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let two = |large: i64, large_unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit}{small}{small_unit}") }
    };
    let seconds = seconds.max(0);
    if seconds < 2 * MINUTE {
        format!("{seconds}s")
    } else if seconds < 10 * MINUTE {
        two(seconds / MINUTE, "m", seconds % MINUTE, "s")
    } else if seconds < 3 * HOUR {
        format!("{}m", seconds / MINUTE)
    } else if seconds < 8 * HOUR {
        two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m")
    } else if seconds < 2 * DAY {
        format!("{}h", seconds / HOUR)
    } else if seconds < 8 * DAY {
        two(seconds / DAY, "d", seconds % DAY / HOUR, "h")
    } else {
        format!("{}d", seconds / DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_read_as_kubectl_writes_them() {
        for (seconds, text) in [
            (-3, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (599, "9m59s"),
            (3600, "60m"),
            (3 * 3600 + 120, "3h2m"),
            (9 * 3600, "9h"),
            (2 * 86400 + 3 * 3600, "2d3h"),
            (400 * 86400, "400d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
