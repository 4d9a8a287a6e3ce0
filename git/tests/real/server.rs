//! `git http-backend` on loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tokio::io::AsyncWriteExt;

/// Serves all repositories of a folder until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Shared {
    root: PathBuf,
    mood: Mutex<Mood>,
    asked: Mutex<Vec<String>>,
    programs: Mutex<Vec<String>>,
}

/// How the server answers.
#[derive(Clone, Default)]
pub(crate) struct Mood {
    /// The value that the `Authorization` header must have.
    pub(crate) authorization: Option<String>,
    /// Answer everything with this status.
    pub(crate) status: Option<u16>,
    /// Answer only after so many milliseconds.
    pub(crate) delay: u64,
}

impl Server {
    pub(crate) fn start(root: &Path) -> Self {
        let (mood, asked, programs) = (Mutex::default(), Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { root: root.to_owned(), mood, asked, programs });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("port");
        let address = listener.local_addr().expect("address");
        let router = Router::new().fallback(answer).with_state(shared.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, shared, runtime: Some(runtime) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/shop.git", self.address)
    }

    pub(crate) fn mood(&self, mood: Mood) {
        *self.shared.mood.lock().expect("lock") = mood;
    }

    /// The requests since this was last asked, as in `GET /shop.git/info/refs`.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.asked.lock().expect("lock"))
    }

    /// Arguments and environment of the programs that were at work for a mirror at the moment of a request.
    pub(crate) fn programs(&self) -> Vec<String> {
        self.shared.programs.lock().expect("lock").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    shared.asked.lock().expect("lock").push(format!("{} {}", head.method, head.uri.path()));
    shared.programs.lock().expect("lock").extend(at_work());
    let mood = shared.mood.lock().expect("lock").clone();
    tokio::time::sleep(std::time::Duration::from_millis(mood.delay)).await;
    let plain =
        |status: StatusCode| Response::builder().status(status).header("www-authenticate", "Basic realm=\"git\"");
    if let Some(status) = mood.status {
        return plain(StatusCode::from_u16(status).expect("status")).body(Body::from("no")).expect("response");
    }
    let sent = header(&head.headers, "authorization");
    if mood.authorization.is_some_and(|wanted| wanted != sent) {
        return plain(StatusCode::UNAUTHORIZED).body(Body::from("who?")).expect("response");
    }
    let body = to_bytes(body, usize::MAX).await.expect("body");
    let mut backend = tokio::process::Command::new("git");
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header(&head.headers, "content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header(&head.headers, "content-encoding"))
        .env("GIT_PROTOCOL", header(&head.headers, "git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = backend.spawn().expect("git http-backend");
    let mut stdin = child.stdin.take().expect("stdin");
    let feed = tokio::spawn(async move { stdin.write_all(&body).await });
    let output = child.wait_with_output().await.expect("output");
    let _ = feed.await;
    cgi(output.stdout)
}

/// What anybody on this machine can see of programs that have a mirror's private folder as their home.
fn at_work() -> Vec<String> {
    let shown = |folder: PathBuf| {
        let read = |name| Some(String::from_utf8_lossy(&std::fs::read(folder.join(name)).ok()?).replace('\0', " "));
        let (arguments, environment) = (read("cmdline")?, read("environ")?);
        environment.contains("/serin-git-").then(|| format!("{arguments}| {environment}"))
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| shown(process.path())).collect()
}

fn cgi(output: Vec<u8>) -> Response {
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").expect("header");
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().expect("status")),
            name => response.header(name, value),
        };
    }
    response.body(Body::from(Bytes::from(output).slice(end + 4..))).expect("response")
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
