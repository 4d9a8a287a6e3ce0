//! What must hold in every rollout, on random sequences of changes.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{World, deployment, image};
use crate::controllers::{behaviour::Life, object, view::Kind};

#[derive(Debug, Clone)]
enum Act {
    Template(u8),
    Scale(i64),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![(0..4_u8).prop_map(Act::Template), (0..8_i64).prop_map(Act::Scale), (0..6_u64).prop_map(Act::Pass),]
}

fn limits() -> impl Strategy<Value = (Value, Value)> {
    prop_oneof![
        Just((json!("25%"), json!("25%"))),
        Just((json!(1), json!(0))),
        Just((json!(0), json!(1))),
        Just((json!("50%"), json!("30%"))),
        Just((json!(3), json!(2))),
    ]
}

/// Wanted, and how many more and fewer there may be.
fn bounds(deployment: &Value) -> (i64, i64, i64) {
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap();
    let limit = |name: &str, up: bool| {
        let limit = &deployment["spec"]["strategy"]["rollingUpdate"][name];
        let Some(percentage) = limit.as_str() else { return limit.as_i64().unwrap() };
        let hundredths = percentage.trim_end_matches('%').parse::<i64>().unwrap() * wanted;
        if up { (hundredths + 99) / 100 } else { hundredths / 100 }
    };
    let (surge, unavailable) = (limit("maxSurge", true), limit("maxUnavailable", false));
    (wanted, surge, if surge == 0 && unavailable == 0 { 1 } else { unavailable })
}

fn serving(world: &World) -> i64 {
    let pods = world.all(Kind::Pod);
    let serving = pods.iter().filter(|pod| !object::is_deleting(pod) && object::ready_since(pod).is_some());
    i64::try_from(serving.count()).unwrap()
}

fn wanted_by_sets(world: &World) -> i64 {
    world.all(Kind::ReplicaSet).iter().map(|set| set["spec"]["replicas"].as_i64().unwrap()).sum()
}

fn active_sets(world: &World) -> usize {
    world.all(Kind::ReplicaSet).iter().filter(|set| set["spec"]["replicas"] != 0).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rollout_ends_with_the_new_template_and_is_available_all_the_way(
        (surge, unavailable) in limits(),
        start in 1..6_i64,
        acts in prop::collection::vec(act(), 1..12),
    ) {
        let mut world = World::new();
        for at in 0..4_u64 {
            world.images.set(&format!("shop:{at}"), Life { ready_after: Some(Duration::from_secs(at)), ..Life::default() });
        }
        let mut shop = deployment("shop", "shop:0", start);
        shop["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        world.put(Kind::Deployment, shop);
        world.pass(10);
        for act in acts {
            // What there was before an act cannot be held against the rollout: scaling up lacks pods at first.
            match &act {
                Act::Template(at) => world.patch(Kind::Deployment, "shop", image(&format!("shop:{at}"))),
                Act::Scale(replicas) => world.patch(Kind::Deployment, "shop", json!({"spec": {"replicas": replicas}})),
                Act::Pass(_) => {}
            }
            let time = if let Act::Pass(seconds) = &act { *seconds } else { 0 };
            let (wanted, surge, unavailable) = bounds(&world.get(Kind::Deployment, "shop"));
            // A rollout under way is scaled in proportion, whoever serves.
            let scaled_under_way = matches!(act, Act::Scale(_)) && active_sets(&world) > 1;
            let least = if scaled_under_way { 0 } else { (wanted - unavailable).min(serving(&world)) };
            let most = (wanted + surge).max(wanted_by_sets(&world));
            world.pass_and(Duration::from_secs(time), &mut |world| {
                assert!(serving(world) >= least, "{} serve, {least} must", serving(world));
                assert!(wanted_by_sets(world) <= most, "{} pods are wanted, {most} are allowed", wanted_by_sets(world));
            });
        }
        world.pass(120);
        let shop = world.get(Kind::Deployment, "shop");
        let wanted = shop["spec"]["replicas"].as_i64().unwrap();
        for count in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
            prop_assert_eq!(shop["status"][count].as_i64().unwrap_or(0), wanted, "{}", count);
        }
        prop_assert_eq!(&shop["status"]["observedGeneration"], &shop["metadata"]["generation"]);
        let pods = world.all(Kind::Pod);
        prop_assert_eq!(i64::try_from(pods.len()).unwrap(), wanted);
        for pod in pods {
            let image = |spec: &Value| spec["containers"][0]["image"].clone();
            prop_assert_eq!(image(&pod["spec"]), image(&shop["spec"]["template"]["spec"]));
        }
    }
}
