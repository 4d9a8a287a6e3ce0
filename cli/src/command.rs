//! The verbs: a command is written to the Canary as annotations, and the controller's answer is awaited.

use std::pin::pin;
use std::time::Duration;

use controller::command::{Verb, random_id, refusal, written, written_undo};
use crds::CommandTaken;
use futures::TryStreamExt;
use kube::runtime::{WatchStreamExt, watcher};

use crate::args::Asked;
use crate::cluster::{Cluster, Kind, as_value};
use crate::complaint::Complaint;
use crate::paint::write_out;
use crate::view::read_status;

/// A command with what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order<'a> {
    verb: Verb,
    commit: Option<&'a str>,
}

impl<'a> Order<'a> {
    /// Nothing belongs to it.
    pub const fn of(verb: Verb) -> Order<'a> {
        Order { verb, commit: None }
    }

    /// To go back to this commit, or to what was there before.
    pub const fn undo(commit: Option<&'a str>) -> Order<'a> {
        Order { verb: Verb::Undo, commit }
    }
}

/// Gives the command, and prints what came of it.
pub async fn give(cluster: &Cluster, asked: &Asked, order: Order<'_>) -> Result<(), Complaint> {
    let verb = order.verb;
    let name = asked.name.as_str();
    let canary = cluster.canary(name).await?;
    if let Some(why) = refusal(&canary, verb) {
        return Err(Complaint::Refused(why));
    }
    let id = random_id();
    let by = cluster.asker().await;
    let patch = match order.commit {
        Some(commit) => written_undo(commit, &id, &by),
        None => written(verb, &id, &by),
    };
    cluster.annotate(name, &patch).await?;
    match tokio::time::timeout(Duration::from_secs(asked.timeout), taken(cluster, name, &id)).await {
        Ok(Ok(taken)) if taken.outcome.starts_with("refused") => {
            Err(Complaint::Refused(format!("{name}: {}: {}", taken.command, taken.outcome)))
        }
        Ok(Ok(taken)) => Ok(write_out(&format!("{name}: {}: {}\n", taken.command, taken.outcome))?),
        Ok(Err(complaint)) => Err(complaint),
        Err(_) => Err(Complaint::NotTaken {
            command: verb.as_str(),
            seconds: asked.timeout,
            name: name.to_owned(),
            namespace: cluster.namespace.clone(),
        }),
    }
}

/// Follows the Canary until its status holds the answer to the command of this id.
async fn taken(cluster: &Cluster, name: &str, id: &str) -> Result<CommandTaken, Complaint> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let changes = watcher(cluster.api(Kind::Canary), config).default_backoff().applied_objects();
    let mut changes = pin!(changes);
    loop {
        match changes.try_next().await {
            Ok(Some(object)) => {
                let status = read_status(&as_value(&object, Kind::Canary), &mut Vec::new());
                if let Some(taken) = status.last_command.filter(|taken| taken.id == id) {
                    return Ok(taken);
                }
            }
            Ok(None) => return Err(Complaint::Refused(format!("the watch of canary {name} ended"))),
            Err(watcher::Error::InitialListFailed(failure) | watcher::Error::WatchStartFailed(failure)) => {
                return Err(Complaint::of_api(format!("the command stands, but watching canary {name}"), failure));
            }
            Err(watcher::Error::WatchFailed(_) | watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion) => {
            }
        }
    }
}
