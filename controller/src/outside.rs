//! All that a pass asks or tells beside the Kubernetes API, behind one seam: a simulation puts its own world there.

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use rollout::{HookAnswer, Reading};
use url::Url;

use crate::forges;
use crate::http::{self, Clients, HttpError, Options, Redirects};
use crate::notifiers::{self, NotifierError};
use crate::providers::{self, Patience, Query};
use crate::webhooks::{self, HookCall, Pauses};

/// Metrics servers, hooks, receivers of alerts and forges. Calls bound themselves in time.
pub trait Outside: Send + Sync {
    /// Asks a metrics server; the age of its answer is judged by `now`.
    fn read<'a>(&'a self, query: &'a Query, now: Timestamp) -> BoxFuture<'a, Reading>;

    /// Calls a hook.
    fn call<'a>(&'a self, call: HookCall<'a>) -> BoxFuture<'a, HookAnswer>;

    /// Sends an alert.
    fn tell<'a>(&'a self, notice: &'a notifiers::Request) -> BoxFuture<'a, Result<(), NotifierError>>;

    /// Asks a forge once; any answer is one, whatever its status.
    fn exchange<'a>(
        &'a self,
        request: forges::Request,
        proxy: Option<&'a Url>,
    ) -> BoxFuture<'a, Result<forges::Response, HttpError>>;
}

/// By HTTP.
impl Outside for Clients {
    fn read<'a>(&'a self, query: &'a Query, now: Timestamp) -> BoxFuture<'a, Reading> {
        providers::read(query, self, Patience::default(), now).boxed()
    }

    fn call<'a>(&'a self, call: HookCall<'a>) -> BoxFuture<'a, HookAnswer> {
        async move { webhooks::call(&call, self, Pauses::default()).await }.boxed()
    }

    fn tell<'a>(&'a self, notice: &'a notifiers::Request) -> BoxFuture<'a, Result<(), NotifierError>> {
        notifiers::send(notice, self, notifiers::TIMEOUT).boxed()
    }

    fn exchange<'a>(
        &'a self,
        request: forges::Request,
        proxy: Option<&'a Url>,
    ) -> BoxFuture<'a, Result<forges::Response, HttpError>> {
        async move {
            // A repository that was renamed answers a question with 301, and one that is none with 307.
            let reads = request.method() == ::http::Method::GET;
            let redirects = if reads { Redirects::Any } else { Redirects::SameMethod };
            let client = self.get(&Options { insecure: false, proxy: proxy.cloned(), redirects })?;
            let mut request = reqwest::Request::try_from(request).map_err(|error| http::describe(&error))?;
            *request.timeout_mut() = Some(forges::TIMEOUT);
            let response = client.execute(request).await.map_err(|error| http::describe(&error))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut answer = forges::Response::new(http::whole_body(response).await?);
            *answer.status_mut() = status;
            *answer.headers_mut() = headers;
            Ok(answer)
        }
        .boxed()
    }
}
