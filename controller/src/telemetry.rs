//! The log: JSON lines on stderr in the form that scrapers of Flagger's log know, or columns for people.

use std::fmt::{self, Write as _};
use std::io;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{LogEncoding, LogLevel};

/// Logs to stderr from now on. Fails when a logger was set before.
pub fn start(level: LogLevel, encoding: LogEncoding) -> Result<(), tracing_subscriber::util::TryInitError> {
    subscriber(level, encoding, io::stderr).try_init()
}

fn subscriber<W>(level: LogLevel, encoding: LogEncoding, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let own = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // Libraries tell of every request at debug; what they warn of, the callers say better.
    let targets = Targets::new().with_default(LevelFilter::ERROR).with_targets([
        ("serin", own),
        ("cli", own),
        ("controller", own),
        ("rollout", own),
        ("crds", own),
    ]);
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(JsonFields::new())
        .event_format(Lines { encoding })
        .with_writer(writer);
    tracing_subscriber::registry().with(targets).with(lines)
}

struct Lines {
    encoding: LogEncoding,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            if let Some(formatted) = extensions.get::<FormattedFields<N>>()
                && let Ok(Value::Object(of_span)) = serde_json::from_str(&formatted.fields)
            {
                fields.others.extend(of_span);
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let level = level_text(*metadata.level());
        let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        let caller = caller(metadata.file(), metadata.line());
        match self.encoding {
            LogEncoding::Json => {
                let mut line = Map::new();
                line.insert("level".into(), level.into());
                line.insert("ts".into(), time.into());
                line.insert("caller".into(), caller.into());
                line.insert("msg".into(), fields.message.into());
                for (key, value) in fields.others {
                    line.entry(key).or_insert(value);
                }
                writeln!(writer, "{}", Value::Object(line))
            }
            LogEncoding::Console => {
                write!(writer, "{time}\t{}\t{caller}\t{}", level.to_uppercase(), fields.message)?;
                if !fields.others.is_empty() {
                    write!(writer, "\t{}", Value::Object(fields.others))?;
                }
                writeln!(writer)
            }
        }
    }
}

fn level_text(level: Level) -> &'static str {
    if level == Level::ERROR {
        "error"
    } else if level == Level::WARN {
        "warn"
    } else if level == Level::INFO {
        "info"
    } else {
        "debug"
    }
}

/// Folder, file and line, as zap shortens them.
fn caller(file: Option<&str>, line: Option<u32>) -> String {
    let file = file.unwrap_or("unknown");
    let mut parts: Vec<&str> = file.rsplit('/').take(2).collect();
    parts.reverse();
    let mut text = parts.join("/");
    if let Some(line) = line {
        let _ = write!(text, ":{line}");
    }
    text
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn insert(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else {
            self.others.insert(field.name().trim_start_matches("r#").to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LogLevel, encoding: LogEncoding, say: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = subscriber(level, encoding, move || writer.clone());
        tracing::subscriber::with_default(subscriber, say);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_has_the_keys_that_scrapers_know() {
        let text = logged(LogLevel::Info, LogEncoding::Json, || {
            let span = tracing::info_span!("pass", canary = "podinfo.shop");
            let _entered = span.enter();
            tracing::info!(weight = 10, "Advance podinfo.shop canary weight 10");
        });
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "info");
        assert_eq!(line["msg"], "Advance podinfo.shop canary weight 10");
        assert_eq!(line["canary"], "podinfo.shop");
        assert_eq!(line["weight"], 10);
        assert!(line["caller"].as_str().unwrap().starts_with("src/telemetry.rs:"), "{line}");
        assert!(line["ts"].as_str().unwrap().parse::<Timestamp>().is_ok(), "{line}");
    }

    #[test]
    fn messages_with_quotes_and_newlines_stay_one_line_of_json() {
        let text = logged(LogLevel::Info, LogEncoding::Json, || tracing::error!("a \"b\"\nc"));
        assert_eq!(text.lines().count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["msg"], "a \"b\"\nc");
    }

    #[test]
    fn below_the_level_and_of_libraries_nothing_is_logged() {
        let text = logged(LogLevel::Warn, LogEncoding::Json, || {
            tracing::info!("no");
            tracing::warn!(target: "kube_client::client", "no");
            tracing::warn!("yes");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn columns_for_people() {
        let text = logged(LogLevel::Debug, LogEncoding::Console, || tracing::warn!(canary = "a.b", "careful"));
        let columns: Vec<&str> = text.trim_end().split('\t').collect();
        assert_eq!(columns[1], "WARN");
        assert_eq!(&columns[3..], ["careful", r#"{"canary":"a.b"}"#]);
    }
}
