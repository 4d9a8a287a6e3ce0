//! Go's style of command lines: one dash or two, and the flags of Go's logging library.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// True when the whole command line (the program first) is one of the controller: it is called as `flagger`, or the
/// first argument is a flag that only the controller has.
pub fn is_controller_invocation(argv: &[OsString]) -> bool {
    let called_as = argv.first().and_then(|program| Path::new(program).file_stem());
    if called_as == Some(OsStr::new("flagger")) {
        return true;
    }
    let Some(name) = argv.get(1).and_then(|first| first.to_str()).and_then(flag_name) else { return false };
    let single_dash = argv.get(1).and_then(|first| first.to_str()).is_some_and(|first| !first.starts_with("--"));
    // `--version` alone is the version of the program.
    shape(&FLAGS, name).is_some() && (name != "version" || single_dash)
        || (shape(&KLOG_FLAGS, name).is_some() && (name.len() > 1 || single_dash))
}

/// Turns the arguments (without the program) from Go's style into double dashes: `-port 8080`, `-port=8080` and
/// `--port=8080` mean the same there, switches may be given a value, and klog's flags are taken out. Returns the
/// arguments and warnings to log.
pub fn from_go_style(arguments: impl IntoIterator<Item = String>) -> (Vec<String>, Vec<String>) {
    let mut arguments = arguments.into_iter().peekable();
    let mut turned = Vec::new();
    let mut warnings = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            turned.push(argument);
            turned.extend(arguments);
            break;
        }
        let Some(name) = flag_name(&argument) else {
            turned.push(argument);
            continue;
        };
        let value = argument.split_once('=').map(|(_, value)| value.to_owned());
        if let Some(shape) = shape(&KLOG_FLAGS, name) {
            warnings.push(format!("the flag -{name} has no effect here, use -log-level"));
            if shape == Shape::Value && value.is_none() {
                arguments.next();
            }
            continue;
        }
        match (shape(&FLAGS, name), value) {
            (Some(Shape::Value), None) => {
                let next = arguments.next();
                turned.push(next.map_or_else(|| format!("--{name}"), |next| format!("--{name}={next}")));
            }
            (Some(_), Some(value)) => turned.push(format!("--{name}={value}")),
            (Some(Shape::Switch), None) => turned.push(format!("--{name}=true")),
            (None, _) => turned.push(argument),
        }
    }
    (turned, warnings)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Value,
    Switch,
}

/// Every flag of the controller, and whether it takes a value in the next word.
const FLAGS: [(&str, Shape); 42] = [
    ("kubeconfig", Shape::Value),
    ("master", Shape::Value),
    ("kubeconfig-qps", Shape::Value),
    ("kubeconfig-burst", Shape::Value),
    ("kubeconfig-service-mesh", Shape::Value),
    ("metrics-server", Shape::Value),
    ("control-loop-interval", Shape::Value),
    ("log-level", Shape::Value),
    ("zap-encoding", Shape::Value),
    ("zap-replace-globals", Shape::Switch),
    ("port", Shape::Value),
    ("dashboard-address", Shape::Value),
    ("dashboard-url", Shape::Value),
    ("git-agent", Shape::Switch),
    ("git-storage", Shape::Value),
    ("git-default-service-account", Shape::Value),
    ("git-webhook-address", Shape::Value),
    ("git-local-repositories", Shape::Switch),
    ("slack-url", Shape::Value),
    ("slack-token", Shape::Value),
    ("slack-proxy-url", Shape::Value),
    ("slack-user", Shape::Value),
    ("slack-channel", Shape::Value),
    ("event-webhook", Shape::Value),
    ("msteams-url", Shape::Value),
    ("msteams-proxy-url", Shape::Value),
    ("include-label-prefix", Shape::Value),
    ("threadiness", Shape::Value),
    ("namespace", Shape::Value),
    ("mesh-provider", Shape::Value),
    ("selector-labels", Shape::Value),
    ("ingress-annotations-prefix", Shape::Value),
    ("ingress-class", Shape::Value),
    ("enable-leader-election", Shape::Switch),
    ("leader-election-namespace", Shape::Value),
    ("enable-config-tracking", Shape::Switch),
    ("cluster-name", Shape::Value),
    ("no-cross-namespace-refs", Shape::Switch),
    ("version", Shape::Switch),
    ("min-interval", Shape::Value),
    ("drain", Shape::Value),
    ("settle", Shape::Value),
];

/// Flags of the Go logging library that Flagger links in. Accepted and without effect.
const KLOG_FLAGS: [(&str, Shape); 14] = [
    ("v", Shape::Value),
    ("vmodule", Shape::Value),
    ("log_dir", Shape::Value),
    ("log_file", Shape::Value),
    ("log_file_max_size", Shape::Value),
    ("log_backtrace_at", Shape::Value),
    ("stderrthreshold", Shape::Value),
    ("logtostderr", Shape::Switch),
    ("alsologtostderr", Shape::Switch),
    ("one_output", Shape::Switch),
    ("add_dir_header", Shape::Switch),
    ("skip_headers", Shape::Switch),
    ("skip_log_headers", Shape::Switch),
    ("legacy_stderr_threshold_behavior", Shape::Switch),
];

/// The name in `-name`, `--name` and either with `=value`.
fn flag_name(argument: &str) -> Option<&str> {
    let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    (!name.is_empty() && !name.starts_with('-')).then_some(name)
}

fn shape(flags: &[(&str, Shape)], name: &str) -> Option<Shape> {
    flags.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_is_meant_when_it_is_called_like_flagger() {
        let cases = [
            ("./flagger", true),
            ("/usr/bin/flagger -port=1", true),
            ("serin -metrics-server=x", true),
            ("serin --metrics-server=x", true),
            ("serin -v=4", true),
            ("serin -version", true),
            ("serin --version", false),
            ("serin", false),
            ("serin run -port=1", false),
            ("serin get canary", false),
            ("serin --help", false),
            ("serin -n shop", false),
        ];
        for (line, expected) in cases {
            let argv: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(is_controller_invocation(&argv), expected, "{line}");
        }
    }
}
