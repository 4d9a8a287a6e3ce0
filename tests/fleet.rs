//! One cluster with many Canaries, each with a rollout of its own at the same time, and one controller for all of them.
//! `SERIN_CANARIES=2000 cargo test --release -p scenarios fleet` plays a larger one.

use std::path::Path;

use cli::simulate::scenario::Scenario;
use cli::simulate::stage::play;
use serde_json::{Map, Value, json};

const CANARIES: usize = 48;

/// What a Canary of the fleet is, and what becomes of its release.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Member {
    name: &'static str,
    how: How,
    release: Release,
    /// A person holds the rollout for a while.
    paused: bool,
}

/// How requests are shared out between the old version and the new one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Gateway,
    Traefik,
    Nginx,
    /// By header: A/B.
    Insiders,
    BlueGreen,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Release {
    Good,
    /// It answers many requests with errors.
    Bad,
    /// Its pods never become ready.
    Never,
}

/// The fleet is made of these in turn.
const MEMBERS: [Member; 12] = [
    Member { name: "good", how: How::Gateway, release: Release::Good, paused: false },
    Member { name: "bad", how: How::Gateway, release: Release::Bad, paused: false },
    Member { name: "held", how: How::Gateway, release: Release::Good, paused: true },
    Member { name: "held-bad", how: How::Gateway, release: Release::Bad, paused: true },
    Member { name: "never", how: How::Gateway, release: Release::Never, paused: false },
    Member { name: "insiders", how: How::Insiders, release: Release::Good, paused: false },
    Member { name: "insiders-bad", how: How::Insiders, release: Release::Bad, paused: false },
    Member { name: "blue-green", how: How::BlueGreen, release: Release::Good, paused: false },
    Member { name: "blue-green-never", how: How::BlueGreen, release: Release::Never, paused: false },
    Member { name: "traefik", how: How::Traefik, release: Release::Good, paused: false },
    Member { name: "nginx", how: How::Nginx, release: Release::Good, paused: false },
    Member { name: "nginx-bad", how: How::Nginx, release: Release::Bad, paused: false },
];

impl Release {
    fn tag(self) -> &'static str {
        match self {
            Release::Good => "good",
            Release::Bad => "bad",
            Release::Never => "never",
        }
    }

    /// The phase that it ends in, and the tag that serves then.
    fn end(self) -> (&'static str, &'static str) {
        match self {
            Release::Good => ("Succeeded", "good"),
            Release::Bad | Release::Never => ("Failed", "old"),
        }
    }
}

impl How {
    fn provider(self) -> &'static str {
        match self {
            How::Gateway | How::Insiders => "gatewayapi:v1",
            How::Traefik => "traefik",
            How::Nginx => "nginx",
            How::BlueGreen => "kubernetes",
        }
    }

    /// What the owner of the workload has beside it.
    fn route(self, name: &str, host: &str) -> Option<Value> {
        match self {
            How::Gateway | How::Insiders | How::BlueGreen => None,
            How::Traefik => Some(json!({
                "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": { "name": name },
                "spec": { "entryPoints": ["web"], "routes": [{ "kind": "Rule", "match": format!("Host(`{host}`)"),
                    "services": [{ "name": name, "kind": "TraefikService" }] }] },
            })),
            How::Nginx => {
                let backend = json!({ "service": { "name": name, "port": { "number": 80 } } });
                Some(json!({
                    "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": name },
                    "spec": { "ingressClassName": "nginx", "rules": [{ "host": host,
                        "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }] },
                }))
            }
        }
    }

    /// Its users, two requests a second.
    fn users(self, name: &str, host: &str) -> Value {
        let mut class = json!({ "name": name, "rate": "120/min", "users": 50 });
        match self {
            How::Gateway | How::Insiders => class["through"] = "Gateway".into(),
            How::Traefik => class["through"] = "Traefik".into(),
            How::Nginx => class["through"] = "Nginx".into(),
            How::BlueGreen => class["service"] = json!({ "namespace": "default", "name": name }),
        }
        match self {
            How::BlueGreen => {}
            How::Gateway | How::Insiders | How::Traefik | How::Nginx => class["host"] = host.into(),
        }
        match self {
            How::Insiders => class["headers"] = json!({ "x-insider": "yes" }),
            How::Gateway | How::Traefik | How::Nginx | How::BlueGreen => {}
        }
        class
    }

    fn canary(self, name: &str, host: &str) -> Value {
        let mut analysis = json!({
            "interval": "20s", "threshold": 2,
            "metrics": [{ "name": "request-success-rate", "interval": "30s", "thresholdRange": { "min": 95 } }],
        });
        match self {
            How::Gateway | How::Traefik | How::Nginx => {
                analysis["stepWeight"] = 25.into();
                analysis["maxWeight"] = 50.into();
            }
            How::Insiders => {
                analysis["iterations"] = 2.into();
                analysis["match"] = json!([{ "headers": { "x-insider": { "exact": "yes" } } }]);
            }
            How::BlueGreen => {
                analysis["iterations"] = 2.into();
                // Nobody asks it before it is promoted.
                analysis["metrics"] = json!([]);
            }
        }
        let mut spec = json!({
            "provider": self.provider(), "progressDeadlineSeconds": 60,
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
            "service": { "port": 80, "targetPort": 9898 }, "analysis": analysis,
        });
        match self {
            How::Gateway | How::Insiders => {
                spec["service"]["hosts"] = json!([host]);
                spec["service"]["gatewayRefs"] = json!([{ "name": "public", "namespace": "edge" }]);
            }
            How::Nginx => {
                spec["ingressRef"] = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": name });
            }
            How::Traefik | How::BlueGreen => {}
        }
        json!({ "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": { "name": name }, "spec": spec })
    }
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "replicas": 1, "progressDeadlineSeconds": 60, "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "app", "image": "fleet/app:old",
                    "ports": [{ "name": "http", "containerPort": 9898 }] }] },
            },
        },
    })
}

/// So many Canaries, all of which are given another image at the same time.
fn fleet(canaries: usize) -> Scenario {
    let (mut objects, mut classes) = (vec![], vec![]);
    let (mut images, mut pauses, mut resumes) = (Map::new(), Map::new(), Map::new());
    let (mut phases, mut serving) = (Map::new(), Map::new());
    for (number, member) in MEMBERS.iter().cycle().take(canaries).enumerate() {
        let name = format!("{}-{number}", member.name);
        let host = format!("{name}.example.com");
        objects.push(deployment(&name));
        objects.extend(member.how.route(&name, &host));
        objects.push(member.how.canary(&name, &host));
        classes.push(member.how.users(&name, &host));
        images.insert(name.clone(), format!("fleet/app:{}", member.release.tag()).into());
        if member.paused {
            pauses.insert(name.clone(), "pause".into());
            resumes.insert(name.clone(), "resume".into());
        }
        let (phase, tag) = member.release.end();
        phases.insert(name.clone(), phase.into());
        serving.insert(name, format!("fleet/app:{tag}").into());
    }
    let written = json!({
        "about": format!("a fleet of {canaries}"), "objects": objects,
        "traffic": { "rate": "0/s", "classes": classes },
        "versions": { "old": { "start": "3s" }, "good": { "start": "3s" }, "bad": { "start": "3s", "errors": "40%" },
            "never": { "readiness": "Never" } },
        "metrics": { "scrape": "5s" },
        "then": [{ "at": "10s", "image": images }, { "at": "40s", "command": pauses }, { "at": "100s", "command": resumes }],
        "unfit": ["bad", "never"], "within": "30m",
        "expect": { "phases": phases, "serving": serving },
    });
    serde_json::from_value(written).expect("a scenario")
}

#[test]
fn every_canary_of_a_fleet_ends_as_it_should() {
    let canaries = std::env::var("SERIN_CANARIES").map_or(CANARIES, |canaries| canaries.parse().expect("a number"));
    let played = play(&fleet(canaries), Path::new(".")).expect("a play");
    let objections = &played.verdict.objections;
    assert!(objections.is_empty(), "{} objections:\n{}", objections.len(), objections.join("\n"));
}
