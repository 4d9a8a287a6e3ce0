//! The dashboard: one page that shows all rollouts and one in full, live, and gives commands. It feeds on what the
//! controller sees anyway; a request to the Kubernetes API is made only for somebody who looks (their rights, and the
//! pods and earlier Events of the rollout that they have open) or acts. A replica that does not lead shows the same out of
//! its own cache.

pub mod access;
mod board;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod browser_tests;
mod history;
#[cfg(test)]
mod made_up;
mod pods;
mod recall;
mod routes;
mod story;
mod stream;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cache::{Cache, CanaryKey};
use crate::clock::Clock;
use crate::context::Context;
use crate::objects::{Kind, kinds};
use crate::rest::Rest;

use access::Access;
use board::Board;
use pods::Pods;
use recall::Recall;
use stream::Seats;

pub use history::{History, Standing};

/// The dashboard of one controller.
pub struct Dashboard {
    shared: Arc<Shared>,
}

/// What its requests share.
struct Shared {
    access: Access,
    cache: Cache,
    rest: Rest,
    history: History,
    clock: Clock,
    cluster_name: String,
    board: Arc<Board>,
    pods: Pods,
    recall: Recall,
    seats: Arc<Seats>,
}

impl Dashboard {
    /// The dashboard of this controller, whose history is kept from now on.
    pub fn new(context: &Context, access: Access) -> Dashboard {
        let (cache, history, clock) = (context.cache.clone(), context.history.clone(), context.clock());
        let board = Board::new(cache.clone(), history.clone(), clock.clone());
        let (marked, rung) = (board.clone(), board.clone());
        history.keep(clock.now(), move |key| marked.mark(key), move || rung.ring());
        let marked = board.clone();
        context.cache.tell(move |key| {
            marked.mark(key);
            if !history.standing().leads {
                follow(&cache, &history, &clock, key);
            }
        });
        let shared = Shared {
            access,
            cache: context.cache.clone(),
            rest: context.rest.clone(),
            history: context.history.clone(),
            clock: context.clock(),
            cluster_name: context.settings.cluster_name.clone(),
            board,
            pods: Pods::default(),
            recall: Recall::default(),
            seats: Arc::default(),
        };
        Dashboard { shared: Arc::new(shared) }
    }

    /// Serves until `stop` is true.
    ///
    /// # Errors
    /// When connections cannot be accepted any more.
    pub async fn serve(self, listener: TcpListener, stop: watch::Receiver<bool>) -> std::io::Result<()> {
        let listener = listener.tap_io(|connection| {
            // Small events are not to wait for more.
            let _ = connection.set_nodelay(true);
        });
        let mut stopped = stop.clone();
        let end = async move {
            // An error means that the sender is gone, which is an end as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        axum::serve(listener, routes::router(self.shared, stop)).with_graceful_shutdown(end).await
    }
}

/// What a replica that makes no passes learns from a Canary that has changed: all that the leader wrote into its status.
fn follow(cache: &Cache, history: &History, clock: &Clock, key: &CanaryKey) {
    match cache.canary(key) {
        Some(canary) => history.observe(&canary, clock.now()),
        None => {
            history.forget(key);
            cache.retain(key, &BTreeSet::new());
        }
    }
}

/// Listens on `ADDRESS:PORT`, where the address is one of this machine, `localhost`, or empty for all; tells whether only
/// the loopback can reach it.
///
/// # Errors
/// When that is no address, or it cannot be listened on.
pub async fn bind(address: &str) -> std::io::Result<(TcpListener, bool)> {
    let wrong = || {
        let message = format!("{address:?} is not an address and a port, as 127.0.0.1:8081 or :8081");
        std::io::Error::new(std::io::ErrorKind::InvalidInput, message)
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    if host.is_empty() {
        return Ok((crate::server::bind(port).await?, false));
    }
    let socket = match host {
        "localhost" => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        "[::1]" => SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        _ => address.parse().map_err(|_| wrong())?,
    };
    Ok((TcpListener::bind(socket).await?, socket.ip().is_loopback()))
}

/// What the dashboard asks of the Kubernetes API beyond what the controller does: kinds and verbs; rights derive from
/// this. Reviews are asked for only where tokens are.
pub fn resources(access: bool) -> Vec<(Kind, &'static [&'static str])> {
    let mut resources: Vec<(Kind, &'static [&'static str])> = vec![(kinds::POD, &["list"]), (kinds::EVENT, &["list"])];
    if access {
        resources.push((kinds::TOKEN_REVIEW, &["create"]));
        resources.push((kinds::SUBJECT_ACCESS_REVIEW, &["create"]));
    }
    resources
}
