//! Who may see, and who may act. On the loopback whoever gets there is trusted, so only the page itself may ask; elsewhere
//! every request carries a bearer token, which Kubernetes reviews, and Kubernetes' own rights decide.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::objects::Kind;
use crate::objects::kinds::{CANARY, POD, SUBJECT_ACCESS_REVIEW, TOKEN_REVIEW};
use crate::problem::ApiProblem;
use crate::rest::Rest;

/// Requests to the API of the dashboard carry this header, which no page of another origin can set unasked.
pub const HEADER: &str = "x-serin-dashboard";
/// Answers of the API server about tokens and rights are believed for this long.
const BELIEVED: Duration = Duration::from_secs(60);
/// A token that was refused is asked about again after this.
const REFUSED: Duration = Duration::from_secs(10);
/// Answers that are remembered; beyond it the old ones are asked again.
const REMEMBERED: usize = 4096;
/// Reviews of tokens at once, so that strangers cannot make work for the API server.
const REVIEWS: usize = 4;
/// Longer ones are not tokens.
const LONGEST_TOKEN: usize = 16 * 1024;

/// The rule by which requests are let in. Cheap to clone.
#[derive(Clone)]
pub enum Access {
    /// Whoever reaches the loopback.
    Loopback,
    /// Whoever has a token, as far as their rights go.
    Token(TokenAccess),
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq)]
pub enum Asker {
    /// On the loopback.
    Loopback,
    /// With a token.
    User(Arc<User>),
}

/// A user as the API server knows them.
#[derive(Debug, PartialEq)]
pub struct User {
    /// Name, as in `system:serviceaccount:team:mia`.
    pub name: String,
    /// What a review of rights has to be given: user, groups, uid and extra.
    subject: Value,
    token: TokenDigest,
}

/// What a request was refused for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name in the address bar is not one of the loopback: a page of another site may have led here.
    #[error("this dashboard answers on the loopback alone; open it as localhost or 127.0.0.1, not as {0}")]
    Host(String),
    /// The request comes from a page of another origin.
    #[error("requests from pages of other origins are refused")]
    Origin,
    /// There is no token, or it is not valid.
    #[error("{0}")]
    Unknown(String),
    /// A right is missing.
    #[error("{user} may not {verb} {resource} in namespace {namespace}")]
    Right {
        /// Who.
        user: String,
        /// The verb.
        verb: &'static str,
        /// The plural.
        resource: &'static str,
        /// Where.
        namespace: String,
    },
    /// Too many strangers at once.
    #[error("too many tokens are being reviewed; try again in a moment")]
    Busy,
    /// The API server did not say.
    #[error("{0}")]
    Unreviewed(String),
}

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Refusal::Origin | Refusal::Right { .. } => StatusCode::FORBIDDEN,
            Refusal::Unknown(_) => StatusCode::UNAUTHORIZED,
            Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Unreviewed(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// What a right is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// See Canaries.
    See,
    /// Give commands to Canaries.
    Act,
    /// See pods.
    SeePods,
}

impl Right {
    /// Verb and kind of the right in Kubernetes.
    const fn in_kubernetes(self) -> (&'static str, Kind) {
        match self {
            Right::See => ("list", CANARY),
            Right::Act => ("patch", CANARY),
            Right::SeePods => ("list", POD),
        }
    }
}

/// Lets in whom the API server knows.
#[derive(Clone)]
pub struct TokenAccess {
    shared: Arc<Shared>,
}

struct Shared {
    rest: Rest,
    reviews: Semaphore,
    known: Mutex<Known>,
}

type TokenDigest = [u8; 32];

#[derive(Default)]
struct Known {
    users: HashMap<TokenDigest, (Instant, Option<Arc<User>>)>,
    rights: HashMap<(TokenDigest, Right, String), (Instant, bool)>,
}

impl Access {
    /// Asks this API about tokens and rights.
    pub fn by_token(rest: Rest) -> Access {
        let shared = Shared { rest, reviews: Semaphore::new(REVIEWS), known: Mutex::default() };
        Access::Token(TokenAccess { shared: Arc::new(shared) })
    }

    /// Refuses requests that reach the loopback under another name, as DNS rebinding makes them. For every request.
    pub fn check_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self {
            Access::Token(_) => Ok(()),
            Access::Loopback => {
                let host = text(headers, HOST.as_str()).unwrap_or_default();
                if is_loopback_name(host) { Ok(()) } else { Err(Refusal::Host(host.to_owned())) }
            }
        }
    }

    /// Who asks. For every request to the API.
    pub async fn admit(&self, headers: &HeaderMap) -> Result<Asker, Refusal> {
        match self {
            Access::Loopback if comes_from_the_page(headers) && is_same_origin(headers) => Ok(Asker::Loopback),
            // A proxy may well have changed the host; the token says enough.
            Access::Token(access) if comes_from_the_page(headers) => access.admit(headers).await.map(Asker::User),
            Access::Loopback | Access::Token(_) => Err(Refusal::Origin),
        }
    }

    /// Whether the asker has the right in the namespace; in all when it is empty.
    pub async fn may(&self, asker: &Asker, right: Right, namespace: &str) -> Result<bool, Refusal> {
        match (self, asker) {
            (Access::Loopback, _) => Ok(true),
            (Access::Token(access), Asker::User(user)) => access.may(user, right, namespace).await,
            (Access::Token(_), Asker::Loopback) => Ok(false),
        }
    }

    /// Refuses an asker without the right. That somebody may act is never taken from memory.
    pub async fn demand(&self, asker: &Asker, right: Right, namespace: &str) -> Result<(), Refusal> {
        let may = match (self, asker, right) {
            (Access::Token(access), Asker::User(user), Right::Act) => access.review(user, right, namespace).await?,
            (Access::Loopback | Access::Token(_), _, Right::See | Right::Act | Right::SeePods) => {
                self.may(asker, right, namespace).await?
            }
        };
        if may {
            return Ok(());
        }
        let (verb, kind) = right.in_kubernetes();
        Err(Refusal::Right {
            user: asker.name().to_owned(),
            verb,
            resource: kind.plural,
            namespace: namespace.to_owned(),
        })
    }
}

impl Asker {
    /// As commands are signed.
    pub fn name(&self) -> &str {
        match self {
            Asker::Loopback => "dashboard on the loopback",
            Asker::User(user) => &user.name,
        }
    }
}

impl TokenAccess {
    async fn admit(&self, headers: &HeaderMap) -> Result<Arc<User>, Refusal> {
        let token = text(headers, AUTHORIZATION.as_str())
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::trim)
            .filter(|token| !token.is_empty() && token.len() <= LONGEST_TOKEN)
            .ok_or_else(|| Refusal::Unknown("a bearer token is needed, as `kubectl create token` makes them".into()))?;
        let digest: TokenDigest = Sha256::digest(token).into();
        let invalid = || Refusal::Unknown("the token is not valid, or no longer".into());
        if let Some(known) = self.lock().user(&digest) {
            return known.ok_or_else(invalid);
        }
        let _permit = self.shared.reviews.try_acquire().map_err(|_| Refusal::Busy)?;
        let review = json!({
            "apiVersion": TOKEN_REVIEW.api_version(), "kind": TOKEN_REVIEW.kind, "spec": {"token": token},
        });
        let review = self.shared.rest.create(TOKEN_REVIEW, "", &review).await.map_err(unreviewed)?;
        let user = user_of(&review["status"], digest).map(Arc::new);
        self.lock().remember_user(digest, user.clone());
        user.ok_or_else(invalid)
    }

    async fn may(&self, user: &User, right: Right, namespace: &str) -> Result<bool, Refusal> {
        let known = self.lock().right(&(user.token, right, namespace.to_owned()));
        match known {
            Some(known) => Ok(known),
            None => self.review(user, right, namespace).await,
        }
    }

    async fn review(&self, user: &User, right: Right, namespace: &str) -> Result<bool, Refusal> {
        let (verb, kind) = right.in_kubernetes();
        let mut spec = user.subject.clone();
        spec["resourceAttributes"] = json!({
            "namespace": namespace, "verb": verb, "group": kind.group, "version": kind.version, "resource": kind.plural,
        });
        let review = json!({
            "apiVersion": SUBJECT_ACCESS_REVIEW.api_version(), "kind": SUBJECT_ACCESS_REVIEW.kind, "spec": spec,
        });
        let review = self.shared.rest.create(SUBJECT_ACCESS_REVIEW, "", &review).await.map_err(unreviewed)?;
        let allowed = review["status"]["allowed"] == true && review["status"]["denied"] != true;
        self.lock().remember_right((user.token, right, namespace.to_owned()), allowed);
        Ok(allowed)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn user(&self, token: &TokenDigest) -> Option<Option<Arc<User>>> {
        let (until, user) = self.users.get(token)?;
        (*until > Instant::now()).then(|| user.clone())
    }

    fn remember_user(&mut self, token: TokenDigest, user: Option<Arc<User>>) {
        make_room(&mut self.users, |(until, _)| *until);
        let believed = if user.is_some() { BELIEVED } else { REFUSED };
        self.users.insert(token, (Instant::now() + believed, user));
    }

    fn right(&self, question: &(TokenDigest, Right, String)) -> Option<bool> {
        let (until, allowed) = self.rights.get(question)?;
        (*until > Instant::now()).then_some(*allowed)
    }

    fn remember_right(&mut self, question: (TokenDigest, Right, String), allowed: bool) {
        make_room(&mut self.rights, |(until, _)| *until);
        self.rights.insert(question, (Instant::now() + BELIEVED, allowed));
    }
}

fn make_room<K, V>(known: &mut HashMap<K, V>, until: impl Fn(&V) -> Instant) {
    if known.len() >= REMEMBERED {
        let now = Instant::now();
        known.retain(|_, answer| until(answer) > now);
    }
    if known.len() >= REMEMBERED {
        known.clear();
    }
}

fn user_of(status: &Value, token: TokenDigest) -> Option<User> {
    if status["authenticated"] != true {
        return None;
    }
    let user = &status["user"];
    let name = user["username"].as_str().filter(|name| !name.is_empty())?.to_owned();
    let mut subject = json!({"user": name});
    for field in ["groups", "uid", "extra"] {
        if !user[field].is_null() {
            subject[field] = user[field].clone();
        }
    }
    Some(User { name, subject, token })
}

fn unreviewed(problem: ApiProblem) -> Refusal {
    Refusal::Unreviewed(problem.to_string())
}

/// A browser tells truthfully what asks, and lets no foreign page set [`HEADER`] without asking.
fn comes_from_the_page(headers: &HeaderMap) -> bool {
    let site = text(headers, "sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    site && headers.contains_key(HEADER)
}

/// The origin, where it is told, is the host that the request is for.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let origin = origin.to_str().ok();
    let authority =
        origin.and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
    authority.zip(text(headers, HOST.as_str())).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

/// `localhost` or an address of the loopback, with any port: a forwarded port has another number.
fn is_loopback_name(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, rest)) => (address, rest.strip_prefix(':').or((rest.is_empty()).then_some("0"))),
            None => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, Some("0")),
        },
    };
    let port = port.is_some_and(|port| port.parse::<u16>().is_ok());
    let name = name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    name && port
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
