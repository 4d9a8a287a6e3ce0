//! What the controller finds outside of the simulated cluster: the world's metrics server, hooks that answer as the
//! scenario says, and receivers of alerts that only count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use controller::notifiers::{self, NotifierError};
use controller::outside::Outside;
use controller::providers::{self, Query};
use controller::webhooks::HookCall;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use rollout::{HookAnswer, Reading};
use sim::world::World;

/// The world around the cluster. Cheap to clone; all clones are the same world.
#[derive(Clone)]
pub(crate) struct Around {
    world: Arc<Mutex<World>>,
    hooks: Arc<Mutex<Hooks>>,
}

#[derive(Default)]
struct Hooks {
    /// Answers by URL; hooks that are not named say yes.
    answers: BTreeMap<String, bool>,
    alerts: u64,
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
        self.hooks().answers.insert(normal(url), yes);
    }

    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outside for Around {
    fn read<'a>(&'a self, query: &'a Query, now: Timestamp) -> BoxFuture<'a, Reading> {
        async move {
            let answer = sim::world::metrics::http::respond(self.world().query(now, &query.text));
            providers::understand(query, answer, now).await
        }
        .boxed()
    }

    fn call<'a>(&'a self, call: HookCall<'a>) -> BoxFuture<'a, HookAnswer> {
        let url = call.hook.url.as_str();
        let yes = self.hooks().answers.get(url).copied().unwrap_or(true);
        let answer = if yes { HookAnswer::Yes } else { HookAnswer::No(format!("{url} says no")) };
        std::future::ready(answer).boxed()
    }

    fn tell<'a>(&'a self, _notice: &'a notifiers::Request) -> BoxFuture<'a, Result<(), NotifierError>> {
        self.hooks().alerts += 1;
        std::future::ready(Ok(())).boxed()
    }
}

/// As the controller writes it: `http://gate` and `http://gate/` are the same.
fn normal(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.to_string())
}
