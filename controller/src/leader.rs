//! Leader election by a Lease, compatible with Flagger's: while one of them holds the Lease, the other waits.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::Clock;
use crate::objects::kinds::LEASE;
use crate::problem::{ApiProblem, Class};
use crate::rest::Rest;

/// Name of the Lease.
pub const LEASE_NAME: &str = "flagger-leader-election";

/// Who wants to lead, and where.
#[derive(Clone)]
pub struct Election {
    rest: Rest,
    namespace: String,
    identity: String,
    timing: Timing,
    clock: Clock,
    heard: Option<Heard>,
}

/// Told who leads.
type Heard = Arc<dyn Fn(&str) + Send + Sync>;

/// How long leadership holds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Others wait this long after the last renewal.
    pub lease: Duration,
    /// The leader gives up when it could not renew for this long; well below `lease`, so that there are never two.
    pub renew: Duration,
    /// Time between two attempts.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { lease: Duration::from_secs(60), renew: Duration::from_secs(15), retry: Duration::from_secs(5) }
    }
}

/// Leadership.
pub struct Leadership {
    election: Election,
    lease: Value,
    renewed: Instant,
}

/// Why leadership was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Another replica holds the Lease.
    #[error("lost the lease: {0} leads now")]
    Taken(String),
    /// The Lease could not be renewed in time.
    #[error("lost the lease: could not renew it in time: {0}")]
    NotRenewed(String),
}

impl Election {
    /// Stands for election under `identity`, which must be unique among the replicas, such as the name of the pod with
    /// something random.
    pub fn new(rest: Rest, namespace: &str, identity: &str, timing: Timing, clock: Clock) -> Election {
        Election { rest, namespace: namespace.into(), identity: identity.into(), timing, clock, heard: None }
    }

    /// Tells this one who leads, while it is another.
    #[must_use]
    pub fn hearing(self, heard: impl Fn(&str) + Send + Sync + 'static) -> Election {
        Election { heard: Some(Arc::new(heard)), ..self }
    }

    /// Waits until this replica leads.
    pub async fn acquire(&self) -> Leadership {
        // Clocks differ: what counts is how long the Lease has been seen not to change, not what it says.
        let mut observed: Option<(Value, Instant)> = None;
        let mut told = String::new();
        loop {
            match self.attempt(&mut observed).await {
                Ok(Some(lease)) => {
                    tracing::info!(identity = self.identity, "leading");
                    return Leadership { election: self.clone(), lease, renewed: Instant::now() };
                }
                Ok(None) => {
                    let holder = observed.as_ref().map(|(lease, _)| holder(lease).to_owned()).unwrap_or_default();
                    if holder != told {
                        tracing::info!(leader = holder, "waiting to lead");
                        if let Some(heard) = &self.heard {
                            heard(&holder);
                        }
                        told = holder;
                    }
                }
                Err(problem) => tracing::warn!("{problem}"),
            }
            sleep(jittered(self.timing.retry)).await;
        }
    }

    /// One try to take the Lease.
    async fn attempt(&self, observed: &mut Option<(Value, Instant)>) -> Result<Option<Value>, ApiProblem> {
        let Some(live) = self.rest.get(LEASE, &self.namespace, LEASE_NAME).await? else {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": { "name": LEASE_NAME, "namespace": self.namespace },
                "spec": self.spec(None),
            });
            return lost_race(self.rest.create(LEASE, &self.namespace, &lease).await);
        };
        if observed.as_ref().is_none_or(|(seen, _)| seen["spec"] != live["spec"]) {
            *observed = Some((live.clone(), Instant::now()));
        }
        let since = observed.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        let held_for = live["spec"]["leaseDurationSeconds"].as_u64().map_or(self.timing.lease, Duration::from_secs);
        let leader = holder(&live);
        if !leader.is_empty() && leader != self.identity && since.elapsed() < held_for {
            return Ok(None);
        }
        lost_race(self.write(&live, self.spec(Some(&live))).await)
    }

    async fn write(&self, live: &Value, spec: Value) -> Result<Value, ApiProblem> {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": live["metadata"], "spec": spec,
        });
        self.rest.replace(LEASE, &self.namespace, LEASE_NAME, &lease).await
    }

    fn spec(&self, live: Option<&Value>) -> Value {
        let now = micro_time(self.clock.now());
        let held = live.filter(|live| holder(live) == self.identity);
        let transitions = live.and_then(|live| live["spec"]["leaseTransitions"].as_u64()).unwrap_or(0);
        json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.timing.lease.as_secs(),
            "acquireTime": held.map_or_else(|| now.clone().into(), |live| live["spec"]["acquireTime"].clone()),
            "renewTime": now,
            "leaseTransitions": if live.is_some() && held.is_none() { transitions + 1 } else { transitions },
        })
    }
}

impl Leadership {
    /// Keeps leading; returns when leadership is lost. May be dropped at any time, to [`release`](Self::release) then.
    pub async fn keep(&mut self) -> Lost {
        loop {
            sleep(jittered(self.election.timing.retry)).await;
            let left = (self.renewed + self.election.timing.renew).saturating_duration_since(Instant::now());
            let problem = match timeout(left, self.renew()).await {
                Ok(Ok(())) => continue,
                Ok(Err(Renewal::Taken(by))) => return Lost::Taken(by),
                Ok(Err(Renewal::Failed(problem))) => problem,
                Err(_) => "no answer".to_owned(),
            };
            if self.renewed.elapsed() >= self.election.timing.renew {
                return Lost::NotRenewed(problem);
            }
            tracing::warn!("{problem}");
        }
    }

    /// Gives the Lease back, so that another replica need not wait for it to run out.
    pub async fn release(self) {
        let Leadership { election, lease, .. } = self;
        let now = micro_time(election.clock.now());
        let spec = json!({
            "holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": now, "renewTime": now,
            "leaseTransitions": lease["spec"]["leaseTransitions"],
        });
        match timeout(election.timing.retry, election.write(&lease, spec)).await {
            Ok(Ok(_)) => tracing::info!("gave the lease back"),
            Ok(Err(problem)) => tracing::warn!("{problem}"),
            Err(_) => tracing::warn!("could not give the lease back in time"),
        }
    }

    async fn renew(&mut self) -> Result<(), Renewal> {
        let election = &self.election;
        match election.write(&self.lease, election.spec(Some(&self.lease))).await {
            Ok(lease) => {
                self.lease = lease;
                self.renewed = Instant::now();
                Ok(())
            }
            // Somebody wrote: another leader, or a hand that set a label.
            Err(problem) if matches!(problem.class, Class::Conflict | Class::NotFound) => {
                let live = election.rest.get(LEASE, &election.namespace, LEASE_NAME).await;
                match live.map_err(|problem| Renewal::Failed(problem.to_string()))? {
                    Some(live) if holder(&live) == election.identity => {
                        self.lease = live;
                        Err(Renewal::Failed(problem.to_string()))
                    }
                    Some(live) => Err(Renewal::Taken(holder(&live).to_owned())),
                    None => Err(Renewal::Taken("nobody".to_owned())),
                }
            }
            Err(problem) => Err(Renewal::Failed(problem.to_string())),
        }
    }
}

enum Renewal {
    Taken(String),
    Failed(String),
}

/// Another replica was faster: that is no problem.
fn lost_race(written: Result<Value, ApiProblem>) -> Result<Option<Value>, ApiProblem> {
    match written {
        Err(ApiProblem { class: Class::Conflict, .. }) => Ok(None),
        written => written.map(Some),
    }
}

fn holder(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
}

fn micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(1.0 + fastrand::f64() * 0.2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use crate::metrics::Metrics;

    fn election(fake: &Fake, identity: &str) -> Election {
        let rest = Rest::new(fake.client(), Metrics::new("test", "istio"));
        Election::new(rest, "flagger-system", identity, Timing::default(), Clock::System)
    }

    fn lease(fake: &Fake) -> Value {
        fake.object(LEASE, "flagger-system", LEASE_NAME).expect("there is a lease")
    }

    #[tokio::test(start_paused = true)]
    async fn one_leads_and_the_other_waits_until_it_is_released() {
        let fake = Fake::new();
        let first = election(&fake, "a").acquire().await;
        assert_eq!(lease(&fake)["spec"]["holderIdentity"], "a");
        assert_eq!(lease(&fake)["spec"]["leaseDurationSeconds"], 60);
        let second = election(&fake, "b");
        assert!(timeout(Duration::from_secs(30), second.acquire()).await.is_err());
        first.release().await;
        let begin = Instant::now();
        second.acquire().await;
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
        assert_eq!(lease(&fake)["spec"]["holderIdentity"], "b");
        assert_eq!(lease(&fake)["spec"]["leaseTransitions"], 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_leader_is_replaced_only_after_its_lease() {
        let fake = Fake::new();
        let _silent = election(&fake, "a").acquire().await;
        let begin = Instant::now();
        election(&fake, "b").acquire().await;
        assert!(begin.elapsed() >= Duration::from_secs(60) && begin.elapsed() < Duration::from_secs(75));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_renews_stays() {
        let fake = Fake::new();
        let mut leader = election(&fake, "a").acquire().await;
        let other = election(&fake, "b");
        tokio::select! {
            lost = leader.keep() => panic!("{lost}"),
            _ = other.acquire() => panic!("two leaders"),
            () = sleep(Duration::from_secs(600)) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn leadership_is_lost_when_it_cannot_be_renewed_in_time() {
        let fake = Fake::new();
        let mut leader = election(&fake, "a").acquire().await;
        fake.fail(500, "etcd is away");
        let begin = Instant::now();
        assert!(matches!(leader.keep().await, Lost::NotRenewed(_)));
        assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn leadership_is_lost_when_another_holds_the_lease() {
        let fake = Fake::new();
        let mut leader = election(&fake, "a").acquire().await;
        let mut taken = lease(&fake);
        taken["spec"]["holderIdentity"] = "b".into();
        fake.put(LEASE, taken);
        assert_eq!(leader.keep().await, Lost::Taken("b".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_label_set_by_hand_does_not_end_leadership() {
        let fake = Fake::new();
        let mut leader = election(&fake, "a").acquire().await;
        let mut labelled = lease(&fake);
        labelled["metadata"]["labels"] = json!({ "a": "b" });
        fake.put(LEASE, labelled);
        assert!(timeout(Duration::from_secs(120), leader.keep()).await.is_err());
    }
}
