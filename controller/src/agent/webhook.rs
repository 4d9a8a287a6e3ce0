//! Word of pushes from forges. Nothing of what they say is believed but that there is something to look at, so all that is
//! read of a request is its signature.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use crds::WebhookType;
use futures::StreamExt;
use ring::hmac;
use tokio::sync::Semaphore;

use super::source::SourceKey;

/// The most bytes of a request; GitHub sends no more.
const LARGEST: usize = 25 << 20;
/// Requests at once.
const AT_ONCE: usize = 16;
/// How long a request may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// How a sender is recognised.
#[derive(Clone)]
pub struct Hook {
    type_: WebhookType,
    token: Vec<u8>,
}

impl Hook {
    /// Of that kind, with that token.
    pub fn new(type_: WebhookType, token: Vec<u8>) -> Hook {
        Hook { type_, token }
    }

    /// The path at which it is received; who does not know the token cannot guess it.
    pub fn path(&self, key: &SourceKey) -> String {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &self.token);
        format!("/hook/{}", hex(hmac::sign(&secret, key.to_string().as_bytes()).as_ref()))
    }
}

/// Receives. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Receiver {
    shared: Arc<Shared>,
}

struct Shared {
    hooks: Mutex<HashMap<String, (SourceKey, Hook)>>,
    /// This replica knows the hooks.
    leads: AtomicBool,
    places: Semaphore,
    pushed: Box<dyn Fn(&SourceKey) + Send + Sync>,
}

impl Receiver {
    /// Calls `pushed` when a push was told by whom it may be told.
    pub fn new(pushed: impl Fn(&SourceKey) + Send + Sync + 'static) -> Receiver {
        let shared = Shared {
            hooks: Mutex::default(),
            leads: AtomicBool::new(false),
            places: Semaphore::new(AT_ONCE),
            pushed: Box::new(pushed),
        };
        Receiver { shared: Arc::new(shared) }
    }

    /// The GitSource has this hook and no other; returns its path.
    pub fn set(&self, key: &SourceKey, hook: Option<Hook>) -> Option<String> {
        let mut hooks = self.shared.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.retain(|_, (owner, _)| owner != key);
        let hook = hook?;
        let path = hook.path(key);
        hooks.insert(path.clone(), (key.clone(), hook));
        Some(path)
    }

    /// From now on this replica leads, or no longer.
    pub fn lead(&self, leads: bool) {
        self.shared.leads.store(leads, Ordering::Relaxed);
    }

    /// The routes.
    pub fn router(&self) -> Router {
        Router::new().route("/hook/{id}", post(receive)).with_state(self.clone())
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> (StatusCode, &'static str) {
    if !receiver.shared.leads.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "another replica leads; send it again\n");
    }
    let Ok(_place) = receiver.shared.places.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; send it again\n");
    };
    let found = {
        let hooks = receiver.shared.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.get(&format!("/hook/{id}")).cloned()
    };
    let Some((key, hook)) = found else { return (StatusCode::NOT_FOUND, "there is no such receiver\n") };
    match tokio::time::timeout(DEADLINE, is_genuine(&hook, &headers, body)).await {
        Ok(true) => {}
        Ok(false) => return (StatusCode::UNAUTHORIZED, "the signature or token is not right\n"),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the request took too long\n"),
    }
    if !tells_of_a_push(&headers) {
        return (StatusCode::OK, "this tells of no push, so nothing is done\n");
    }
    (receiver.shared.pushed)(&key);
    (StatusCode::ACCEPTED, "looking at the repository\n")
}

/// True when the sender knows the token. The body is not kept.
async fn is_genuine(hook: &Hook, headers: &HeaderMap, body: Body) -> bool {
    if hook.token.is_empty() {
        return false;
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (signature, token) = match hook.type_ {
        WebhookType::GitHub => (header("x-hub-signature-256").strip_prefix("sha256="), None),
        WebhookType::Bitbucket => (header("x-hub-signature").strip_prefix("sha256="), None),
        WebhookType::Gitea => {
            let known = ["x-gitea-signature", "x-forgejo-signature"].map(header);
            (known.into_iter().find(|signature| !signature.is_empty()), None)
        }
        WebhookType::GitLab => (None, Some(header("x-gitlab-token"))),
        WebhookType::Generic => (None, header("authorization").strip_prefix("Bearer ")),
    };
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &hook.token);
    if let Some(token) = token {
        // Compared as checksums, so that time tells nothing of the token.
        return hmac::verify(&secret, &hook.token, hmac::sign(&secret, token.as_bytes()).as_ref()).is_ok();
    }
    let Some(signature) = signature.and_then(unhex) else { return false };
    let mut context = hmac::Context::with_key(&secret);
    let mut read = 0;
    let mut chunks = body.into_data_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        read += chunk.len();
        if read > LARGEST {
            return false;
        }
        context.update(&chunk);
    }
    // Compared as checksums of themselves, for the same reason.
    let expected = context.sign();
    hmac::verify(&secret, expected.as_ref(), hmac::sign(&secret, &signature).as_ref()).is_ok()
}

/// False for events that say what they are, and are none of a push.
fn tells_of_a_push(headers: &HeaderMap) -> bool {
    const EVENTS: [&str; 5] = ["x-github-event", "x-gitlab-event", "x-gitea-event", "x-forgejo-event", "x-event-key"];
    let said: Vec<&str> =
        EVENTS.iter().filter_map(|name| headers.get(*name)).filter_map(|value| value.to_str().ok()).collect();
    const PUSHES: [&str; 6] = ["push", "Push Hook", "Tag Push Hook", "repo:push", "repo:refs_changed", "create"];
    said.is_empty() || said.iter().any(|event| PUSHES.contains(event))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    const TOKEN: &[u8] = b"a long token";
    const BODY: &str = r#"{"ref": "refs/heads/main"}"#;

    fn signed(token: &[u8]) -> String {
        hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, token), BODY.as_bytes()).as_ref())
    }

    async fn send(receiver: &Receiver, path: &str, headers: &[(&str, String)]) -> StatusCode {
        let request = headers.iter().fold(Request::post(path), |request, (name, value)| request.header(*name, value));
        receiver.router().oneshot(request.body(Body::from(BODY)).unwrap()).await.unwrap().status()
    }

    #[tokio::test]
    async fn each_forge_is_recognised_in_its_way_and_strangers_are_not() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let receiver = Receiver::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        receiver.lead(true);
        let key = SourceKey::new("apps", "shop");
        let good = signed(TOKEN);
        let bad = signed(b"another token");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        type Headers = Vec<(&'static str, String)>;
        let cases: [(WebhookType, Headers, Headers); 5] = [
            (
                WebhookType::GitHub,
                vec![("x-hub-signature-256", format!("sha256={good}")), ("x-github-event", "push".into())],
                vec![("x-hub-signature-256", format!("sha256={bad}"))],
            ),
            (
                WebhookType::Bitbucket,
                vec![("x-hub-signature", format!("sha256={good}")), ("x-event-key", "repo:push".into())],
                vec![("x-hub-signature", good.clone())],
            ),
            (WebhookType::Gitea, vec![("x-gitea-signature", good.clone())], vec![("x-gitea-signature", "zz".into())]),
            (
                WebhookType::GitLab,
                vec![("x-gitlab-token", text(TOKEN)), ("x-gitlab-event", "Push Hook".into())],
                vec![("x-gitlab-token", "a long tokem".into())],
            ),
            (
                WebhookType::Generic,
                vec![("authorization", format!("Bearer {}", text(TOKEN)))],
                vec![("authorization", "Bearer ".into())],
            ),
        ];
        for (number, (type_, right, wrong)) in cases.into_iter().enumerate() {
            let path = receiver.set(&key, Some(Hook::new(type_, TOKEN.to_vec()))).unwrap();
            assert_eq!(send(&receiver, &path, &wrong).await, StatusCode::UNAUTHORIZED, "{type_:?}");
            assert_eq!(send(&receiver, &path, &[]).await, StatusCode::UNAUTHORIZED, "{type_:?}");
            assert_eq!(count.load(Ordering::SeqCst), number);
            assert_eq!(send(&receiver, &path, &right).await, StatusCode::ACCEPTED, "{type_:?}");
            assert_eq!(count.load(Ordering::SeqCst), number + 1);
        }
    }

    #[tokio::test]
    async fn paths_are_secret_and_other_events_wake_nobody() {
        let receiver = Receiver::new(|key| panic!("{key} was woken"));
        let key = SourceKey::new("apps", "shop");
        let path = receiver.set(&key, Some(Hook::new(WebhookType::GitHub, TOKEN.to_vec()))).unwrap();
        assert_eq!(send(&receiver, &path, &[]).await, StatusCode::SERVICE_UNAVAILABLE);
        receiver.lead(true);
        assert_eq!(send(&receiver, "/hook/x", &[]).await, StatusCode::NOT_FOUND);
        let ping = [("x-hub-signature-256", format!("sha256={}", signed(TOKEN))), ("x-github-event", "ping".into())];
        assert_eq!(send(&receiver, &path, &ping).await, StatusCode::OK);
        assert_ne!(path, Hook::new(WebhookType::GitHub, b"x".to_vec()).path(&key));
        receiver.set(&key, None);
        assert_eq!(send(&receiver, &path, &ping).await, StatusCode::NOT_FOUND);
        let empty = receiver.set(&key, Some(Hook::new(WebhookType::Generic, Vec::new()))).unwrap();
        let nothing = [("authorization", "Bearer ".to_owned())];
        assert_eq!(send(&receiver, &empty, &nothing).await, StatusCode::UNAUTHORIZED);
    }
}
