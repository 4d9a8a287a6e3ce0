//! Requests and answers.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cache::CanaryKey;
use crate::command::{self, Verb, refusal};
use crate::objects::kinds::CANARY;
use crate::problem::{ApiProblem, Class};
use crate::rest::PatchType;

use super::Shared;
use super::access::{Access, Asker, Refusal, Right};
use super::stream::{self, HEARTBEAT, Wanted};
use super::view::Objects;

/// The page runs its own script and style and speaks to its own origin, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";
/// Path, type and text of what the page is made of.
const ASSETS: [(&str, &str, &str); 10] = [
    ("/", "text/html; charset=utf-8", include_str!("assets/index.html")),
    ("/app.js", "text/javascript; charset=utf-8", include_str!("assets/app.js")),
    ("/charts.js", "text/javascript; charset=utf-8", include_str!("assets/charts.js")),
    ("/confirm.js", "text/javascript; charset=utf-8", include_str!("assets/confirm.js")),
    ("/overview.js", "text/javascript; charset=utf-8", include_str!("assets/overview.js")),
    ("/parts.js", "text/javascript; charset=utf-8", include_str!("assets/parts.js")),
    ("/rollout.js", "text/javascript; charset=utf-8", include_str!("assets/rollout.js")),
    ("/stream.js", "text/javascript; charset=utf-8", include_str!("assets/stream.js")),
    ("/style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("/icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];
/// Bodies of requests are a verb and an id.
const LARGEST: usize = 4096;

/// The routes.
pub(super) fn router(shared: Arc<Shared>, stop: watch::Receiver<bool>) -> Router {
    let api = Router::new()
        .route("/session", get(session))
        .route("/stream", get(move |state, headers, query| open_stream(state, headers, query, stop)))
        .route("/rollouts/{namespace}/{name}/pods", get(pods))
        .route("/rollouts/{namespace}/{name}/events", get(recalled))
        .route("/rollouts/{namespace}/{name}/command", post(give))
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "there is no such thing") });
    let page = ASSETS.into_iter().fold(Router::new(), |page, (path, content_type, text)| {
        let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")];
        page.route(path, get(move || async move { (headers, text) }))
    });
    page.nest("/api", api)
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(middleware::from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

/// For every request: the host it is for, and headers of the answer.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let mut response = match shared.access.check_host(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => Failure::from(refused).into_response(),
    };
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Who asks, when this replica knows something.
async fn admit(shared: &Shared, headers: &HeaderMap) -> Result<Asker, Failure> {
    let asker = shared.access.admit(headers).await?;
    if !shared.cache.is_synced(CANARY) {
        let why = shared.cache.problem(CANARY).unwrap_or_else(|| "the Canaries are being listed".to_owned());
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, why));
    }
    Ok(asker)
}

async fn session(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Json<Value>, Failure> {
    let asker = admit(&shared, &headers).await?;
    let by_token = match shared.access {
        Access::Token(_) => true,
        Access::Loopback => false,
    };
    Ok(Json(json!({
        "user": asker.name(), "byToken": by_token, "cluster": shared.cluster_name, "version": env!("CARGO_PKG_VERSION"),
    })))
}

#[derive(Deserialize)]
struct Asked {
    namespace: Option<String>,
    name: Option<String>,
}

async fn open_stream(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
    stop: watch::Receiver<bool>,
) -> Result<Response, Failure> {
    let asker = admit(&shared, &headers).await?;
    let wanted = match (asked.namespace, asked.name) {
        (Some(namespace), Some(name)) => {
            shared.access.demand(&asker, Right::See, &namespace).await?;
            Wanted::Rollout(CanaryKey::new(&namespace, &name))
        }
        (None, None) => Wanted::Overview,
        (Some(_), None) | (None, Some(_)) => {
            return Err(Failure::new(StatusCode::BAD_REQUEST, "namespace and name go together"));
        }
    };
    let seat = shared.seats.take(asker.name()).ok_or_else(|| {
        Failure::new(StatusCode::TOO_MANY_REQUESTS, "too many pages are open; close some, or wait a moment")
    })?;
    let events = stream::events(shared, asker, wanted, seat, stop);
    let heartbeat = KeepAlive::new().interval(HEARTBEAT).text("here");
    // Proxies would gather what is to be seen at once.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(events).keep_alive(heartbeat)).into_response())
}

async fn pods(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Value>, Failure> {
    let asker = admit(&shared, &headers).await?;
    shared.access.demand(&asker, Right::See, &namespace).await?;
    shared.access.demand(&asker, Right::SeePods, &namespace).await?;
    let key = CanaryKey::new(&namespace, &name);
    let leads = shared.history.standing().leads;
    let objects = Objects::of(&shared.cache, &key, leads).ok_or_else(|| Failure::missing(&key))?;
    let pods = shared.pods.of(&key, &objects, &shared.rest).await?;
    Ok(Json(json!({ "at": shared.clock.now().as_millisecond(), "pods": *pods })))
}

/// What the controllers have told of the Canary, whichever replica that was. No more than the log, so nobody needs
/// another right for it.
async fn recalled(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Value>, Failure> {
    let asker = admit(&shared, &headers).await?;
    shared.access.demand(&asker, Right::See, &namespace).await?;
    let key = CanaryKey::new(&namespace, &name);
    shared.cache.canary(&key).ok_or_else(|| Failure::missing(&key))?;
    let recalled = shared.recall.of(&key, &shared.rest).await?;
    Ok(Json(json!({ "at": shared.clock.now().as_millisecond(), "log": recalled.log, "weights": recalled.weights })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    verb: String,
    /// The revision that the asker saw: a command is not for one that came meanwhile.
    revision: Option<String>,
}

async fn give(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path((namespace, name)): Path<(String, String)>,
    given: Result<Json<Given>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let asker = admit(&shared, &headers).await?;
    shared.access.demand(&asker, Right::See, &namespace).await?;
    shared.access.demand(&asker, Right::Act, &namespace).await?;
    let Json(given) = given.map_err(|problem| Failure::new(problem.status(), problem.body_text()))?;
    let verb = Verb::of(&given.verb).ok_or_else(|| {
        let known = Verb::ALL.map(Verb::as_str).join(", ");
        Failure::new(StatusCode::BAD_REQUEST, format!("unknown command {:?}; known are {known}", given.verb))
    })?;
    let key = CanaryKey::new(&namespace, &name);
    let canary = shared.cache.canary(&key).ok_or_else(|| Failure::missing(&key))?;
    if let Some(why) = refusal(&canary, verb) {
        return Err(Failure::new(StatusCode::CONFLICT, why));
    }
    let revision = canary.pointer("/status/appliedRevision").and_then(Value::as_str);
    if given.revision.is_some() && given.revision.as_deref() != revision {
        return Err(Failure::new(StatusCode::CONFLICT, "a newer revision has arrived meanwhile; look again"));
    }
    let id = command::random_id();
    let written = command::written(verb, &id, asker.name());
    shared.rest.patch(CANARY, &namespace, &name, None, PatchType::Merge, &written).await?;
    tracing::info!(canary = %key, user = asker.name(), command = verb.as_str(), "commanded in the dashboard");
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": id }))))
}

/// An answer that is none.
struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    fn new(status: StatusCode, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into() }
    }

    fn missing(key: &CanaryKey) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, format!("there is no Canary {} in namespace {}", key.name, key.namespace))
    }
}

impl From<Refusal> for Failure {
    fn from(refused: Refusal) -> Failure {
        Failure::new(refused.status(), refused.to_string())
    }
}

impl From<ApiProblem> for Failure {
    fn from(problem: ApiProblem) -> Failure {
        let status = match problem.class {
            Class::Conflict => StatusCode::CONFLICT,
            Class::Denied(_) | Class::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Class::NotFound | Class::Gone => StatusCode::NOT_FOUND,
            Class::Forbidden { .. } | Class::Unreachable => StatusCode::BAD_GATEWAY,
        };
        Failure::new(status, problem.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.message }));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            // Another connection may well lead to another replica.
            return (self.status, [(header::CONNECTION, "close")], body).into_response();
        }
        (self.status, body).into_response()
    }
}
