//! Runs the tests: several at a time where they allow it, each with a deadline, each leaving artefacts when it fails.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures::future::BoxFuture;
use kube::api::DynamicObject;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::RwLock;

use crate::cluster::{self, Cluster};
use crate::{Scene, objects, wait_for};

/// Two cores: more at a time only makes each slower.
const AT_A_TIME: usize = 3;

/// A test and what it needs.
#[derive(Clone, Copy)]
pub struct Test {
    /// Its name, with the module.
    pub name: &'static str,
    /// Whether nothing else may run beside it: it measures, or its controller sees all namespaces.
    pub alone: bool,
    /// Ends the test with an error after this time.
    pub deadline: Duration,
    /// The test itself.
    pub run: fn(Arc<Scene>) -> BoxFuture<'static, Result<()>>,
}

/// Names a test function: `test!(module::function)`, with `alone` and a number of minutes where it needs them.
#[macro_export]
macro_rules! test {
    ($module:ident :: $function:ident) => { $crate::test!($module::$function, 5) };
    ($module:ident :: $function:ident, $minutes:literal) => { $crate::test!(@ $module $function, $minutes, false) };
    ($module:ident :: $function:ident, $minutes:literal, alone) => { $crate::test!(@ $module $function, $minutes, true) };
    (@ $module:ident $function:ident, $minutes:literal, $alone:literal) => {
        $crate::Test {
            name: concat!(stringify!($module), "::", stringify!($function)),
            alone: $alone,
            deadline: std::time::Duration::from_secs($minutes * 60),
            run: |scene| Box::pin($module::$function(scene)),
        }
    };
}

/// The `main` of a test target. Without `SERIN_E2E=1` it says so in one line and passes.
pub fn main(suite: &str, tests: &[Test]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.list {
        let trials = tests.iter().map(|test| Trial::test(test.name, || Ok(()))).collect();
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let wanted = std::env::var("SERIN_E2E").is_ok_and(|value| value == "1");
    let missing = cluster::missing();
    if !wanted {
        let lacks = missing.map(|what| format!(" Here {what}.")).unwrap_or_default();
        eprintln!("e2e {suite}: not asked for; e2e/run builds what it needs and runs it.{lacks}");
        return ExitCode::SUCCESS;
    }
    if let Some(what) = missing {
        eprintln!("e2e {suite}: cannot run: {what}.");
        return ExitCode::FAILURE;
    }
    arguments.test_threads.get_or_insert(AT_A_TIME);
    match run(&arguments, tests) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("e2e {suite}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, tests: &[Test]) -> Result<ExitCode> {
    let started = cluster::enter()?;
    let runtime = Runtime::new().context("starting the tests' runtime")?;
    let cluster = runtime.block_on(prepare())?;
    let turns = Arc::new(RwLock::new(()));
    let trials = |alone: bool| tests.iter().filter(move |test| test.alone == alone);
    let trials = trials(false)
        .chain(trials(true))
        .map(|test| {
            let (test, cluster, turns, handle) = (*test, cluster.clone(), Arc::clone(&turns), runtime.handle().clone());
            Trial::test(test.name, move || in_turn(&handle, &turns, &cluster, test))
        })
        .collect();
    let conclusion = libtest_mimic::run(arguments, trials);
    drop(runtime);
    if started && std::env::var_os("SERIN_E2E_KEEP").is_none() {
        cluster::leave()?;
    }
    Ok(conclusion.exit_code())
}

fn in_turn(handle: &Handle, turns: &RwLock<()>, cluster: &Cluster, test: Test) -> Result<(), Failed> {
    handle.block_on(async {
        let outcome = if test.alone {
            let _turn = turns.write().await;
            in_scene(cluster, test).await
        } else {
            let _turn = turns.read().await;
            in_scene(cluster, test).await
        };
        outcome.map_err(|error| Failed::from(format!("{error:#}")))
    })
}

async fn in_scene(cluster: &Cluster, test: Test) -> Result<()> {
    let scene = Arc::new(Scene::open(cluster, test.name).await.context("preparing the test's namespace")?);
    // A task of its own, so that a panic in a test is one failed test.
    let body = tokio::spawn((test.run)(Arc::clone(&scene)));
    let abort = body.abort_handle();
    let outcome = match tokio::time::timeout(test.deadline, body).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(anyhow!("the test panicked: {panic}")),
        Err(_) => {
            abort.abort();
            Err(anyhow!("the test took longer than {} minutes", test.deadline.as_secs() / 60))
        }
    };
    if outcome.is_err() {
        scene.keep().await;
    }
    scene.close(outcome.is_ok()).await;
    outcome.with_context(|| format!("see {}", scene.folder.display()))
}

async fn prepare() -> Result<Cluster> {
    let cluster = Cluster::connect().await?;
    // A run that was ended in the middle of an adoption test leaves the node closed.
    crate::fake::only(&cluster.client, false).await.context("opening the cluster's nodes")?;
    std::fs::create_dir_all(crate::scene::artefacts()).context("making the folder for artefacts")?;
    for definition in
        serde_saphyr::from_multiple::<Value>(&definitions()?).context("parsing the definitions of Serin's kinds")?
    {
        if !definition.is_null() {
            objects::apply(&cluster.client, "", crate::fake::MANAGER, &definition).await?;
            established(&cluster, &definition).await?;
        }
    }
    Ok(cluster)
}

/// Serin's custom resource definitions: the file that `SERIN_CRDS` names, or else what the binary under test prints. Without a
/// binary there are none, and the tests of the harness alone can run.
fn definitions() -> Result<String> {
    if let Some(file) = std::env::var_os("SERIN_CRDS").map(PathBuf::from) {
        return std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()));
    }
    let Ok(binary) = crate::serin::binary() else { return Ok(String::new()) };
    let output =
        Command::new(&binary).arg("crds").output().with_context(|| format!("running {} crds", binary.display()))?;
    if !output.status.success() {
        bail!(
            "{} crds ended with {}: {}",
            binary.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("the definitions of Serin's kinds are not UTF-8")
}

async fn established(cluster: &Cluster, definition: &Value) -> Result<()> {
    let name = definition["metadata"]["name"].as_str().context("a definition has no name")?;
    let resource = objects::resource("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let api: kube::Api<DynamicObject> = kube::Api::all_with(cluster.client.clone(), &resource);
    wait_for(&format!("the API server to serve {name}"), Duration::from_secs(30), || async {
        let served = serde_json::to_value(api.get(name).await?)?;
        let conditions = served["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is = |c: &Value| c["type"] == "Established" && c["status"] == "True";
        anyhow::ensure!(conditions.iter().any(is), "it is not established");
        Ok(())
    })
    .await
}
