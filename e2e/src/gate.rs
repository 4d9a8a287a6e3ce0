//! A webhook that the test opens and closes: every call is counted, and admitted only as often as the test said.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Default)]
struct Counters {
    admissions: AtomicI64,
    admitted: AtomicU64,
    refused: AtomicU64,
}

/// A gate on a loopback address; closed at first.
pub struct Gate {
    url: String,
    counters: Arc<Counters>,
    server: JoinHandle<()>,
}

impl Gate {
    /// Starts the server.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn closed() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("opening a port for the gate")?;
        let url = format!("http://{}/", listener.local_addr().context("asking for the gate's port")?);
        let counters = Arc::new(Counters::default());
        let app = Router::new().route("/", post(ask)).with_state(Arc::clone(&counters));
        let server = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { url, counters, server })
    }

    /// What the Canary's webhook names.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Admits the next `calls` calls.
    pub fn admit(&self, calls: i64) {
        self.counters.admissions.store(calls, Ordering::SeqCst);
    }

    /// Admits every call from now on.
    pub fn open(&self) {
        self.admit(i64::MAX);
    }

    /// How many calls were admitted, and how many refused.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        (self.counters.admitted.load(Ordering::SeqCst), self.counters.refused.load(Ordering::SeqCst))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn ask(State(counters): State<Arc<Counters>>) -> StatusCode {
    if counters.admissions.fetch_sub(1, Ordering::SeqCst) > 0 {
        counters.admitted.fetch_add(1, Ordering::SeqCst);
        StatusCode::OK
    } else {
        counters.admissions.store(0, Ordering::SeqCst);
        counters.refused.fetch_add(1, Ordering::SeqCst);
        StatusCode::FORBIDDEN
    }
}
