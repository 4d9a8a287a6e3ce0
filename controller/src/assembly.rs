//! A controller put together: over any client, in any surroundings. The program and the simulation both start here.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::task::JoinHandle;

use crate::cache::{Cache, CanaryKey};
use crate::clock::Clock;
use crate::context::{Context, Parts, Settings};
use crate::events::Recorder;
use crate::metrics::Metrics;
use crate::objects::kinds;
use crate::outside::Outside;
use crate::queue::{Limits, Queue};
use crate::reconcile::reconcile;
use crate::rest::Rest;

/// Events that wait to be written have this long at the end.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// What a controller finds around it.
pub struct Surroundings {
    /// Way to the Kubernetes API.
    pub client: Client,
    /// The only namespace that is looked at; `None` for all.
    pub namespace: Option<String>,
    /// Metrics servers, hooks, receivers of alerts.
    pub outside: Arc<dyn Outside>,
    /// What tells the time.
    pub clock: Clock,
    /// What counts.
    pub metrics: Metrics,
}

/// A controller that watches, and works while [`Controller::work`] is awaited. Needs a tokio runtime.
pub struct Controller {
    context: Arc<Context>,
    queue: Queue<CanaryKey>,
    events: JoinHandle<()>,
}

impl Controller {
    /// Puts it together; the watches begin.
    pub fn new(settings: Settings, surroundings: Surroundings) -> Controller {
        let Surroundings { client, namespace, outside, clock, metrics } = surroundings;
        let queue = Queue::new(Limits::default(), metrics.clone());
        let cache = Cache::new(client.clone(), namespace, queue.clone(), metrics.clone());
        cache.ensure(kinds::CANARY);
        cache.ensure(kinds::CANARY_TEMPLATE);
        // Of one namespace's rights, none reach beyond it.
        if cache.namespace().is_none() {
            cache.ensure(kinds::CLUSTER_CANARY_TEMPLATE);
        }
        let rest = Rest::new(client, metrics.clone());
        let (recorder, events) = Recorder::start(rest.clone(), metrics.clone(), clock.clone());
        let parts = Parts { settings, cache, rest, events: recorder, metrics, outside, clock };
        Controller { context: Arc::new(Context::new(parts)), queue, events }
    }

    /// What its passes share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Passes over every Canary that is due, until `stop` resolves.
    pub async fn work(&self, stop: impl Future<Output = ()>) {
        let shared = self.context.clone();
        shared.history.lead(shared.clock().now());
        self.queue.run(stop, move |key| reconcile(shared.clone(), key)).await;
    }

    /// Ends at once, as a process does that is killed: what is not written by now is lost.
    pub fn die(self) {
        self.context.cache.stop();
        self.events.abort();
    }

    /// Ends the watches, and waits a moment for the last Events to be written.
    pub async fn end(self) {
        let Controller { context, queue: _, events } = self;
        context.cache.stop();
        drop(context);
        // What is not told by now is lost; the status has it.
        let _ = tokio::time::timeout(LAST_EVENTS, events).await;
    }
}
