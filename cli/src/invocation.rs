//! Which of its programs the one binary is asked to be: decided from the name it was called by and its arguments.

use std::ffi::OsString;
use std::path::Path;

use controller::go_style::is_controller_invocation;

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
const SUBCOMMANDS: [&str; 13] = [
    "run", "crds", "get", "watch", "promote", "abort", "pause", "resume", "retry", "simulate", "demo", "image", "help",
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

/// True when the controller is meant, and no subcommand says otherwise.
fn is_controller(argv: &[OsString]) -> bool {
    let subcommand = argv.iter().skip(1).any(|word| SUBCOMMANDS.iter().any(|known| word == known));
    !subcommand && is_controller_invocation(argv)
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
            "./flagger -namespace watch",
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
