//! The command line of Serin: it watches rollouts and steers them, and the same binary is the controller.
//!
//! What is seen is drawn in [`view`], without a client or a clock, and put into words in [`text`].

pub mod args;
pub mod cluster;
pub mod command;
pub mod complaint;
pub mod demo;
pub mod get;
pub mod image;
pub mod invocation;
pub mod paint;
pub mod plan;
pub mod probe;
pub mod record;
pub mod simulate;
pub mod text;
pub mod undo;
pub mod watch;

pub use controller::rollout_view as view;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use args::{Asked, Command, CommandLine, Place};
use cluster::Cluster;
use command::Order;
use complaint::Complaint;
use controller::command::Verb;
use invocation::Invocation;
use watch::End;

/// Does what the arguments ask for, the program's name first; the result is what the process ends with.
pub fn run(argv: Vec<OsString>) -> ExitCode {
    match Invocation::of(argv) {
        Invocation::Controller(flags) => run_controller(flags),
        Invocation::Probe(arguments) => ExitCode::from(probe::run(&arguments)),
        Invocation::CommandLine(argv) => {
            let CommandLine { place, command } = CommandLine::parse_from(argv);
            if let Command::Run { flags } = command {
                run_controller(flags)
            } else if let Command::Simulate(simulation) = command {
                told(simulate::simulate(&simulation))
            } else if let Command::Image { command } = command {
                told(image::obey(&command))
            } else if let Command::Demo(demonstration) = command {
                told(demo::demonstrate(&demonstration, &place))
            } else {
                command_line(place, command)
            }
        }
    }
}

/// Runs the controller until it is told to end.
fn run_controller(flags: Vec<OsString>) -> ExitCode {
    match controller::main(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("serin: {failure:#}");
            ExitCode::FAILURE
        }
    }
}

fn command_line(place: Place, command: Command) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(failure) => {
            eprintln!("serin: starting: {failure}");
            return ExitCode::FAILURE;
        }
    };
    told(runtime.block_on(obey(place, command)))
}

fn told(outcome: Result<ExitCode, Complaint>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(complaint) => {
            eprintln!("serin: {complaint}");
            ExitCode::FAILURE
        }
    }
}

async fn obey(place: Place, command: Command) -> Result<ExitCode, Complaint> {
    let connect = || Cluster::connect(&place);
    let give = async |asked: Asked, verb: Verb| command::give(&connect().await?, &asked, Order::of(verb)).await;
    match command {
        // None of them needs a cluster: see `run`.
        Command::Run { .. } | Command::Simulate(_) | Command::Demo(_) | Command::Image { .. } => {}
        Command::Plan(foreseen) => return plan::plan(&place, &foreseen).await,
        Command::Lint(foreseen) => return plan::lint(&place, &foreseen).await,
        Command::Crds => paint::write_out(&definitions()?)?,
        Command::Get { name: Some(name), all_namespaces: false, output } => {
            get::one(&connect().await?, &name, output).await?;
        }
        Command::Get { name: Some(_), all_namespaces: true, .. } => {
            return Err(Complaint::Refused(
                "a name and --all-namespaces do not go together: give -n instead".to_owned(),
            ));
        }
        Command::Get { name: None, all_namespaces, output } => {
            get::all(&connect().await?, all_namespaces, output).await?;
        }
        Command::Watch { name, exit_on_end } => {
            return Ok(match watch::follow(&connect().await?, &name, exit_on_end).await? {
                End::Succeeded => ExitCode::SUCCESS,
                End::Failed => ExitCode::FAILURE,
            });
        }
        Command::History { name, output } => record::history::print(&connect().await?, &name, output).await?,
        Command::Explain { subject, output } => record::explain::print(&place, &subject, output).await?,
        Command::Replay { subject, policy, output } => {
            return record::replay::print(&place, &subject, policy.as_deref(), output).await;
        }
        Command::Promote { asked, full: false } => give(asked, Verb::Promote).await?,
        Command::Promote { asked, full: true } => give(asked, Verb::PromoteFull).await?,
        Command::Abort(asked) => give(asked, Verb::Abort).await?,
        Command::Pause(asked) => give(asked, Verb::Pause).await?,
        Command::Resume(asked) => give(asked, Verb::Resume).await?,
        Command::Retry(asked) => give(asked, Verb::Retry).await?,
        Command::Undo { asked, to_revision } => undo::undo(&connect().await?, &asked, to_revision.as_deref()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The custom resource definitions, as one stream of YAML documents.
fn definitions() -> Result<String, Complaint> {
    let crds = crds::definitions();
    let documents: Result<Vec<String>, _> = crds.iter().map(serde_saphyr::to_string).collect();
    documents.map(|documents| documents.join("---\n")).map_err(|failure| Complaint::Render(failure.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_documents_of_one_stream() {
        let text = definitions().expect("the definitions render");
        let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).expect("YAML");
        assert_eq!(documents, crds::all_crds());
    }
}
