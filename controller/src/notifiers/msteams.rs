//! Microsoft Teams: a MessageCard.

use serde_json::{Value, json};

use super::{Notice, Notifier, Sender};

pub(super) static NOTIFIER: MsTeams = MsTeams;

pub(super) struct MsTeams;

impl Notifier for MsTeams {
    fn name(&self) -> &'static str {
        "msteams"
    }

    fn body(&self, notice: &Notice, _sender: &Sender) -> Value {
        let facts: Vec<_> = notice.fields.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        json!({
            "@type": "MessageCard",
            "@context": "http://schema.org/extensions",
            "themeColor": notice.colour("0076D7", "FF0000"),
            "summary": notice.about(),
            "sections": [{
                "activityTitle": notice.message,
                "activitySubtitle": notice.about(),
                "facts": facts,
            }],
        })
    }
}
