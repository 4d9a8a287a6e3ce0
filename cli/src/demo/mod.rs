//! `serin demo`: the real controller in a simulated cluster, in real time, fed from a Git repository; a guided tour first,
//! and then for whoever wants to try. With `--context` in a real cluster: see [`on_cluster`].

mod narrator;
mod on_cluster;
mod repository;
mod tour;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use controller::assembly::{Controller, Surroundings};
use controller::clock::Clock;
use controller::dashboard::Dashboard;
use controller::dashboard::access::Access;
use controller::metrics::Metrics;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use sim::controllers::Controllers;
use sim::world::{Description, World};
use sim::{Cluster, SystemClock};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::args::{Demo, Place as Placement};
use crate::complaint::Complaint;
use crate::paint::{Paint, Tone, write_out};
use crate::simulate::scenario::ScenarioError;
use crate::simulate::stage::{self, Software};
use crate::simulate::surroundings::Around;
use narrator::Narrator;
use repository::Repository;
use tour::Tour;

/// Where the workload lives.
const NAMESPACE: &str = "demo";

/// The workload and its Canary.
const NAME: &str = "podinfo";

/// Flags of `serin run` that make a rollout fit into a tour.
const FLAGS: [&str; 3] = ["--min-interval=1s", "--drain=1s", "--settle=1s"];

/// How often requests flow.
const FLOW: Duration = Duration::from_millis(250);

/// How the demo is to be.
#[derive(Debug, Args)]
pub struct Demonstration {
    /// End after the tour: 0 when all went as told, 1 otherwise
    #[arg(long)]
    exit_after_tour: bool,
    /// Keep the folder with the Git repository and the kubeconfig
    #[arg(long)]
    keep: bool,
    /// Port of the Kubernetes API on the loopback; any free one when not given
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    api_port: u16,
    /// Port of the dashboard on the loopback; any free one when not given
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    dashboard_port: u16,
    /// With --context: make and delete in that cluster without asking
    #[arg(long)]
    yes: bool,
    /// With --context: the Gateway to route through; the first that takes routes of all namespaces when not given
    #[arg(long, value_name = "NAMESPACE/NAME")]
    gateway: Option<String>,
    /// With --context: image of podinfo, where the cluster can pull it
    #[arg(long, value_name = "IMAGE", default_value = on_cluster::IMAGE)]
    image: String,
    /// With --context: a Prometheus that this machine can reach and that has the request metrics; judges the releases
    #[arg(long, value_name = "URL")]
    metrics_server: Option<String>,
}

/// Why there is no demo. The words say what to change.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    /// Git is not there.
    #[error("running git: {0}; the demo keeps its manifests in a Git repository: install git and try again")]
    NoGit(std::io::Error),
    /// Git refuses.
    #[error("git {command}: {why}")]
    Git {
        /// Its arguments.
        command: String,
        /// What it says.
        why: String,
    },
    /// A file or folder cannot be made.
    #[error("writing {path}: {why}; $TMPDIR can name another place", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// What is committed cannot be understood.
    #[error("reading {name} of the repository: {why}")]
    Manifest {
        /// Path of the file in the repository.
        name: String,
        /// Where and why.
        why: String,
    },
    /// A port cannot be had.
    #[error("listening on 127.0.0.1:{port} for the {what}: {why}; name another with --{what}-port, or none for any")]
    Port {
        /// `api` or `dashboard`.
        what: &'static str,
        /// Which.
        port: u16,
        /// Why.
        why: std::io::Error,
    },
    /// The cluster cannot be put up.
    #[error("{0}")]
    Stage(String),
    /// A real cluster lacks something, or refuses.
    #[error(transparent)]
    OnCluster(#[from] on_cluster::ClusterError),
    /// As a scenario cannot.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// Nothing can be printed.
    #[error("writing the output: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs the demo until the user ends it.
///
/// # Errors
/// When it cannot be put up.
pub fn demonstrate(wanted: &Demonstration, place: &Placement) -> Result<ExitCode, Complaint> {
    let refused = |error: DemoError| Complaint::Refused(error.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut folder = tempfile::Builder::new()
        .prefix("serin-demo-")
        .tempdir()
        .map_err(|why| refused(DemoError::File { path: std::env::temp_dir(), why }))?;
    folder.disable_cleanup(wanted.keep);
    let ended = match place.demo()? {
        Demo::Simulated => runtime.block_on(play(wanted, folder.path().to_owned())),
        Demo::Context(context) => {
            let cluster = runtime.block_on(crate::cluster::Cluster::connect(place))?;
            runtime.block_on(on_cluster::play(wanted, &cluster, context, folder.path().to_owned()))
        }
    };
    // Connections of watches may be open still.
    runtime.shutdown_background();
    ended.map_err(refused)
}

async fn play(wanted: &Demonstration, folder: PathBuf) -> Result<ExitCode, DemoError> {
    let api = listen("api", wanted.api_port).await?;
    let page = listen("dashboard", wanted.dashboard_port).await?;
    let repository = Repository::create(folder.join("repository"), &repository::FILES, "podinfo 6.9.0").await?;
    let kubeconfig = folder.join("kubeconfig");
    std::fs::write(&kubeconfig, Cluster::kubeconfig(api.local_addr()?))
        .map_err(|why| DemoError::File { path: kubeconfig.clone(), why })?;

    let cluster = cluster()?;
    let around = Around::new(cluster.clone(), world(&cluster)?);
    let controller = controller(&cluster, &around)?;
    let dashboard = Dashboard::new(controller.context(), Access::Loopback);
    let paint = Paint::for_stdout();
    let place = Place { repository, kubeconfig, dashboard: page.local_addr()? };
    greet(&place, paint)?;

    let (told, deliveries) = mpsc::unbounded_channel();
    let opened = Notify::new();
    let narrator = Narrator::new(cluster.clone(), around.clone(), deliveries, paint);
    let tour = Tour::new(narrator, &place, &opened);
    // Never told: all ends at once.
    let (_stop, stopped) = watch::channel(false);
    let kubelet = Controllers::new(cluster.clone(), Arc::new(Software(around.clone()))).run();
    let ended = tokio::select! {
        ended = tour.lead(wanted.exit_after_tour) => ended,
        ended = interrupted() => ended.map(|()| ExitCode::SUCCESS).map_err(DemoError::Output),
        failed = cluster.serve(api) => Err(over("the Kubernetes API", failed)),
        failed = dashboard.serve(page, stopped) => Err(over("the dashboard", failed)),
        // None of these ends.
        () = kubelet => Err(over("the kubelet", Ok(()))),
        () = controller.work(std::future::pending()) => Err(over("the controller", Ok(()))),
        () = place.repository.deliver(async |object| Ok(stage::apply(&cluster, object, NAMESPACE)?), &told) => Err(over("the GitOps operator", Ok(()))),
        () = flow(&cluster, &around, &opened) => Err(over("the traffic", Ok(()))),
    };
    controller.die();
    let left = if wanted.keep { "is kept" } else { "is removed" };
    write_out(&format!("\nThe demo ends; {} {left}.\n", folder.display()))?;
    ended
}

/// Where the user finds things.
struct Place {
    repository: Repository,
    kubeconfig: PathBuf,
    dashboard: SocketAddr,
}

fn greet(place: &Place, paint: Paint) -> Result<(), DemoError> {
    let line = |name: &str, what: String| format!("  {}{what}\n", paint.put(Tone::Faint, &format!("{name:<12}")));
    let mut text = paint.put(Tone::Strong, "Serin's controller in a simulated cluster, in real time.");
    text.push_str(" Ctrl-C ends it.\n\n");
    text.push_str(&line("repository", place.repository.folder().display().to_string()));
    text.push_str(&line("kubeconfig", place.kubeconfig.display().to_string()));
    text.push_str(&line("dashboard", format!("http://{}/", place.dashboard)));
    text.push('\n');
    Ok(write_out(&text)?)
}

async fn listen(what: &'static str, port: u16) -> Result<TcpListener, DemoError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|why| DemoError::Port { what, port, why })
}

/// Empty, but for what a platform team puts up: definitions, machines and a gateway.
fn cluster() -> Result<Cluster, DemoError> {
    let cluster = Cluster::new(SystemClock);
    let gateway = json!({ "spec": { "service": { "gatewayRefs": [{ "name": "public", "namespace": "edge" }] } } });
    stage::equip(&cluster)?;
    for object in stage::gateways(&gateway) {
        stage::apply(&cluster, object, "")?;
    }
    Ok(cluster)
}

/// Users, and how the versions behave: all are healthy but 6.9.2, which fails, and 6.10.0, which is slow.
fn world(cluster: &Cluster) -> Result<World, DemoError> {
    let written = json!({
        "traffic": { "rate": "200/s", "arrivals": "Random" },
        "versions": {
            "*": { "latency": { "median": "20ms", "p99": "90ms" }, "start": "1s" },
            "6.9.2": { "errors": "20%", "latency": { "median": "20ms", "p99": "90ms" }, "start": "1s" },
            "6.10.0": { "latency": { "median": "400ms", "p99": "2s" }, "start": "1s" },
        },
        "metrics": { "scrape": "1s" },
    });
    let description: Description = serde_json::from_value(written)
        .map_err(|why| DemoError::Stage(format!("reading the description of the traffic: {why}")))?;
    Ok(World::new(description, cluster.now(), ChaCha8Rng::seed_from_u64(fastrand::u64(..))))
}

fn controller(cluster: &Cluster, around: &Around) -> Result<Controller, DemoError> {
    let (_, settings) = stage::told(FLAGS.map(str::to_owned))?;
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), &settings.provider);
    let surroundings = Surroundings {
        client: cluster.client(),
        namespace: None,
        outside: Arc::new(around.clone()),
        clock: Clock::System,
        metrics,
    };
    Ok(Controller::new(settings, surroundings))
}

/// Requests, from the moment that there is somebody to answer them.
async fn flow(cluster: &Cluster, around: &Around, opened: &Notify) {
    opened.notified().await;
    if let Ok(world) = world(cluster) {
        *around.world() = world;
    }
    let mut ticks = interval(FLOW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        around.world().tick(cluster.now(), cluster);
    }
}

async fn interrupted() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn over(what: &str, ended: std::io::Result<()>) -> DemoError {
    let why = ended.err().map_or_else(|| "no reason given".to_owned(), |error| error.to_string());
    DemoError::Stage(format!("{what} has ended before its time: {why}"))
}
