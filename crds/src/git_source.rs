//! The GitSource: a repository that Serin's own agent follows, and what of it stands in the cluster.

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::SecretReference;
use crate::schema::{free_form, namespace, optional_duration};

/// Label and annotation of every object that a GitSource applied. The annotation says `NAMESPACE.NAME` of the GitSource;
/// the label says the same, or the end of it and a checksum where that is longer than a label may be.
pub const SOURCE_ANNOTATION: &str = "serin.dev/source";

/// Annotation of an object in Git or in the cluster: `disabled` keeps it when it leaves Git, `enabled` lets even a
/// Namespace, a CustomResourceDefinition or a PersistentVolumeClaim go.
pub const PRUNE_ANNOTATION: &str = "serin.dev/prune";

/// Annotation of a GitSource: another value of it asks for a look at the repository now.
pub const REQUESTED_AT_ANNOTATION: &str = "serin.dev/requested-at";

/// Annotation of a GitSource: a commit that stands in its value is not applied, as a rollback has taken it back. The next
/// commit is.
pub const HOLD_ANNOTATION: &str = "serin.dev/hold";

/// A repository to follow, and how its manifests are brought to the cluster.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "serin.dev",
    version = "v1alpha1",
    kind = "GitSource",
    plural = "gitsources",
    namespaced,
    category = "all",
    status = "GitSourceStatus",
    derive = "Default",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Revision","type":"string","jsonPath":".status.lastAppliedRevision"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".spec.url","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GitSourceSpec {
    /// URL of the repository: `https://`, `http://`, `ssh://`, `USER@HOST:PATH` or `file://`. Credentials do not belong in it.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// What of the repository is followed; the branch `main` unless written.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<GitReference>,
    /// The folder that holds the manifests; the root unless written. With a `kustomization.yaml` in it, it is rendered by
    /// Kustomize; with a `Chart.yaml`, by Helm; else every YAML and JSON file in it and below is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Time between two looks at the repository; `5m` unless written. A webhook makes looks rare that find something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_duration")]
    pub interval: Option<String>,
    /// How long a fetch, a rendering and the waiting for a definition may each take; `60s` unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_duration")]
    pub timeout: Option<String>,
    /// The Secret with the credentials: `username` and `password`, or `bearerToken`; for SSH `identity` and `known_hosts`;
    /// and `ca.crt` for a server with a certificate of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// Apply only commits that one of these keys has signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<GitVerification>,
    /// Delete from the cluster what has left Git, and everything when the GitSource is deleted; true unless written.
    /// Namespaces, CustomResourceDefinitions and PersistentVolumeClaims stay unless `serin.dev/prune: enabled` is on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// What is done when somebody else changes an applied object; `Repair` unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("enum" = ["Repair", "Report", "Ignore"]))]
    pub drift: Option<DriftMode>,
    /// The ServiceAccount, in the namespace of the GitSource, whose rights are used; Serin's own unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "namespace")]
    pub service_account_name: Option<String>,
    /// Namespace of objects that name none; that of the GitSource unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "namespace")]
    pub target_namespace: Option<String>,
    /// How a chart is rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<HelmOptions>,
    /// Who may say that something was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<GitWebhook>,
    /// Do nothing until this is taken out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// What of a repository is followed: one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitReference {
    /// A branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// A tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// A commit, in 40 (or 64) hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Whose signature a commit needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitVerification {
    /// The Secret whose values are public keys.
    pub secret_ref: SecretReference,
}

/// What is done about drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DriftMode {
    /// What Git says is applied again, and what was deleted is made again.
    #[default]
    Repair,
    /// It is told in the status.
    Report,
    /// Nothing; applied objects are not watched.
    Ignore,
}

/// How a chart is rendered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelmOptions {
    /// Name of the release; that of the GitSource unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_name: Option<String>,
    /// Files of values, by their paths in the repository; later ones win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_files: Vec<String>,
    /// Values that win over the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_form")]
    pub values: Option<Map<String, Value>>,
}

/// Who may say that something was pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitWebhook {
    /// Who sends: it decides how the sender is recognised. `Generic` carries the token as a bearer token.
    #[serde(rename = "type")]
    #[schemars(with = "String", extend("enum" = ["GitHub", "GitLab", "Gitea", "Bitbucket", "Generic"]))]
    pub type_: WebhookType,
    /// The Secret with the key `token`.
    pub secret_ref: SecretReference,
}

/// Who sends word of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WebhookType {
    /// GitHub: HMAC-SHA256 of the body in `X-Hub-Signature-256`.
    GitHub,
    /// GitLab: the token in `X-Gitlab-Token`.
    GitLab,
    /// Gitea and Forgejo: HMAC-SHA256 of the body in `X-Gitea-Signature` (or `X-Forgejo-Signature`).
    Gitea,
    /// Bitbucket: HMAC-SHA256 of the body in `X-Hub-Signature`.
    Bitbucket,
    /// Anybody else: `Authorization: Bearer TOKEN`.
    Generic,
}

/// What of the repository stands in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitSourceStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the last commit is applied. `Healthy`: what was applied works.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<GitSourceCondition>,
    /// The revision that was tried last, as in `main@sha1:4f2c1e9…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempted_revision: Option<String>,
    /// The revision of which every object was applied, as in `main@sha1:4f2c1e9…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_revision: Option<String>,
    /// The commit of `lastAppliedRevision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<AppliedCommit>,
    /// Value of `serin.dev/requested-at` that was answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_requested_at: Option<String>,
    /// Path of the webhook receiver for this GitSource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_path: Option<String>,
    /// What was applied, or is about to be: it is written before an object is made, and an object is taken out after it is
    /// gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inventory: Vec<InventoryEntry>,
    /// Applied objects that somebody else has changed, with `drift: Report`; 50 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftEntry>,
}

/// A commit that was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedCommit {
    /// In hexadecimal digits.
    pub id: String,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<CommitAuthor>,
    /// First line of its message, 120 letters at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub time: Option<Timestamp>,
}

/// Who wrote a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitAuthor {
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<String>,
}

/// An object that was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryEntry {
    /// `KIND.GROUP/NAMESPACE/NAME`, without what it has not: `Deployment.apps/shop/web`, `Namespace//shop`.
    pub id: String,
    /// Version of its API.
    pub v: String,
    /// Checksum of what was applied; empty until it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
    /// Checksum of the fields that are the agent's, as the API server noted them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fields: String,
    /// First digits of the commit that last changed it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
}

/// An applied object that is no longer as it was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftEntry {
    /// As in the inventory.
    pub id: String,
    /// `deleted`, or `changed by MANAGER`.
    pub what: String,
}

/// A condition of a GitSource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitSourceCondition {
    /// `Ready` or `Healthy`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_transition_time: Option<Timestamp>,
    /// The generation that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
