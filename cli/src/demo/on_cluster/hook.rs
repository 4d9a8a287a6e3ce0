//! The rollout hook of the demo: asks the canary's pods over the API server's service proxy, and judges by what they answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use futures::future::join_all;
use http::Request;
use kube::Client;
use kube::client::Body;
use tokio::net::TcpListener;

use super::super::DemoError;
use super::NAMESPACE;

/// Requests of one look.
const REQUESTS: usize = 20;
/// Failed ones that are no longer chance, in percent.
const BEARABLE: usize = 5;

/// The hook. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(super) struct Hook {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    listener: Mutex<Option<TcpListener>>,
    judge: Mutex<Judge>,
}

/// Who judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judge {
    /// The hook, by the answers that it counts.
    Answers,
    /// A metrics server; the hook only asks, so that there is something to measure.
    Metrics,
    /// Kubernetes, by whether pods get ready: the hook reaches nothing.
    Readiness,
}

/// What came of one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) asked: usize,
    pub(super) failed: usize,
}

impl Answers {
    /// Few enough failed.
    pub(super) fn are_fine(self) -> bool {
        self.asked > 0 && self.failed * 100 <= self.asked * BEARABLE
    }
}

impl Hook {
    /// On the loopback, where the controller of this process reaches it; and where that is.
    pub(super) async fn listen(client: Client) -> Result<(Hook, SocketAddr), DemoError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (listener, judge) = (Mutex::new(Some(listener)), Mutex::new(Judge::Readiness));
        Ok((Hook { shared: Arc::new(Shared { client, listener, judge }) }, address))
    }

    /// Who judges from now on.
    pub(super) fn judge_by(&self, judge: Judge) {
        *self.shared.judge.lock().unwrap_or_else(PoisonError::into_inner) = judge;
    }

    /// Answers until it is dropped.
    pub(super) async fn serve(&self) -> std::io::Result<()> {
        let Some(listener) = self.shared.listener.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Err(std::io::Error::other("it is served already"));
        };
        let hook = self.clone();
        let answer = move || {
            let hook = hook.clone();
            async move { hook.answer().await }
        };
        axum::serve(listener, Router::new().route("/", post(answer))).await
    }

    async fn answer(&self) -> (StatusCode, String) {
        let judge = *self.shared.judge.lock().unwrap_or_else(PoisonError::into_inner);
        match judge {
            Judge::Readiness => (StatusCode::OK, "nothing is asked: the API server does not reach the pods".to_owned()),
            Judge::Metrics => {
                let seen = self.ask("podinfo-canary").await;
                (StatusCode::OK, format!("{} requests sent, judged by the metrics server", seen.asked))
            }
            Judge::Answers => {
                let seen = self.ask("podinfo-canary").await;
                let status = if seen.are_fine() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
                (status, format!("{} of {} requests to the canary failed", seen.failed, seen.asked))
            }
        }
    }

    /// Asks the pods behind a Service of the demo.
    pub(super) async fn ask(&self, service: &str) -> Answers {
        let answers = join_all((0..REQUESTS).map(|_| self.request(service))).await;
        Answers { asked: answers.len(), failed: answers.iter().filter(|fine| !**fine).count() }
    }

    async fn request(&self, service: &str) -> bool {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/services/{service}:80/proxy/");
        let Ok(request) = Request::get(path).body(Body::empty()) else { return false };
        self.shared.client.send(request).await.is_ok_and(|answer| answer.status().is_success())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_twenty_may_be_chance_and_none_is_no_answer() {
        for (asked, failed, fine) in [(20, 0, true), (20, 1, true), (20, 2, false), (20, 20, false), (0, 0, false)] {
            assert_eq!(Answers { asked, failed }.are_fine(), fine, "{failed} of {asked}");
        }
    }
}
