//! A scenario as people write it: what stands in the cluster, who uses it, what happens to it, and how it should end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::faults::Trouble;
use super::surroundings::Manner;

/// A scenario, read and with its objects in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scenario {
    /// What it shows, in a sentence.
    #[serde(default)]
    pub about: String,
    /// Decides all that is left to chance; 0 unless written.
    #[serde(default)]
    pub seed: u64,
    /// The time at its beginning.
    #[serde(default = "new_year")]
    pub start: Timestamp,
    /// Flags of `serin run`.
    #[serde(default)]
    pub controller: Vec<String>,
    /// Namespace of objects that name none.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// What stands in the cluster at the beginning.
    pub objects: Vec<Source>,
    /// Who uses it.
    pub traffic: sim::world::traffic::Traffic,
    /// How its versions behave, by tag.
    #[serde(default)]
    pub versions: sim::world::application::Applications,
    /// What measures them.
    #[serde(default)]
    pub metrics: sim::world::metrics::Settings,
    /// What happens, in the order of time.
    #[serde(default)]
    pub then: Vec<Happening>,
    /// Requests of the controller to the Kubernetes API that go wrong.
    #[serde(default)]
    pub faults: Vec<Trouble>,
    /// The controller dies, and a new one starts, when so many writes were done in all.
    #[serde(default)]
    pub dies_after_writes: Vec<u64>,
    /// Controllers at once; 1 unless written. Without `--enable-leader-election` all of them work.
    #[serde(default = "one")]
    pub replicas: u32,
    /// Tags of versions that must never become the primary.
    #[serde(default)]
    pub unfit: Vec<String>,
    /// Longest time that it may take.
    #[serde(deserialize_with = "duration", default = "one_hour")]
    pub within: Duration,
    /// How it should end.
    #[serde(default)]
    pub expect: Expectation,
}

/// Objects: a file of YAML documents, by its path from the scenario's folder, or one object.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// A path.
    File(PathBuf),
    /// An object.
    Object(Value),
}

/// Something that happens at a time after the beginning.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Happening {
    /// When, counted from the moment that all Canaries are initialized.
    #[serde(deserialize_with = "duration")]
    pub at: Duration,
    /// A new image for the containers of that workload: `podinfo: podinfo:6.9.1`.
    #[serde(default)]
    pub image: BTreeMap<String, String>,
    /// Objects to apply, as a GitOps operator would.
    #[serde(default)]
    pub apply: Vec<Source>,
    /// Annotations of a Deployment or DaemonSet, null to take one off: `podinfo: {serin.dev/canary: web}`.
    #[serde(default)]
    pub annotate: BTreeMap<String, BTreeMap<String, Option<String>>>,
    /// Objects to delete: `Canary/podinfo`.
    #[serde(default)]
    pub delete: Vec<String>,
    /// Verbs for Canaries: `podinfo: promote`.
    #[serde(default)]
    pub command: BTreeMap<String, String>,
    /// From now on hooks at that URL do so: `http://gate/: false`, `hang`, or `{after: 20s, says: true}`.
    #[serde(default)]
    pub hooks: BTreeMap<String, Manner>,
    /// The controller's clock is set by so much, `10m` or `-5m`; that of the cluster goes on as it did.
    #[serde(default, deserialize_with = "some_signed")]
    pub clock: Option<SignedDuration>,
    /// The controller dies, and a new one starts.
    #[serde(default)]
    pub restart: bool,
}

/// How a scenario should end. What is not written is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Expectation {
    /// Phases by name of Canary.
    #[serde(default)]
    pub phases: BTreeMap<String, crds::Phase>,
    /// Where no phases are written: a rollout may be taken back.
    #[serde(default)]
    pub may_fail: bool,
    /// Images that serve all traffic at the end, by name of Canary.
    #[serde(default)]
    pub serving: BTreeMap<String, String>,
    /// Objects that must be gone at the end: `Canary/podinfo`.
    #[serde(default)]
    pub absent: Vec<String>,
    /// Requests that may fail at most.
    pub failed_requests: Option<u64>,
    /// Sentences, or parts of them, that must be among the events, in this order.
    #[serde(default)]
    pub events: Vec<String>,
    /// Reasons or sentences, or parts of them, that must be among what the Canaries waited for, in this order.
    #[serde(default)]
    pub waits: Vec<String>,
}

/// Why a scenario cannot be run. The words say what to change.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A file cannot be read.
    #[error("reading {path}: {why}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        why: std::io::Error,
    },
    /// A file cannot be understood.
    #[error("{path}: {why}", path = path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        why: String,
    },
    /// It cannot be put on the stage.
    #[error("{0}")]
    Stage(String),
}

impl Scenario {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or understood; the path of the field is in the error.
    pub fn read(path: &Path) -> Result<Scenario, ScenarioError> {
        let text = read(path)?;
        let value: Value = yaml(path, &text)?;
        serde_path_to_error::deserialize(value)
            .map_err(|error| ScenarioError::Syntax { path: path.to_owned(), why: error.to_string() })
    }
}

/// The objects of the sources, in their order; paths are taken from `folder`.
///
/// # Errors
/// When a file cannot be read or understood.
pub fn objects(sources: &[Source], folder: &Path) -> Result<Vec<Value>, ScenarioError> {
    let mut objects = Vec::new();
    for source in sources {
        match source {
            Source::Object(object) => objects.push(object.clone()),
            Source::File(path) => {
                let path = folder.join(path);
                let documents: Vec<Value> = serde_saphyr::from_multiple(&read(&path)?)
                    .map_err(|error| ScenarioError::Syntax { path: path.clone(), why: error.to_string() })?;
                objects.extend(documents.into_iter().filter(|document| !document.is_null()));
            }
        }
    }
    Ok(objects)
}

fn read(path: &Path) -> Result<String, ScenarioError> {
    std::fs::read_to_string(path).map_err(|why| ScenarioError::File { path: path.to_owned(), why })
}

fn yaml(path: &Path, text: &str) -> Result<Value, ScenarioError> {
    serde_saphyr::from_str(text)
        .map_err(|error| ScenarioError::Syntax { path: path.to_owned(), why: error.to_string() })
}

fn new_year() -> Timestamp {
    // 2026-01-01T00:00:00Z, without the database of time zones.
    Timestamp::constant(1_767_225_600, 0)
}

fn default_namespace() -> String {
    "default".into()
}

const fn one() -> u32 {
    1
}

const fn one_hour() -> Duration {
    Duration::from_secs(3600)
}

/// A duration as people write it, which may be negative.
fn some_signed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SignedDuration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let signed = text.trim_start_matches('+').parse();
    let wrong = |_| serde::de::Error::custom(format!("{text:?} is not a duration like 10m, +90s or -5m"));
    signed.map(Some).map_err(wrong)
}

/// A duration as people write it.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed: Option<jiff::SignedDuration> = text.parse().ok();
    parsed
        .and_then(|parsed| Duration::try_from(parsed).ok())
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a duration like 90s, 1m30s or 250ms")))
}
