//! What a Kubernetes API does, asked of whatever stands behind a client: of `sim` always, and of a real API server when
//! `SERIN_TEST_KUBECONFIG` names one. When the two disagree, `sim` is mended.

#![expect(clippy::unwrap_used, reason = "a case says enough by failing")]

mod applying;
mod builtin;
mod custom;
mod deleting;
mod documents;
mod lists;
mod objects;
mod patches;
mod scene;
mod watches;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures::FutureExt;
use kube::Client;
use scene::Scene;
use sim::{Cluster, SystemClock};

type Case = (&'static str, fn(Scene) -> Pin<Box<dyn Future<Output = ()>>>);

/// Cases by name.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const CASES: &[crate::Case] =
            &[$((concat!(module_path!(), "::", stringify!($name)), |scene| Box::pin($name(scene)))),*];
    };
}
pub(crate) use cases;

fn all() -> Vec<Case> {
    let parts = [
        objects::CASES,
        lists::CASES,
        watches::CASES,
        patches::CASES,
        applying::CASES,
        custom::CASES,
        builtin::CASES,
        deleting::CASES,
        documents::CASES,
    ];
    parts.concat()
}

#[tokio::test]
async fn sim_conforms() {
    run(Cluster::new(SystemClock).client()).await;
}

#[tokio::test]
async fn a_real_server_conforms() {
    let Ok(path) = std::env::var("SERIN_TEST_KUBECONFIG") else {
        eprintln!("skipped: SERIN_TEST_KUBECONFIG names no cluster");
        return;
    };
    let config = kube::config::Kubeconfig::read_from(path).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.expect("a usable kubeconfig");
    run(Client::try_from(config).expect("a client")).await;
}

/// Runs every case in a namespace of its own and tells all that failed.
async fn run(client: Client) {
    scene::install_widgets(&client).await;
    let only = std::env::var("SERIN_TEST_CASE").unwrap_or_default();
    let mut failed = vec![];
    for (name, case) in all().into_iter().filter(|(name, _)| name.contains(&only)) {
        let scene = Scene::new(client.clone()).await;
        let namespace = scene.namespace.clone();
        if let Err(panic) = AssertUnwindSafe(case(scene)).catch_unwind().await {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default();
            eprintln!("{name} failed");
            failed.push(format!("{name}: {text}"));
        }
        scene::delete_namespace(&client, &namespace).await;
    }
    assert!(all().len() >= 80, "{} cases", all().len());
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), all().len(), failed.join("\n"));
}
