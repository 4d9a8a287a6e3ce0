//! A server on the loopback that answers as told and remembers what it was asked. For tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// One answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Status, headers and body.
    Reply(u16, Vec<(&'static str, String)>, String),
    /// Never.
    Hang,
}

impl Answer {
    pub(crate) fn text(status: u16, body: &str) -> Answer {
        Answer::Reply(status, vec![], body.into())
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Answer {
        Answer::Reply(status, vec![("location", location.into())], String::new())
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    /// All values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// The server; it ends with the value.
pub(crate) struct Loopback {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: tokio::task::JoinHandle<()>,
}

type Script = Arc<(Mutex<VecDeque<Answer>>, Arc<Mutex<Vec<Asked>>>)>;

impl Loopback {
    /// Serves these answers in this order, and 410 after the last.
    pub(crate) async fn start(answers: Vec<Answer>) -> Loopback {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script: Script = Arc::new((Mutex::new(answers.into()), asked.clone()));
        let router = Router::new().fallback(answer).with_state(script);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Loopback { port, asked, serving }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// As [`Loopback::url`], with `user:password@`.
    pub(crate) fn url_with_user(&self, user: &str, path: &str) -> String {
        format!("http://{user}@127.0.0.1:{}{path}", self.port)
    }

    /// A URL where nobody listens.
    pub(crate) fn nobody(path: &str) -> String {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        format!("http://127.0.0.1:{port}{path}")
    }

    /// What came in, oldest first.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(script): State<Script>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    script.1.lock().unwrap().push(Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let next = script.0.lock().unwrap().pop_front();
    match next {
        Some(Answer::Reply(status, headers, body)) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(header::HeaderName::from_static(name), value.parse().unwrap());
            }
            response
        }
        Some(Answer::Hang) => std::future::pending().await,
        None => StatusCode::GONE.into_response(),
    }
}
