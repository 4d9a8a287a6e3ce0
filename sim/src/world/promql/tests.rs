use super::*;
use crate::world::series::NAME;

/// Labels and values.
type Written<'a> = (&'a [(&'a str, &'a str)], &'a [Option<f64>]);

/// Points every fifteen seconds, from 15 s on; `None` is a scrape without the series.
fn store(series: &[Written<'_>]) -> Store {
    let mut store = Store::default();
    for (labels, values) in series {
        let number = store.series(&Labels::new(labels.iter().copied()));
        for (at, value) in (1..).map(|step| step * 15_000).zip(*values) {
            if let Some(value) = value {
                store.append(number, Point { at, value: *value });
            }
        }
    }
    store
}

fn counters() -> Store {
    let values = |values: &[i32]| -> Vec<Option<f64>> { values.iter().map(|value| Some(f64::from(*value))).collect() };
    store(&[
        (&[(NAME, "requests"), ("pod", "a"), ("status", "200")], &values(&[10, 20, 30, 40, 50])),
        (&[(NAME, "requests"), ("pod", "a"), ("status", "500")], &values(&[1, 1, 2, 2, 3])),
        (&[(NAME, "requests"), ("pod", "b"), ("status", "200")], &values(&[100, 130, 5, 35, 65])),
        (&[(NAME, "seconds_bucket"), ("pod", "a"), ("le", "0.1")], &values(&[0, 0, 0, 50, 50])),
        (&[(NAME, "seconds_bucket"), ("pod", "a"), ("le", "0.5")], &values(&[0, 0, 0, 90, 90])),
        (&[(NAME, "seconds_bucket"), ("pod", "a"), ("le", "+Inf")], &values(&[0, 0, 0, 100, 100])),
        (&[(NAME, "temperature")], &[Some(3.0), Some(-2.5), None, Some(7.0), None]),
    ])
}

/// One line per element, `labels value`; a scalar is a bare value.
fn answer(store: &Store, query: &str, at: i64) -> String {
    match Query::parse(query).and_then(|query| query.at(store, at)) {
        Ok(Answer::Scalar(value)) => value.to_string(),
        Ok(Answer::Vector(samples)) => {
            let lines: Vec<_> = samples.iter().map(|sample| format!("{} {}", sample.labels, sample.value)).collect();
            lines.join("; ")
        }
        Ok(Answer::Matrix(series)) => {
            let lines: Vec<_> = series.iter().map(|(labels, points)| format!("{labels} {}", points.len())).collect();
            lines.join("; ")
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn queries_have_the_answers_of_the_documented_rules() {
    let store = counters();
    let table = [
        ("1 + 2 * 3 ^ 2 ^ 0", "7"),
        ("-2 ^ 2", "-4"),
        ("-(2 - 5) % 2", "1"),
        ("1 > bool 2", "0"),
        ("0x1f + 1e1 + .5", "41.5"),
        ("requests{status=\"500\"}", r#"requests{pod="a", status="500"} 3"#),
        ("{__name__=~\"temp.*\"}", "temperature{} 7"),
        ("requests{pod=\"a\",status!~\"5..\",} offset 30s", r#"requests{pod="a", status="200"} 30"#),
        ("requests{pod=\"a\"}[1m]", r#"requests{pod="a", status="200"} 4; requests{pod="a", status="500"} 4"#),
        // Four points, 15 s before the window's first end: 30 in 45 s, stretched over the minute.
        ("increase(requests{pod=\"a\",status=\"200\"}[1m])", r#"{pod="a", status="200"} 40"#),
        ("rate(requests{pod=\"a\",status=\"200\"}[1m])", r#"{pod="a", status="200"} 0.6666666666666666"#),
        // A reset: 5 + 30 + 30 in 45 s; and it cannot have been below zero.
        ("increase(requests{pod=\"b\"}[1m])", r#"{pod="b", status="200"} 86.66666666666666"#),
        ("irate(requests{pod=\"b\"}[1m])", r#"{pod="b", status="200"} 2"#),
        ("delta(temperature[75s])", "{} 6.666666666666667"),
        ("sum by (pod) (requests)", r#"{pod="a"} 53; {pod="b"} 65"#),
        ("sum(requests) without (pod, status)", "{} 118"),
        ("avg(requests)", "{} 39.333333333333336"),
        ("min(requests) + max(requests) * count(requests)", "{} 198"),
        ("sum(nothing) or vector(0)", "{} 0"),
        ("sum(nothing)", ""),
        ("absent(nothing{job=\"x\",pod=~\"y\"})", r#"{job="x"} 1"#),
        ("absent(requests)", ""),
        (
            "requests / on (pod) requests{status=\"500\"}",
            "evaluating the query: several series of the left hand-side match one of the right: many-to-one matching is not supported",
        ),
        ("requests{status=\"500\"} / ignoring (status) requests{status=\"200\"}", r#"{pod="a"} 0.06"#),
        ("requests > 60", r#"requests{pod="b", status="200"} 65"#),
        ("60 < requests", r#"requests{pod="b", status="200"} 65"#),
        ("requests{pod=\"a\"} >= bool 50", r#"{pod="a", status="200"} 1; {pod="a", status="500"} 0"#),
        ("requests unless on (pod) requests{status=\"500\"}", r#"requests{pod="b", status="200"} 65"#),
        ("requests and on (pod) temperature", ""),
        ("histogram_quantile(0.5, seconds_bucket)", r#"{pod="a"} 0.1"#),
        ("histogram_quantile(0.7, sum by (le) (rate(seconds_bucket[1m])))", "{} 0.30000000000000004"),
        ("histogram_quantile(0.99, seconds_bucket)", r#"{pod="a"} 0.5"#),
        ("clamp(temperature, 0, 5)", "{} 5"),
        ("clamp_min(temperature, 9) - clamp_max(temperature, -1)", "{} 10"),
        ("round(temperature / 2)", "{} 4"),
        ("round(vector(1.26), 0.1)", "{} 1.3"),
        ("abs(-temperature) + floor(vector(1.5)) + ceil(vector(1.5))", "{} 10"),
        ("avg_over_time(temperature[5m])", "{} 2.5"),
        ("min_over_time(temperature[5m]) - count_over_time(temperature[5m])", "{} -5.5"),
        ("scalar(temperature) + time()", "82"),
        ("scalar(requests)", "NaN"),
        ("vector(1) / 0", "{} inf"),
        ("sum(vector(0)) / sum(vector(0))", "{} NaN"),
        ("sum by (le) # no such label\n (temperature)", "{} 7"),
    ];
    for (query, wanted) in table {
        assert_eq!(answer(&store, query, 75_000), wanted, "{query}");
    }
}

#[test]
fn a_series_lives_for_five_minutes_or_until_its_end() {
    let mut store = counters();
    assert_eq!(answer(&store, "temperature", 60_000 + 299_999), "temperature{} 7");
    assert_eq!(answer(&store, "temperature", 60_000 + 300_000), "");
    assert_eq!(answer(&store, "temperature", 14_999), "");
    let number = store.series(&Labels::new([(NAME, "temperature")]));
    store.end(number, 90_000);
    assert_eq!(answer(&store, "temperature", 89_999), "temperature{} 7");
    assert_eq!(answer(&store, "temperature", 90_000), "");
    // A window does not see the mark.
    assert_eq!(answer(&store, "count_over_time(temperature[1m])", 90_000), "{} 1");
    // It is open on the left.
    assert_eq!(answer(&store, "count_over_time(temperature[1m])", 120_000), "");
}

#[test]
fn what_is_not_spoken_is_named() {
    let table = [
        ("topk(3, requests)", "the aggregation topk is not supported"),
        ("rate(requests[5m:1m])", "a subquery is not supported"),
        ("rate(requests[5m:])", "a subquery is not supported"),
        ("requests @ 5", "the modifier @ is not supported"),
        ("label_replace(requests)", "the function label_replace is not supported"),
        ("a * on (b) group_left (c) d", "group_left is not supported"),
        ("{\"requests\"}", "a quoted name is not supported"),
        ("\"text\"", "a string as a value is not supported"),
    ];
    for (query, wanted) in table {
        let error = Query::parse(query).expect_err(query);
        assert!(matches!(error, QueryError::Unsupported(_)) && error.to_string().contains(wanted), "{query}: {error}");
    }
}

#[test]
fn what_is_no_query_says_where() {
    let table = [
        ("", "at character 0: the query is empty"),
        ("sum(requests", "at character 12: expected \")\", found the end"),
        ("sum(requests))", "at character 13: unexpected \")\""),
        ("requests{pod=a}", "at character 13: expected a string, found \"a\""),
        ("requests{pod=~\"(\"}", "cannot be read"),
        ("requests{pod=\"a", "no closing"),
        ("requests{pod=\"\\d\"}", "unknown escape"),
        ("{pod=~\".*\"}", "at least one matcher"),
        ("requests{__name__=\"x\"}", "given twice"),
        ("rate(requests)", "rate needs a range vector where it has an instant vector"),
        ("rate(requests[5])", "expected a duration"),
        ("sum(requests[5m])", "not a range vector"),
        ("sum(5)", "not a scalar"),
        ("requests[5m] + 1", "not a range vector"),
        ("1 == 1", "needs the modifier bool"),
        ("1 and requests", "instant vector on both sides"),
        ("frobnicate(requests)", "there is no function frobnicate"),
        ("clamp(requests, 1)", "clamp takes 3 arguments, not 2"),
        ("5 offset 5m", "behind a selector"),
        ("requests $ 2", "unexpected character '$'"),
        ("5mm", "neither a number nor a duration"),
    ];
    for (query, wanted) in table {
        let error = Query::parse(query).expect_err(query).to_string();
        assert!(error.contains(wanted), "{query}: {error}");
    }
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(Query::parse(&deep).unwrap_err().to_string().contains("nested deeper"));
    let signs = format!("{}1", "-".repeat(100_000));
    assert!(Query::parse(&signs).unwrap_err().to_string().contains("nested deeper"));
}

#[test]
fn names_that_are_words_of_the_language_can_be_metrics() {
    let store = store(&[(&[(NAME, "count"), ("sum", "x")], &[Some(1.0)])]);
    assert_eq!(answer(&store, "count", 15_000), r#"count{sum="x"} 1"#);
    assert_eq!(answer(&store, "sum by (sum) (count)", 15_000), r#"{sum="x"} 1"#);
}

#[test]
fn two_series_that_differ_in_name_alone_are_not_mixed_up() {
    let store = store(&[(&[(NAME, "a")], &[Some(1.0)]), (&[(NAME, "b")], &[Some(1.0)])]);
    assert!(answer(&store, "abs({__name__=~\"a|b\"})", 15_000).contains("the same labels {}"));
}

proptest::proptest! {
    /// Whatever is asked, there is an answer or an error.
    #[test]
    fn no_text_panics(text in "[a-z0-9 (){}\\[\\]\",=~!<>+*/%^:.#@'-]{0,40}") {
        let _ = answer(&counters(), &text, 75_000);
    }
}
