//! The rim as a client, a port and a kubeconfig.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::to_bytes;
use http::Request;
use kube::Client;
use tokio::net::TcpListener;

use crate::cluster::Cluster;
use crate::faults::Faults;
use crate::service::{Rim, refusal, serve_client};
use crate::status::Status;

/// As large as the API server takes them.
const LARGEST_BODY: usize = 3 * 1024 * 1024;

impl Cluster {
    /// A client of this cluster, without sockets.
    pub fn client(&self) -> Client {
        client(Rim::new(self.clone(), None))
    }

    /// A client whose requests go wrong as told. Its calls are counted on their own.
    pub fn client_with(&self, faults: impl Faults) -> Client {
        client(Rim::new(self.clone(), Some(Arc::new(faults))))
    }

    /// Serves the API over HTTP/1.1 until the future is dropped. For the loopback: it has no encryption.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(&self, listener: TcpListener) -> std::io::Result<()> {
        serve(Rim::new(self.clone(), None), listener).await
    }

    /// As [`serve`](Cluster::serve), with requests that go wrong as told.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve_with(&self, listener: TcpListener, faults: impl Faults) -> std::io::Result<()> {
        serve(Rim::new(self.clone(), Some(Arc::new(faults))), listener).await
    }

    /// A kubeconfig for a cluster that is served there.
    pub fn kubeconfig(address: SocketAddr) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: sim\n  cluster: {{server: \"http://{address}\"}}\n\
             contexts:\n- name: sim\n  context: {{cluster: sim, user: admin}}\ncurrent-context: sim\n\
             users:\n- name: admin\n  user: {{}}\n"
        )
    }
}

fn client(rim: Rim) -> Client {
    let service = tower::service_fn(move |request| serve_client(rim.clone(), request));
    Client::new(service, "default")
}

async fn serve(rim: Rim, listener: TcpListener) -> std::io::Result<()> {
    let answer = move |request: Request<axum::body::Body>| {
        let rim = rim.clone();
        async move {
            let (parts, body) = request.into_parts();
            match to_bytes(body, LARGEST_BODY).await {
                Ok(body) => rim.answer(parts, body).await,
                Err(_) => refusal(&Status::new(413, "RequestEntityTooLarge", "the body of the request is too large")),
            }
        }
    };
    axum::serve(listener, axum::Router::new().fallback(answer)).await
}
