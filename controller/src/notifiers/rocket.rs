//! Rocket.Chat: Slack's format with colours by number.

use serde_json::Value;

use super::{Notice, Notifier, Sender, slack};

pub(super) static NOTIFIER: Rocket = Rocket;

pub(super) struct Rocket;

impl Notifier for Rocket {
    fn name(&self) -> &'static str {
        "rocket"
    }

    fn body(&self, notice: &Notice, sender: &Sender) -> Value {
        slack::message(notice, sender, notice.colour("#0076D7", "#FF0000"))
    }
}
