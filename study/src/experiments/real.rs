//! Real incidents as canary cases: the ten minutes of a fault against the ten before it, and ordinary minutes against ordinary ones.
//! The rows of the data set last five minutes; within a row, requests are dealt out to buckets of ten seconds by chance.

use anyhow::Context as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::{Settings, field};
use crate::interval::Share;
use crate::report::{Bar, Cell, Report, Table};
use crate::rules::{Answer, Rule};
use crate::stream::{Arm, BUCKET_SECONDS, Bucket, draw_histogram};
use crate::tournament::play_one;

const DEALS: u64 = 100;
const ROW_BUCKETS: usize = 30;
const PETSHOP: &str = include_str!("../../real/petshop.json");

#[derive(Deserialize)]
struct DataSet {
    source: String,
    incidents: Vec<Incident>,
}

#[derive(Deserialize)]
struct Incident {
    name: String,
    fault: String,
    rows: Vec<Row>,
}

/// Five minutes of a service, latencies in seconds.
#[derive(Clone, Deserialize)]
struct Row {
    normal: bool,
    p50: f64,
    p90: f64,
    p95: f64,
    p99: f64,
    requests: u32,
    errors: u32,
}

impl Row {
    /// The share of requests that take at most `bound` seconds: straight lines between the quantiles that are known.
    fn below(&self, bound: f64) -> f64 {
        let known = [
            (self.p50 * 0.3, 0.0),
            (self.p50, 0.5),
            (self.p90, 0.9),
            (self.p95, 0.95),
            (self.p99, 0.99),
            (self.p99 * 1.3, 1.0),
        ];
        let Some(above) = known.iter().position(|(at, _)| bound < *at) else { return 1.0 };
        let Some(below) = above.checked_sub(1) else { return 0.0 };
        let ((from, low), (to, high)) = (known[below], known[above]);
        low + (high - low) * (bound - from) / (to - from)
    }

    /// The row as buckets.
    fn deal(&self, rng: &mut ChaCha8Rng) -> Vec<Arm> {
        let mut arms = vec![Arm::default(); ROW_BUCKETS];
        let places: Vec<usize> = (0..self.requests).map(|_| rng.random_range(0..ROW_BUCKETS)).collect();
        for (number, place) in places.iter().enumerate() {
            arms[*place].requests += 1;
            arms[*place].errors += u32::from(number < self.errors as usize);
        }
        for arm in &mut arms {
            arm.latency = draw_histogram(arm.requests, |bound| self.below(bound), rng);
        }
        arms
    }
}

struct Case {
    name: String,
    fault: bool,
    canary: Vec<Row>,
    baseline: Vec<Row>,
}

impl Case {
    fn buckets(&self, seed: u64) -> Vec<Bucket> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut deal = |rows: &[Row]| -> Vec<Arm> { rows.iter().flat_map(|row| row.deal(&mut rng)).collect() };
        let arms = deal(&self.canary).into_iter().zip(deal(&self.baseline));
        arms.enumerate()
            .map(|(number, (canary, baseline))| {
                let at = (number as i32 + 1) * BUCKET_SECONDS;
                Bucket { at, weight: 50, canary, baseline, primary: Arm::default() }
            })
            .collect()
    }
}

/// Every incident against the minutes before it, and the ordinary minutes of each day against those of every other.
fn cases(incidents: &[Incident]) -> Vec<Case> {
    let half = |incident: &Incident, normal: bool| -> Vec<Row> {
        incident.rows.iter().filter(|row| row.normal == normal).cloned().collect()
    };
    let mut cases = Vec::new();
    let faults: Vec<&Incident> =
        incidents.iter().filter(|incident| incident.rows.iter().any(|row| !row.normal)).collect();
    for incident in &faults {
        let name = format!("{} ({})", incident.fault, incident.name);
        cases.push(Case { name, fault: true, canary: half(incident, false), baseline: half(incident, true) });
    }
    for (canary, baseline) in faults.iter().flat_map(|canary| faults.iter().map(move |baseline| (canary, baseline))) {
        if canary.name != baseline.name {
            let name = format!("ordinary: {} against {}", canary.name, baseline.name);
            cases.push(Case { name, fault: false, canary: half(canary, true), baseline: half(baseline, true) });
        }
    }
    for calm in incidents.iter().filter(|incident| incident.rows.iter().all(|row| row.normal)) {
        let (first, second) = calm.rows.split_at(calm.rows.len() / 2);
        for (canary, baseline) in [(first, second), (second, first)] {
            let name = format!("ordinary: halves of {}", calm.name);
            cases.push(Case { name, fault: false, canary: canary.to_vec(), baseline: baseline.to_vec() });
        }
    }
    cases
}

pub(super) fn run(settings: &Settings) -> anyhow::Result<Report> {
    let data: DataSet = serde_json::from_str(PETSHOP).context("reading study/real/petshop.json")?;
    let rules = field::both_metrics()?;
    let deals = settings.rollouts(DEALS);
    let played: Vec<(Case, Vec<Share>)> = cases(&data.incidents)
        .into_iter()
        .map(|case| {
            let streams: Vec<Vec<Bucket>> = (0..deals).map(|deal| case.buckets(settings.seed ^ deal)).collect();
            let shares = rules.iter().map(|rule| taken_back(rule.as_ref(), &streams)).collect();
            (case, shares)
        })
        .collect();
    let sum = |fault: bool, rule: usize| -> Share {
        let of = played.iter().filter(|(case, _)| case.fault == fault).map(|(_, shares)| shares[rule]);
        of.fold(Share::default(), |sum, share| Share { hits: sum.hits + share.hits, of: sum.of + share.of })
    };
    let bars = vec![Bar {
        promise: "recall and false alarms on real incidents are reported beside the rules of others".to_owned(),
        found: format!(
            "{}: {} of {} incidents, {} of {} ordinary cases",
            rules[0].name(),
            sum(true, 0).hits,
            sum(true, 0).of,
            sum(false, 0).hits,
            sum(false, 0).of
        ),
        holds: true,
    }];
    let summary = Table {
        title: "Recall and false alarms".to_owned(),
        note: format!(
            "{}. {} incidents against the ten minutes before each, and {} pairs of ordinary minutes of different days, each dealt \
             out to buckets {deals} times. The intervals are of the deals alone: eight days of one system say little of others.",
            data.source,
            played.iter().filter(|(case, _)| case.fault).count(),
            played.iter().filter(|(case, _)| !case.fault).count(),
        ),
        columns: ["rule", "incidents taken back", "ordinary cases taken back"].map(str::to_owned).to_vec(),
        rows: rules
            .iter()
            .enumerate()
            .map(|(index, rule)| vec![Cell::from(rule.name()), sum(true, index).into(), sum(false, index).into()])
            .collect(),
    };
    let incidents = Table {
        title: "Incident by incident".to_owned(),
        note: "Deals in which the fault was taken back within its ten minutes.".to_owned(),
        columns: std::iter::once("fault".to_owned()).chain(rules.iter().map(|rule| rule.name())).collect(),
        rows: played
            .iter()
            .filter(|(case, _)| case.fault)
            .map(|(case, shares)| {
                std::iter::once(Cell::from(case.name.as_str()))
                    .chain(shares.iter().map(|share| (*share).into()))
                    .collect()
            })
            .collect(),
    };
    Ok(Report {
        name: "real".to_owned(),
        title: "Real incidents".to_owned(),
        command: settings.command("real"),
        bars,
        tables: vec![summary, incidents],
        plots: Vec::new(),
    })
}

fn taken_back(rule: &dyn Rule, streams: &[Vec<Bucket>]) -> Share {
    Share::count(streams, |buckets| play_one(rule, buckets).answer == Answer::Worse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_dealt_out_whole() {
        let data: DataSet = serde_json::from_str(PETSHOP).unwrap();
        for row in data.incidents.iter().flat_map(|incident| &incident.rows) {
            let arms = row.deal(&mut ChaCha8Rng::seed_from_u64(1));
            assert_eq!(arms.iter().map(|arm| arm.requests).sum::<u32>(), row.requests);
            assert_eq!(arms.iter().map(|arm| arm.errors).sum::<u32>(), row.errors);
            assert!(arms.iter().all(|arm| arm.latency.iter().sum::<u32>() == arm.requests));
            assert!((row.below(row.p99) - 0.99).abs() < 1e-12);
        }
    }

    #[test]
    fn every_incident_is_a_case_and_every_pair_of_ordinary_days() {
        let data: DataSet = serde_json::from_str(PETSHOP).unwrap();
        let cases = cases(&data.incidents);
        assert_eq!(cases.iter().filter(|case| case.fault).count(), 7);
        assert_eq!(cases.iter().filter(|case| !case.fault).count(), 7 * 6 + 2);
        assert!(cases.iter().all(|case| case.canary.len() == 2 && case.baseline.len() == 2));
    }
}
