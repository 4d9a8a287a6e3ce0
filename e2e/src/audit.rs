//! Exactly which requests a controller made, from the API server's audit log.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::cluster::Cluster;

/// A place in the audit log from which requests of one user are counted.
pub struct Audit {
    log: PathBuf,
    from: u64,
    user: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<ObjectRef>,
    #[serde(rename = "requestURI")]
    request_uri: String,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct ObjectRef {
    resource: Option<String>,
    subresource: Option<String>,
}

impl Audit {
    /// Counts the requests of `user` from now on; `None` where the API server is not the harness's own.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn from_now(cluster: &Cluster, user: &str) -> Result<Option<Self>> {
        let Some(log) = cluster.audit_log.clone() else { return Ok(None) };
        let from = std::fs::metadata(&log).with_context(|| format!("looking at {}", log.display()))?.len();
        Ok(Some(Self { log, from, user: user.to_owned() }))
    }

    /// The requests since then, by verb and resource.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn requests(&self) -> Result<BTreeMap<String, usize>> {
        let mut file = std::fs::File::open(&self.log).with_context(|| format!("opening {}", self.log.display()))?;
        file.seek(SeekFrom::Start(self.from)).context("going to a place in the audit log")?;
        let mut text = String::new();
        file.read_to_string(&mut text).context("reading the audit log")?;
        let mut requests = BTreeMap::new();
        // A request counts when it is received: a watch that stays open counts once. The last line may be half written.
        for event in text.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok()) {
            if event.stage == "RequestReceived" && event.user.username == self.user {
                let what = match event.object_ref {
                    Some(ObjectRef { resource: Some(resource), subresource: Some(sub) }) => format!("{resource}/{sub}"),
                    Some(ObjectRef { resource: Some(resource), .. }) => resource,
                    _ => event.request_uri,
                };
                *requests.entry(format!("{} {what}", event.verb)).or_default() += 1;
            }
        }
        Ok(requests)
    }
}
