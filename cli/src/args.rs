//! The command line as users write it.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::complaint::Complaint;
use crate::demo::Demonstration;
use crate::image::ImageCommand;
use crate::plan::Foreseen;
use crate::simulate::Simulation;

/// Progressive delivery for GitOps: watch and steer canaries, or be the controller that runs them.
#[derive(Debug, Parser)]
#[command(name = "serin", version, about, propagate_version = true, disable_help_subcommand = false)]
pub struct CommandLine {
    /// Which cluster, and where in it.
    #[command(flatten)]
    pub place: Place,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster, and where in it; as kubectl has it.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// Namespace; the context's own when not given
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Path of the kubeconfig; $KUBECONFIG or ~/.kube/config when not given
    #[arg(long, global = true, value_name = "PATH")]
    pub kubeconfig: Option<std::path::PathBuf>,
}

impl Place {
    /// Where a demo is to be: a real cluster must be named, so that none is met by accident.
    ///
    /// # Errors
    /// When what is given leaves that open.
    pub fn demo(&self) -> Result<Demo<'_>, Complaint> {
        let refused = |why: &str| Err(Complaint::Refused(why.to_owned()));
        match (&self.context, &self.kubeconfig, &self.namespace) {
            (_, _, Some(_)) => refused("the demo makes a namespace of its own: leave --namespace out"),
            (Some(context), _, None) => Ok(Demo::Context(context)),
            (None, Some(_), None) => refused(
                "the demo goes to a real cluster only when its context is named: add --context NAME, or leave \
                 --kubeconfig out for a simulated cluster",
            ),
            (None, None, None) => Ok(Demo::Simulated),
        }
    }
}

/// Where a demo is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demo<'a> {
    /// In a simulated cluster of its own.
    Simulated,
    /// In the cluster of this context.
    Context(&'a str),
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller; takes the controller's flags (`serin run -help` lists them)
    #[command(disable_help_flag = true)]
    Run {
        /// Flags of the controller
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<OsString>,
    },
    /// Print the custom resource definitions as YAML
    Crds,
    /// Show all canaries, or one in full
    Get {
        /// Name of a canary; all of the namespace when not given
        name: Option<String>,
        /// Every namespace
        #[arg(short = 'A', long)]
        all_namespaces: bool,
        /// Format of the output
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Show one canary and follow it
    Watch {
        /// Name of the canary
        name: String,
        /// End when the rollout has ended: 0 when it succeeded, 1 when it failed
        #[arg(long)]
        exit_on_end: bool,
    },
    /// Open the gate the rollout waits at, or go on to the next step now
    Promote {
        /// Which canary
        #[command(flatten)]
        asked: Asked,
        /// Skip the rest of the analysis
        #[arg(long)]
        full: bool,
    },
    /// Take the new revision back
    Abort(Asked),
    /// Hold the rollout where it is
    Pause(Asked),
    /// Let a paused rollout go on
    Resume(Asked),
    /// Roll the revision out again that was taken back
    Retry(Asked),
    /// Go back to what was promoted before: by a commit in Git where the target comes from there
    Undo {
        /// Which canary
        #[command(flatten)]
        asked: Asked,
        /// What to go back to: a commit, or its beginning; where nothing comes from Git, the number of a revision of the
        /// Deployment. What was there before when not given
        #[arg(long, value_name = "REVISION")]
        to_revision: Option<String>,
    },
    /// List the rollouts of a canary that are on record, newest first
    History {
        /// Name of the canary
        name: String,
        /// Format of the output
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Tell why the last decision about a rollout was taken, with the numbers
    Explain {
        /// Name of a canary or of a record, or a file with an exported record (`-`: standard input)
        #[arg(value_name = "CANARY|FILE")]
        subject: String,
        /// Format of the output
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Decide a recorded rollout once more: 0 when it comes to the same, 1 otherwise; or by another policy, without a cluster
    Replay {
        /// A file with an exported record (`kubectl get canaryrun NAME -o yaml`; `-`: standard input), or a record of the
        /// cluster by NAME or NAMESPACE/NAME
        #[arg(value_name = "LOG")]
        subject: String,
        /// Another policy: a Canary, or what is to be changed of the recorded one, as in `analysis: {threshold: 2}`
        #[arg(long, value_name = "FILE")]
        policy: Option<std::path::PathBuf>,
        /// Format of the output
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Tell what a policy will do at a given traffic: its steps, how sure each check is, and when it ends
    Plan(Foreseen),
    /// Tell what should be changed about a policy, for it to find bad releases and to leave good ones alone: 0 when nothing
    Lint(Foreseen),
    /// Play a scenario in a simulated cluster and say how it ends: 0 as expected, 1 otherwise
    Simulate(Simulation),
    /// Tell Git of an image that a pipeline has built
    Image {
        /// What to do
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// See a rollout and a rollback, fed from Git, and try your own: in a simulated cluster on this machine, or with
    /// --context in a real one
    Demo(Demonstration),
}

/// To whom a command is given.
#[derive(Debug, Args)]
pub struct Asked {
    /// Name of the canary
    pub name: String,
    /// Seconds to wait for the controller's answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub timeout: u64,
}

/// Format of the output of `get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For people with wide screens
    Wide,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_subcommand() {
        for line in ["serin -n shop get podinfo -o json", "serin get podinfo --output=json --namespace shop"] {
            let parsed = CommandLine::try_parse_from(line.split(' ')).expect(line);
            assert_eq!(parsed.place.namespace.as_deref(), Some("shop"));
            let Command::Get { name: Some(name), output: Format::Json, all_namespaces: false } = parsed.command else {
                panic!("{line}: {:?}", parsed.command)
            };
            assert_eq!(name, "podinfo");
        }
    }

    #[test]
    fn the_demo_goes_only_where_it_is_told() {
        for (line, place) in [
            ("serin demo --keep", Some(Demo::Simulated)),
            ("serin demo --context prod --kubeconfig x", Some(Demo::Context("prod"))),
            ("serin demo --kubeconfig x", None),
            ("serin demo --context prod --namespace shop", None),
        ] {
            let parsed = CommandLine::try_parse_from(line.split(' ')).expect(line);
            assert_eq!(parsed.place.demo().ok(), place, "{line}");
        }
    }

    #[test]
    fn the_controllers_flags_pass_untouched() {
        let line = "serin run -log-level=debug -namespace shop -help --version";
        let Command::Run { flags } = CommandLine::try_parse_from(line.split(' ')).expect(line).command else {
            panic!("not run")
        };
        assert_eq!(flags, ["-log-level=debug", "-namespace", "shop", "-help", "--version"]);
    }
}
