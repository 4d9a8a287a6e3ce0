//! The time that a question to Prometheus is about.

use std::time::Duration;

/// The time that a question is about.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Window of the rates; at least a millisecond.
    pub window: Duration,
    /// How long before now the window ends.
    pub before: Duration,
}

impl Span {
    /// The time until now.
    pub fn until_now(window: Duration) -> Span {
        Span { window, before: Duration::ZERO }
    }

    /// As a range of PromQL.
    pub(super) fn range(self) -> String {
        let window = prometheus_duration(self.window);
        if self.before.is_zero() {
            format!("[{window}]")
        } else {
            format!("[{window}] offset {}", prometheus_duration(self.before))
        }
    }
}

fn prometheus_duration(window: Duration) -> String {
    let milliseconds = window.as_millis().max(1);
    match (milliseconds % 60_000, milliseconds % 1000) {
        (0, _) => format!("{}m", milliseconds / 60_000),
        (_, 0) => format!("{}s", milliseconds / 1000),
        (_, _) => format!("{milliseconds}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_written_as_prometheus_reads_it() {
        let table = [(60_000, "1m"), (90_000, "90s"), (3_600_000, "60m"), (1_500, "1500ms"), (0, "1ms")];
        for (milliseconds, wanted) in table {
            assert_eq!(prometheus_duration(Duration::from_millis(milliseconds)), wanted);
        }
    }
}
