//! Which of its programs the one binary is asked to be: decided from the name it was called by and its arguments.

use std::ffi::OsString;
use std::path::Path;

/// What the binary is asked to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// The controller, with Flagger's flags; without the program's name.
    Controller(Vec<OsString>),
    /// The probe that images without a shell need; without the program's name.
    Probe(Vec<OsString>),
    /// The command line; all arguments, the program's name first.
    CommandLine(Vec<OsString>),
}

/// Subcommands of the command line that keep `serin -n shop get` from being read as the controller's flags.
const SUBCOMMANDS: [&str; 10] = ["run", "crds", "get", "watch", "promote", "abort", "pause", "resume", "retry", "help"];

/// Flags of the controller, as Flagger has them.
const CONTROLLER_FLAGS: [&str; 34] = [
    "kubeconfig",
    "master",
    "kubeconfig-qps",
    "kubeconfig-burst",
    "metrics-server",
    "control-loop-interval",
    "log-level",
    "port",
    "slack-url",
    "slack-token",
    "slack-proxy-url",
    "slack-user",
    "slack-channel",
    "event-webhook",
    "msteams-url",
    "msteams-proxy-url",
    "include-label-prefix",
    "threadiness",
    "zap-replace-globals",
    "zap-encoding",
    "namespace",
    "mesh-provider",
    "selector-labels",
    "ingress-annotations-prefix",
    "ingress-class",
    "enable-leader-election",
    "leader-election-namespace",
    "enable-config-tracking",
    "version",
    "kubeconfig-service-mesh",
    "cluster-name",
    "no-cross-namespace-refs",
    "v",
    "logtostderr",
];

impl Invocation {
    /// Decides from the whole argument list, the program's name first.
    pub fn of(argv: Vec<OsString>) -> Self {
        let program = argv.first().and_then(|first| Path::new(first).file_stem()).unwrap_or_default();
        let rest = || argv.iter().skip(1).cloned().collect();
        if program == "wget" {
            return Invocation::Probe(rest());
        }
        if program == "flagger" || is_controller(&argv) {
            return Invocation::Controller(rest());
        }
        Invocation::CommandLine(argv)
    }
}

/// True when the arguments are the controller's flags and no subcommand stands among them. `--version` belongs to
/// the command line, `-version` to Flagger.
fn is_controller(argv: &[OsString]) -> bool {
    let words: Vec<&str> = argv.iter().skip(1).filter_map(|word| word.to_str()).collect();
    if words.iter().any(|word| SUBCOMMANDS.contains(word)) || words.first() == Some(&"--version") {
        return false;
    }
    words.first().and_then(|word| flag_name(word)).is_some_and(|name| CONTROLLER_FLAGS.contains(&name))
}

/// The name of a flag written as `-name`, `--name` or `-name=value`.
fn flag_name(word: &str) -> Option<&str> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    Some(name.split_once('=').map_or(name, |(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_and_the_flags_decide() {
        let argv = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let rest = |line: &str| argv(line).into_iter().skip(1).collect::<Vec<_>>();
        for line in [
            "./flagger -log-level=info -mesh-provider=kubernetes",
            "/flagger",
            "serin -mesh-provider gatewayapi:v1",
            "serin --metrics-server=http://prometheus:9090",
            "serin -namespace=shop",
            "serin -version",
        ] {
            assert_eq!(Invocation::of(argv(line)), Invocation::Controller(rest(line)), "{line}");
        }
        for line in [
            "serin",
            "serin --help",
            "serin --version",
            "serin run -log-level=info",
            "serin -n shop get",
            "serin --namespace shop get podinfo",
            "kubectl-serin --kubeconfig x watch podinfo",
            "serin frobnicate",
        ] {
            assert_eq!(Invocation::of(argv(line)), Invocation::CommandLine(argv(line)), "{line}");
        }
        let line = "wget --quiet --tries=1 --timeout=4 --spider http://localhost:8080/healthz";
        assert_eq!(Invocation::of(argv(line)), Invocation::Probe(rest(line)));
    }
}
