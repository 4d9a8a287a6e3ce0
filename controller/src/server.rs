//! HTTP: `/metrics`, `/healthz` and `/readyz`.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::cache::Cache;
use crate::metrics::{CONTENT_TYPE, Metrics};

/// What the probes look at. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    cache: Cache,
    metrics: Metrics,
    failed: Arc<AtomicBool>,
}

impl Health {
    /// Healthy while the watches live and nothing was reported by [`Health::guard`].
    pub fn new(cache: Cache, metrics: Metrics) -> Health {
        Health { cache, metrics, failed: Arc::new(AtomicBool::new(false)) }
    }

    /// Hold this in a task that must not end: when it is dropped without [`Guard::done`], as by a panic, the process is
    /// no longer healthy.
    pub fn guard(&self) -> Guard {
        Guard { failed: Some(self.failed.clone()) }
    }

    /// True while all that must run does.
    pub fn is_alive(&self) -> bool {
        !self.failed.load(Ordering::Relaxed) && self.cache.is_alive()
    }

    /// True when everything asked for has been listed.
    pub fn is_ready(&self) -> bool {
        self.is_alive() && self.cache.is_ready()
    }
}

/// See [`Health::guard`].
pub struct Guard {
    failed: Option<Arc<AtomicBool>>,
}

impl Guard {
    /// The task ends as it should.
    pub fn done(mut self) {
        self.failed = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(failed) = self.failed.take() {
            failed.store(true, Ordering::Relaxed);
        }
    }
}

/// The routes.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(health)
}

/// Listens on the port of all addresses, IPv6 and IPv4.
pub async fn bind(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        // Nodes without IPv6.
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

/// Serves until `stop` resolves.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(health)).with_graceful_shutdown(stop).await
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], health.metrics.encode())
}

async fn healthz(State(health): State<Health>) -> impl IntoResponse {
    if health.is_alive() { (StatusCode::OK, "OK\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "a task has died\n") }
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    if health.is_ready() { (StatusCode::OK, "OK\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not synced yet\n") }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::fake::Fake;
    use crate::objects::kinds::CANARY;
    use crate::queue::{Limits, Queue};

    async fn status(health: &Health, path: &str) -> StatusCode {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router(health.clone()).oneshot(request).await.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn ready_when_synced_and_healthy_until_a_task_dies() {
        let metrics = Metrics::new("test", "istio");
        let queue = Queue::new(Limits::default(), metrics.clone());
        let cache = Cache::new(Fake::new().client(), None, queue, metrics.clone());
        let health = Health::new(cache.clone(), metrics);
        assert_eq!(status(&health, "/healthz").await, StatusCode::OK);
        assert_eq!(status(&health, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        cache.ensure(CANARY);
        while !cache.is_synced(CANARY) {
            tokio::task::yield_now().await;
        }
        assert_eq!(status(&health, "/readyz").await, StatusCode::OK);
        assert_eq!(status(&health, "/metrics").await, StatusCode::OK);
        health.guard().done();
        assert_eq!(status(&health, "/healthz").await, StatusCode::OK);
        drop(health.guard());
        assert_eq!(status(&health, "/healthz").await, StatusCode::SERVICE_UNAVAILABLE);
    }
}
