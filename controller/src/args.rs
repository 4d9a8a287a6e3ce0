//! The command line of the controller: Flagger's flags, in Flagger's style or with double dashes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

/// Flags of `serin run`.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// Path to a kubeconfig; only needed outside of a cluster.
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// Address of the Kubernetes API server; overrides the one in the kubeconfig.
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,
    /// Accepted and not needed: requests are few, and the API server's own fairness bounds them.
    #[arg(long, alias = "qps", default_value_t = 100, value_name = "N", hide = true)]
    pub kubeconfig_qps: u32,
    /// Accepted and not needed, see --kubeconfig-qps.
    #[arg(long, alias = "burst", default_value_t = 250, value_name = "N", hide = true)]
    pub kubeconfig_burst: u32,
    /// Path to a kubeconfig of the cluster that holds the routes.
    #[arg(long, value_name = "PATH")]
    pub kubeconfig_service_mesh: Option<PathBuf>,
    /// Prometheus for builtin and inline queries.
    #[arg(long, default_value = "http://prometheus:9090", value_name = "URL")]
    pub metrics_server: String,
    /// Accepted and not needed: nothing is polled.
    #[arg(long, default_value = "10s", value_parser = go_duration, value_name = "DURATION", hide = true)]
    pub control_loop_interval: Duration,
    /// Least level that is logged.
    #[arg(long, default_value = "debug", value_enum, ignore_case = true)]
    pub log_level: LogLevel,
    /// Form of the log.
    #[arg(long, default_value = "json", value_enum, ignore_case = true)]
    pub zap_encoding: LogEncoding,
    /// Accepted and not needed: there is one logger.
    #[arg(long, hide = true, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = go_bool, action = ArgAction::Set)]
    pub zap_replace_globals: bool,
    /// Port of /metrics, /healthz and /readyz.
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    pub port: u16,
    /// Where the dashboard listens, as `127.0.0.1:8081` or `:8081`; off when empty. On the loopback whoever gets there is
    /// trusted; elsewhere every request needs a bearer token of the cluster.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ADDRESS:PORT")]
    pub dashboard_address: String,
    /// Follow the GitSources of the cluster; does nothing where that kind is not installed.
    #[arg(long, default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = go_bool, action = ArgAction::Set)]
    pub git_agent: bool,
    /// Folder of the mirrors of repositories; a folder for temporary files when empty. It belongs to Serin alone.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "FOLDER")]
    pub git_storage: String,
    /// ServiceAccount of GitSources that name none, in their own namespace; without it they have Serin's own rights.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    pub git_default_service_account: String,
    /// Where word of pushes is received, as `:9292`; off when empty.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ADDRESS:PORT")]
    pub git_webhook_address: String,
    /// Let GitSources, and reverts, be of repositories of this machine (`file://`): whoever may write one reads what Serin can.
    #[arg(long, default_value = "false", hide_default_value = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = go_bool, action = ArgAction::Set)]
    pub git_local_repositories: bool,
    /// Where people reach the dashboard, for links in notices.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "URL")]
    pub dashboard_url: String,
    /// Slack incoming webhook.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "URL")]
    pub slack_url: String,
    /// Slack bot token.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TOKEN")]
    pub slack_token: String,
    /// Proxy for Slack.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "URL")]
    pub slack_proxy_url: String,
    /// Name shown in Slack.
    #[arg(long, default_value = "flagger", value_name = "NAME")]
    pub slack_user: String,
    /// Slack channel.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    pub slack_channel: String,
    /// URL that is told of every event.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "URL")]
    pub event_webhook: String,
    /// Microsoft Teams incoming webhook.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "URL")]
    pub msteams_url: String,
    /// Proxy for Microsoft Teams.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "URL")]
    pub msteams_proxy_url: String,
    /// Comma-separated prefixes of labels that are copied to what is made; `*` for all.
    #[arg(long, default_value = "", hide_default_value = true, value_delimiter = ',', value_name = "PREFIXES")]
    pub include_label_prefix: Vec<String>,
    /// Accepted and not needed: passes run side by side.
    #[arg(long, default_value_t = 2, value_name = "N", hide = true)]
    pub threadiness: u32,
    /// Watch this namespace alone.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAMESPACE")]
    pub namespace: String,
    /// Router of Canaries that name none.
    #[arg(long, default_value = "istio", value_name = "NAME")]
    pub mesh_provider: String,
    /// Comma-separated labels by which pods may be selected.
    #[arg(long, default_value = "app,name,app.kubernetes.io/name", value_delimiter = ',', value_name = "LABELS")]
    pub selector_labels: Vec<String>,
    /// Annotation prefix of the NGINX Ingress controller.
    #[arg(long, default_value = "nginx.ingress.kubernetes.io", value_name = "PREFIX")]
    pub ingress_annotations_prefix: String,
    /// Ingress class to set on what is made.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "CLASS")]
    pub ingress_class: String,
    /// Let one of several replicas lead.
    #[arg(long, default_value = "false", hide_default_value = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = go_bool, action = ArgAction::Set)]
    pub enable_leader_election: bool,
    /// Namespace of the lease, unless --namespace is given.
    #[arg(long, default_value = "kube-system", value_name = "NAMESPACE")]
    pub leader_election_namespace: String,
    /// Follow the ConfigMaps and Secrets that targets use.
    #[arg(long, default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = go_bool, action = ArgAction::Set)]
    pub enable_config_tracking: bool,
    /// Name of the cluster in notices.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    pub cluster_name: String,
    /// Refuse references into other namespaces.
    #[arg(long, default_value = "false", hide_default_value = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = go_bool, action = ArgAction::Set)]
    pub no_cross_namespace_refs: bool,
    /// Print the version and end.
    #[arg(long = "version", hide = true, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = go_bool, action = ArgAction::Set)]
    pub print_version: bool,
    /// Shortest time between two looks at a Canary.
    #[arg(long, env = "SERIN_MIN_INTERVAL", default_value = "10s", value_parser = go_duration, value_name = "DURATION", hide = true)]
    pub min_interval: Duration,
    /// Time between the moment that no traffic goes to the canary and its scale-down.
    #[arg(long, default_value = "5s", value_parser = go_duration, value_name = "DURATION")]
    pub drain: Duration,
    /// Time between pods being ready and their first users: gateways learn of pods later than Serin does.
    #[arg(long, default_value = "3s", value_parser = go_duration, value_name = "DURATION")]
    pub settle: Duration,
}

/// Levels of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// All.
    Debug,
    /// What happens.
    Info,
    /// What is odd.
    #[value(alias = "warning")]
    Warn,
    /// What failed.
    #[value(aliases = ["fatal", "panic"])]
    Error,
}

/// Forms of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogEncoding {
    /// One JSON object per line.
    Json,
    /// Columns, for people.
    Console,
}

impl ControllerArgs {
    /// As Flagger does, the environment overrides the flags for addresses and secrets.
    #[must_use]
    pub fn with_environment(mut self, environment: impl Fn(&str) -> Option<String>) -> ControllerArgs {
        let fields = [
            ("SLACK_URL", &mut self.slack_url),
            ("SLACK_TOKEN", &mut self.slack_token),
            ("SLACK_PROXY_URL", &mut self.slack_proxy_url),
            ("MSTEAMS_URL", &mut self.msteams_url),
            ("MSTEAMS_PROXY_URL", &mut self.msteams_proxy_url),
            ("EVENT_WEBHOOK_URL", &mut self.event_webhook),
        ];
        for (name, field) in fields {
            if let Some(value) = environment(name).filter(|value| !value.is_empty()) {
                *field = value;
            }
        }
        self.include_label_prefix.retain(|prefix| !prefix.is_empty());
        self.selector_labels.retain(|label| !label.is_empty());
        self
    }

    /// The one namespace to watch, when there is a restriction.
    pub fn watched_namespace(&self) -> Option<&str> {
        Some(self.namespace.as_str()).filter(|namespace| !namespace.is_empty())
    }

    /// Where the lease is.
    pub fn lease_namespace(&self) -> &str {
        self.watched_namespace().unwrap_or(&self.leader_election_namespace)
    }
}

fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

fn go_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| format!("{text:?} is not a duration like 90s, 1m30s or 250ms"))?;
    Duration::try_from(parsed).map_err(|_| format!("{text:?} is negative"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::go_style::from_go_style;

    #[derive(Parser)]
    #[command(disable_version_flag = true)]
    struct Program {
        #[command(flatten)]
        args: ControllerArgs,
    }

    fn parse(line: &str) -> Result<(ControllerArgs, Vec<String>), String> {
        let (arguments, warnings) = from_go_style(line.split_whitespace().map(str::to_owned));
        let program = Program::try_parse_from(std::iter::once("serin".to_owned()).chain(arguments));
        program.map(|program| (program.args, warnings)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_of_the_chart() {
        let line = "-log-level=info -mesh-provider=gatewayapi:v1 -metrics-server=http://flagger-prometheus:9090 \
                    -selector-labels=app,name,app.kubernetes.io/name -enable-config-tracking=true -namespace=shop \
                    -slack-url=https://hooks.example.com/x?y=z -slack-user=flagger -slack-channel=alerts \
                    -enable-leader-election=true -leader-election-namespace=flagger-system \
                    -ingress-annotations-prefix=nginx.org -include-label-prefix=app.kubernetes.io,team \
                    -ingress-class=contour -event-webhook=http://e -kubeconfig-qps=100 -kubeconfig-burst=250 \
                    -threadiness=2 -cluster-name=prod -no-cross-namespace-refs=true";
        let (args, warnings) = parse(line).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(args.log_level, LogLevel::Info);
        assert_eq!(args.mesh_provider, "gatewayapi:v1");
        assert_eq!(args.slack_url, "https://hooks.example.com/x?y=z");
        assert_eq!(args.include_label_prefix, ["app.kubernetes.io", "team"]);
        assert_eq!(args.selector_labels, ["app", "name", "app.kubernetes.io/name"]);
        assert!(args.enable_leader_election && args.no_cross_namespace_refs && args.enable_config_tracking);
        assert_eq!(args.lease_namespace(), "shop");
    }

    #[test]
    fn the_commands_of_the_published_manifests() {
        for (provider, server) in [
            ("kuma", "http://prometheus-server.mesh-observability:80"),
            ("gatewayapi:v1beta1", "http://prometheus.linkerd-viz:9090"),
            ("appmesh", "http://appmesh-prometheus:9090"),
            ("kubernetes", "http://flagger-prometheus:9090"),
        ] {
            let (args, _) = parse(&format!(
                "-log-level=info -include-label-prefix=app.kubernetes.io -mesh-provider={provider} -metrics-server={server}"
            ))
            .unwrap();
            assert_eq!((args.mesh_provider.as_str(), args.metrics_server.as_str()), (provider, server));
        }
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let (args, _) = parse("").unwrap();
        let args = args.with_environment(|_| None);
        assert_eq!(args.metrics_server, "http://prometheus:9090");
        assert_eq!(args.log_level, LogLevel::Debug);
        assert_eq!((args.port, args.mesh_provider.as_str()), (8080, "istio"));
        assert_eq!(args.include_label_prefix, Vec::<String>::new());
        assert_eq!(args.watched_namespace(), None);
        assert_eq!(args.lease_namespace(), "kube-system");
        assert_eq!(args.slack_user, "flagger");
        assert!(args.enable_config_tracking && !args.enable_leader_election);
        assert_eq!((args.min_interval, args.drain), (Duration::from_secs(10), Duration::from_secs(5)));
        assert_eq!(args.settle, Duration::from_secs(3));
    }

    #[test]
    fn styles_of_go_and_of_everyone_else() {
        type Holds = fn(&ControllerArgs) -> bool;
        let cases: [(&str, Holds); 9] = [
            ("-port 9090", |args| args.port == 9090),
            ("--port 9090", |args| args.port == 9090),
            ("--port=9090", |args| args.port == 9090),
            ("-enable-leader-election", |args| args.enable_leader_election),
            ("-enable-leader-election=F", |args| !args.enable_leader_election),
            ("--enable-config-tracking=false", |args| !args.enable_config_tracking),
            ("-log-level=warning", |args| args.log_level == LogLevel::Warn),
            ("-control-loop-interval=1m30s", |args| args.control_loop_interval == Duration::from_secs(90)),
            ("-slack-channel -general", |args| args.slack_channel == "-general"),
        ];
        for (line, holds) in cases {
            let (args, _) = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(holds(&args), "{line}: {args:?}");
        }
    }

    #[test]
    fn flags_of_klog_are_taken_with_a_warning() {
        let (args, warnings) = parse("-v 4 -logtostderr -stderrthreshold=2 -port=1 -v=2").unwrap();
        assert_eq!((args.port, warnings.len()), (1, 4));
    }

    #[test]
    fn unknown_flags_and_bad_values_are_errors() {
        for line in ["-prot=1", "-port=x", "-enable-leader-election=maybe", "-port", "-drain=-3s"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_environment_overrides_where_flagger_has_it_so() {
        let (args, _) = parse("-slack-url=http://flag -msteams-url=http://flag").unwrap();
        let environment = |name: &str| match name {
            "SLACK_URL" => Some("http://env".to_owned()),
            "MSTEAMS_URL" => Some(String::new()),
            "EVENT_WEBHOOK_URL" => Some("http://events".to_owned()),
            _ => None,
        };
        let args = args.with_environment(environment);
        assert_eq!(args.slack_url, "http://env");
        assert_eq!(args.msteams_url, "http://flag");
        assert_eq!(args.event_webhook, "http://events");
    }
}
