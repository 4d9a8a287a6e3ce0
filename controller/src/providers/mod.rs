//! Metrics servers: one file each, one word in the registry. A provider knows how one attempt is made and what its
//! answer means; time-outs, further attempts and the budget of a question are here, once for all.

pub mod builtin;
mod span;
pub mod template;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use crds::MetricTemplateSpec;
use futures::future::BoxFuture;
use jiff::Timestamp;
use rollout::Reading;
use rollout::spec::{Metric, MetricSource, Spec};

use crate::http::{Clients, Options, Redirects};
use builtin::{BuiltinError, Signal, Subject};
use template::{TemplateError, Values};

pub use span::Span;

macro_rules! providers {
    ($($module:ident),+ $(,)?) => {
        $(mod $module;)+
        /// Every provider Serin knows.
        pub static PROVIDERS: &[&dyn Provider] = &[$(&$module::PROVIDER),+];
    };
}

providers! { prometheus }

/// One kind of metrics server.
pub trait Provider: Send + Sync {
    /// As written in `spec.provider.type` of a MetricTemplate.
    fn name(&self) -> &'static str;

    /// Checks what can be checked without a question. Errors name the field and the mend.
    fn check(&self, endpoint: &Endpoint) -> Result<(), QueryError>;

    /// Asks once. What may pass by itself is [`Transient`]; all else is a reading. No error text has credentials.
    fn ask<'a>(
        &'a self,
        query: &'a Query,
        client: reqwest::Client,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Reading, Transient>>;

    /// What a server's answer means, whoever has asked.
    fn answered<'a>(
        &'a self,
        query: &'a Query,
        answer: reqwest::Response,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Reading, Transient>>;
}

/// Why an attempt got no answer, where the next one may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transient(pub String);

/// A question, ready to be asked.
#[derive(Clone)]
pub struct Query {
    /// Whom.
    pub endpoint: Endpoint,
    /// What, in the provider's language.
    pub text: String,
    /// How old an answer may be.
    pub window: Duration,
    /// The answer is a histogram: a number for each `le`.
    pub buckets: bool,
}

/// A metrics server, and how it lets us in. No `Debug`: it holds credentials.
#[derive(Clone)]
pub struct Endpoint {
    /// What it is.
    pub provider: &'static dyn Provider,
    /// The field that has its address, for errors.
    pub field: String,
    /// URL of its API.
    pub address: String,
    /// Headers of the user's.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Data of its Secret.
    pub secret: BTreeMap<String, Vec<u8>>,
    /// Do not verify its certificate.
    pub insecure: bool,
    /// Its region.
    pub region: Option<String>,
}

/// A MetricTemplate as the caller found it.
#[derive(Clone, Copy, Debug)]
pub struct TemplateFound<'a> {
    /// What it says.
    pub spec: &'a MetricTemplateSpec,
    /// Data of the Secret it names, when that exists.
    pub secret: Option<&'a BTreeMap<String, Vec<u8>>>,
}

/// Why there is no question to ask; the user must mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No builtin query.
    #[error(transparent)]
    Builtin(#[from] BuiltinError),
    /// A template that cannot be filled in.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The MetricTemplate is not there.
    #[error("MetricTemplate {namespace}/{name} does not exist")]
    NoTemplate {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// The Secret of the MetricTemplate is not there.
    #[error("Secret {0}, which spec.provider.secretRef of the MetricTemplate names, does not exist")]
    NoSecret(String),
    /// A provider that Flagger has and Serin has not yet.
    #[error("spec.provider.type {0} is not supported by this version yet; known: {known}", known = known())]
    NotYet(String),
    /// A provider that nobody has.
    #[error("spec.provider.type {0} is not known; known: {known}", known = known())]
    UnknownProvider(String),
    /// The address cannot be used.
    #[error("{field} {why}")]
    Address {
        /// Which field.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// The credentials cannot be sent.
    #[error("{0}")]
    Credentials(String),
}

/// How long a question may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one attempt.
    pub attempt: Duration,
    /// Further attempts.
    pub retries: usize,
    /// First pause between attempts; they double, with jitter.
    pub pause: Duration,
    /// For all attempts and pauses together.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            attempt: Duration::from_secs(5),
            retries: 2,
            pause: Duration::from_millis(250),
            total: Duration::from_secs(12),
        }
    }
}

/// The question behind a metric. `metrics_server` is the controller's own setting, used when the Canary has none;
/// `template` is what [`MetricSource::Template`] names, when it was found.
pub fn prepare(
    metric: &Metric,
    spec: &Spec,
    canary: &str,
    namespace: &str,
    metrics_server: &str,
    template: Option<TemplateFound<'_>>,
) -> Result<Query, QueryError> {
    let target = spec.target.name.as_str();
    let subject = Subject {
        namespace,
        target: &spec.target,
        service: &spec.service_name,
        ingress: spec.ingress.as_deref().unwrap_or(target),
        route: spec.route.as_deref().unwrap_or(target),
        span: Span::until_now(metric.interval),
    };
    let none = BTreeMap::new();
    let values = |variables| Values {
        name: canary,
        namespace,
        target,
        service: subject.service,
        ingress: subject.ingress,
        route: subject.route,
        interval: &metric.interval_text,
        variables,
    };
    let own = || metrics_server_endpoint(spec.metrics_server.as_deref(), metrics_server);
    let (endpoint, text) = match &metric.source {
        MetricSource::SuccessRate => (own(), builtin::query(&spec.provider, Signal::SuccessRate, &subject)?),
        MetricSource::Duration => (own(), builtin::query(&spec.provider, Signal::Duration, &subject)?),
        MetricSource::Inline(query) => (own(), template::render(query, &values(&none))?),
        MetricSource::Template { namespace, name, variables } => {
            let Some(found) = template else {
                return Err(QueryError::NoTemplate { namespace: namespace.clone(), name: name.clone() });
            };
            (template_endpoint(found)?, template::render(&found.spec.query, &values(variables))?)
        }
    };
    endpoint.provider.check(&endpoint)?;
    Ok(Query { endpoint, text, window: metric.interval, buckets: false })
}

/// The question how many requests a workload answered in that time, how many of them failed or how long they took, as
/// `signal` says. The workload is the target of `spec`.
///
/// # Errors
/// When there is no builtin query for it, or the address cannot be used.
pub fn count(
    signal: Signal,
    span: Span,
    spec: &Spec,
    namespace: &str,
    metrics_server: &str,
) -> Result<Query, QueryError> {
    let target = spec.target.name.as_str();
    let subject = Subject {
        namespace,
        target: &spec.target,
        service: &spec.service_name,
        ingress: spec.ingress.as_deref().unwrap_or(target),
        route: spec.route.as_deref().unwrap_or(target),
        span,
    };
    let endpoint = metrics_server_endpoint(spec.metrics_server.as_deref(), metrics_server);
    let text = builtin::query(&spec.provider, signal, &subject)?;
    endpoint.provider.check(&endpoint)?;
    Ok(Query { endpoint, text, window: span.window, buckets: signal == Signal::Buckets })
}

/// Asks, again where another attempt may help, and judges the age of the answer by `now`. Takes no longer than
/// `patience.total`.
pub async fn read(query: &Query, clients: &Clients, patience: Patience, now: Timestamp) -> Reading {
    let options = Options { insecure: query.endpoint.insecure, proxy: None, redirects: Redirects::Any };
    let client = match clients.get(&options) {
        Ok(client) => client,
        Err(error) => return Reading::Unavailable(error.to_string()),
    };
    let last = Mutex::new(String::from("no answer in time"));
    let attempt = || async {
        let answer = query.endpoint.provider.ask(query, client.clone(), now);
        let answer = tokio::time::timeout(patience.attempt, answer).await;
        answer.unwrap_or_else(|_| Err(Transient("no answer in time".into())))
    };
    let backoff =
        ExponentialBuilder::default().with_jitter().with_min_delay(patience.pause).with_max_times(patience.retries);
    let asked = attempt.retry(backoff).notify(|transient: &Transient, _| {
        last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&transient.0);
    });
    match tokio::time::timeout(patience.total, asked).await {
        Ok(Ok(reading)) => reading,
        Ok(Err(Transient(why))) => unavailable(query, &why),
        Err(_) => unavailable(query, &last.lock().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// What an answer means that did not come over the wire, as in a simulation: an HTTP response as the provider gives it.
pub async fn understand(query: &Query, answer: http::Response<Vec<u8>>, now: Timestamp) -> Reading {
    match query.endpoint.provider.answered(query, answer.into(), now).await {
        Ok(reading) => reading,
        Err(Transient(why)) => unavailable(query, &why),
    }
}

impl From<QueryError> for Reading {
    fn from(error: QueryError) -> Self {
        Reading::Invalid(error.to_string())
    }
}

/// Providers of `flagger.app/v1beta1` that have no file here yet.
const NOT_YET: [&str; 10] = [
    "influxdb",
    "datadog",
    "externalmetrics",
    "stackdriver",
    "cloudwatch",
    "newrelic",
    "graphite",
    "dynatrace",
    "keptn",
    "splunk",
];

fn known() -> String {
    PROVIDERS.iter().map(|provider| provider.name()).collect::<Vec<_>>().join(", ")
}

fn metrics_server_endpoint(of_canary: Option<&str>, of_controller: &str) -> Endpoint {
    let (field, address) = match of_canary {
        Some(address) => ("spec.metricsServer", address),
        None => ("the controller's --metrics-server", of_controller),
    };
    Endpoint {
        provider: &prometheus::PROVIDER,
        field: field.into(),
        address: address.into(),
        headers: BTreeMap::new(),
        secret: BTreeMap::new(),
        insecure: false,
        region: None,
    }
}

fn template_endpoint(found: TemplateFound<'_>) -> Result<Endpoint, QueryError> {
    let wanted = &found.spec.provider;
    let provider = PROVIDERS.iter().find(|provider| provider.name() == wanted.type_).ok_or_else(|| {
        let name = wanted.type_.clone();
        if NOT_YET.contains(&name.as_str()) { QueryError::NotYet(name) } else { QueryError::UnknownProvider(name) }
    })?;
    let secret = match (&wanted.secret_ref, found.secret) {
        (None, _) => BTreeMap::new(),
        (Some(_), Some(secret)) => secret.clone(),
        (Some(reference), None) => return Err(QueryError::NoSecret(reference.name.clone())),
    };
    Ok(Endpoint {
        provider: *provider,
        field: "spec.provider.address of the MetricTemplate".into(),
        address: wanted.address.clone().unwrap_or_default(),
        headers: wanted.headers.clone(),
        secret,
        insecure: wanted.insecure_skip_verify,
        region: wanted.region.clone(),
    })
}

fn unavailable(query: &Query, why: &str) -> Reading {
    let name = query.endpoint.provider.name();
    Reading::Unavailable(format!("{name} at {} cannot be asked: {why}", query.endpoint.field))
}

#[cfg(test)]
mod tests;
