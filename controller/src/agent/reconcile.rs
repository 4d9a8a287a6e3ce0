//! One pass over one GitSource, always in this order: fetch, render, plan, apply, prune, report. What is about to be made
//! stands in the status before it is made, so that nothing is ever left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::{DriftMode, GitSource};
use futures::FutureExt;
use kube::Client;
use tokio::time::Instant;

use super::apply::{apply, prune};
use super::drift::{Place, Sight, Watches};
use super::health::Health;
use super::manifest::{Manifest, ObjectId};
use super::memory::{Drifted, Memory};
use super::plan::{Entry, Facts, Inventory, going, label, plan};
use super::problem::{Problem, Reason};
use super::report::{Ending, Findings};
use super::secrets::Held;
use super::source::{Source, SourceKey, parse};
use super::sources::{is_held, requested_at};
use super::upstream::{Commit, Request};
use super::{Shared, fields, identity, render, report, secrets};
use crate::objects::kinds::GIT_SOURCE;
use crate::queue::Outcome;
use crate::rest::{PatchType, Rest};

/// On a GitSource that has something to delete when it goes.
const FINALIZER: &str = "serin.dev/git-agent";

/// Looks at a GitSource.
///
/// # Errors
/// What stands in the way and may pass; the queue tries again.
pub(super) async fn reconcile(shared: Arc<Shared>, key: SourceKey) -> Result<Outcome, Problem> {
    let object = match shared.sources.get(&key) {
        Some(Ok(object)) => object,
        Some(Err(unreadable)) => {
            tracing::warn!(git_source = %key, "cannot be read: {}", unreadable.why);
            return Ok(Outcome::default());
        }
        None => {
            shared.forget(&key).await;
            return Ok(Outcome::default());
        }
    };
    let mut memory = shared.take(&key);
    let uid = object.metadata.uid.clone().unwrap_or_default();
    if memory.uid != uid {
        let (inventory, status) = (report::inventory(&object), object.status.clone().unwrap_or_default());
        memory = Memory { uid, inventory, status, ..Memory::default() };
    }
    let outcome = Pass { shared: &shared, object: &object, key: &key }.run(&mut memory).await;
    shared.settle(&key, &memory.inventory);
    shared.put(&key, memory);
    outcome
}

struct Pass<'a> {
    shared: &'a Arc<Shared>,
    object: &'a GitSource,
    key: &'a SourceKey,
}

impl Pass<'_> {
    async fn run(&self, memory: &mut Memory) -> Result<Outcome, Problem> {
        let source = match parse(self.object, &self.shared.rules) {
            Ok(source) => source,
            Err(wrong) => {
                let problem = Problem::new(Reason::InvalidSpec, wrong.join("; "));
                self.report(memory, None, Ending::Problems(vec![problem]), None).await?;
                return Ok(Outcome::default());
            }
        };
        if self.object.metadata.deletion_timestamp.is_some() {
            return self.delete(&source, memory).await;
        }
        if source.suspend {
            // What happens meanwhile is not seen, so nothing of what was seen holds afterwards.
            (memory.watches, memory.sight) = (Watches::default(), Sight::default());
            self.report(memory, None, Ending::Suspended, None).await?;
            return Ok(Outcome::default());
        }
        self.finalizer(source.prune).await?;
        let client = identity::client(&self.shared.client, &source)?;
        let mut problems = Vec::new();
        if let Err(problem) = self.fetch(&source, memory).await {
            problems.push(problem);
        }
        self.watch(&source, &client, memory).await?;
        let drifted = memory.drifted();
        let (repair, mut look) = match source.drift {
            DriftMode::Repair => memory.repairable(&drifted, Instant::now()),
            DriftMode::Report | DriftMode::Ignore => (BTreeSet::new(), None),
        };
        let mut applied = None;
        let held = memory
            .commit
            .as_ref()
            .filter(|commit| is_held(self.object, &commit.id))
            .map(|commit| commit.short().to_owned());
        if let Some(commit) = memory.commit.clone().filter(|_| held.is_none()) {
            let stands = Some((commit.id.clone(), self.generation()));
            if memory.stands != stands || !repair.is_empty() {
                match self.bring(&source, &client, &commit, repair, memory).await {
                    Ok(()) => {
                        applied = Some((source.reference.revision(&commit.id), commit));
                        memory.stands = stands;
                    }
                    Err(found) => problems.extend(found),
                }
                self.watch(&source, &client, memory).await?;
            }
        }
        let drifted = match source.drift {
            DriftMode::Repair | DriftMode::Ignore => Vec::new(),
            DriftMode::Report => drifted,
        };
        let passing = problems.iter().find(|problem| problem.reason.may_pass()).cloned();
        let ending = match held {
            _ if !problems.is_empty() => Ending::Problems(problems),
            Some(commit) => Ending::Held(commit),
            None => Ending::Applied,
        };
        self.report(memory, Some((&source, drifted)), ending, applied).await?;
        if let Some(problem) = passing {
            return Err(problem);
        }
        look = [look, memory.fetch_at].into_iter().flatten().min();
        Ok(Outcome { requeue_after: look.map(|at| at.saturating_duration_since(Instant::now())) })
    }

    /// Looks at the repository, when its time has come or somebody asked.
    async fn fetch(&self, source: &Source, memory: &mut Memory) -> Result<(), Problem> {
        let asked = (self.generation(), requested_at(self.object));
        let told = self.shared.was_pushed(self.key);
        let due = memory.fetch_at.is_none_or(|at| at <= Instant::now());
        if memory.fetched_for.as_ref() != Some(&asked) {
            memory.secrets = None;
        } else if !told && !due {
            return Ok(());
        }
        // Until it is had, the next pass tries again.
        memory.fetch_at = None;
        let kept = memory.secrets.is_some();
        let mut fetched = self.fetch_with(source, memory).await;
        if kept && fetched.as_ref().is_err_and(|problem| problem.reason == Reason::CredentialsRefused) {
            memory.secrets = None;
            fetched = self.fetch_with(source, memory).await;
        }
        let commit = match fetched {
            Ok(commit) => commit,
            Err(problem) => {
                if !problem.reason.may_pass() {
                    memory.fetch_at = Some(Instant::now() + source.interval);
                    memory.fetched_for = Some(asked);
                }
                return Err(problem);
            }
        };
        if memory.commit.as_ref().map(|known| &known.id) != Some(&commit.id) {
            tracing::info!(git_source = %self.key, commit = commit.short(), "fetched a commit");
        }
        memory.commit = Some(commit);
        memory.fetched_for = Some(asked);
        memory.fetch_at = Some(Instant::now() + source.interval.mul_f64(0.95 + fastrand::f64() * 0.1));
        Ok(())
    }

    async fn fetch_with(&self, source: &Source, memory: &mut Memory) -> Result<Commit, Problem> {
        if memory.secrets.is_none() {
            let held = secrets::read(&self.shared.rest, source).await?;
            memory.webhook_path = self.shared.receiver.set(self.key, held.hook.clone());
            memory.secrets = Some(held);
        }
        let request = request(source, memory);
        self.shared.blocking(move |upstream| upstream.fetch(&request)).await
    }

    /// Watches what was applied.
    async fn watch(&self, source: &Source, client: &Client, memory: &mut Memory) -> Result<(), Problem> {
        let mut places: BTreeSet<Place> = BTreeSet::new();
        if source.drift != DriftMode::Ignore {
            let mut of: BTreeMap<(&str, &str, &str), &str> = BTreeMap::new();
            for (id, entry) in memory.inventory.iter().filter(|(_, entry)| !entry.fields.is_empty()) {
                of.insert((&id.group, &id.kind, &id.namespace), &entry.version);
            }
            for ((group, kind, namespace), version) in of {
                if let Some(resource) = self.shared.kinds.one(group, version, kind).await? {
                    places.insert((resource.kind, namespace.to_owned()));
                }
            }
        }
        let (queue, key) = (self.shared.queue.clone(), self.key.clone());
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || queue.add(key.clone()));
        memory.watches.keep(&places, (client, source.account.as_ref()), &label(self.key), &memory.sight, &wake);
        Ok(())
    }

    /// Makes the cluster have what the commit has.
    async fn bring(
        &self,
        source: &Source,
        client: &Client,
        commit: &Commit,
        repair: BTreeSet<ObjectId>,
        memory: &mut Memory,
    ) -> Result<(), Vec<Problem>> {
        let one = |problem: Problem| vec![problem];
        if let Some((of, generation, problem)) = &memory.hopeless
            && *of == commit.id
            && *generation == self.generation()
        {
            return Err(one(problem.clone()));
        }
        memory.hopeless = None;
        let hopeless = |problem: Problem| (commit.id.clone(), self.generation(), problem);
        let manifests = match self.render(source, commit, memory).await {
            Ok(manifests) => manifests,
            Err(problem) => {
                if !problem.reason.may_pass() {
                    memory.hopeless = Some(hopeless(problem.clone()));
                }
                return Err(one(problem));
            }
        };
        let known = self.shared.kinds.of(&manifests).await.map_err(|problem| one(problem.into()))?;
        let facts = Facts {
            key: self.key,
            namespace: &source.namespace,
            known: &known,
            inventory: &memory.inventory,
            drifted: &repair,
            claimed_by: &|id| self.shared.claims.take(self.key, id),
            has_canary: &*self.shared.has_canary,
        };
        let plan = match plan(manifests, &facts) {
            Ok(plan) => plan,
            Err(problem) => {
                memory.hopeless = Some(hopeless(problem.clone()));
                return Err(one(problem));
            }
        };
        for id in plan.apply.values().flatten().map(|wanted| &wanted.id).filter(|id| repair.contains(id)) {
            memory.repaired(id, Instant::now());
            tracing::info!(git_source = %self.key, object = %id, "repairing what somebody else has changed");
        }

        // Intent first: what is about to be made is in the inventory before it is made, and whoever sees it knows from which
        // commit it comes.
        let before = memory.inventory.len();
        for (id, version) in &plan.all {
            memory
                .inventory
                .entry(id.clone())
                .or_insert_with(|| Entry { version: version.clone(), ..Entry::default() });
        }
        let revision = source.reference.revision(&commit.id);
        let untold = plan.writes() > 0 && memory.status.last_attempted_revision != Some(revision);
        if memory.inventory.len() > before || untold {
            let attempted = Some((source, Vec::new()));
            self.report(memory, attempted, Ending::Applying, None).await.map_err(one)?;
        }

        let rest = Rest::new(client.clone(), self.shared.metrics.clone()).managed_by(fields::AGENT);
        let writes = plan.writes();
        let mut problems = plan.problems;
        let began = Instant::now();
        let applied = apply(&rest, plan.apply, commit.short(), source.timeout).await;
        for (id, (entry, version)) in applied.entries {
            if let Ok(version) = version.parse() {
                memory.versions.insert(id.clone(), (version, began));
            }
            memory.inventory.insert(id, entry);
        }
        problems.extend(applied.problems);

        // While something is refused, what left Git may still be needed.
        if problems.is_empty() {
            memory.kept.clear();
            if source.prune {
                problems.extend(self.prune(&rest, plan.prune, memory).await);
            } else {
                plan.prune.iter().for_each(|id| drop(memory.inventory.remove(id)));
            }
        }
        if writes > 0 {
            tracing::info!(git_source = %self.key, commit = commit.short(), objects = writes, problems = problems.len(), "applied");
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    async fn render(&self, source: &Source, commit: &Commit, memory: &Memory) -> Result<Vec<Manifest>, Problem> {
        let request = request(source, memory);
        let loader = |path: String| {
            let (request, commit) = (request.clone(), commit.id.clone());
            self.shared.blocking(move |upstream| upstream.files(&request, &commit, &path)).boxed()
        };
        render::render(source, &loader, &self.shared.programs).await
    }

    /// Deletes these objects if they may go; returns what was refused.
    async fn prune(&self, rest: &Rest, ids: Vec<ObjectId>, memory: &mut Memory) -> Vec<Problem> {
        let ids = ids.into_iter().filter(|id| self.shared.claims.may(self.key, id));
        let ids = ids.filter_map(|id| Some((id.clone(), memory.inventory.get(&id)?.version.clone()))).collect();
        let pruned = prune(rest, &self.shared.kinds, self.key, ids).await;
        for id in pruned.gone {
            memory.inventory.remove(&id);
            memory.versions.remove(&id);
        }
        memory.kept.extend(pruned.kept);
        pruned.problems
    }

    /// The GitSource is going: with it what it applied.
    async fn delete(&self, source: &Source, memory: &mut Memory) -> Result<Outcome, Problem> {
        if !self.has_finalizer() {
            return Ok(Outcome::default());
        }
        if source.prune && !source.suspend && !memory.inventory.is_empty() {
            memory.watches = Watches::default();
            self.report(memory, None, Ending::Deleting, None).await?;
            let client = identity::client(&self.shared.client, source)?;
            let rest = Rest::new(client, self.shared.metrics.clone()).managed_by(fields::AGENT);
            let problems = self.prune(&rest, going(memory.inventory.keys().cloned()), memory).await;
            let (forbidden, others): (Vec<_>, Vec<_>) =
                problems.into_iter().partition(|problem| problem.reason == Reason::Forbidden);
            // The account may have gone with its namespace: waiting for it would keep that namespace for ever.
            for problem in forbidden {
                tracing::warn!(git_source = %self.key, "left behind: {problem}");
            }
            if let Some(problem) = others.first().cloned() {
                self.report(memory, None, Ending::Problems(others), None).await?;
                return Err(problem);
            }
        }
        self.set_finalizer(false).await?;
        Ok(Outcome::default())
    }

    async fn finalizer(&self, wanted: bool) -> Result<(), Problem> {
        if self.has_finalizer() == wanted { Ok(()) } else { self.set_finalizer(wanted).await }
    }

    fn has_finalizer(&self) -> bool {
        self.object.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
    }

    async fn set_finalizer(&self, wanted: bool) -> Result<(), Problem> {
        let others = self.object.metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != FINALIZER);
        let finalizers: Vec<&str> = others.map(String::as_str).chain(wanted.then_some(FINALIZER)).collect();
        let patch = serde_json::json!({
            "metadata": { "finalizers": finalizers, "resourceVersion": self.object.metadata.resource_version },
        });
        let (namespace, name) = (&self.key.namespace, &self.key.name);
        match self.shared.rest.patch(GIT_SOURCE, namespace, name, None, PatchType::Merge, &patch).await {
            Ok(_) => Ok(()),
            Err(problem) if !wanted && problem.class == crate::problem::Class::NotFound => Ok(()),
            Err(problem) => Err(problem.into()),
        }
    }

    /// Writes the status, if it differs.
    async fn report(
        &self,
        memory: &mut Memory,
        seen: Option<(&Source, Vec<Drifted>)>,
        ending: Ending,
        applied: Option<(String, Commit)>,
    ) -> Result<(), Problem> {
        let source = seen.as_ref().map(|(source, _)| *source);
        let attempted =
            source.zip(memory.commit.as_ref()).map(|(source, commit)| source.reference.revision(&commit.id));
        let health = source.filter(|source| source.drift != DriftMode::Ignore).map(|_| self.health(memory));
        let drifted = seen.map(|(_, drifted)| drifted).unwrap_or_default();
        let fetched_for = memory.fetched_for.as_ref().and_then(|(_, requested)| requested.clone());
        let findings = Findings {
            ending: &ending,
            generation: self.generation(),
            attempted,
            applied: applied.as_ref().map(|(revision, commit)| (revision.clone(), commit)),
            inventory: &memory.inventory,
            drift: drifted.into_iter().map(|drifted| (drifted.id.to_string(), drifted.what)).collect(),
            health,
            notes: memory.kept.iter().cloned().chain(memory.sight.troubles()).collect(),
            requested_at: fetched_for.or_else(|| memory.status.last_handled_requested_at.clone()),
            webhook_path: memory.webhook_path.clone(),
        };
        let status = report::status(&memory.status, findings, self.shared.clock.now());
        if let Some(patch) = report::patch(&memory.status, &status) {
            let (namespace, name) = (&self.key.namespace, &self.key.name);
            self.shared.rest.patch(GIT_SOURCE, namespace, name, Some("status"), PatchType::Merge, &patch).await?;
            memory.status = status;
        }
        Ok(())
    }

    fn health(&self, memory: &Memory) -> Vec<(String, Health)> {
        let applied = memory.inventory.iter().filter(|(_, entry)| !entry.fields.is_empty());
        let seen = applied.map(|(id, _)| Some((id.spoken(), memory.sight.of(id, None).ok()?)));
        // Half of it would be good news of nothing.
        let Some(seen) = seen.collect::<Option<Vec<_>>>() else { return Vec::new() };
        seen.into_iter().filter_map(|(name, glimpse)| Some((name, glimpse?.health))).collect()
    }

    fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or_default()
    }
}

fn request(source: &Source, memory: &Memory) -> Request {
    let Held { credentials, keys, hook: _ } = memory.secrets.clone().unwrap_or_default();
    Request {
        key: source.key.clone(),
        url: source.url.clone(),
        reference: source.reference.clone(),
        credentials,
        keys,
        deadline: source.timeout,
    }
}

impl Shared {
    /// Asks the repository, which blocks, where that harms nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn super::upstream::Upstream) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let gone = || Problem::new(Reason::Retrying, "reading the repository broke off; trying again");
        let permit = self.blocking.clone().acquire_owned().await.map_err(|_| gone())?;
        let upstream = self.upstream.clone();
        let asked = tokio::task::spawn_blocking(move || {
            // The permit is held as long as it blocks, also when nobody waits any more.
            let _permit = permit;
            ask(&*upstream)
        });
        match asked.await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(%error, "reading a repository panicked");
                Err(gone())
            }
        }
    }

    /// What a GitSource has let go, another may have waited for.
    fn settle(&self, key: &SourceKey, inventory: &Inventory) {
        if self.claims.settle(key, inventory) {
            self.sources.keys().into_iter().filter(|other| other != key).for_each(|other| self.queue.add(other));
        }
    }

    async fn forget(&self, key: &SourceKey) {
        drop(self.take(key));
        self.settle(key, &Inventory::new());
        self.receiver.set(key, None);
        self.queue.forget(key);
        let key = key.clone();
        // What cannot be taken off the disk is overwritten when a GitSource of that name comes again.
        let _ = self
            .blocking(move |upstream| {
                upstream.forget(&key);
                Ok(())
            })
            .await;
    }
}
