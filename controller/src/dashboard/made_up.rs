//! A cluster that never was: rollouts in every state, with their past, for tests and for looking at the page.

use std::sync::Arc;

use clap::Parser;
use crds::{CanaryStatus, Check};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::access::Access;
use super::{Dashboard, History};
use crate::args::ControllerArgs;
use crate::assembly::{Controller, Surroundings};
use crate::clock::Clock;
use crate::context::Context;
use crate::fake::Fake;
use crate::http::Clients;
use crate::metrics::Metrics;
use crate::objects::Kind;
use crate::objects::kinds::{CANARY, DEPLOYMENT, EVENT, POD, SUBJECT_ACCESS_REVIEW, TOKEN_REVIEW};
use crate::rest::Rest;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    args: ControllerArgs,
}

/// The cluster, and a controller that watches it and makes no passes.
pub(super) struct World {
    pub(super) fake: Fake,
    pub(super) controller: Controller,
    pub(super) now: Timestamp,
}

impl World {
    /// Without a Canary.
    pub(super) async fn empty() -> World {
        let world = World::standing_by().await;
        world.watch(&[CANARY, DEPLOYMENT]).await;
        world.history().lead(world.ago(3 * 3600));
        world
    }

    /// Without a Canary, while another replica leads.
    pub(super) async fn standing_by() -> World {
        let (fake, metrics) = (Fake::new(), Metrics::new("test", "istio"));
        let flags = Flags::parse_from(["serin", "--cluster-name=harbour"]);
        let settings = crate::run::settings(&flags.args).expect("settings");
        let surroundings = Surroundings {
            client: fake.client(),
            namespace: None,
            outside: Arc::new(Clients::default()),
            clock: Clock::System,
            metrics,
        };
        let controller = Controller::new(settings, surroundings);
        let world = World { fake, controller, now: Timestamp::now() };
        world.watch(&[CANARY]).await;
        world
    }

    async fn watch(&self, kinds: &[Kind]) {
        let cache = &self.context().cache;
        for kind in kinds {
            cache.ensure(*kind);
            while !cache.is_synced(*kind) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// With ten Canaries, and a dashboard on the loopback that saw them come about.
    pub(super) async fn busy() -> (World, Dashboard) {
        let world = World::empty().await;
        let dashboard = Dashboard::new(world.context(), Access::Loopback);
        world.populate().await;
        (world, dashboard)
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        self.controller.context()
    }

    pub(super) fn history(&self) -> &History {
        &self.context().history
    }

    /// Lets in `mia`, who may do all in `shop` and see `payments`.
    pub(super) fn token_access(fake: &Fake, context: &Context) -> Access {
        fake.review(TOKEN_REVIEW, |review| {
            let known = review["spec"]["token"] == "mias-token";
            json!({"authenticated": known, "user": {"username": "mia@example.com", "groups": ["shop-team"]}})
        });
        fake.review(SUBJECT_ACCESS_REVIEW, |review| {
            let asked = &review["spec"]["resourceAttributes"];
            let sees = asked["verb"] == "list" && asked["resource"] == "canaries" && asked["namespace"] == "payments";
            json!({"allowed": asked["namespace"] == "shop" || sees})
        });
        Access::by_token(Rest::new(fake.client(), context.metrics.clone()))
    }

    fn ago(&self, seconds: i64) -> Timestamp {
        self.now - SignedDuration::from_secs(seconds)
    }

    /// Puts the Canary with its workloads.
    pub(super) fn put(&self, namespace: &str, name: &str, images: (&str, &str), status: Value) {
        let mut canary = self.canary(namespace, name, status);
        match name {
            "report" => {
                canary["spec"]["provider"] = "kubernetes".into();
                canary["spec"]["analysis"]["iterations"] = 10.into();
            }
            "legacy" => canary["spec"]["targetRef"]["kind"] = "Service".into(),
            _ => {}
        }
        let (stable, new) = images;
        self.fake.put(DEPLOYMENT, workload(namespace, &format!("{name}-primary"), stable, 3));
        self.fake.put(DEPLOYMENT, workload(namespace, name, new, if stable == new { 0 } else { 2 }));
        self.fake.put(CANARY, canary);
    }

    fn canary(&self, namespace: &str, name: &str, status: Value) -> Value {
        json!({
            "metadata": {"namespace": namespace, "name": name, "generation": 3},
            "spec": {
                "provider": "gatewayapi:v1",
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "analysis": {
                    "interval": "30s", "threshold": 5, "stepWeights": [5, 10, 25, 50, 75],
                    "metrics": [
                        {"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1m"},
                        {"name": "request-duration", "thresholdRange": {"max": 500}, "interval": "1m"},
                        {"name": "queue-depth", "thresholdRange": {"min": 10, "max": 400}, "interval": "1m"},
                    ],
                },
            },
            "status": status,
        })
    }

    /// Ten Canaries, as soon as the cache has them.
    pub(super) async fn populate(&self) {
        self.history().kept_since(self.ago(3 * 3600));
        self.put_all();
        while self.context().cache.canaries().len() < 10 {
            tokio::task::yield_now().await;
        }
    }

    fn put_all(&self) {
        let status = |phase: &str, weight: i32, seconds: i64, more: Value| {
            let mut status = json!({
                "phase": phase, "canaryWeight": weight, "failedChecks": 0, "iterations": 0,
                "lastTransitionTime": self.ago(seconds), "appliedRevision": "6c9f", "promotedRevision": "51ab",
                "lastAppliedSpec": "6c9f", "lastPromotedSpec": "51ab",
            });
            json_patch::merge(&mut status, &more);
            status
        };
        let waiting = |reason: &str, message: &str| json!({"waitingFor": [{"reason": reason, "message": message}]});

        self.rollout_in_progress();
        self.failed_rollout();
        let paused = json!({"paused": true, "waitingFor": [{"reason": "Paused", "message": "paused by command; resume to go on"}]});
        self.put(
            "shop",
            "cart",
            ("registry.test/shop/cart:2.14.0", "registry.test/shop/cart:2.15.0"),
            status("Progressing", 50, 1900, paused),
        );
        let gate = waiting(
            "ConfirmPromotion",
            "gate change-board is closed: not before the board has met; it is asked again at 21:14:30 UTC",
        );
        self.put(
            "payments",
            "ledger",
            ("registry.test/ledger:88", "registry.test/ledger:89"),
            status("WaitingPromotion", 75, 5400, gate),
        );
        let updating = waiting("PrimaryNotReady", "gateway-primary is not ready: 2 of 3 updated");
        self.put(
            "payments",
            "gateway",
            ("registry.test/gateway:v7.1.3", "registry.test/gateway:v7.2.0"),
            status("Promoting", 75, 12, updating),
        );
        let mirrored = json!({"mirrored": true, "iterations": 3});
        self.put(
            "data",
            "report",
            ("registry.test/report:4", "registry.test/report:5"),
            status("Progressing", 0, 45, mirrored),
        );
        let slow = waiting("PrimaryNotReady", "ingest-primary is not ready: 0 of 3 available");
        self.put(
            "data",
            "ingest",
            ("registry.test/ingest:1", "registry.test/ingest:1"),
            status("Initializing", 0, 20, slow),
        );
        let same = json!({"appliedRevision": "51ab", "lastAppliedSpec": "51ab"});
        self.put(
            "edge",
            "web",
            ("registry.test/edge/web:2026.11.3", "registry.test/edge/web:2026.11.3"),
            status("Succeeded", 0, 7900, same.clone()),
        );
        let digest =
            "registry.test/edge/assets@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        self.put("edge", "assets", (digest, digest), status("Initialized", 0, 400_000, same));
        let invalid =
            waiting("InvalidSpec", "spec.analysis.stepWeights: 120 is not a percentage; give numbers from 1 to 100");
        self.put(
            "edge",
            "a-service-with-quite-a-long-name-in-truth",
            ("registry.test/long:1", "registry.test/long:1"),
            status("Initialized", 0, 86_400, invalid),
        );
    }

    fn rollout_in_progress(&self) {
        let history = self.history();
        let canary = self.canary("shop", "checkout", Value::Null);
        let tell =
            |seconds: i64, warning: bool, message: &str| history.tell(&canary, warning, message, self.ago(seconds));
        tell(940, false, "New revision detected! Scaling up checkout.shop");
        let mut failed = 0;
        let mut last = Value::Null;
        for look in 0..30_i32 {
            let seconds = 900 - i64::from(look) * 30;
            let weight = [0, 5, 10, 25][usize::try_from(look / 7).unwrap().min(3)];
            let fails = look == 11 || look == 17;
            if look == 0 {
                tell(seconds, false, "Starting canary analysis for checkout.shop");
            } else if look % 7 == 0 && look < 28 {
                tell(seconds, false, &format!("Advance checkout.shop canary weight {weight}"));
            }
            if fails {
                failed += 1;
                tell(seconds, true, "Halt checkout.shop advancement request duration 618ms > 500ms");
            }
            let wave = f64::from(look);
            let check = |name: &str, result: &str, value: Option<f64>, threshold: &str, message: Option<&str>| Check {
                name: name.into(),
                result: result.into(),
                value: value.map(|value| format!("{value:.2}")),
                threshold: Some(threshold.into()),
                message: message.map(str::to_owned),
            };
            let (duration, result) =
                if fails { (618.0, "Failed") } else { (290.0 + 60.0 * (wave / 3.0).sin(), "Passed") };
            let depth = (look % 13 != 12).then_some(140.0 + 90.0 * (wave / 4.0).cos());
            let checks = vec![
                check("smoke", "Passed", None, "", None),
                check("request-success-rate", "Passed", Some(99.6 + 0.3 * (wave / 2.0).sin()), "at least 99 %", None),
                check(
                    "request-duration",
                    result,
                    Some(duration),
                    "at most 500 ms",
                    fails.then_some("request duration 618ms > 500ms"),
                ),
                check("queue-depth", if depth.is_some() { "Passed" } else { "Unavailable" }, depth, "10 to 400", None),
            ];
            let since = self.ago(seconds - i64::from(look % 7) * -30);
            let status = CanaryStatus {
                phase: crds::Phase::Progressing,
                canary_weight: weight,
                failed_checks: failed,
                last_transition_time: Some(since),
                last_check_time: Some(self.ago(seconds)),
                checks,
                ..CanaryStatus::default()
            };
            history.record(&canary, &status, self.ago(seconds));
            last = serde_json::to_value(&status).expect("a status");
        }
        let more = json!({
            "appliedRevision": "6c9f", "promotedRevision": "51ab",
            "waitingFor": [{"reason": "Soaking", "message": "the canary has 25 % of the traffic, next check at 21:14:30 UTC; failed checks: 2, 5 end the rollout"}],
            "source": {"repository": "git.test/shop/deploy", "path": "apps/checkout", "commit": "4f2c1e9ab77d", "author": {"name": "Mia Finch"}, "message": "checkout: 3.2.0 with the new basket"},
        });
        json_patch::merge(&mut last, &more);
        self.put("shop", "checkout", ("registry.test/shop/checkout:3.1.4", "registry.test/shop/checkout:3.2.0"), last);
        for (name, app, ready, state) in [
            ("checkout-primary-7d9c5b4f6-2xkqp", "checkout-primary", true, json!({})),
            ("checkout-primary-7d9c5b4f6-8hvnr", "checkout-primary", true, json!({})),
            ("checkout-primary-7d9c5b4f6-zt5ml", "checkout-primary", true, json!({})),
            ("checkout-58f6d7c9b4-4jwrd", "checkout", true, json!({})),
            (
                "checkout-58f6d7c9b4-q9slc",
                "checkout",
                false,
                json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container=app"}}),
            ),
        ] {
            self.fake.put(POD, json!({
                "metadata": {"namespace": "shop", "name": name, "labels": {"app": app}, "creationTimestamp": self.ago(930)},
                "spec": {"nodeName": "node-a", "containers": [{}]},
                "status": {"phase": "Running", "containerStatuses": [{"ready": ready, "restartCount": if ready { 0 } else { 4 }, "state": state}]},
            }));
        }
    }

    /// A rollout at 25 percent, and what a leader told of it.
    pub(super) fn put_told(&self) {
        let told = [
            (900, "Normal", "New revision detected! Scaling up basket.shop"),
            (800, "Normal", "Advance basket.shop canary weight 5"),
            (600, "Normal", "Advance basket.shop canary weight 10"),
            (500, "Warning", "Halt basket.shop advancement request duration 618ms > 500ms"),
            (400, "Normal", "Advance basket.shop canary weight 25"),
        ];
        for (seconds, kind, message) in told {
            self.fake.put(
                EVENT,
                json!({
                    "metadata": {"namespace": "shop", "name": format!("basket.{seconds}")}, "type": kind, "message": message,
                    "involvedObject": {"kind": "Canary", "name": "basket"}, "source": {"component": "flagger"},
                    "firstTimestamp": self.ago(seconds), "lastTimestamp": self.ago(seconds), "count": 1,
                }),
            );
        }
        let status = json!({
            "phase": "Progressing", "canaryWeight": 25, "failedChecks": 1, "iterations": 0, "appliedRevision": "6c9f",
            "promotedRevision": "51ab", "lastTransitionTime": self.ago(400), "lastCheckTime": self.ago(20),
            "checks": [{"name": "request-success-rate", "result": "Passed", "value": "99.71"}],
        });
        self.put("shop", "basket", ("registry.test/shop/basket:1", "registry.test/shop/basket:2"), status);
    }

    fn failed_rollout(&self) {
        let history = self.history();
        let canary = self.canary("shop", "search", Value::Null);
        let mut last = Value::Null;
        for look in 0..12_i32 {
            let seconds = 4000 - i64::from(look) * 30;
            let weight = [0, 5, 10][usize::try_from(look / 3).unwrap().min(2)];
            let failed = (look - 6).max(0);
            let value = if look > 6 { 97.4 - f64::from(look) / 10.0 } else { 99.8 };
            let (phase, weight) =
                if look == 11 { (crds::Phase::Failed, 0) } else { (crds::Phase::Progressing, weight) };
            let check = Check {
                name: "request-success-rate".into(),
                result: if look > 6 { "Failed" } else { "Passed" }.into(),
                value: Some(format!("{value:.2}")),
                threshold: Some("at least 99 %".into()),
                message: (look > 6).then(|| format!("success rate {value:.2}% < 99%")),
            };
            let status = CanaryStatus {
                phase,
                canary_weight: weight,
                failed_checks: failed,
                last_transition_time: Some(self.ago(seconds)),
                last_check_time: Some(self.ago(seconds)),
                checks: vec![check],
                ..CanaryStatus::default()
            };
            if look > 6 {
                history.tell(
                    &canary,
                    true,
                    &format!("Halt search.shop advancement success rate {value:.2}% < 99%"),
                    self.ago(seconds),
                );
            }
            history.record(&canary, &status, self.ago(seconds));
            last = serde_json::to_value(&status).expect("a status");
        }
        history.tell(&canary, true, "Rolling back search.shop failed checks threshold reached 5", self.ago(3670));
        history.tell(&canary, true, "Canary failed! Scaling down search.shop", self.ago(3669));
        let more = json!({"appliedRevision": "77aa", "promotedRevision": "51ab", "conditions": [
            {"type": "Promoted", "status": "False", "reason": "Failed", "message": "Canary analysis failed, Deployment scaled to zero."}]});
        json_patch::merge(&mut last, &more);
        self.put("shop", "search", ("registry.test/shop/search:1.9.2", "registry.test/shop/search:2.0.0"), last);
    }
}

fn workload(namespace: &str, name: &str, image: &str, replicas: u8) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": namespace, "name": name, "generation": 1},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": image}]}},
        },
        "status": {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
                   "availableReplicas": replicas},
    })
}

/// Serves on the loopback; the address, and what ends it.
pub(super) async fn serve(dashboard: Dashboard, port: u16) -> (String, watch::Sender<bool>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the loopback is there");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move { dashboard.serve(listener, stopped).await.expect("serves") });
    (address, stop)
}
