//! The AlertProvider: where notices go.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SecretReference;

/// Where notices go.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "flagger.app",
    version = "v1beta1",
    kind = "AlertProvider",
    plural = "alertproviders",
    namespaced,
    category = "all",
    derive = "Default",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.type"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct AlertProviderSpec {
    /// What it is.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = [
        "slack", "msteams", "discord", "rocket", "gchat", "cloudevents", "github", "gitlab", "gitea", "bitbucket",
        "bitbucketserver", "azuredevops"
    ]))]
    pub type_: String,
    /// Channel, where it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Name of the sender; on a forge the part before the slash in the context of a commit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// URL of its webhook; or the Secret has it. Of a forge: URL of the repository, or of the host when the Canary knows where
    /// its commit is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// URL of the proxy on the way there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// The Secret with `address` and, for Slack and forges, `token`, in the namespace of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}
