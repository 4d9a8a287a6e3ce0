//! The judge against programs that have nothing to do with it: SciPy, confseq and mpmath (study/referees).

use judge::ranks::{Alternative, Method, beta_binomial_log_mixture, binomial_test, mann_whitney};
use serde::Deserialize;

const FIXTURE: &str = include_str!("referees.json");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referees {
    mann_whitney: Vec<Ranks>,
    binomial: Vec<Binomial>,
    beta_binomial: Vec<BetaBinomial>,
    confseq_beta_binomial: Vec<BetaBinomial>,
}

#[derive(Deserialize)]
struct Ranks {
    first: Vec<f64>,
    second: Vec<f64>,
    alternative: String,
    method: String,
    u: f64,
    p: f64,
}

#[derive(Deserialize)]
struct Binomial {
    hits: u64,
    of: u64,
    share: f64,
    alternative: String,
    p: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BetaBinomial {
    hits: f64,
    of: f64,
    share: f64,
    a: f64,
    b: f64,
    log_mixture: f64,
}

fn referees() -> Referees {
    serde_json::from_str(FIXTURE).expect("make.py wrote it")
}

fn alternative(name: &str) -> Alternative {
    match name {
        "two-sided" => Alternative::TwoSided,
        "greater" => Alternative::Greater,
        "less" => Alternative::Less,
        other => unreachable!("SciPy knows no alternative {other}"),
    }
}

#[test]
fn ranks_as_scipy_has_them() {
    let cases = referees().mann_whitney;
    assert!(cases.len() >= 200);
    for (number, case) in cases.iter().enumerate() {
        let method = if case.method == "exact" { Method::Exact } else { Method::Asymptotic };
        let found = mann_whitney(&case.first, &case.second, alternative(&case.alternative), method).unwrap();
        assert!((found.u - case.u).abs() < 1e-9, "case {number}: {found:?}, SciPy has {}", case.u);
        assert!((found.p - case.p).abs() < 1e-9, "case {number}: {found:?}, SciPy has {}", case.p);
    }
}

#[test]
fn binomials_as_scipy_has_them() {
    for (number, case) in referees().binomial.iter().enumerate() {
        let found = binomial_test(case.hits, case.of, case.share, alternative(&case.alternative));
        assert!((found - case.p).abs() < 1e-9, "case {number}: {found}, SciPy has {}", case.p);
    }
}

fn agree(cases: &[BetaBinomial], within: f64, referee: &str) {
    for (number, case) in cases.iter().enumerate() {
        let found = beta_binomial_log_mixture(case.hits, case.of, case.share, case.a, case.b);
        let off = (found - case.log_mixture).abs() / case.log_mixture.abs().max(1.0);
        assert!(off < within, "case {number}: {found}, {referee} has {}", case.log_mixture);
    }
}

#[test]
fn beta_binomial_mixtures_as_mpmath_has_them() {
    agree(&referees().beta_binomial, 1e-9, "mpmath");
}

#[test]
fn beta_binomial_mixtures_as_confseq_has_them() {
    let cases = referees().confseq_beta_binomial;
    assert!(cases.len() >= 200);
    agree(&cases, 1e-6, "confseq");
}
