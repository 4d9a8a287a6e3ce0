//! Where a revision comes from: the commit, and who applied it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Letters of a commit message that are kept of its first line; longer ones end in `…`.
const MESSAGE: usize = 120;

/// Where a revision comes from, as far as that is known. Holds no credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// URL of the repository, without user, password and query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The branch that is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The tag that is followed, where it is no branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The directory in the repository, without `./` in front; absent for its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The commit, whole, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Who wrote the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// The first line of the commit's message, 120 letters at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// URL of the pull request that brought the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<String>,
    /// What was applied, in the words of who applied it, as in `main@sha1:4f2c1e9…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Who applied it: a Kustomization, a HelmRelease, an Application or a GitSource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_by: Option<AppliedBy>,
    /// Who applies it has not said yet that this is what brought the revision: it is still at work, or has applied nothing
    /// new. No commit may be blamed for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub provisional: bool,
    /// The images of the revision, in the order of its containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<SourceImage>,
}

/// Who wrote a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<String>,
}

/// The object that tells a GitOps operator to apply something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedBy {
    /// As in `kustomize.toolkit.fluxcd.io/v1`.
    pub api_version: String,
    /// As in `Kustomization`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An image of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceImage {
    /// Name of the container.
    pub container: String,
    /// The image as the pod template names it, without its digest.
    pub image: String,
    /// The digest, where the pod template names one: `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Source {
    /// The commit as people write it: its first seven digits.
    pub fn short_commit(&self) -> Option<&str> {
        self.commit.as_deref().map(|commit| commit.get(..7).unwrap_or(commit))
    }

    /// The first line of a commit's message, as it is kept.
    pub fn subject(message: &str) -> Option<String> {
        let line = message.lines().map(str::trim).find(|line| !line.is_empty())?;
        if line.chars().count() <= MESSAGE {
            return Some(line.to_owned());
        }
        Some(line.chars().take(MESSAGE - 1).chain(['…']).collect())
    }

    /// What is known, each as one word and a text: `repository`, `branch`, `tag`, `path`, `commit`, `author`, `message`,
    /// `pullRequest` and `appliedBy`.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let author = self.author.as_ref().and_then(|author| match (&author.name, &author.mail) {
            (Some(name), Some(mail)) => Some(format!("{name} <{mail}>")),
            (Some(one), None) | (None, Some(one)) => Some(one.clone()),
            (None, None) => None,
        });
        [
            ("repository", self.repository.clone()),
            ("branch", self.branch.clone()),
            ("tag", self.tag.clone()),
            ("path", self.path.clone()),
            ("commit", self.commit.clone()),
            ("author", author),
            ("message", self.message.clone()),
            ("pullRequest", self.pull_request.clone()),
            ("appliedBy", self.applied_by.as_ref().map(ToString::to_string)),
        ]
        .into_iter()
        .filter_map(|(word, value)| Some((word, value?)))
        .collect()
    }

    /// `commit 4f2c1e9 by Mia: "Bump to 6.9.1" (Kustomization flux-system/apps)`, with as much of it as is known; `None` when
    /// nothing is but images.
    pub fn sentence(&self) -> Option<String> {
        let by = self.applied_by.as_ref().map(ToString::to_string);
        let Some(commit) = self.short_commit() else {
            let revision = self.revision.as_deref()?;
            return Some(by.map_or_else(|| revision.to_owned(), |by| format!("{revision} ({by})")));
        };
        let mut sentence = format!("commit {commit}");
        if let Some(author) = self.author.as_ref().and_then(|author| author.name.as_ref().or(author.mail.as_ref())) {
            sentence = format!("{sentence} by {author}");
        }
        if let Some(message) = &self.message {
            sentence = format!("{sentence}: \"{message}\"");
        }
        if let Some(by) = by {
            sentence = format!("{sentence} ({by})");
        }
        Some(sentence)
    }
}

/// `Kustomization flux-system/apps`.
impl std::fmt::Display for AppliedBy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_with_as_much_as_is_known() {
        let by = AppliedBy {
            api_version: "kustomize.toolkit.fluxcd.io/v1".into(),
            kind: "Kustomization".into(),
            namespace: "flux-system".into(),
            name: "apps".into(),
        };
        let mut source = Source::default();
        assert_eq!(source.sentence(), None);
        source.revision = Some("latest@sha256:77ab".into());
        assert_eq!(source.sentence().as_deref(), Some("latest@sha256:77ab"));
        source.applied_by = Some(by);
        source.commit = Some("4f2c1e9a0c6f1a5d3b7e8f9012345678abcdef01".into());
        assert_eq!(source.sentence().as_deref(), Some("commit 4f2c1e9 (Kustomization flux-system/apps)"));
        source.author = Some(Author { name: Some("Mia".into()), mail: Some("mia@example.com".into()) });
        source.message = Some("Bump to 6.9.1".into());
        let whole = "commit 4f2c1e9 by Mia: \"Bump to 6.9.1\" (Kustomization flux-system/apps)";
        assert_eq!(source.sentence().as_deref(), Some(whole));
    }

    #[test]
    fn of_a_message_the_first_line_is_kept_and_not_all_of_a_long_one() {
        assert_eq!(Source::subject("\n Bump to 6.9.1 \n\nSigned-off"), Some("Bump to 6.9.1".into()));
        assert_eq!(Source::subject(" \n"), None);
        let long = Source::subject(&"ä".repeat(500)).unwrap();
        assert_eq!((long.chars().count(), long.ends_with('…')), (120, true));
    }
}
