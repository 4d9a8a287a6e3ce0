//! `serin watch`: one rollout, followed by watches; redrawn in a terminal, a line per change elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use crds::Phase;
use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use jiff::Timestamp;
use kube::api::{Api, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;

use crate::cluster::{Cluster, Kind, about, as_value, not_shown, workload_of};
use crate::complaint::Complaint;
use crate::paint::{Paint, write_out};
use crate::text;
use crate::view::{Detail, RolloutView, Snapshot, common_selector, read_status};

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The new revision is the primary.
    Succeeded,
    /// The new revision was taken back.
    Failed,
}

/// Follows a Canary until it is deleted or, when asked for, until its rollout has ended.
pub async fn follow(cluster: &Cluster, name: &str, exit_on_end: bool) -> Result<End, Complaint> {
    let start = cluster.snapshot(name).await?;
    let sources = sources(name, &start);
    let mut held = Held::of(sources.iter().map(|(source, _)| *source).collect());
    let mut changes = watches(cluster, sources);
    let mut screen = Screen::new();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    screen.show(&start)?;
    loop {
        tokio::select! {
            Some((source, change)) = changes.next() => held.take(source, change),
            _ = second.tick() => {}
        }
        if !held.is_complete() {
            continue;
        }
        let Some(snapshot) = held.snapshot() else {
            return Err(Complaint::Refused(format!("canary {name} in {} was deleted", cluster.namespace)));
        };
        screen.show(&snapshot)?;
        if let Some(end) = end(&snapshot).filter(|_| exit_on_end) {
            return Ok(end);
        }
    }
}

/// How the rollout ended, if it did. A target that runs other images than the primary after a success is a change that
/// the controller has not seen yet.
fn end(snapshot: &Snapshot) -> Option<End> {
    let status = read_status(&snapshot.canary, &mut Vec::new());
    match status.phase {
        Phase::Succeeded if same_images(snapshot) => Some(End::Succeeded),
        Phase::Failed => Some(End::Failed),
        Phase::New
        | Phase::Initializing
        | Phase::Initialized
        | Phase::Waiting
        | Phase::Progressing
        | Phase::WaitingPromotion
        | Phase::Promoting
        | Phase::Finalising
        | Phase::Succeeded
        | Phase::Terminating
        | Phase::Terminated => None,
    }
}

fn same_images(snapshot: &Snapshot) -> bool {
    let images = |workload: &Option<Value>| {
        let containers = workload.as_ref()?.pointer("/spec/template/spec/containers")?.as_array()?;
        Some(containers.iter().map(|container| container["image"].clone()).collect::<Vec<_>>())
    };
    match (images(&snapshot.target), images(&snapshot.primary)) {
        (Some(target), Some(primary)) => target == primary,
        (None, _) | (_, None) => true,
    }
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Canary,
    Target(Kind),
    Primary(Kind),
    ReplicaSets,
    Pods,
    Events,
}

impl Source {
    fn kind(self) -> Kind {
        match self {
            Source::Canary => Kind::Canary,
            Source::Target(kind) | Source::Primary(kind) => kind,
            Source::ReplicaSets => Kind::ReplicaSet,
            Source::Pods => Kind::Pod,
            Source::Events => Kind::Event,
        }
    }
}

type Change = Result<Event<DynamicObject>, watcher::Error>;

/// What is watched of the Canary, and how it is picked out.
fn sources(name: &str, start: &Snapshot) -> Vec<(Source, watcher::Config)> {
    let of_workloads = match common_selector(start.target.as_ref(), start.primary.as_ref()) {
        Some(labels) => watcher::Config::default().labels(&labels),
        None => watcher::Config::default(),
    };
    let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut sources = vec![
        (Source::Canary, named(name)),
        (Source::ReplicaSets, of_workloads.clone()),
        (Source::Pods, of_workloads),
        (Source::Events, watcher::Config::default().fields(&about(name))),
    ];
    if let Some((kind, target)) = workload_of(&start.canary) {
        sources.push((Source::Target(kind), named(&target)));
        sources.push((Source::Primary(kind), named(&format!("{target}-primary"))));
    }
    sources
}

fn watches(
    cluster: &Cluster,
    sources: Vec<(Source, watcher::Config)>,
) -> SelectAll<BoxStream<'static, (Source, Change)>> {
    let open = |(source, config): (Source, watcher::Config)| {
        let resource = source.kind().resource();
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
        watcher(api, config).default_backoff().map(move |change| (source, change)).boxed()
    };
    futures::stream::select_all(sources.into_iter().map(open))
}

type Objects = BTreeMap<String, Value>;

/// The objects as the watches last told them.
#[derive(Default)]
struct Held {
    sources: Vec<Source>,
    objects: BTreeMap<Source, Objects>,
    incoming: BTreeMap<Source, Objects>,
    failures: BTreeMap<Source, String>,
}

impl Held {
    fn of(sources: Vec<Source>) -> Self {
        Held { sources, ..Held::default() }
    }

    fn take(&mut self, source: Source, change: Change) {
        let uid = |object: &DynamicObject| object.metadata.uid.clone().unwrap_or_default();
        let value = |object: &DynamicObject| as_value(object, source.kind());
        match change {
            Ok(Event::Init) => drop(self.incoming.insert(source, Objects::new())),
            Ok(Event::InitApply(object)) => {
                self.incoming.entry(source).or_default().insert(uid(&object), value(&object));
            }
            Ok(Event::InitDone) => {
                self.failures.remove(&source);
                self.objects.insert(source, self.incoming.remove(&source).unwrap_or_default());
            }
            Ok(Event::Apply(object)) => {
                self.objects.entry(source).or_default().insert(uid(&object), value(&object));
            }
            Ok(Event::Delete(object)) => drop(self.objects.entry(source).or_default().remove(&uid(&object))),
            Err(failure) => {
                let why = match failure {
                    watcher::Error::InitialListFailed(why)
                    | watcher::Error::WatchStartFailed(why)
                    | watcher::Error::WatchFailed(why) => not_shown(source.kind(), why),
                    other @ (watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion) => other.to_string(),
                };
                self.failures.insert(source, why);
            }
        }
    }

    /// The Canary is known, and of all else it is known whether it can be.
    fn is_complete(&self) -> bool {
        let told = |source: &Source| self.objects.contains_key(source) || self.failures.contains_key(source);
        self.objects.contains_key(&Source::Canary) && self.sources.iter().all(told)
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let one = |wanted: fn(&Source) -> bool| {
            let (_, objects) = self.objects.iter().find(|(source, _)| wanted(source))?;
            objects.values().next().cloned()
        };
        let all = |source| self.objects.get(&source).map(|held| held.values().cloned().collect()).unwrap_or_default();
        Some(Snapshot {
            canary: one(|source| *source == Source::Canary)?,
            target: one(|source| matches!(source, Source::Target(_))),
            primary: one(|source| matches!(source, Source::Primary(_))),
            replica_sets: all(Source::ReplicaSets),
            pods: all(Source::Pods),
            events: all(Source::Events),
            notes: self.failures.values().cloned().collect(),
        })
    }
}

/// Where the view goes.
struct Screen {
    terminal: bool,
    paint: Paint,
    last: Option<String>,
}

impl Screen {
    fn new() -> Self {
        Screen { terminal: std::io::stdout().is_terminal(), paint: Paint::for_stdout(), last: None }
    }

    fn show(&mut self, snapshot: &Snapshot) -> Result<(), Complaint> {
        let now = Timestamp::now();
        let view = RolloutView::of(snapshot, now, Detail::Usual);
        let text = if self.terminal { text::rollout(&view, self.paint) } else { text::line(&view) };
        if self.last.as_ref() == Some(&text) {
            return Ok(());
        }
        let first = self.last.is_none();
        if self.terminal {
            write_out(&frame(&text, first))?
        } else {
            write_out(&format!("{now:.0}  {text}\n"))?
        }
        self.last = Some(text);
        Ok(())
    }
}

/// One picture over the last one, without flicker; lines that are too long are cut by the terminal.
fn frame(text: &str, first: bool) -> String {
    let clear = if first { "\x1b[2J" } else { "" };
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\r\n")).collect();
    format!("{clear}\x1b[?7l\x1b[H{lines}\x1b[J\x1b[?7h")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(phase: &str, target: &str, primary: &str) -> Snapshot {
        let workload = |image: &str| Some(json!({"spec": {"template": {"spec": {"containers": [{"image": image}]}}}}));
        Snapshot {
            canary: json!({"status": {"phase": phase}}),
            target: workload(target),
            primary: workload(primary),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_rollout_ends_once_its_own_revision_has() {
        assert_eq!(end(&snapshot("Succeeded", "app:2", "app:2")), Some(End::Succeeded));
        assert_eq!(end(&snapshot("Succeeded", "app:3", "app:2")), None, "the controller has not seen app:3 yet");
        assert_eq!(end(&snapshot("Failed", "app:3", "app:2")), Some(End::Failed));
        assert_eq!(end(&snapshot("Progressing", "app:3", "app:2")), None);
    }

    #[test]
    fn a_restarted_watch_replaces_what_was_held() {
        let object = |uid: &str| {
            serde_json::from_value::<DynamicObject>(json!({"metadata": {"uid": uid, "name": uid}})).expect("an object")
        };
        let mut held = Held::of(vec![Source::Canary, Source::Pods, Source::ReplicaSets, Source::Events]);
        for change in [Event::Init, Event::InitApply(object("a")), Event::InitDone, Event::Apply(object("b"))] {
            held.take(Source::Pods, Ok(change));
        }
        held.take(Source::Canary, Ok(Event::Apply(object("c"))));
        assert!(!held.is_complete());
        held.take(Source::ReplicaSets, Ok(Event::InitDone));
        held.take(Source::Events, Err(watcher::Error::NoResourceVersion));
        assert!(held.is_complete());
        let pods = |held: &Held| held.snapshot().expect("there is a Canary").pods.len();
        assert_eq!(pods(&held), 2);
        for change in [Event::Init, Event::InitApply(object("b")), Event::InitDone] {
            held.take(Source::Pods, Ok(change));
        }
        assert_eq!(pods(&held), 1);
        held.take(Source::Canary, Ok(Event::Delete(object("c"))));
        assert!(held.snapshot().is_none());
    }
}
