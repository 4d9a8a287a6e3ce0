//! Pods of the rollout that somebody has open. They are not watched: those of a whole cluster would cost more memory than
//! all the rest.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::cache::CanaryKey;
use crate::objects::kinds::POD;
use crate::problem::ApiProblem;
use crate::rest::{Rest, Select};
use crate::rollout_view::{PodView, common_selector};

use super::view::Objects;

/// However many look, the API server is asked for the pods of a rollout once in this time.
const FRESH: Duration = Duration::from_secs(2);
/// Pods shown of one rollout.
const SHOWN: usize = 200;
/// Rollouts whose pods are remembered.
const REMEMBERED: usize = 16;

/// The pods asked for of late.
#[derive(Default)]
pub(super) struct Pods {
    seen: Mutex<HashMap<CanaryKey, Seen>>,
}

/// When, and what.
type Seen = (Instant, Arc<Vec<PodView>>);

impl Pods {
    /// The pods of both workloads, the primary's first.
    pub(super) async fn of(
        &self,
        key: &CanaryKey,
        objects: &Objects,
        rest: &Rest,
    ) -> Result<Arc<Vec<PodView>>, ApiProblem> {
        // Held while asking, so that those who come meanwhile get the same answer.
        let mut seen = self.seen.lock().await;
        seen.retain(|_, (at, _)| at.elapsed() < FRESH);
        if let Some((_, pods)) = seen.get(key) {
            return Ok(pods.clone());
        }
        let (target, primary) = (objects.target.as_ref(), objects.primary.as_ref());
        let Some(selector) = common_selector(target, primary) else { return Ok(Arc::default()) };
        let listed = rest.list(POD, &key.namespace, Select::Labels(&selector), SHOWN).await?;
        let mut pods: Vec<PodView> = listed.iter().map(|pod| PodView::of(pod, target, primary)).collect();
        pods.sort_by_cached_key(|pod| (pod.tag.is_none(), pod.tag, pod.name.clone()));
        let pods = Arc::new(pods);
        if seen.len() < REMEMBERED {
            seen.insert(key.clone(), (Instant::now(), pods.clone()));
        }
        Ok(pods)
    }
}
