//! The tour on a real cluster: it looks first and says what is missing, asks, works in a namespace of its own, judges by real
//! answers, and takes away what it made.

mod hook;
mod manifests;
mod objects;
mod survey;
mod tour;

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use controller::assembly::{Controller, Surroundings};
use controller::clock::Clock;
use controller::dashboard::Dashboard;
use controller::dashboard::access::Access;
use controller::http::Clients;
use controller::metrics::Metrics;
use tokio::sync::{mpsc, watch};

use super::{DemoError, Demonstration, Repository, interrupted, listen, over};
use crate::cluster::Cluster;
use crate::paint::{Paint, Tone, write_out};
use crate::simulate::stage;
use hook::Hook;
use manifests::Manifests;
use objects::Made;
use survey::Survey;
use tour::{Place, Tour};

/// The namespace that the demo makes, and works in alone.
pub(super) const NAMESPACE: &str = "serin-demo";

/// What runs in it, unless another is named.
pub(super) const IMAGE: &str = "stefanprodan/podinfo:6.9.0";

/// Flags of `serin run`: short waits, and no watches of ConfigMaps and Secrets, of which the workload has none.
const FLAGS: [&str; 4] = ["--min-interval=1s", "--drain=2s", "--settle=2s", "--enable-config-tracking=false"];

/// Why there is no demo in a real cluster.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClusterError {
    /// The cluster refuses, or is not reached.
    #[error("{doing}: {why}")]
    Api {
        /// What was tried.
        doing: String,
        /// Why not.
        why: String,
    },
    /// Something is not there, or not allowed.
    #[error("the cluster is not ready for the demo:\n{}", list(.0))]
    Missing(Vec<String>),
    /// Nobody can be asked.
    #[error(
        "the demo makes and deletes things in a real cluster and nobody can be asked on this input; agree with --yes"
    )]
    NobodyToAsk,
    /// Somebody was asked.
    #[error("nothing was done, as the answer was not yes")]
    NotWanted,
}

fn list(missing: &[String]) -> String {
    missing.iter().map(|line| format!("  - {line}")).collect::<Vec<_>>().join("\n")
}

impl ClusterError {
    pub(super) fn api(doing: impl Into<String>, why: &kube::Error) -> ClusterError {
        let why = if let kube::Error::Api(status) = why { status.message.clone() } else { why.to_string() };
        ClusterError::Api { doing: doing.into(), why }
    }
}

/// The tour in the cluster of that context, until the user ends it.
pub(super) async fn play(
    wanted: &Demonstration,
    cluster: &Cluster,
    context: &str,
    folder: PathBuf,
) -> Result<ExitCode, DemoError> {
    let paint = Paint::for_stdout();
    let survey = Survey::of(&cluster.client, wanted.gateway.as_deref()).await?;
    write_out(&survey.told(context, paint))?;
    let missing = survey.missing();
    if !missing.is_empty() {
        return Err(ClusterError::Missing(missing).into());
    }
    write_out(&survey.plan(wanted, paint))?;
    if !wanted.yes {
        ask()?;
    }
    let mut made = Made::default();
    let ended = tokio::select! {
        ended = perform(wanted, cluster, context, folder.clone(), &survey, &mut made, paint) => ended,
        ended = interrupted() => ended.map(|()| ExitCode::SUCCESS).map_err(DemoError::Output),
    };
    write_out(&format!("\n{}\n", paint.put(Tone::Faint, "The demo ends; it takes away what it made.")))?;
    for line in made.take_away(&cluster.client).await {
        write_out(&format!("  {line}\n"))?;
    }
    ended
}

fn ask() -> Result<(), DemoError> {
    if !std::io::stdin().is_terminal() {
        return Err(ClusterError::NobodyToAsk.into());
    }
    write_out("Go on? [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(ClusterError::NotWanted.into()) }
}

async fn perform(
    wanted: &Demonstration,
    cluster: &Cluster,
    context: &str,
    folder: PathBuf,
    survey: &Survey,
    made: &mut Made,
    paint: Paint,
) -> Result<ExitCode, DemoError> {
    let client = &cluster.client;
    let page = listen("dashboard", wanted.dashboard_port).await?;
    let (hook, hook_at) = Hook::listen(client.clone()).await?;
    let manifests = Manifests {
        image: &wanted.image,
        way: &survey.way,
        hook: hook_at.to_string(),
        by_metrics: wanted.metrics_server.is_some(),
    };
    let (app, canary) = (manifests.app(), manifests.canary());
    let files = [("app.yaml", app.as_str()), ("canary.yaml", canary.as_str())];
    let repository = Repository::create(folder.join("repository"), &files, "podinfo, first release").await?;

    made.definitions(client, &survey.definitions).await?;
    made.namespace(client, survey.leftover).await?;

    let flags = FLAGS.map(str::to_owned).into_iter();
    let metrics_server = wanted.metrics_server.iter().map(|url| format!("--metrics-server={url}"));
    let (_, settings) = stage::told(flags.chain(metrics_server))?;
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), &settings.provider);
    let controller = Controller::new(
        settings,
        Surroundings {
            client: client.clone(),
            namespace: Some(NAMESPACE.to_owned()),
            outside: Arc::new(Clients::default()),
            clock: Clock::System,
            metrics,
        },
    );
    let dashboard = Dashboard::new(controller.context(), Access::Loopback);
    let place = Place { repository, context: context.to_owned(), dashboard: page.local_addr()? };
    place.greet(paint)?;
    let (told, deliveries) = mpsc::unbounded_channel();
    // Never told: all ends at once.
    let (_stop, stopped) = watch::channel(false);
    let tour = Tour::new(cluster, &place, &survey.way, &hook, wanted, deliveries, paint);
    let ended = tokio::select! {
        ended = tour.lead(wanted.exit_after_tour) => ended,
        failed = hook.serve() => Err(over("the hook", failed)),
        failed = dashboard.serve(page, stopped) => Err(over("the dashboard", failed)),
        // None of these ends.
        () = controller.work(std::future::pending()) => Err(over("the controller", Ok(()))),
        () = place.repository.deliver(async |object| Ok(objects::apply(client, object).await?), &told) => {
            Err(over("the GitOps operator", Ok(())))
        }
    };
    controller.die();
    ended
}
