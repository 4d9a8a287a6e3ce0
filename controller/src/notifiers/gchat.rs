//! Google Chat: a card of the first version.

use serde_json::{Value, json};

use super::{Notice, Notifier, Sender};

pub(super) static NOTIFIER: GoogleChat = GoogleChat;

pub(super) struct GoogleChat;

impl Notifier for GoogleChat {
    fn name(&self) -> &'static str {
        "gchat"
    }

    fn body(&self, notice: &Notice, _sender: &Sender) -> Value {
        let paragraph = json!({"widgets": [{"textParagraph": {"text": escaped(&notice.message)}}]});
        let fields = notice
            .fields
            .iter()
            .map(|(title, value)| json!({"header": title, "widgets": [{"textParagraph": {"text": escaped(value)}}]}));
        let sections: Vec<_> = std::iter::once(paragraph).chain(fields).collect();
        json!({
            "cards": [{
                "header": {"title": "Flagger", "subtitle": notice.about()},
                "sections": sections,
            }],
        })
    }
}

/// Paragraphs are read as HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
