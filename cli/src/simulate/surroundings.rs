//! What the controller finds outside of the simulated cluster: the world's metrics server, hooks that answer as the
//! scenario says, and receivers of alerts that keep them to themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use controller::forges;
use controller::http::HttpError;
use controller::notifiers::{self, NotifierError};
use controller::outside::Outside;
use controller::providers::{self, Patience, Query};
use controller::webhooks::HookCall;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, header};
use jiff::Timestamp;
use rollout::{HookAnswer, Reading};
use sim::world::World;
use sim::world::metrics::http::router;
use tokio::time::timeout;
use tower::ServiceExt;
use url::{Url, form_urlencoded};

/// The world around the cluster. Cheap to clone; all clones are the same world.
#[derive(Clone)]
pub(crate) struct Around {
    world: Arc<Mutex<World>>,
    /// Answers by URL; hooks that are not named say yes.
    hooks: Arc<Mutex<BTreeMap<String, bool>>>,
}

impl Around {
    pub(crate) fn new(world: World) -> Around {
        Around { world: Arc::new(Mutex::new(world)), hooks: Arc::default() }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on hooks at that URL answer so.
    pub(crate) fn answer(&self, url: &str, yes: bool) {
        self.hooks().insert(normal(url), yes);
    }

    fn hooks(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outside for Around {
    fn read<'a>(&'a self, query: &'a Query, now: Timestamp) -> BoxFuture<'a, Reading> {
        async move {
            let around = self.clone();
            let server = router(move |text, at| around.world().query(at.unwrap_or(now), text));
            match timeout(Patience::default().total, ask(server, &query.text)).await {
                Ok(answer) => providers::understand(query, answer, now).await,
                Err(_) => Reading::Unavailable("no answer in time".into()),
            }
        }
        .boxed()
    }

    fn call<'a>(&'a self, call: HookCall<'a>) -> BoxFuture<'a, HookAnswer> {
        let url = call.hook.url.as_str();
        let yes = self.hooks().get(url).copied().unwrap_or(true);
        let answer = if yes { HookAnswer::Yes } else { HookAnswer::No(format!("{url} says no")) };
        std::future::ready(answer).boxed()
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
