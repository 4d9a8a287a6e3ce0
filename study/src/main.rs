//! `study EXPERIMENT`: plays an experiment and writes its figures into docs/statistics.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use study::experiments::{ALL, Settings};

/// Plays an experiment and writes its figures.
#[derive(Parser)]
#[command(name = "study")]
struct Arguments {
    /// Which one: `all`, or one of the names that a wrong one lists
    experiment: String,
    /// The seed that all rollouts follow from
    #[arg(long, default_value_t = 20_261_128)]
    seed: u64,
    /// The part of the rollouts that is played: 1 for published figures, less for a first look
    #[arg(long, default_value_t = 1.0)]
    part: f64,
    /// The folder for tables and plots
    #[arg(long, default_value = "docs/statistics")]
    out: PathBuf,
}

fn main() -> anyhow::Result<ExitCode> {
    let Arguments { experiment, seed, part, out } = Arguments::parse();
    let settings = Settings { seed, part, folder: out };
    let chosen: Vec<_> = ALL.iter().filter(|(name, ..)| experiment == "all" || experiment == *name).collect();
    if chosen.is_empty() {
        let known: Vec<&str> = ALL.iter().map(|(name, ..)| *name).collect();
        anyhow::bail!("there is no experiment {experiment}; there are all, {}", known.join(", "));
    }
    let mut holds = true;
    for (name, title, run) in chosen {
        let began = std::time::Instant::now();
        let report = run(&settings)?;
        report.write(&settings.folder)?;
        eprintln!("{name}: {title} ({:.0} s)", began.elapsed().as_secs_f64());
        for bar in &report.bars {
            eprintln!("  {} {}: {}", if bar.holds { "holds" } else { "FAILS" }, bar.promise, bar.found);
            holds &= bar.holds;
        }
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
