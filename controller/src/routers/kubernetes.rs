//! No router at all: plain Services. The canary gets no traffic of users before it is promoted.

use rollout::spec::RouterAbility;

use super::{Observed, Route, RouteError, Router};
use crate::objects::{Desired, Kind, Lookup};

pub(super) static ROUTER: Kubernetes = Kubernetes;

pub(super) struct Kubernetes;

static ABILITIES: [RouterAbility; 1] =
    [RouterAbility { name: "kubernetes", weights: false, matches: false, mirror: false, affinity: false, baseline: false }];

impl Router for Kubernetes {
    fn abilities(&self) -> &'static [RouterAbility] {
        &ABILITIES
    }

    fn resources(&self, _provider: &str) -> Vec<(Kind, bool)> {
        Vec::new()
    }

    fn render(&self, _route: &Route<'_>, _current: &dyn Lookup) -> Result<Vec<Desired>, RouteError> {
        Ok(Vec::new())
    }

    /// Nothing is routed, so whatever is wanted is so: the rollout must not wait for it.
    fn observe(&self, route: &Route<'_>, _current: &dyn Lookup) -> Result<Observed, RouteError> {
        Ok(Observed::Split {
            canary_weight: route.canary_weight(),
            baseline_weight: 0,
            mirrored: route.intent.mirrored,
        })
    }
}
