//! Starts the controller, keeps it running, and ends it in order.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use url::Url;

use crate::agent::{self, Agent, Mirrors, Programs, Rules};
use crate::args::ControllerArgs;
use crate::assembly::{Controller, Surroundings};
use crate::clock::Clock;
use crate::context::{Context, Settings};
use crate::dashboard::access::Access;
use crate::dashboard::{self, Dashboard};
use crate::go_style::from_go_style;
use crate::http::Clients;
use crate::leader::{Election, Timing};
use crate::metrics::Metrics;
use crate::notifiers::GlobalSettings;
use crate::objects::{Kind, kinds};
use crate::server::{Health, bind, serve};
use crate::{attribution, connect, http, routers, telemetry, workloads};

/// Threads of the runtime: passes wait more than they work, and each thread costs memory.
const WORKERS: usize = 2;

#[derive(Parser)]
#[command(name = "serin run", about = "Runs the controller", disable_version_flag = true)]
struct CommandLine {
    #[command(flatten)]
    args: ControllerArgs,
}

/// The controller as a program: parses its flags (without the program's name; Go's style or double dashes) and runs it.
///
/// # Errors
/// As [`run`]. A command line that cannot be understood ends the process with its usage.
pub fn main(flags: Vec<OsString>) -> anyhow::Result<()> {
    let flags = flags.into_iter().map(|flag| flag.to_string_lossy().into_owned());
    let (flags, warnings) = from_go_style(flags);
    let args = CommandLine::parse_from(std::iter::once("serin run".to_owned()).chain(flags)).args;
    let args = args.with_environment(|name| std::env::var(name).ok());
    if args.print_version {
        // What a program asks for belongs on stdout, and there is no log yet.
        use std::io::Write as _;
        writeln!(std::io::stdout(), "{}", env!("CARGO_PKG_VERSION")).context("writing the version")?;
        return Ok(());
    }
    telemetry::start(args.log_level, args.zap_encoding).context("starting the log")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(run(args))
}

/// Reads flags (without the program's name; Go's style or double dashes), without the environment.
///
/// # Errors
/// What clap says of them.
pub fn arguments(flags: impl IntoIterator<Item = String>) -> Result<ControllerArgs, clap::Error> {
    let (flags, _) = from_go_style(flags);
    CommandLine::try_parse_from(std::iter::once("serin run".to_owned()).chain(flags)).map(|line| line.args)
}

/// Runs the controller until it is told to end (SIGTERM, SIGINT) or loses its leadership, which is an error.
///
/// # Errors
/// When the command line, the cluster or the port cannot be used.
pub async fn run(args: ControllerArgs) -> anyhow::Result<()> {
    http::install_cryptography();
    let settings = settings(&args)?;
    let client = client(&args).await?;
    let version = client
        .apiserver_version()
        .await
        .context("asking the Kubernetes API server for its version; check --kubeconfig, --master and the network")?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        kubernetes = version.git_version,
        provider = settings.provider,
        "starting"
    );
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), &settings.provider);
    let surroundings = Surroundings {
        client,
        namespace: args.watched_namespace().map(str::to_owned),
        outside: Arc::new(Clients::default()),
        clock: Clock::System,
        metrics: metrics.clone(),
    };
    let mut controller = Controller::new(settings, surroundings);
    let agent = args.git_agent.then(|| Arc::new(git_agent(&args, controller.context())));
    if let Some(agent) = &agent {
        controller = controller.with_agent(agent.clone());
    }
    let context = controller.context();
    let health = Health::new(context.cache.clone(), metrics);
    let election = args.enable_leader_election.then(|| {
        let history = context.history.clone();
        Election::new(context.rest.clone(), args.lease_namespace(), &identity(), Timing::default(), Clock::System)
            .hearing(move |leader| history.follow(pod_of(leader)))
    });

    let (stop, stopped) = watch::channel(false);
    let listener = bind(args.port).await.with_context(|| format!("listening on port {}", args.port))?;
    let server = tokio::spawn(serve(listener, health.clone(), until(stopped.clone())));
    if !args.dashboard_address.is_empty() {
        show(&args.dashboard_address, context, &health, stopped.clone()).await?;
    }
    if let Some(agent) = agent.filter(|_| !args.git_webhook_address.is_empty()) {
        receive(&args.git_webhook_address, &agent, &health, stopped.clone()).await?;
    }
    tokio::spawn(async move {
        if let Err(error) = interrupted().await {
            tracing::error!("cannot listen for signals: {error}");
        }
        // Nobody listens any more only when all has ended.
        let _ = stop.send(true);
    });

    let guard = health.guard();
    let lost = lead(election, &controller, stopped).await;
    guard.done();
    controller.end().await;
    tracing::info!("ended");
    match lost {
        Some(lost) => anyhow::bail!("{lost}"),
        None => {
            server.await.context("waiting for the HTTP server")?.context("serving HTTP")?;
            Ok(())
        }
    }
}

/// Serves the dashboard in the background.
async fn show(address: &str, context: &Context, health: &Health, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
    let (listener, on_loopback) =
        dashboard::bind(address).await.with_context(|| format!("listening on --dashboard-address {address}"))?;
    let access = if on_loopback { Access::Loopback } else { Access::by_token(context.rest.clone()) };
    let dashboard = Dashboard::new(context, access);
    tracing::info!(address = %listener.local_addr()?, by_token = !on_loopback, "the dashboard is served");
    let guard = health.guard();
    tokio::spawn(async move {
        match dashboard.serve(listener, stopped).await {
            Ok(()) => guard.done(),
            Err(error) => tracing::error!("serving the dashboard: {error}"),
        }
    });
    Ok(())
}

/// The Git agent, as the flags have it.
fn git_agent(args: &ControllerArgs, context: &Context) -> Agent {
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let cache = context.cache.clone();
    Agent::new(agent::Parts {
        client: context.rest.client().clone(),
        namespace: args.watched_namespace().map(str::to_owned),
        upstream: Arc::new(Mirrors::new(context.settings.git_storage.join("sources"), git::Limits::default())),
        programs: Programs::in_path(),
        rules: Rules {
            default_account: given(&args.git_default_service_account),
            local_repositories: args.git_local_repositories,
        },
        has_canary: Arc::new(move |id| !cache.canaries_of_target(&id.namespace, &id.kind, &id.name).is_empty()),
        clock: context.clock(),
    })
}

/// Receives word of pushes in the background.
async fn receive(address: &str, agent: &Agent, health: &Health, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
    let (listener, _) =
        dashboard::bind(address).await.with_context(|| format!("listening on --git-webhook-address {address}"))?;
    tracing::info!(address = %listener.local_addr()?, "receiving word of pushes");
    let (router, guard) = (agent.receiver().router(), health.guard());
    tokio::spawn(async move {
        match axum::serve(listener, router).with_graceful_shutdown(until(stopped)).await {
            Ok(()) => guard.done(),
            Err(error) => tracing::error!("receiving word of pushes: {error}"),
        }
    });
    Ok(())
}

/// Waits for leadership where there is an election, and works until `stopped` is true or its sender gone; returns why
/// leadership was lost.
pub async fn lead(
    election: Option<Election>,
    controller: &Controller,
    stopped: watch::Receiver<bool>,
) -> Option<String> {
    let Some(election) = election else {
        controller.work(until(stopped)).await;
        return None;
    };
    let mut leadership = tokio::select! {
        biased;
        leadership = election.acquire() => leadership,
        () = until(stopped.clone()) => return None,
    };
    let (ended, end) = watch::channel(false);
    let stop = async move {
        tokio::select! {
            biased;
            () = until(stopped) => {}
            () = until(end) => {}
        }
    };
    let working = controller.work(stop);
    tokio::pin!(working);
    tokio::select! {
        biased;
        () = &mut working => {
            leadership.release().await;
            None
        }
        lost = leadership.keep() => {
            let _ = ended.send(true);
            // Another replica may lead already: what runs is cut off, and the next writes are refused by version.
            Some(lost.to_string())
        }
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn interrupted() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM received, ending"),
        _ = interrupt.recv() => tracing::info!("SIGINT received, ending"),
    }
    Ok(())
}

/// Unique among the replicas: the name of the pod, with something random.
fn identity() -> String {
    let name = std::env::var("HOSTNAME").unwrap_or_else(|_| "serin".into());
    format!("{name}_{:016x}", fastrand::u64(..))
}

/// The name of the pod in the identity of a replica; what others than this program write is taken whole.
fn pod_of(identity: &str) -> &str {
    identity.rsplit_once('_').map_or(identity, |(pod, _)| pod)
}

async fn client(args: &ControllerArgs) -> anyhow::Result<Client> {
    let mut config = match &args.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("using {}", path.display()))?
        }
        None => Config::infer().await.context("finding the cluster; give --kubeconfig outside of one")?,
    };
    if let Some(master) = &args.master {
        config.cluster_url = master.parse().with_context(|| format!("--master {master} is not a URL"))?;
    }
    connect::client(config)
}

/// What the controller was told by its flags.
///
/// # Errors
/// When a flag cannot be used.
pub fn settings(args: &ControllerArgs) -> anyhow::Result<Settings> {
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    if args.kubeconfig_service_mesh.is_some() {
        anyhow::bail!("--kubeconfig-service-mesh is not supported by this version; routes must be in the same cluster");
    }
    let event_hook = given(&args.event_webhook)
        .map(|url| Url::parse(&url).context("--event-webhook (or EVENT_WEBHOOK_URL) is not a URL"))
        .transpose()?;
    let dashboard_url =
        given(&args.dashboard_url).map(|url| Url::parse(&url).context("--dashboard-url is not a URL")).transpose()?;
    let notifier = GlobalSettings {
        slack_url: given(&args.slack_url),
        slack_token: given(&args.slack_token),
        slack_proxy: given(&args.slack_proxy_url),
        slack_user: given(&args.slack_user),
        slack_channel: given(&args.slack_channel),
        msteams_url: given(&args.msteams_url),
        msteams_proxy: given(&args.msteams_proxy_url),
    };
    let told = notifier.slack_url.is_some() || notifier.msteams_url.is_some();
    Ok(Settings {
        workloads: workloads::Settings {
            selector_labels: args.selector_labels.clone(),
            include_label_prefix: args.include_label_prefix.clone(),
            config_tracking: args.enable_config_tracking,
        },
        rollout: rollout::Settings { drain: args.drain, settle: args.settle, global_notifier: told },
        provider: args.mesh_provider.clone(),
        metrics_server: args.metrics_server.clone(),
        min_interval: args.min_interval,
        git_storage: given(&args.git_storage).map_or_else(|| std::env::temp_dir().join("serin-git"), PathBuf::from),
        git_local_repositories: args.git_local_repositories,
        no_cross_namespace_refs: args.no_cross_namespace_refs,
        ingress_annotations_prefix: args.ingress_annotations_prefix.clone(),
        ingress_class: given(&args.ingress_class),
        cluster_name: args.cluster_name.clone(),
        dashboard_url,
        notifier,
        event_hook,
    })
}

/// The kinds that Serin reads or writes, and whether it writes them; rights derive from this.
pub fn resources() -> Vec<(Kind, bool)> {
    let mut kinds = vec![
        (kinds::CANARY, true),
        (kinds::METRIC_TEMPLATE, false),
        (kinds::ALERT_PROVIDER, false),
        (kinds::CANARY_TEMPLATE, false),
        (kinds::CLUSTER_CANARY_TEMPLATE, false),
        (kinds::CANARY_RUN, true),
        (kinds::DEPLOYMENT, true),
        (kinds::DAEMON_SET, true),
        (kinds::REPLICA_SET, false),
        (kinds::CONTROLLER_REVISION, false),
        (kinds::SERVICE, true),
        (kinds::CONFIG_MAP, true),
        (kinds::SECRET, true),
        (kinds::HORIZONTAL_POD_AUTOSCALER, true),
        (kinds::EVENT, true),
        (kinds::LEASE, true),
    ];
    for kind in attribution::DEPLOYERS.iter().flat_map(|deployer| deployer.resources()) {
        if !kinds.contains(&(*kind, false)) && !kinds.contains(&(*kind, true)) {
            kinds.push((*kind, false));
        }
    }
    for router in routers::ROUTERS {
        for ability in router.abilities() {
            for resource in router.resources(ability.name) {
                if !kinds.contains(&resource) {
                    kinds.push(resource);
                }
            }
        }
    }
    kinds
}
