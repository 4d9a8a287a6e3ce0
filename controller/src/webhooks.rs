//! Hooks and gates: what is sent to them, and what their answer means.

use std::collections::BTreeMap;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use crds::Phase;
use jiff::Timestamp;
use reqwest::StatusCode;
use rollout::HookAnswer;
use rollout::spec::{HookKind, Webhook};
use serde::Serialize;
use url::Url;

use crate::http::{self, Clients, Options, Redirects};

/// Longest reason that is kept, in characters.
const REASON: usize = 512;

/// Time for one attempt at the controller's own event hook.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

/// One call of one hook.
#[derive(Clone, Copy, Debug)]
pub struct HookCall<'a> {
    /// The hook.
    pub hook: &'a Webhook,
    /// Name of the Canary.
    pub canary: &'a str,
    /// Namespace of the Canary.
    pub namespace: &'a str,
    /// Where the rollout stands now.
    pub phase: Phase,
    /// Opaque; the same for the same revision.
    pub checksum: &'a str,
    /// What hooks of kind [`HookKind::Event`] are told.
    pub event: Option<&'a EventTold<'a>>,
}

/// An event of the Canary, as told to a hook.
#[derive(Clone, Copy, Debug)]
pub struct EventTold<'a> {
    /// Its sentence.
    pub message: &'a str,
    /// Warning or Normal.
    pub warning: bool,
    /// When it happened.
    pub time: Timestamp,
    /// Where the revision comes from: [`crds::Source::facts`].
    pub source: &'a [(&'static str, String)],
}

/// Pauses between attempts: they double from `least` with jitter and never exceed `most`.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// The first.
    pub least: Duration,
    /// The longest, also when the server asks for a longer one by `Retry-After`.
    pub most: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Pauses { least: Duration::from_secs(1), most: Duration::from_secs(30) }
    }
}

/// What is sent. The order of the fields is that of the contract.
#[derive(Debug, Serialize)]
pub struct Payload<'a> {
    /// Name of the Canary.
    pub name: &'a str,
    /// Namespace of the Canary.
    pub namespace: &'a str,
    /// Where the rollout stands, as hooks of this kind are told it.
    pub phase: &'static str,
    /// Opaque; the same for the same revision.
    pub checksum: &'a str,
    /// The hook's own, and the event.
    pub metadata: BTreeMap<&'a str, String>,
}

/// What a call sends.
pub fn payload<'a>(call: &HookCall<'a>) -> Payload<'a> {
    let configured = call.hook.metadata.iter();
    let mut metadata: BTreeMap<&str, String> = configured.map(|(key, value)| (key.as_str(), value.clone())).collect();
    if let Some(event) = call.event {
        metadata.insert("eventMessage", event.message.to_owned());
        metadata.insert("eventType", if event.warning { "Warning" } else { "Normal" }.to_owned());
        metadata.insert("timestamp", event.time.as_millisecond().to_string());
        for (word, value) in event.source {
            // What the user wrote under that name goes before.
            metadata.entry(hook_word(word)).or_insert_with(|| value.clone());
        }
    }
    let phase = match call.hook.kind {
        HookKind::ConfirmRollout | HookKind::Rollback | HookKind::PostRollout | HookKind::Event => call.phase,
        // These are asked on the way, and receivers know them by this phase.
        HookKind::PreRollout | HookKind::Rollout | HookKind::ConfirmTrafficIncrease | HookKind::ConfirmPromotion => {
            Phase::Progressing
        }
    };
    Payload { name: call.canary, namespace: call.namespace, phase: phase.as_str(), checksum: call.checksum, metadata }
}

/// As hooks are told a fact about the source.
fn hook_word(word: &'static str) -> &'static str {
    match word {
        "repository" => "sourceRepository",
        "branch" => "sourceBranch",
        "tag" => "sourceTag",
        "path" => "sourcePath",
        "commit" => "sourceCommit",
        "author" => "sourceAuthor",
        "message" => "sourceMessage",
        "pullRequest" => "sourcePullRequest",
        "appliedBy" => "sourceAppliedBy",
        other => other,
    }
}

/// The hook that is told of all events of Canaries that have no event hook of their own.
pub fn global_event_hook(url: Url) -> Webhook {
    Webhook {
        name: "event-webhook".into(),
        kind: HookKind::Event,
        url,
        timeout: EVENT_TIMEOUT,
        retries: 0,
        disable_tls: false,
        mute_alert: true,
        metadata: BTreeMap::new(),
    }
}

/// Calls the hook: each attempt within the hook's own timeout, with as many further ones as it allows where another
/// may help (no connection, 5xx but 501, 429). Takes no longer than attempts and pauses together.
///
/// 200 to 202 is yes. What broke is [`HookAnswer::Failed`]; any other status is no, with the body as the reason.
pub async fn call(call: &HookCall<'_>, clients: &Clients, pauses: Pauses) -> HookAnswer {
    let options = Options { insecure: call.hook.disable_tls, proxy: None, redirects: Redirects::SameMethod };
    let client = match clients.get(&options) {
        Ok(client) => client,
        Err(error) => return HookAnswer::Failed(error.to_string()),
    };
    let payload = payload(call);
    let attempt = || async {
        let request = client.post(call.hook.url.clone()).timeout(call.hook.timeout).json(&payload);
        match request.send().await {
            Ok(response) => judge(response).await,
            Err(error) => Err(Broken::transport(&error)),
        }
    };
    attempts(call.hook, pauses, attempt).await
}

/// Attempts it as often as the hook allows, until one tells its answer.
pub async fn attempts<A>(hook: &Webhook, pauses: Pauses, attempt: impl FnMut() -> A) -> HookAnswer
where
    A: Future<Output = Result<HookAnswer, Broken>>,
{
    let backoff = ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(pauses.least)
        .with_max_delay(pauses.most)
        .with_max_times(usize::try_from(hook.retries).unwrap_or(usize::MAX));
    let answer = attempt
        .retry(backoff)
        .when(|broken: &Broken| broken.retry)
        .adjust(|broken, pause| pause.map(|pause| broken.retry_after.unwrap_or(pause).min(pauses.most)))
        .await;
    match answer {
        Ok(answer) => answer,
        Err(broken) => HookAnswer::Failed(broken.reason),
    }
}

/// An attempt that told no answer.
#[derive(Debug)]
pub struct Broken {
    reason: String,
    retry: bool,
    retry_after: Option<Duration>,
}

impl Broken {
    /// No answer within the hook's timeout.
    pub fn late() -> Broken {
        Broken { reason: http::LATE.into(), retry: true, retry_after: None }
    }

    fn transport(error: &reqwest::Error) -> Broken {
        Broken { reason: http::describe(error).to_string(), retry: !error.is_builder(), retry_after: None }
    }
}

async fn judge(response: reqwest::Response) -> Result<HookAnswer, Broken> {
    let status = response.status();
    if status.is_success() && status <= StatusCode::ACCEPTED {
        return Ok(HookAnswer::Yes);
    }
    if let Some(host) = http::redirect_host(&response) {
        return Ok(HookAnswer::No(format!(
            "answers {status}, a redirect to {host} that is not followed: write that address in the url of the webhook"
        )));
    }
    let header = response.headers().get(reqwest::header::RETRY_AFTER);
    let retry_after = header.and_then(|value| value.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
    let excerpt = http::excerpt_of(response, REASON).await.unwrap_or_default();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let reason = if excerpt.is_empty() { status.to_string() } else { format!("{status}: {excerpt}") };
        return Err(Broken { reason, retry: status != StatusCode::NOT_IMPLEMENTED, retry_after });
    }
    Ok(HookAnswer::No(if excerpt.is_empty() { status.to_string() } else { excerpt }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::{Answer, Loopback};

    const QUICK: Pauses = Pauses { least: Duration::from_millis(1), most: Duration::from_millis(5) };

    fn hook(url: &str, kind: HookKind, retries: u32) -> Webhook {
        Webhook {
            name: "gate".into(),
            kind,
            url: Url::parse(url).unwrap(),
            timeout: Duration::from_secs(5),
            retries,
            disable_tls: false,
            mute_alert: false,
            metadata: BTreeMap::from([("eventType".into(), "mine".into()), ("test".into(), "all".into())]),
        }
    }

    fn call_of(hook: &Webhook) -> HookCall<'_> {
        HookCall {
            hook,
            canary: "podinfo",
            namespace: "shop",
            phase: Phase::WaitingPromotion,
            checksum: "85d557f47b",
            event: None,
        }
    }

    async fn answer_to(answers: Vec<Answer>, retries: u32) -> (HookAnswer, usize) {
        let server = Loopback::start(answers).await;
        let hook = hook(&server.url("/gate"), HookKind::Rollout, retries);
        let answer = call(&call_of(&hook), &Clients::default(), QUICK).await;
        (answer, server.asked().len())
    }

    #[test]
    fn the_payload_has_the_shape_of_the_contract() {
        let hook = hook("http://gate", HookKind::Rollout, 0);
        insta::assert_snapshot!(
            serde_json::to_string(&payload(&call_of(&hook))).unwrap(),
            @r#"{"name":"podinfo","namespace":"shop","phase":"Progressing","checksum":"85d557f47b","metadata":{"eventType":"mine","test":"all"}}"#
        );
    }

    #[test]
    fn an_event_keeps_its_own_metadata() {
        let hook = hook("http://gate", HookKind::Event, 0);
        let event = EventTold { message: "Advance", warning: false, time: Timestamp::UNIX_EPOCH, source: &[] };
        let call = HookCall { event: Some(&event), ..call_of(&hook) };
        insta::assert_snapshot!(
            serde_json::to_string(&payload(&call)).unwrap(),
            @r#"{"name":"podinfo","namespace":"shop","phase":"WaitingPromotion","checksum":"85d557f47b","metadata":{"eventMessage":"Advance","eventType":"Normal","test":"all","timestamp":"0"}}"#
        );
    }

    #[test]
    fn each_kind_is_told_its_phase() {
        let told = |kind| payload(&call_of(&hook("http://gate", kind, 0))).phase;
        assert_eq!(told(HookKind::ConfirmRollout), "WaitingPromotion");
        assert_eq!(told(HookKind::Rollback), "WaitingPromotion");
        assert_eq!(told(HookKind::PostRollout), "WaitingPromotion");
        assert_eq!(told(HookKind::PreRollout), "Progressing");
        assert_eq!(told(HookKind::Rollout), "Progressing");
        assert_eq!(told(HookKind::ConfirmTrafficIncrease), "Progressing");
        assert_eq!(told(HookKind::ConfirmPromotion), "Progressing");
    }

    #[tokio::test]
    async fn up_to_202_is_yes_and_all_else_is_not() {
        let no = |reason: &str| HookAnswer::No(reason.into());
        let failed = |reason: &str| HookAnswer::Failed(reason.into());
        let table = [
            (Answer::text(200, "ok"), HookAnswer::Yes),
            (Answer::text(202, ""), HookAnswer::Yes),
            (Answer::text(204, ""), no("204 No Content")),
            (Answer::text(403, "Forbidden\n"), no("Forbidden")),
            (Answer::text(404, ""), no("404 Not Found")),
            (Answer::text(500, "smoke test failed"), failed("500 Internal Server Error: smoke test failed")),
            (Answer::text(501, ""), failed("501 Not Implemented")),
            (Answer::text(429, "slow down"), failed("429 Too Many Requests: slow down")),
        ];
        for (answer, wanted) in table {
            assert_eq!(answer_to(vec![answer], 0).await, (wanted, 1));
        }
        let (answer, asked) = answer_to(vec![Answer::redirect(302, "https://elsewhere/login?secret")], 3).await;
        assert_eq!(asked, 1);
        assert!(
            matches!(&answer, HookAnswer::No(reason) if reason.contains("elsewhere") && !reason.contains("secret"))
        );
        let (answer, _) = answer_to(vec![Answer::text(403, &"x".repeat(100_000))], 0).await;
        assert!(matches!(&answer, HookAnswer::No(reason) if reason.chars().count() == REASON));
    }

    #[tokio::test]
    async fn what_another_attempt_may_mend_is_attempted_again() {
        let bad = || Answer::text(503, "");
        assert_eq!(answer_to(vec![bad(), bad(), Answer::text(200, "")], 2).await, (HookAnswer::Yes, 3));
        assert_eq!(answer_to(vec![bad(), bad(), Answer::text(200, "")], 1).await.1, 2);
        assert_eq!(answer_to(vec![Answer::text(501, ""), Answer::text(200, "")], 2).await.1, 1);
        assert_eq!(answer_to(vec![Answer::text(403, ""), Answer::text(200, "")], 2).await.1, 1);
        let patient = Answer::Reply(429, vec![("retry-after", "3600".into())], String::new());
        assert_eq!(answer_to(vec![patient, Answer::text(200, "")], 1).await, (HookAnswer::Yes, 2));
    }

    #[tokio::test]
    async fn a_hook_that_hangs_or_is_gone_failed() {
        let server = Loopback::start(vec![Answer::Hang]).await;
        let mut hook = hook(&server.url("/secret"), HookKind::Rollout, 0);
        hook.timeout = Duration::from_millis(50);
        let answer = call(&call_of(&hook), &Clients::default(), QUICK).await;
        assert_eq!(answer, HookAnswer::Failed("no answer in time".into()));

        hook.url = Url::parse(&Loopback::nobody("/secret")).unwrap();
        let answer = call(&call_of(&hook), &Clients::default(), QUICK).await;
        assert!(matches!(&answer, HookAnswer::Failed(reason) if reason.starts_with("cannot connect")), "{answer:?}");
    }
}
