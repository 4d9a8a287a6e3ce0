//! `serin simulate`: plays a scenario in virtual time, with the real controller in a simulated cluster, and says how it
//! ends. A policy can be tried before anybody depends on it.

pub mod chaos;
pub mod faults;
mod happenings;
mod invariants;
pub mod scenario;
pub mod stage;
pub(crate) mod surroundings;
pub mod transcript;
pub mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;
use sim::Kind;

use crate::complaint::Complaint;
use crate::paint;
use scenario::Scenario;
use stage::Played;

pub(crate) const CANARY: Kind<'static> = Kind { group: "flagger.app", kind: "Canary" };

/// What is to be played.
#[derive(Debug, Args)]
pub struct Simulation {
    /// Scenario files.
    #[arg(required_unless_present = "chaos", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Plays with this seed instead of the scenario's own.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Plays the scenario that this seed makes: a policy, releases, commands, faults and crashes by chance.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["files", "seed"])]
    chaos: Option<u64>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// Lines for people.
    Text,
    /// One JSON object per scenario.
    Json,
    /// The verdicts alone.
    Verdict,
}

/// Plays the scenarios; success when all end as they should.
///
/// # Errors
/// When a scenario cannot be played, or nothing can be written.
pub fn simulate(simulation: &Simulation) -> Result<ExitCode, Complaint> {
    let mut all_met = true;
    if let Some(seed) = simulation.chaos {
        let refused = |error: scenario::ScenarioError| Complaint::Refused(error.to_string());
        let scenario = chaos::scenario(seed).map_err(refused)?;
        let played = stage::play(&scenario, Path::new(".")).map_err(refused)?;
        all_met &= played.verdict.is_met();
        paint::write_out(&written(Path::new("chaos"), &scenario, &played, simulation.output))?;
    }
    for (at, file) in simulation.files.iter().enumerate() {
        let refused = |error: scenario::ScenarioError| Complaint::Refused(format!("{}: {error}", file.display()));
        let mut scenario = Scenario::read(file).map_err(|error| Complaint::Refused(error.to_string()))?;
        if let Some(seed) = simulation.seed {
            scenario.seed = seed;
        }
        let folder = file.parent().unwrap_or(Path::new("."));
        let played = stage::play(&scenario, folder).map_err(refused)?;
        all_met &= played.verdict.is_met();
        paint::write_out(&written(file, &scenario, &played, simulation.output))?;
        if at + 1 == simulation.files.len() {
            // The process ends: taking a cluster apart, object by object, would be a tenth of all its work.
            std::mem::forget(played);
        }
    }
    Ok(if all_met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn written(file: &Path, scenario: &Scenario, played: &Played, output: Output) -> String {
    match output {
        Output::Json => {
            let value = json!({
                "file": file, "seed": scenario.seed, "met": played.verdict.is_met(), "verdict": played.verdict,
                "transcript": played.transcript.lines(),
            });
            format!("{value}\n")
        }
        Output::Text => format!("{}{}", played.transcript, summary(file, scenario, played)),
        Output::Verdict => summary(file, scenario, played),
    }
}

fn summary(file: &Path, scenario: &Scenario, played: &Played) -> String {
    let verdict = &played.verdict;
    let name = if scenario.about.is_empty() { file.display().to_string() } else { scenario.about.clone() };
    let of_requests = format!("{} of {} requests failed", verdict.failed_requests, verdict.requests);
    if verdict.is_met() {
        return format!("as expected: {name} ({of_requests})\n");
    }
    let objections: String = verdict.objections.iter().map(|objection| format!("  - {objection}\n")).collect();
    format!("not as expected: {name} ({of_requests})\n{objections}")
}
