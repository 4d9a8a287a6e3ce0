//! Notices to people: one file each, one word in the registry. A notifier only says what is sent; sending is here.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{AlertProviderSpec, Check, Phase, Source};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use rollout::spec::{Severity, Spec, Strategy};
use serde_json::Value;
use url::Url;

use crate::http::{self, Clients, HttpError, Options, Redirects};

macro_rules! notifiers {
    ($($module:ident),+ $(,)?) => {
        $(mod $module;)+
        /// Every notifier Serin knows.
        pub static NOTIFIERS: &[&dyn Notifier] = &[$(&$module::NOTIFIER),+];
    };
}

notifiers! { slack, msteams, discord, rocket, gchat, cloudevents }

/// One kind of receiver.
pub trait Notifier: Send + Sync {
    /// As written in `spec.type` of an AlertProvider.
    fn name(&self) -> &'static str;

    /// The URL to post to, made from the address that the user wrote.
    fn url(&self, address: &Url) -> Url {
        address.clone()
    }

    /// In which format.
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    /// What is posted.
    fn body(&self, notice: &Notice, sender: &Sender) -> Value;

    /// Why the receiver did not take it although the status says so.
    fn refusal(&self, _answer: &str) -> Option<String> {
        None
    }
}

/// News about a Canary.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// How bad it is.
    pub severity: Severity,
    /// Name of the Canary.
    pub canary: String,
    /// Namespace of the Canary.
    pub namespace: String,
    /// What happened, in a sentence.
    pub message: String,
    /// What describes the Canary: title and value. May be empty.
    pub fields: Vec<(String, String)>,
    /// The same for the same news, however often it is sent.
    pub id: String,
    /// When it happened.
    pub time: Timestamp,
    /// Where the rollout stands.
    pub phase: Phase,
    /// The cluster; may be empty.
    pub cluster: String,
    /// The checks of the last look.
    pub checks: Vec<Check>,
    /// What brought the revision, when that is known for sure.
    pub change: Option<Change>,
    /// A page about the rollout.
    pub page: Option<Url>,
}

/// The commit that brought a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Clone URL of its repository.
    pub repository: Option<String>,
    /// Its id, whole.
    pub commit: String,
    /// URL of the pull request that brought it.
    pub pull_request: Option<String>,
}

impl Notice {
    /// The Canary as receivers know it.
    fn about(&self) -> String {
        format!("{}.{}", self.canary, self.namespace)
    }

    /// One of two colours: bad news has its own.
    fn colour(&self, good: &'static str, bad: &'static str) -> &'static str {
        match self.severity {
            Severity::Info | Severity::Warn => good,
            Severity::Error => bad,
        }
    }
}

/// As whom, and where in the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Channel, without meaning to receivers whose address is one.
    pub channel: String,
    /// Name of the sender.
    pub username: String,
}

/// The receiver used by Canaries without alerts of their own.
#[derive(Clone, Debug, Default)]
pub struct GlobalSettings {
    /// Address of a Slack webhook.
    pub slack_url: Option<String>,
    /// Token of a Slack application.
    pub slack_token: Option<String>,
    /// Proxy on the way to Slack.
    pub slack_proxy: Option<String>,
    /// Name of the sender.
    pub slack_user: Option<String>,
    /// Slack channel.
    pub slack_channel: Option<String>,
    /// Address of a Microsoft Teams webhook; goes before Slack.
    pub msteams_url: Option<String>,
    /// Proxy on the way to Microsoft Teams.
    pub msteams_proxy: Option<String>,
}

/// What is sent. No `Debug`: address, headers and proxy may hold credentials.
#[derive(Clone)]
pub struct Request {
    /// Who takes it.
    pub notifier: &'static dyn Notifier,
    /// Where; often a secret.
    pub url: Url,
    /// With which headers.
    pub headers: HeaderMap,
    /// What, as JSON.
    pub body: Value,
    /// Through which proxy.
    pub proxy: Option<Url>,
}

/// Why a notice was not sent. Its text has neither address nor credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifierError {
    /// A receiver that Serin does not know.
    #[error("spec.type {name} is not known; known: {known}", known = known())]
    UnknownType {
        /// As written.
        name: String,
    },
    /// The Secret of the AlertProvider is not there.
    #[error("Secret {0}, which spec.secretRef of the AlertProvider names, does not exist")]
    NoSecret(String),
    /// There is no address, or none that can be used.
    #[error("{field} {why}")]
    Address {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The token cannot be sent.
    #[error("{0} has characters that HTTP does not allow")]
    Token(&'static str),
    /// There was no answer.
    #[error("{name} cannot be told: {why}")]
    Unreachable {
        /// The notifier.
        name: &'static str,
        /// Why.
        why: HttpError,
    },
    /// The answer was no.
    #[error("{name} did not take the notice: {answer}")]
    Refused {
        /// The notifier.
        name: &'static str,
        /// Its answer, cut short.
        answer: String,
    },
}

/// The request that tells `notice` to the receiver of an AlertProvider. `secret` is the data of the Secret it names,
/// when that exists.
pub fn request(
    notice: &Notice,
    provider: &AlertProviderSpec,
    secret: Option<&BTreeMap<String, Vec<u8>>>,
) -> Result<Request, NotifierError> {
    let notifier = by_name(&provider.type_)?;
    let in_secret =
        |key: &str| secret.and_then(|secret| secret.get(key)).and_then(|value| std::str::from_utf8(value).ok());
    let (field, address, token) = match (&provider.secret_ref, secret) {
        (Some(reference), None) => return Err(NotifierError::NoSecret(reference.name.clone())),
        (Some(_), Some(_)) => match in_secret("address") {
            Some(address) => ("key address of the Secret", Some(address), in_secret("token")),
            None => ("spec.address", provider.address.as_deref(), in_secret("token")),
        },
        (None, _) => ("spec.address", provider.address.as_deref(), None),
    };
    let sender = Sender {
        channel: or_default(provider.channel.as_deref(), DEFAULT_CHANNEL),
        username: or_default(provider.username.as_deref(), DEFAULT_USERNAME),
    };
    compose(
        notifier,
        notice,
        &sender,
        (field, address),
        ("key token of the Secret", token),
        ("spec.proxy", provider.proxy.as_deref()),
    )
}

/// The request that tells `notice` to the receiver of the controller's settings, when there is one.
pub fn global_request(notice: &Notice, settings: &GlobalSettings) -> Option<Result<Request, NotifierError>> {
    let given = |setting: &Option<String>| setting.clone().filter(|text| !text.trim().is_empty());
    let sender = Sender {
        channel: or_default(settings.slack_channel.as_deref(), DEFAULT_CHANNEL),
        username: or_default(settings.slack_user.as_deref(), DEFAULT_USERNAME),
    };
    if let Some(address) = given(&settings.msteams_url) {
        let proxy = ("--msteams-proxy-url", settings.msteams_proxy.as_deref());
        let address = ("--msteams-url", Some(address.as_str()));
        return Some(compose(&msteams::NOTIFIER, notice, &sender, address, ("", None), proxy));
    }
    let address = given(&settings.slack_url)?;
    let token = ("--slack-token", settings.slack_token.as_deref());
    let proxy = ("--slack-proxy-url", settings.slack_proxy.as_deref());
    Some(compose(&slack::NOTIFIER, notice, &sender, ("--slack-url", Some(address.as_str())), token, proxy))
}

/// Sends it; anything but 2xx is an error.
pub async fn send(request: &Request, clients: &Clients, timeout: Duration) -> Result<(), NotifierError> {
    let name = request.notifier.name();
    let unreachable = |why| NotifierError::Unreachable { name, why };
    let options = Options { insecure: false, proxy: request.proxy.clone(), redirects: Redirects::SameMethod };
    let client = clients.get(&options).map_err(unreachable)?;
    let posted = client
        .post(request.url.clone())
        .headers(request.headers.clone())
        .timeout(timeout)
        .body(request.body.to_string())
        .send()
        .await;
    let response = posted.map_err(|error| unreachable(http::describe(&error)))?;
    let status = response.status();
    let redirect = http::redirect_host(&response);
    let answer = http::excerpt_of(response, ANSWER).await.unwrap_or_default();
    let refused = |answer: String| Err(NotifierError::Refused { name, answer });
    if let Some(host) = redirect {
        return refused(format!("{status}, a redirect to {host} that is not followed: write that address"));
    }
    if !status.is_success() {
        return refused(if answer.is_empty() { status.to_string() } else { format!("{status}: {answer}") });
    }
    match request.notifier.refusal(&answer) {
        Some(refusal) => refused(refusal),
        None => Ok(()),
    }
}

/// Time for one notice.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// True when an alert of this least severity wants to know.
pub fn wants(least: Severity, news: Severity) -> bool {
    news >= least
}

/// What describes a Canary in a notice. `cluster` may be empty.
pub fn fields(spec: &Spec, source: Option<&Source>, namespace: &str, cluster: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    if !cluster.is_empty() {
        fields.push(("Cluster".to_owned(), cluster.to_owned()));
    }
    let target = format!("{}/{}.{namespace}", spec.target.kind.as_str(), spec.target.name);
    fields.push(("Target".to_owned(), target));
    fields.push(("Failed checks threshold".to_owned(), spec.threshold.to_string()));
    fields.push(("Progress deadline".to_owned(), format!("{}s", spec.progress_deadline.as_secs())));
    fields.push(("Traffic routing".to_owned(), routing(&spec.strategy)));
    for (word, value) in source.map(Source::facts).unwrap_or_default() {
        let title = match word {
            "repository" => "Repository",
            "commit" => "Commit",
            "author" => "Author",
            "message" => "Change",
            "pullRequest" => "Pull request",
            "appliedBy" => "Applied by",
            // Of use to programs, which read the status.
            _ => continue,
        };
        fields.push((title.to_owned(), value));
    }
    fields
}

const DEFAULT_CHANNEL: &str = "general";
/// Receivers filter by it, so it stays what they know.
const DEFAULT_USERNAME: &str = "flagger";
/// Longest answer that is read or passed on, in characters.
const ANSWER: usize = 300;

fn known() -> String {
    let forges = crate::forges::FORGES.iter().map(|forge| forge.name());
    NOTIFIERS.iter().map(|notifier| notifier.name()).chain(forges).collect::<Vec<_>>().join(", ")
}

fn by_name(name: &str) -> Result<&'static dyn Notifier, NotifierError> {
    let found = NOTIFIERS.iter().find(|notifier| notifier.name() == name);
    found.copied().ok_or_else(|| NotifierError::UnknownType { name: name.to_owned() })
}

fn or_default(text: Option<&str>, default: &str) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or(default).to_owned()
}

type Field<'a> = (&'static str, Option<&'a str>);

fn compose(
    notifier: &'static dyn Notifier,
    notice: &Notice,
    sender: &Sender,
    address: Field<'_>,
    token: Field<'_>,
    proxy: Field<'_>,
) -> Result<Request, NotifierError> {
    let (field, written) = address;
    let Some(written) = written.map(str::trim).filter(|text| !text.is_empty()) else {
        return Err(NotifierError::Address { field, why: "is missing: write the URL of the webhook".into() });
    };
    let address = parse_url(field, written)?;
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(notifier.content_type()))]);
    if let Some(text) = token.1.map(str::trim).filter(|text| !text.is_empty()) {
        let value = HeaderValue::from_str(&format!("Bearer {text}"));
        let mut value = value.map_err(|_| NotifierError::Token(token.0))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let proxy = self::proxy(proxy)?;
    Ok(Request { notifier, url: notifier.url(&address), headers, body: notifier.body(notice, sender), proxy })
}

/// The proxy in a field, if there is one.
pub(crate) fn proxy(written: (&'static str, Option<&str>)) -> Result<Option<Url>, NotifierError> {
    match written.1.map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(None),
        // Proxies are often written without a scheme.
        Some(text) if !text.contains("://") => parse_url(written.0, &format!("http://{text}")).map(Some),
        Some(text) => parse_url(written.0, text).map(Some),
    }
}

fn parse_url(field: &'static str, text: &str) -> Result<Url, NotifierError> {
    // The text is not repeated: whoever knows a webhook's address may post to it.
    let url =
        Url::parse(text).map_err(|error| NotifierError::Address { field, why: format!("is not a URL: {error}") })?;
    if !matches!(url.scheme(), "http" | "https") {
        let why = "is not a URL that begins with http:// or https://".into();
        return Err(NotifierError::Address { field, why });
    }
    Ok(url)
}

fn routing(strategy: &Strategy) -> String {
    match strategy {
        Strategy::AbTesting { .. } => "A/B Testing".to_owned(),
        Strategy::BlueGreen { .. } => "Blue/Green".to_owned(),
        Strategy::Canary { weights, .. } => {
            let most = weights.last().copied().unwrap_or_default();
            let step = weights.first().copied().unwrap_or_default();
            let even = weights.iter().zip(1u32..).all(|(weight, nth)| u32::from(*weight) == u32::from(step) * nth);
            if even {
                return format!("Weight step: {step} max: {most}");
            }
            let weights: Vec<_> = weights.iter().map(u8::to_string).collect();
            format!("Weight steps: {} max: {most}", weights.join(","))
        }
    }
}

#[cfg(test)]
mod tests;
