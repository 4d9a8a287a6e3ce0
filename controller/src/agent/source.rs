//! From a GitSource to what cannot be wrong.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crds::{DriftMode, GitSource, GitWebhook, HelmOptions};
use jiff::SignedDuration;

/// Namespace and name of a GitSource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl SourceKey {
    /// The GitSource of that name.
    pub fn new(namespace: &str, name: &str) -> SourceKey {
        SourceKey { namespace: namespace.into(), name: name.into() }
    }

    /// As the annotation of what it applied names it.
    pub fn annotation(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }
}

impl fmt::Display for SourceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// A GitSource, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name.
    pub key: SourceKey,
    /// URL of the repository, without credentials.
    pub url: String,
    /// What is followed.
    pub reference: Reference,
    /// Folder of the manifests, without slashes at its ends; empty for the root.
    pub path: String,
    /// Time between two looks.
    pub interval: Duration,
    /// How long each thing may take.
    pub timeout: Duration,
    /// Secret with credentials.
    pub secret: Option<String>,
    /// Secret with public keys.
    pub keys: Option<String>,
    /// Delete what left Git.
    pub prune: bool,
    /// What is done about drift.
    pub drift: DriftMode,
    /// Whose rights are used; `None`: Serin's own.
    pub account: Option<String>,
    /// Namespace of objects that name none.
    pub namespace: String,
    /// How a chart is rendered.
    pub helm: HelmOptions,
    /// Who may tell of pushes.
    pub webhook: Option<GitWebhook>,
    /// Nothing is to be done.
    pub suspend: bool,
}

/// What of a repository is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A branch.
    Branch(String),
    /// A tag.
    Tag(String),
    /// A commit.
    Commit(String),
}

impl Reference {
    /// As in `main@sha1:4f2c…`.
    pub fn revision(&self, commit: &str) -> String {
        let algorithm = if commit.len() == 64 { "sha256" } else { "sha1" };
        match self {
            Reference::Branch(name) | Reference::Tag(name) => format!("{name}@{algorithm}:{commit}"),
            Reference::Commit(_) => format!("{algorithm}:{commit}"),
        }
    }
}

/// What holds for all GitSources.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The ServiceAccount of those that name none, in their own namespace; `None`: Serin's own rights.
    pub default_account: Option<String>,
    /// Repositories of this machine may be named by `file://`: whoever may write a GitSource reads all that this
    /// process can.
    pub local_repositories: bool,
}

const DEFAULT_INTERVAL: Duration = Duration::from_secs(5 * 60);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Understands a GitSource.
///
/// # Errors
/// All that is wrong with it, in sentences.
pub fn parse(source: &GitSource, rules: &Rules) -> Result<Source, Vec<String>> {
    let mut wrong = Vec::new();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let key = SourceKey::new(&text(&source.metadata.namespace), &text(&source.metadata.name));
    let spec = &source.spec;
    check_url(&spec.url, rules, &mut wrong);
    let reference = reference(spec.reference.as_ref(), &mut wrong);
    let path = path(spec.path.as_deref().unwrap_or_default(), "spec.path", &mut wrong);
    let interval = duration(spec.interval.as_deref(), "spec.interval", DEFAULT_INTERVAL, &mut wrong);
    let timeout = duration(spec.timeout.as_deref(), "spec.timeout", DEFAULT_TIMEOUT, &mut wrong);
    if timeout > LONGEST_TIMEOUT {
        wrong.push(format!("spec.timeout: {timeout:?} is too long; {LONGEST_TIMEOUT:?} at most"));
    }
    let mut helm = spec.helm.clone().unwrap_or_default();
    for file in &mut helm.values_files {
        *file = self::path(file, "spec.helm.valuesFiles", &mut wrong);
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let secret = |reference: &Option<crds::SecretReference>| reference.as_ref().map(|secret| secret.name.clone());
    Ok(Source {
        namespace: spec.target_namespace.clone().unwrap_or_else(|| key.namespace.to_string()),
        key,
        url: spec.url.clone(),
        reference,
        path,
        interval: interval.max(SHORTEST_INTERVAL),
        timeout: timeout.max(Duration::from_secs(1)),
        secret: secret(&spec.secret_ref),
        keys: spec.verify.as_ref().map(|verify| verify.secret_ref.name.clone()),
        prune: spec.prune.unwrap_or(true),
        drift: spec.drift.unwrap_or_default(),
        account: spec.service_account_name.clone().or_else(|| rules.default_account.clone()),
        helm,
        webhook: spec.webhook.clone(),
        suspend: spec.suspend,
    })
}

fn check_url(url: &str, rules: &Rules, wrong: &mut Vec<String>) {
    // The URL is not repeated: it may hold a password.
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None if url.split_once(':').is_some_and(|(host, path)| host.contains('@') && !path.is_empty()) => return,
        None => ("", url),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    match scheme {
        "https" | "http" if authority.contains('@') => {
            wrong.push("spec.url holds user information; put username and password into the Secret of spec.secretRef".into());
        }
        "https" | "http" | "ssh" if authority.is_empty() => wrong.push("spec.url names no host".into()),
        "ssh" if authority.split('@').next().is_some_and(|user| user.contains(':') && authority.contains('@')) => {
            wrong.push("spec.url holds a password; put a key into the Secret of spec.secretRef".into());
        }
        "https" | "http" | "ssh" => {}
        "file" if rules.local_repositories => {}
        "file" => wrong.push(
            "spec.url: file:// is switched off, as it reads whatever Serin can read; use https or ssh, or start Serin with \
             --git-local-repositories"
                .into(),
        ),
        _ => wrong.push("spec.url must begin with https://, http:// or ssh://, or be USER@HOST:PATH".into()),
    }
}

fn reference(written: Option<&crds::GitReference>, wrong: &mut Vec<String>) -> Reference {
    let main = || Reference::Branch("main".into());
    let Some(written) = written else { return main() };
    let given = [&written.branch, &written.tag, &written.commit];
    if given.iter().filter(|given| given.is_some()).count() > 1 {
        wrong.push("spec.ref: only one of branch, tag and commit can be followed; take the others out".into());
    }
    match (&written.branch, &written.tag, &written.commit) {
        (Some(branch), _, _) => Reference::Branch(branch.clone()),
        (None, Some(tag), _) => Reference::Tag(tag.clone()),
        (None, None, Some(commit)) => {
            let is_hex = commit.chars().all(|digit| digit.is_ascii_hexdigit());
            if !is_hex || !matches!(commit.len(), 40 | 64) {
                wrong.push(format!("spec.ref.commit: {commit:?} is not a commit in 40 hexadecimal digits"));
            }
            Reference::Commit(commit.to_ascii_lowercase())
        }
        (None, None, None) => main(),
    }
}

fn path(written: &str, field: &str, wrong: &mut Vec<String>) -> String {
    let parts: Vec<&str> = written.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") || written.contains(['\\', '\0']) {
        wrong.push(format!("{field}: {written:?} leads out of the repository; name a path from its root"));
    }
    parts.join("/")
}

fn duration(written: Option<&str>, field: &str, default: Duration, wrong: &mut Vec<String>) -> Duration {
    let Some(written) = written.filter(|written| !written.is_empty()) else { return default };
    let parsed = written.parse::<SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    parsed.unwrap_or_else(|| {
        wrong.push(format!("{field}: {written:?} is not a duration like 30s, 5m or 1h"));
        default
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(spec: Value) -> Result<Source, Vec<String>> {
        let source = json!({
            "apiVersion": "serin.dev/v1alpha1", "kind": "GitSource", "metadata": { "name": "shop", "namespace": "apps" },
            "spec": spec,
        });
        parse(&serde_json::from_value(source).unwrap(), &Rules::default())
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        let source = parsed(json!({ "url": "https://git.example/shop.git" })).unwrap();
        assert_eq!(source.reference, Reference::Branch("main".into()));
        assert_eq!((source.interval, source.timeout), (Duration::from_secs(300), Duration::from_secs(60)));
        assert_eq!((source.path.as_str(), source.namespace.as_str(), source.prune), ("", "apps", true));
        assert_eq!((source.drift, source.account, source.suspend), (DriftMode::Repair, None, false));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_field() {
        for (spec, word) in [
            (json!({ "url": "https://mia:secret@git.example/x" }), "spec.secretRef"),
            (json!({ "url": "ssh://mia:secret@git.example/x" }), "spec.secretRef"),
            (json!({ "url": "file:///etc" }), "--git-local-repositories"),
            (json!({ "url": "ftp://x/y" }), "https://"),
            (json!({ "url": "https:///x" }), "no host"),
            (json!({ "url": "https://h/x", "ref": { "branch": "a", "tag": "b" } }), "only one"),
            (json!({ "url": "https://h/x", "ref": { "commit": "4f2c" } }), "40 hexadecimal digits"),
            (json!({ "url": "https://h/x", "path": "../etc" }), "spec.path"),
            (json!({ "url": "https://h/x", "interval": "soon" }), "spec.interval"),
            (json!({ "url": "https://h/x", "timeout": "2h" }), "too long"),
            (json!({ "url": "https://h/x", "helm": { "valuesFiles": ["a/../../b"] } }), "spec.helm.valuesFiles"),
        ] {
            let wrong = parsed(spec.clone()).unwrap_err().join("; ");
            assert!(wrong.contains(word) && !wrong.contains("secret@"), "{spec}: {wrong}");
        }
        for url in ["git@git.example:shop.git", "ssh://git@git.example/shop.git", "http://127.0.0.1:3000/a/b.git"] {
            assert!(parsed(json!({ "url": url })).is_ok(), "{url}");
        }
    }

    #[test]
    fn paths_are_without_slashes_at_their_ends_and_revisions_as_flux_writes_them() {
        assert_eq!(parsed(json!({ "url": "https://h/x", "path": "./deploy//prod/" })).unwrap().path, "deploy/prod");
        assert_eq!(Reference::Branch("main".into()).revision(&"a".repeat(40)), format!("main@sha1:{}", "a".repeat(40)));
        assert_eq!(Reference::Commit(String::new()).revision("4f"), "sha1:4f");
    }
}
