//! What can be made to go wrong between a client and the cluster.

use std::time::Duration;

use crate::status::Status;

/// A request at the rim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Counts requests from 1 in the order of their arrival.
    pub number: u64,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Empty for the cluster and for all namespaces.
    pub namespace: String,
    /// Empty for collections, and where the server names.
    pub name: String,
    /// Empty for the object itself.
    pub subresource: String,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// It is refused, and nothing is done.
    Refuse(Status),
    /// It waits that long before it is done.
    Delay(Duration),
    /// The connection breaks before anything is done.
    Unheard,
    /// It is done, and the connection breaks before the answer.
    Unanswered,
    /// A read answers as the cluster was that many changes ago, if that is known still.
    Stale(u64),
    /// A watch breaks after that many events.
    Break(usize),
}

impl Fault {
    /// 409: somebody else was first.
    pub fn conflict() -> Fault {
        let message = "Operation cannot be fulfilled: the object has been modified; please apply your changes to the \
                       latest version and try again";
        Fault::Refuse(Status::new(409, "Conflict", message))
    }

    /// 429 with `Retry-After` in seconds.
    pub fn too_many_requests(seconds: u32) -> Fault {
        let message = "the server has received too many requests and has asked us to try again later";
        let details = serde_json::json!({ "retryAfterSeconds": seconds });
        Fault::Refuse(Status { details, ..Status::new(429, "TooManyRequests", message) })
    }

    /// 500.
    pub fn internal() -> Fault {
        Fault::Refuse(Status::new(500, "InternalError", "Internal error occurred: the fault asked for"))
    }
}

/// Decides about each request of clients; calls on the cluster itself never fail. To be the same every time, it must
/// decide by the call alone, or by a seed and the calls before.
pub trait Faults: Send + Sync + 'static {
    /// What happens to this request.
    fn before(&self, call: &Call) -> Fault;

    /// The request was done, whatever the answer. What kills a controller after its third write stands here.
    fn after(&self, _call: &Call) {}
}

impl<F: Fn(&Call) -> Fault + Send + Sync + 'static> Faults for F {
    fn before(&self, call: &Call) -> Fault {
        self(call)
    }
}
