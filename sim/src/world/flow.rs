//! One step of time: requests are drawn, dealt out to users, ways and pods, and answered. Requests that are alike are
//! drawn together, so that a step costs the same at any rate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;

use super::application::Applications;
use super::chance::{binomial, deal, poisson};
use super::jars::{Jars, contents};
use super::latency::Latencies;
use super::metrics::Meters;
use super::routing::{Failure, Place, Plan, Pod, Routes, Way};
use super::tick::{Exchange, Tick, at, bump};
use super::traffic::{Arrivals, Class, Traffic};

/// How long a data plane takes to refuse, in seconds.
const REFUSAL: f64 = 0.001;

#[derive(Debug)]
pub(super) struct Flow {
    traffic: Traffic,
    begin: i64,
    classes: Vec<Users>,
    rng: ChaCha8Rng,
}

#[derive(Debug)]
struct Users {
    class: Class,
    jars: Jars,
    /// The part of a request that is still to come.
    carry: f64,
    /// By cookies.
    plans: BTreeMap<BTreeMap<String, String>, Arc<Plan>>,
}

/// Where a step takes place, and what it leaves.
struct Scene<'a> {
    at: i64,
    routes: &'a Routes,
    applications: &'a Applications,
    meters: &'a mut Meters,
    tick: &'a mut Tick,
    rng: &'a mut ChaCha8Rng,
}

/// Status, how many, and how long they took.
type Answered = (u16, Latencies);

impl Flow {
    pub(super) fn new(traffic: Traffic, begin: Timestamp, rng: ChaCha8Rng) -> Flow {
        let users = |class: Class| {
            let jars = Jars::new(class.users, &class.cookies);
            Users { class, jars, carry: 0.0, plans: BTreeMap::new() }
        };
        let classes = traffic.all_classes().into_iter().map(users).collect();
        Flow { traffic, begin: begin.as_millisecond(), classes, rng }
    }

    pub(super) fn forget_plans(&mut self) {
        self.classes.iter_mut().for_each(|users| users.plans.clear());
    }

    /// From one time to the next, in milliseconds.
    pub(super) fn step(
        &mut self,
        from: i64,
        to: i64,
        routes: &Routes,
        applications: &Applications,
        meters: &mut Meters,
        tick: &mut Tick,
    ) {
        let Flow { traffic, begin, classes, rng } = self;
        let middle = Duration::from_millis(u64::try_from((from + to) / 2 - *begin).unwrap_or(0));
        let length = Duration::from_millis(u64::try_from(to - from).unwrap_or(0)).as_secs_f64();
        for users in classes {
            let expected = traffic.rate_of(&users.class, middle) * length;
            let requests = match traffic.arrivals {
                Arrivals::Random => poisson(expected, rng),
                Arrivals::Even => users.whole(expected),
            };
            let (turns, each) = if traffic.exact { (requests, 1) } else { (1, requests) };
            for _ in 0..turns {
                let mut scene = Scene { at: to, routes, applications, meters: &mut *meters, tick: &mut *tick, rng };
                users.ask(each, traffic, &mut scene);
            }
        }
    }
}

impl Users {
    /// Whole requests, the rest of which is carried to the next step.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and not negative")]
    fn whole(&mut self, expected: f64) -> u64 {
        let all = self.carry + expected;
        // Ten steps of a tenth are one.
        let whole = (all + 1e-9).floor();
        self.carry = all - whole;
        whole as u64
    }

    fn ask(&mut self, requests: u64, traffic: &Traffic, scene: &mut Scene<'_>) {
        if requests == 0 {
            return;
        }
        for (jar, requests) in self.jars.deal(requests, scene.at, scene.rng) {
            let cookies = contents(&jar);
            let plan = match self.plans.get(&cookies) {
                Some(plan) => Arc::clone(plan),
                None => {
                    let request = traffic.request(&self.class, cookies.clone(), scene.routes);
                    let plan = Arc::new(scene.routes.plan(&request));
                    self.plans.insert(cookies.clone(), Arc::clone(&plan));
                    plan
                }
            };
            if self.class.patient && plan.ways.iter().all(|way| matches!(way.place, Place::Refused(..))) {
                continue;
            }
            scene.tick.requests += requests;
            let dealt = deal(requests, plan.ways.iter().map(|way| way.share), scene.rng);
            for (way, requests) in plan.ways.iter().zip(dealt).filter(|(_, requests)| *requests > 0) {
                let answered = scene.serve(&self.class.name, way, requests);
                if traffic.exact {
                    scene.tell(&self.class.name, !cookies.is_empty(), way, &answered);
                }
                if !way.cookies.is_empty() {
                    self.jars.keep(&jar, requests, &way.cookies, scene.at);
                }
            }
        }
    }
}

impl Scene<'_> {
    /// Requests of one way: answered, counted and copied.
    fn serve(&mut self, class: &str, way: &Way, requests: u64) -> Vec<Answered> {
        if let Some(service) = &way.service {
            bump(&mut self.tick.by_service, service, requests);
        }
        let refusal = |status| vec![(status, Latencies::same(requests, REFUSAL))];
        let answered = match way.place {
            Place::Pod(pod) => {
                let pod = &self.routes.pods()[pod];
                let answered = self.work(pod, requests);
                bump(at(&mut self.tick.by_class, class), &pod.version, requests);
                let own = at(&mut self.tick.by_version, &pod.version);
                for (status, latencies) in &answered {
                    *own.by_status.entry(*status).or_default() += latencies.count();
                    own.latencies.merge(latencies);
                    if *status >= 500 {
                        *self.tick.failures.entry(Failure::Application).or_default() += latencies.count();
                    }
                }
                answered
            }
            Place::Refused(status, failure) => {
                *self.tick.refused.entry(status).or_default() += requests;
                *self.tick.failures.entry(failure).or_default() += requests;
                refusal(status)
            }
            Place::Redirected(status) => {
                *self.tick.refused.entry(status).or_default() += requests;
                refusal(status)
            }
        };
        for (status, latencies) in &answered {
            self.meters.seen(&way.seen_as, *status, latencies);
        }
        for (share, place) in way.mirrors.iter() {
            let copies = binomial(requests, *share, self.rng);
            if let Place::Pod(pod) = place
                && copies > 0
            {
                let pod = &self.routes.pods()[*pod];
                self.work(pod, copies);
                bump(&mut self.tick.mirrored, &pod.version, copies);
            }
        }
        answered
    }

    /// What a pod answers to so many, as it counts it itself.
    fn work(&mut self, pod: &Pod, requests: u64) -> Vec<Answered> {
        let started = pod.started.map_or(self.at, |started| started.as_millisecond());
        let age = Duration::from_millis(u64::try_from(self.at - started).unwrap_or(0));
        let manner = self.applications.of_version(&pod.version);
        let (errors, latency) = manner.at(age);
        let errors = binomial(requests, errors, self.rng);
        let mut answered = Vec::with_capacity(2);
        for (status, count) in [(200, requests - errors), (500, errors)] {
            if count > 0 {
                let latencies = latency.draw(count, self.rng);
                self.meters.answered(pod, status, &latencies);
                answered.push((status, latencies));
            }
        }
        for (name, share) in manner.counters() {
            let more = binomial(requests, share, self.rng);
            self.meters.counted(pod, name, more);
        }
        answered
    }

    fn tell(&mut self, class: &str, with_cookies: bool, way: &Way, answered: &[Answered]) {
        let version = match way.place {
            Place::Pod(pod) => Some(self.routes.pods()[pod].version.to_string()),
            Place::Refused(..) | Place::Redirected(_) => None,
        };
        let at = Timestamp::from_millisecond(self.at).unwrap_or(Timestamp::MAX);
        for (status, latencies) in answered {
            let (class, version) = (class.to_owned(), version.clone());
            self.tick.exchanges.push(Exchange {
                at,
                class,
                with_cookies,
                version,
                status: *status,
                took: latencies.sum(),
            });
        }
    }
}
