//! `serin plan` and `serin lint`: what a policy will do at a given traffic, or at the measured one, and what should be changed
//! about it.

mod measured;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rollout::Spec;
use rollout::forecast::{Forecast, Traffic, forecast};
use serde::Serialize;
use serde_json::Value;

use crate::args::{Format, Place};
use crate::complaint::Complaint;
use crate::paint::Paint;
use crate::record::with_defaults;
use crate::{get, text};

/// Which policies, and the traffic that they will meet.
#[derive(Debug, Args)]
pub struct Foreseen {
    /// A file with Canaries; other objects in it are passed over
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Requests of all users in a minute; without any traffic only what holds at any is told
    #[arg(long, value_name = "N")]
    pub requests_per_minute: Option<f64>,
    /// Percent of the requests that a good version answers well
    #[arg(long, value_name = "PERCENT", default_value_t = 99.9)]
    pub success_rate: f64,
    /// Prometheus to ask instead how many requests there were, and how many of them were answered well, as
    /// http://localhost:9090
    #[arg(long, value_name = "URL", conflicts_with_all = ["requests_per_minute", "success_rate"])]
    pub metrics_server: Option<String>,
    /// The time until now that is asked about
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = rollout::parse::duration, requires = "metrics_server")]
    pub over: Duration,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// A Canary's policy, looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Foresight {
    /// Name of the Canary.
    pub canary: String,
    /// Requests a minute that were assumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<f64>,
    /// The steps of the analysis.
    pub steps: Vec<StepAhead>,
    /// Seconds from the first look at the canary's pods to the promotion, when nothing fails and no gate is closed.
    pub finish_seconds: u64,
    /// Share of releases as good as the primary that are taken back, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub false_rollbacks: Option<f64>,
    /// Requests that fail until a canary is taken back that fails them all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_in_outage: Option<f64>,
    /// With `plan: auto`, seconds until a canary is found out that is worse by just as much as matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_out_seconds: Option<u64>,
    /// Requests beyond the usual that have failed by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_until_found_out: Option<f64>,
    /// What should be changed.
    pub findings: Vec<Advice>,
}

/// A step of the analysis.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepAhead {
    /// Percent of the traffic meant for the canary; none where matches decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
    /// The canary gets a copy of the traffic.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mirrored: bool,
    /// Seconds after the first look at the canary's pods when it begins.
    pub from_seconds: u64,
    /// Requests to the canary that the check at its end rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<f64>,
    /// How often that check fails at a good release, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fails: Option<f64>,
}

/// Something that should be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// One word for programs.
    pub reason: &'static str,
    /// A sentence with the mend.
    pub message: String,
}

impl Foresight {
    fn of(canary: &str, traffic: Option<f64>, forecast: Forecast) -> Foresight {
        Foresight {
            canary: canary.to_owned(),
            requests_per_minute: traffic,
            steps: forecast
                .steps
                .into_iter()
                .map(|step| StepAhead {
                    weight: step.weight,
                    mirrored: step.mirrored,
                    from_seconds: step.from.as_secs(),
                    requests: step.requests,
                    fails: step.fails,
                })
                .collect(),
            finish_seconds: forecast.finish.as_secs(),
            false_rollbacks: forecast.false_rollbacks,
            lost_in_outage: forecast.lost_in_outage,
            found_out_seconds: forecast.found_out.map(|found| found.after.as_secs()),
            lost_until_found_out: forecast.found_out.map(|found| found.failed),
            findings: forecast
                .findings
                .into_iter()
                .map(|finding| Advice { reason: finding.reason, message: finding.message })
                .collect(),
        }
    }
}

/// A Canary as far as a look ahead needs it.
struct Policy {
    name: String,
    /// `None` where the object does not say.
    namespace: Option<String>,
    spec: Spec,
}

/// Looks ahead for every Canary in the text; `place` says in errors where it comes from.
///
/// # Errors
/// When it is no YAML, holds no Canary, or one that cannot be understood; and when the traffic is none.
pub fn foresee(
    text: &str,
    place: &str,
    requests_per_minute: Option<f64>,
    success_rate: f64,
) -> Result<Vec<Foresight>, Complaint> {
    let traffic = requests_per_minute.map(|rate| traffic(rate, success_rate)).transpose()?;
    let ahead = |policy: Policy| Foresight::of(&policy.name, requests_per_minute, forecast(&policy.spec, traffic));
    Ok(policies(text, place)?.into_iter().map(ahead).collect())
}

fn traffic(requests_per_minute: f64, success_rate: f64) -> Result<Traffic, Complaint> {
    Traffic::new(requests_per_minute, success_rate).ok_or_else(|| {
        let why = format!("{requests_per_minute} requests a minute, {success_rate} % of them answered well");
        Complaint::Refused(format!("{why}, is no traffic: give numbers above 0, and at most 100 %"))
    })
}

fn policies(text: &str, place: &str) -> Result<Vec<Policy>, Complaint> {
    let refused = |why: String| Complaint::Refused(format!("{place}: {why}"));
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| refused(format!("it is not YAML: {error}")))?;
    let mut policies = Vec::new();
    for canary in documents.iter().filter(|document| document["kind"] == "Canary") {
        let name = canary["metadata"]["name"].as_str().unwrap_or("without a name");
        let typed =
            rollout::parse::from_value(canary).map_err(|invalid| refused(format!("Canary {name}: {invalid}")))?;
        let spec = with_defaults(|defaults| rollout::parse::parse(&typed, defaults)).map_err(|invalid| {
            let all: Vec<String> = invalid.iter().map(ToString::to_string).collect();
            refused(format!("Canary {name}: {}", all.join("; ")))
        })?;
        let namespace = canary["metadata"]["namespace"].as_str().map(str::to_owned);
        policies.push(Policy { name: name.to_owned(), namespace, spec });
    }
    if policies.is_empty() { Err(refused("there is no Canary in it".into())) } else { Ok(policies) }
}

async fn read(place: &Place, asked: &Foreseen) -> Result<Vec<Foresight>, Complaint> {
    let file = asked.file.display().to_string();
    let text = read_file(&asked.file)?;
    let Some(server) = &asked.metrics_server else {
        return foresee(&text, &file, asked.requests_per_minute, asked.success_rate);
    };
    let mut foreseen = Vec::new();
    for Policy { name, namespace, spec } in policies(&text, &file)? {
        let namespace = place.namespace.clone().or(namespace).unwrap_or_else(|| "default".to_owned());
        let measured = measured::traffic(&spec, &namespace, server, asked.over).await?;
        let known = traffic(measured.requests_per_minute, measured.success_rate)?;
        foreseen.push(Foresight::of(&name, Some(measured.requests_per_minute), forecast(&spec, Some(known))));
    }
    Ok(foreseen)
}

fn read_file(path: &Path) -> Result<String, Complaint> {
    std::fs::read_to_string(path).map_err(|why| Complaint::Refused(format!("reading {}: {why}", path.display())))
}

/// Prints what will happen.
///
/// # Errors
/// As [`foresee`] has them, and when the traffic cannot be measured.
pub async fn plan(place: &Place, asked: &Foreseen) -> Result<ExitCode, Complaint> {
    let foreseen = read(place, asked).await?;
    get::print(asked.output, &foreseen, || text::plan::plans(&foreseen, Paint::for_stdout()))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what should be changed; fails when there is something.
///
/// # Errors
/// As [`foresee`] has them, and when the traffic cannot be measured.
pub async fn lint(place: &Place, asked: &Foreseen) -> Result<ExitCode, Complaint> {
    let foreseen = read(place, asked).await?;
    get::print(asked.output, &foreseen, || text::plan::findings(&foreseen, Paint::for_stdout()))?;
    let fine = foreseen.iter().all(|foresight| foresight.findings.is_empty());
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
