//! Records of rollouts: listed, explained, and decided once more. None of it needs a controller; with a file, not even a
//! cluster.

pub mod explain;
pub mod history;
pub mod replay;

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use controller::routers::ROUTERS;
use crds::{CanaryRunSpec, Source};
use jiff::Timestamp;
use rollout::replay::Ending;
use rollout::spec::{Defaults, RouterAbility};
use serde::Serialize;
use serde_json::Value;

use crate::args::Place;
use crate::cluster::{Cluster, Kind};
use crate::complaint::Complaint;

/// A record, with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Namespace of the Canary.
    pub namespace: String,
    /// Name of the record.
    pub name: String,
    /// What it holds.
    pub run: CanaryRunSpec,
}

impl Record {
    /// Reads an exported record: a CanaryRun, or a list with one.
    ///
    /// # Errors
    /// When it is none; the path of the wrong field is in the error.
    pub fn parse(text: &str, place: &str) -> Result<Record, Complaint> {
        let object: Value = serde_saphyr::from_str(text)
            .map_err(|error| Complaint::Refused(format!("{place} is not YAML: {error}")))?;
        let mut runs = match object["items"].as_array() {
            Some(items) => items.iter().filter(|item| item["kind"] == "CanaryRun").collect(),
            None => vec![&object],
        };
        match (runs.pop(), runs.len()) {
            (Some(run), 0) => Record::of(run, place),
            (None, _) => Err(Complaint::Refused(format!("{place} holds no CanaryRun"))),
            (Some(_), more) => Err(Complaint::Refused(format!(
                "{place} holds {} CanaryRuns: export one, as with `kubectl get canaryrun NAME -o yaml`",
                more + 1
            ))),
        }
    }

    /// Reads a CanaryRun; `place` says in errors where it comes from.
    ///
    /// # Errors
    /// When it is none; the path of the wrong field is in the error.
    pub fn of(object: &Value, place: &str) -> Result<Record, Complaint> {
        if object["kind"] != "CanaryRun" {
            let kind = object["kind"].as_str().unwrap_or("nothing that has a kind");
            let export = "export a record with `kubectl get canaryrun NAME -o yaml`";
            return Err(Complaint::Refused(format!("{place} is no CanaryRun but {kind}; {export}")));
        }
        let run = serde_path_to_error::deserialize(&object["spec"])
            .map_err(|error| Complaint::Refused(format!("{place}: spec.{error}")))?;
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or("default").to_owned();
        Ok(Record { namespace: text("namespace"), name: text("name"), run })
    }

    /// Finds what is meant: a file, else a record of the cluster, else the newest of a Canary.
    ///
    /// # Errors
    /// When there is none of these.
    pub async fn find(place: &Place, subject: &str) -> Result<Record, Complaint> {
        if subject == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            return Record::parse(&text, "the standard input");
        }
        let path = Path::new(subject);
        let named_as_file = [".yaml", ".yml", ".json"].iter().any(|end| subject.ends_with(end));
        if path.is_file() || named_as_file {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|why| Complaint::Refused(format!("reading {subject}: {why}")))?;
            return Record::parse(&text, subject);
        }
        let cluster = Cluster::connect(place).await?;
        let (cluster, name) = match subject.split_once('/') {
            Some((namespace, name)) => (cluster.at(namespace), name),
            None => (cluster, subject),
        };
        if let Some(run) = cluster.run(name).await? {
            return Record::of(&run, name);
        }
        let status = &cluster.canary(name).await?["status"];
        let newest = match status["run"].as_str() {
            Some(run) => cluster.run(run).await?,
            None => None,
        };
        let plural = Kind::CanaryRun.resource().plural;
        newest.map(|run| Record::of(&run, name)).unwrap_or_else(|| {
            Err(Complaint::Refused(format!(
                "canary {name} has no rollout on record: there was none since the controller keeps {plural}"
            )))
        })
    }
}

/// How a rollout ended, for programs and people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// `Promoted`, `RolledBack`, `Withdrawn`, or `Open` when the record ends before a decision.
    pub verdict: &'static str,
    /// When it was decided, or when the record ends.
    pub at: Timestamp,
    /// Seconds since the rollout began.
    pub seconds: i64,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Verdict {
    /// The ending of a rollout that began then.
    pub fn of(ending: &Ending, begun: Timestamp) -> Verdict {
        let (verdict, why) = match ending {
            Ending::Promoted { .. } => ("Promoted", None),
            Ending::RolledBack { why, .. } => ("RolledBack", Some(why.clone())),
            Ending::Withdrawn { why, .. } => ("Withdrawn", Some(why.clone())),
            Ending::Open { weight, .. } => ("Open", Some(format!("the canary has {weight} % of the traffic"))),
        };
        let at = ending.at();
        Verdict { verdict, at, seconds: at.duration_since(begun).as_secs(), why: why.filter(|why| !why.is_empty()) }
    }
}

/// The commit, or what else is known of where a revision comes from.
pub(crate) fn commit(source: Option<&Source>) -> Option<String> {
    source.and_then(|source| source.short_commit().map(str::to_owned).or_else(|| source.revision.clone()))
}

/// With what a recorded policy is understood: it was accepted once, so nothing is forbidden.
pub(crate) fn with_defaults<T>(use_them: impl FnOnce(&Defaults<'_>) -> T) -> T {
    let routers: Vec<RouterAbility> = ROUTERS.iter().flat_map(|router| router.abilities()).copied().collect();
    use_them(&Defaults {
        provider: "gatewayapi:v1",
        routers: &routers,
        min_interval: Duration::ZERO,
        no_cross_namespace_refs: false,
    })
}
