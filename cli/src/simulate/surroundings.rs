//! What the controller finds outside of the simulated cluster: the world's metrics server, hooks that answer as the
//! scenario says, and receivers of alerts that keep them to themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use controller::forges;
use controller::http::HttpError;
use controller::notifiers::{self, NotifierError};
use controller::outside::Outside;
use controller::providers::{self, Patience, Query};
use controller::webhooks::{self, Broken, HookCall, Pauses};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, header};
use jiff::Timestamp;
use rollout::{HookAnswer, Reading};
use serde::Deserialize;
use sim::Cluster;
use sim::world::World;
use sim::world::metrics::http::router;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use url::{Url, form_urlencoded};

use super::scenario::duration;

/// What a hook does when it is called: `true`, `false`, `hang`, or `{after: 20s, says: true}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub enum Manner {
    /// It answers at once.
    Answers(bool),
    /// It answers late.
    Slow {
        /// After that time.
        after: Duration,
        /// Yes or no.
        says: bool,
    },
    /// It takes the call and never answers.
    Hangs,
}

impl Default for Manner {
    fn default() -> Self {
        Manner::Answers(true)
    }
}

impl Manner {
    async fn answer(self) -> HookAnswer {
        let says = match self {
            Manner::Answers(says) => says,
            Manner::Slow { after, says } => {
                sleep(after).await;
                says
            }
            Manner::Hangs => pending().await,
        };
        if says { HookAnswer::Yes } else { HookAnswer::No("Forbidden".into()) }
    }
}

/// In words of the transcript.
impl fmt::Display for Manner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |says| if says { "yes" } else { "no" };
        match self {
            Manner::Answers(says) => write!(formatter, "says {}", word(*says)),
            Manner::Slow { after, says } => write!(formatter, "says {} after {after:?}", word(*says)),
            Manner::Hangs => formatter.write_str("never answers"),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Says(bool),
    Word(String),
    Slow(Late),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Late {
    #[serde(deserialize_with = "duration")]
    after: Duration,
    #[serde(default = "yes")]
    says: bool,
}

const fn yes() -> bool {
    true
}

impl TryFrom<Written> for Manner {
    type Error = String;

    fn try_from(written: Written) -> Result<Manner, String> {
        match written {
            Written::Says(says) => Ok(Manner::Answers(says)),
            Written::Slow(Late { after, says }) => Ok(Manner::Slow { after, says }),
            Written::Word(word) if word == "hang" => Ok(Manner::Hangs),
            Written::Word(word) => {
                Err(format!("a hook cannot {word:?}; write true, false, hang or {{after: 20s, says: true}}"))
            }
        }
    }
}

/// The world around the cluster. Cheap to clone; all clones are the same world.
#[derive(Clone)]
pub(crate) struct Around {
    /// Tells the metrics server the time, whatever the controller's clock shows.
    cluster: Cluster,
    world: Arc<Mutex<World>>,
    /// Answers by URL; hooks that are not named say yes.
    hooks: Arc<Mutex<BTreeMap<String, Manner>>>,
}

impl Around {
    pub(crate) fn new(cluster: Cluster, world: World) -> Around {
        Around { cluster, world: Arc::new(Mutex::new(world)), hooks: Arc::default() }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on hooks at that URL answer so.
    pub(crate) fn answer(&self, url: &str, manner: Manner) {
        self.hooks().insert(normal(url), manner);
    }

    fn hooks(&self) -> MutexGuard<'_, BTreeMap<String, Manner>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outside for Around {
    fn read<'a>(&'a self, query: &'a Query, now: Timestamp) -> BoxFuture<'a, Reading> {
        async move {
            let around = self.clone();
            let server = router(move |text, at| around.world().query(at.unwrap_or(around.cluster.now()), text));
            match timeout(Patience::default().total, ask(server, &query.text)).await {
                Ok(answer) => providers::understand(query, answer, now).await,
                Err(_) => Reading::Unavailable("no answer in time".into()),
            }
        }
        .boxed()
    }

    fn call<'a>(&'a self, call: HookCall<'a>) -> BoxFuture<'a, HookAnswer> {
        // An attempt meets what the hook does by then, and waits as long as the controller would.
        let attempt = move || async move {
            let manner = self.hooks().get(call.hook.url.as_str()).copied().unwrap_or_default();
            timeout(call.hook.timeout, manner.answer()).await.map_err(|_| Broken::late())
        };
        webhooks::attempts(call.hook, Pauses::default(), attempt).boxed()
    }

    fn tell<'a>(&'a self, _notice: &'a notifiers::Request) -> BoxFuture<'a, Result<(), NotifierError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn exchange<'a>(
        &'a self,
        _request: forges::Request,
        _proxy: Option<&'a Url>,
    ) -> BoxFuture<'a, Result<forges::Response, HttpError>> {
        std::future::ready(Err(HttpError::Transport("there is no forge in a simulated world".into()))).boxed()
    }
}

/// Asks the metrics server by HTTP, without a socket.
async fn ask(server: Router, query: &str) -> Response<Vec<u8>> {
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
    let request = Request::post("/api/v1/query")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .expect("the request is the same each time");
    let Ok(answer) = server.oneshot(request).await;
    let (parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    Response::from_parts(parts, body.to_vec())
}

/// As the controller writes it: `http://gate` and `http://gate/` are the same.
fn normal(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.to_string())
}
