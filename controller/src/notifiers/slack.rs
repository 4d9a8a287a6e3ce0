//! Slack, and the format that Discord and Rocket.Chat understand as well.

use serde_json::{Value, json};

use super::{Notice, Notifier, Sender};

pub(super) static NOTIFIER: Slack = Slack;

pub(super) struct Slack;

impl Notifier for Slack {
    fn name(&self) -> &'static str {
        "slack"
    }

    fn body(&self, notice: &Notice, sender: &Sender) -> Value {
        message(notice, sender, notice.colour("good", "danger"))
    }

    /// The API for applications answers 200 to everything.
    fn refusal(&self, answer: &str) -> Option<String> {
        let answer: Value = serde_json::from_str(answer).ok()?;
        if answer.get("ok")?.as_bool()? {
            return None;
        }
        Some(answer.get("error").and_then(Value::as_str).unwrap_or("no reason given").to_owned())
    }
}

/// Messages of commits stand in fields, and whoever writes one shall call nobody by `<!channel>`.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A message with one attachment.
pub(super) fn message(notice: &Notice, sender: &Sender, colour: &str) -> Value {
    let fields = notice.fields.iter();
    let fields: Vec<_> = fields.map(|(title, value)| json!({"title": title, "value": escaped(value), "short": false})).collect();
    json!({
        "channel": sender.channel,
        "username": sender.username,
        "icon_emoji": ":rocket:",
        "attachments": [{
            "color": colour,
            "author_name": notice.about(),
            "text": notice.message,
            "mrkdwn_in": ["text"],
            "fields": fields,
        }],
    })
}
