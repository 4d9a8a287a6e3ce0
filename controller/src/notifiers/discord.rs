//! Discord, through its ear for Slack's format.

use serde_json::Value;
use url::Url;

use super::{Notice, Notifier, Sender, slack};

pub(super) static NOTIFIER: Discord = Discord;

pub(super) struct Discord;

impl Notifier for Discord {
    fn name(&self) -> &'static str {
        "discord"
    }

    fn url(&self, address: &Url) -> Url {
        let mut url = address.clone();
        let path = url.path().trim_end_matches('/').to_owned();
        if !path.ends_with("/slack") {
            url.set_path(&format!("{path}/slack"));
        }
        url
    }

    fn body(&self, notice: &Notice, sender: &Sender) -> Value {
        slack::message(notice, sender, notice.colour("good", "danger"))
    }
}
