//! The first time: make the primary, move the traffic to it, and only then take the target down.

use crate::desired::{Desired, PrimaryAction, ScaleAction};
use crate::observation::{TargetSeen, Traffic};
use crate::readiness::Readiness;
use crate::spec::{Severity, Strategy};
use crate::state::{Promoted, Stage};

use super::{Flow, Pass};

impl Pass<'_> {
    pub(super) fn initialize(&mut self, target: &TargetSeen) -> Flow {
        if self.state.stage != Stage::Initializing {
            self.enter(Stage::Initializing);
        }
        let desired = Desired { services: true, primary: PrimaryAction::Create, ..Desired::untouched(&self.state) };
        let primary_name = self.spec.primary_name();
        let Some(primary) = &self.seen.primary else {
            self.wait("PrimaryCreating", format!("{primary_name} is being created"));
            return Ok(desired);
        };
        match &primary.readiness {
            Readiness::Ready => {
                self.memory.ready_since.get_or_insert(self.now);
            }
            Readiness::NotYet(why) | Readiness::Stuck(why) => {
                self.memory.ready_since = None;
                self.wait("PrimaryNotReady", format!("{primary_name} is not ready: {why}"));
                return Ok(desired);
            }
            Readiness::ScaledToZero => {
                self.wait("PrimaryNotReady", format!("{primary_name} is scaled to zero; scale it up"));
                return Ok(desired);
            }
        }
        let moved = self.seen.apex && self.seen.traffic == (Traffic::Split { weight: 0, mirrored: false });
        // A route that is there may have users, whom nothing hurries to go elsewhere.
        let redirected = match self.seen.traffic {
            Traffic::Missing | Traffic::Split { weight: 0, .. } => false,
            Traffic::Split { .. } | Traffic::Pending(_) | Traffic::Broken(_) => true,
        };
        if redirected && self.settles(&primary_name) {
            return Ok(desired);
        }
        let desired = Desired { routes: true, ..desired };
        if !moved {
            self.memory.matched_since = None;
            self.wait_for_traffic(0);
            return Ok(desired);
        }
        if !target.scaled_down {
            return Ok(match self.drained_at() {
                Some(at) if at <= self.now => {
                    self.wait("CanaryScalingDown", format!("{} is being scaled to zero", self.spec.target.name));
                    Desired { target: ScaleAction::Down, ..desired }
                }
                Some(at) => {
                    self.wait("Draining", format!("open requests to {} may end", self.spec.target.name));
                    self.wake_at(at);
                    desired
                }
                None => desired,
            });
        }
        // The primary was made from what the target held then; what it holds now may be newer and is due next.
        let made_from = match &primary.revision {
            Some(id) if *id != target.revision.id => Promoted { id: id.clone(), spec: id.clone() },
            Some(_) => Promoted::from(&target.revision),
            None if target.matches_primary => Promoted::from(&target.revision),
            None => Promoted { id: "unknown".into(), spec: "unknown".into() },
        };
        let mut applied = target.revision.clone();
        if made_from.id != applied.id {
            applied.id.clone_from(&made_from.id);
            applied.spec.clone_from(&made_from.spec);
        }
        self.state.applied = Some(applied);
        self.state.promoted = Some(made_from);
        // So far the target had all traffic.
        self.state.former_traffic = self.memory.matched_since;
        self.enter(Stage::Initialized);
        self.event(false, format!("Initialization done! {}", self.canary()));
        let kind = self.spec.target.kind.as_str();
        self.alert(Severity::Info, true, format!("New {kind} detected, initialization completed."));
        Ok(Desired::steady(&self.state))
    }

    /// Says why the routes do not express the intent yet; nothing when they do.
    pub(super) fn wait_for_traffic(&mut self, weight: u8) {
        match &self.seen.traffic {
            Traffic::Split { weight: seen, mirrored } if *seen == weight => {
                if *mirrored != self.state.stage.mirrored() {
                    let verb = if *mirrored { "ends" } else { "begins" };
                    self.wait("TrafficShifting", format!("the mirroring of traffic to the canary {verb}"));
                }
            }
            Traffic::Split { weight: seen, .. } => {
                // In A/B testing the weight is that of those who match.
                let whom = match &self.spec.strategy {
                    Strategy::AbTesting { .. } => " of those who match",
                    Strategy::Canary { .. } | Strategy::BlueGreen { .. } => "",
                };
                let message = format!("the routes send {seen} %{whom} to the canary, {weight} % is wanted");
                self.wait("TrafficShifting", message);
            }
            Traffic::Pending(why) => self.wait("RouteNotAccepted", why.clone()),
            Traffic::Missing => self.wait("RouteCreating", "the routes are being created".into()),
            Traffic::Broken(why) => self.wait_told("RouteBroken", why.clone()),
        }
    }
}
