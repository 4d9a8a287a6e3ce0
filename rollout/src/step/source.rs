//! Where a revision comes from: which commit may be named, and which may be blamed.

use std::time::Duration;

use crds::Source;

use crate::observation::{Applied, SourceSeen, TargetSeen};

use super::Pass;

/// How long after a revision was noticed nobody is believed to have applied it: what they say may reach us later than the
/// revision itself.
const LAG: Duration = Duration::from_secs(2);

/// What was first seen applied this shortly before a revision was noticed may be what brought it: two watches keep no order.
const OVERTAKEN: Duration = Duration::from_secs(10);

impl Pass<'_> {
    /// Writes down where the revision comes from that is rolled out. Whoever applies it says so before it does (then the
    /// commit is named), or only afterwards (then what stands there at first is the commit before, and is not named); it is
    /// certain when they say that they are done, and with something else than before. Does nothing when called again.
    pub(super) fn attribute(&mut self, target: &TargetSeen) {
        let (Some(applied), Some(seen)) = (self.state.applied.clone(), &target.source) else { return };
        let former = self.former;
        let is_new = former.applied.as_ref().is_none_or(|former| former.id != applied.id);
        if is_new && former.settled() && self.state.settled() && former.promoted != self.state.promoted {
            // The same revision under another name.
            return;
        }
        if applied.id == target.revision.id {
            if is_new && self.memory.noticed.as_ref() != Some(&(applied.id.clone(), self.now)) {
                self.memory.noticed = Some((applied.id.clone(), self.now));
                self.memory.applied_before = self.applied_before();
            }
            if is_new || self.state.source.as_ref().is_none_or(|source| source.provisional) {
                self.weigh(seen);
            } else {
                self.complete(seen);
                self.note_applied(seen);
            }
        } else if is_new {
            self.state.source = None;
        }
        let Some(promoted) = self.state.promoted.as_ref() else { return };
        if promoted.id == applied.id {
            let certain = self.state.source.as_ref().is_some_and(|source| !source.provisional);
            let other = former.promoted.as_ref().is_none_or(|former| former.id != promoted.id);
            if certain || other || self.state.promoted_source.is_none() {
                self.state.promoted_source.clone_from(&self.state.source);
            }
        } else if former.promoted.as_ref() != self.state.promoted.as_ref() {
            self.state.promoted_source = None;
        }
    }

    /// `, from commit …`, when that is known.
    pub(super) fn by_source(&self) -> String {
        let sentence = self.state.source.as_ref().and_then(Source::sentence);
        sentence.map(|sentence| format!(", from {sentence}")).unwrap_or_default()
    }

    /// What had been applied before this revision was noticed.
    fn applied_before(&self) -> Option<String> {
        let known = &self.memory.applied_then;
        let lasting = known.iter().rev().find(|applied| self.after(applied.since, OVERTAKEN) <= self.now);
        let known = lasting.or_else(|| known.first().filter(|_| known.len() > 1));
        known.map(|applied| applied.word.clone()).or_else(|| match &self.former.source {
            // They may have been at the next commit already when that was written down, so what stood before it stands in.
            Some(source) if source.provisional => self.memory.applied_before.clone(),
            Some(source) => source.revision.clone(),
            None => None,
        })
    }

    /// Of a revision whose source is not certain yet.
    fn weigh(&mut self, seen: &SourceSeen) {
        let before = match &self.memory.noticed {
            Some(_) => self.memory.applied_before.clone(),
            // After a restart, what brought the promoted revision stands in.
            None => self.state.promoted_source.as_ref().and_then(|source| source.revision.clone()),
        };
        let since = self.memory.noticed.as_ref().map_or(self.state.since.unwrap_or(self.now), |(_, noticed)| *noticed);
        let source = &seen.source;
        // They have gone on without touching the target, so what they had applied before is what brought it.
        let gone_on = self.former.applied == self.state.applied && self.after(since, LAG) < self.now;
        if let Some(known) = &mut self.state.source
            && gone_on
            && known.revision.is_some()
            && known.revision != source.revision
        {
            known.provisional = false;
            return;
        }
        let by_somebody = source.applied_by.is_some();
        let stale = by_somebody && (source.revision.is_none() || source.revision == before);
        let settled = self.after(since, LAG);
        // Nobody knows what stood there before: an upgrade from a version that did not write it down.
        let blind = self.memory.noticed.is_none() && before.is_none() && !self.state.settled();
        let certain = !by_somebody || (!stale && !blind && !seen.at_work && settled <= self.now);
        let mut source = if stale { unnamed(source) } else { source.clone() };
        source.provisional = !certain;
        if by_somebody && !stale && !blind && !seen.at_work && !certain {
            self.wake_at(settled);
        }
        let was_named = self.state.source.as_ref().and_then(Source::sentence).is_some();
        let noticed_now = since == self.now;
        let told = source.sentence().filter(|_| !was_named && !noticed_now && self.state.stage.run().is_some());
        self.state.source = Some(source);
        if let Some(sentence) = told {
            self.event(false, format!("Revision of {} comes from {sentence}", self.target_name()));
        }
        if certain {
            self.memory.applied_then.clear();
            self.note_applied(seen);
        }
    }

    /// Takes over what was found out about the same commit meanwhile.
    fn complete(&mut self, seen: &SourceSeen) {
        let Some(known) = &mut self.state.source else { return };
        let new = &seen.source;
        if new.commit.is_none() || new.commit != known.commit {
            return;
        }
        for (known, new) in [(&mut known.message, &new.message), (&mut known.pull_request, &new.pull_request)] {
            if known.is_none() {
                known.clone_from(new);
            }
        }
        if known.author.is_none() {
            known.author.clone_from(&new.author);
        }
    }

    /// Remembers what stands applied while the target holds nothing new.
    fn note_applied(&mut self, seen: &SourceSeen) {
        let Some(word) = seen.source.revision.as_ref().filter(|_| !seen.at_work) else { return };
        let known = &mut self.memory.applied_then;
        if known.last().is_none_or(|last| last.word != *word) {
            known.push(Applied { word: word.clone(), since: self.now });
            if known.len() > 2 {
                known.remove(0);
            }
        }
    }
}

/// Without what would name a commit.
fn unnamed(source: &Source) -> Source {
    Source { commit: None, author: None, message: None, pull_request: None, revision: None, ..source.clone() }
}
