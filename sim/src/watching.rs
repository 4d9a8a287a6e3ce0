//! Watches: a place in the log of changes, and what a client is told from there.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::unfold;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::changes::Changes;
use crate::cluster::Cluster;
use crate::selector::Selector;
use crate::shape::Shape;
use crate::state::Target;
use crate::status::Status;
use crate::store::ChangeKind;
use crate::verbs::Query;
use crate::views;

/// Between two bookmarks when nothing happens.
const BOOKMARKS: Duration = Duration::from_secs(60);

/// What a client asks to be told.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) target: Target,
    pub(crate) selector: Selector,
    pub(crate) shape: Shape,
    /// Where it goes on; `None` for everything there is, first.
    pub(crate) from: Option<u64>,
    pub(crate) bookmarks: bool,
    /// A bookmark tells that everything there was has been told.
    pub(crate) marks_initial: bool,
    pub(crate) timeout: Option<Duration>,
    /// It breaks after so many events.
    pub(crate) breaks: Option<usize>,
}

struct Watcher {
    cluster: Cluster,
    watch: Watch,
    changed: Changes,
    position: u64,
    lines: VecDeque<Vec<u8>>,
    told: usize,
    first: bool,
    ended: bool,
    deadline: Option<Instant>,
    bookmark: Instant,
}

impl Watch {
    /// The lines of the answer. Ends at the deadline, and when the kind goes away.
    pub(crate) fn start(
        self,
        cluster: &Cluster,
    ) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send + use<>, Status> {
        let changed = cluster.changed();
        let mut watcher = Watcher {
            cluster: cluster.clone(),
            changed,
            position: 0,
            lines: VecDeque::new(),
            told: 0,
            first: true,
            ended: false,
            deadline: self.timeout.map(|timeout| Instant::now() + timeout),
            bookmark: Instant::now() + BOOKMARKS,
            watch: self,
        };
        watcher.begin()?;
        Ok(unfold(watcher, |mut watcher| async move {
            let line = watcher.next().await?;
            Some((Ok(Bytes::from(line)), watcher))
        }))
    }
}

impl Watcher {
    fn begin(&mut self) -> Result<(), Status> {
        if let Some(from) = self.watch.from {
            self.position = from;
            return Ok(());
        }
        let page = {
            let state = self.cluster.lock();
            let query = Query { selector: self.watch.selector.clone(), ..Query::default() };
            state.list(&self.watch.target, &query)?
        };
        self.position = page.version;
        for object in &page.items {
            self.tell("ADDED", object);
        }
        if self.watch.marks_initial {
            let mut bookmark = self.bookmark();
            bookmark["object"]["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
            self.lines.push_back(line(&bookmark));
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if self.watch.breaks.is_some_and(|breaks| self.told >= breaks) {
                return None;
            }
            if let Some(line) = self.lines.pop_front() {
                self.told += 1;
                return Some(line);
            }
            if self.ended {
                return None;
            }
            self.catch_up();
            if self.lines.is_empty() && !self.ended {
                self.wait().await;
            }
        }
    }

    /// Until something changes or it is time for something.
    async fn wait(&mut self) {
        let deadline = self.deadline;
        let (limited, bookmarked) = (deadline.is_some(), self.watch.bookmarks);
        tokio::select! {
            biased;
            () = self.changed.changed() => {}
            () = sleep_until(deadline.unwrap_or(self.bookmark)), if limited => self.ended = true,
            () = sleep_until(self.bookmark), if bookmarked => {
                self.bookmark = Instant::now() + BOOKMARKS;
                let bookmark = line(&self.bookmark());
                self.lines.push_back(bookmark);
            }
        }
    }

    fn catch_up(&mut self) {
        self.changed.mark_unchanged();
        let resource = self.watch.target.resource.clone();
        let namespace = self.watch.target.namespace.clone();
        let mut events = vec![];
        {
            let state = self.cluster.lock();
            match state.store.since(self.position) {
                None => {
                    let message = format!("too old resource version: {} ({})", self.position, state.store.version());
                    let status = Status::expired(message).to_value();
                    self.lines.push_back(line(&json!({ "type": "ERROR", "object": status })));
                    self.ended = true;
                    return;
                }
                Some(changes) => {
                    for change in changes {
                        let key = &change.key;
                        if key.resource != resource.storage || !(namespace.is_empty() || key.namespace == namespace) {
                            continue;
                        }
                        events.push((change.kind, change.object.clone(), change.previous.clone()));
                    }
                }
            }
            self.position = self.position.max(state.store.version());
            self.ended = state.registry.by_plural(&resource.group, &resource.plural).is_none();
        }
        for (kind, object, previous) in events {
            self.follow(kind, &object, previous.as_ref());
        }
    }

    /// A selector makes objects come and go.
    fn follow(&mut self, kind: ChangeKind, object: &Arc<Value>, previous: Option<&Arc<Value>>) {
        let object = views::outbound(&self.watch.target, object);
        let selector = &self.watch.selector;
        let matched = |object: &Arc<Value>| selector.matches(&views::outbound(&self.watch.target, object));
        let before = previous.is_some_and(matched);
        let now = kind != ChangeKind::Deleted && selector.matches(&object);
        match (before, now) {
            (false, true) => self.tell("ADDED", &object),
            (true, true) => self.tell("MODIFIED", &object),
            (true, false) => {
                // What left the selection is told as it was, with the version at which it left.
                let mut last = previous.map_or_else(|| (*object).clone(), |previous| (**previous).clone());
                last["metadata"]["resourceVersion"] = object["metadata"]["resourceVersion"].clone();
                let last = views::outbound(&self.watch.target, &Arc::new(last));
                self.tell("DELETED", &last);
            }
            (false, false) => {}
        }
    }

    fn tell(&mut self, kind: &str, object: &Arc<Value>) {
        let now = self.cluster.now();
        let first = std::mem::take(&mut self.first);
        let object = self.watch.shape.event_object(&self.watch.target, object, first, now);
        self.lines.push_back(line(&Told { kind, object: &object }));
    }

    fn bookmark(&self) -> Value {
        let version = json!({ "resourceVersion": self.position.to_string(), "creationTimestamp": null });
        let object = match self.watch.shape {
            Shape::Whole => json!({
                "kind": self.watch.target.resource.kind, "apiVersion": self.watch.target.api_version(),
                "metadata": version,
            }),
            Shape::Metadata => {
                json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": version })
            }
            Shape::Table(_) => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": version, "columnDefinitions": null, "rows": [],
            }),
        };
        json!({ "type": "BOOKMARK", "object": object })
    }
}

/// An event of a watch.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    object: &'a Value,
}

fn line(event: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line
}
