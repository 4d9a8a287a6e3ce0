//! All that a pass asks or tells beside the Kubernetes API, behind one seam: a simulation puts its own world there.

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use rollout::{HookAnswer, Reading};

use crate::http::Clients;
use crate::notifiers::{self, NotifierError};
use crate::providers::{self, Patience, Query};
use crate::webhooks::{self, HookCall, Pauses};

/// Metrics servers, hooks and receivers of alerts. Calls bound themselves in time.
pub trait Outside: Send + Sync {
    /// Asks a metrics server; the age of its answer is judged by `now`.
    fn read<'a>(&'a self, query: &'a Query, now: Timestamp) -> BoxFuture<'a, Reading>;

    /// Calls a hook.
    fn call<'a>(&'a self, call: HookCall<'a>) -> BoxFuture<'a, HookAnswer>;

    /// Sends an alert.
    fn tell<'a>(&'a self, notice: &'a notifiers::Request) -> BoxFuture<'a, Result<(), NotifierError>>;
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
}
