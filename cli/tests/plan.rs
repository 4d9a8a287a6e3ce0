//! What is told of a policy before its first rollout.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use cli::paint::Paint;
use cli::plan::foresee;
use cli::text::plan::{findings, plans};

const PLAIN: Paint = Paint { colours: false };

fn example(name: &str) -> String {
    let path = format!("{}/../examples/podinfo/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).expect(&path)
}

fn judged(effect: &str) -> String {
    let metrics = format!("    - {{name: request-success-rate, {effect}}}\n");
    let text = example("canary-gatewayapi");
    let (policy, _) = text.split_once("    metrics:\n").expect("metrics come last");
    format!("{policy}    judge: {{method: Sequential}}\n    metrics:\n{metrics}")
}

#[test]
fn the_threshold_rule_is_told_by_its_odds() {
    let text = example("canary-gatewayapi");
    let much = foresee(&text, "p.yaml", Some(6000.0), 99.9).expect("a plan");
    insta::assert_snapshot!("plan_much_traffic", plans(&much, PLAIN));
    assert!(much[0].findings.is_empty(), "{:?}", much[0].findings);
    let little = foresee(&text, "p.yaml", Some(60.0), 99.5).expect("a plan");
    insta::assert_snapshot!("plan_little_traffic", plans(&little, PLAIN));
    insta::assert_snapshot!("lint_little_traffic", findings(&little, PLAIN));
    insta::assert_snapshot!(
        "plan_unknown_traffic",
        plans(&foresee(&text, "p.yaml", None, 99.9).expect("a plan"), PLAIN)
    );
}

#[test]
fn the_judge_is_told_by_the_time_that_evidence_takes() {
    let twice = foresee(&judged("smallestEffectPercent: 100"), "p.yaml", Some(6000.0), 99.5).expect("a plan");
    let thrice = foresee(&judged("smallestEffectPercent: 200"), "p.yaml", Some(6000.0), 99.5).expect("a plan");
    assert!(twice[0].finish_seconds > thrice[0].finish_seconds, "{twice:?} {thrice:?}");
    insta::assert_snapshot!("plan_judge", plans(&twice, PLAIN));
    let hopeless = foresee(&judged("smallestEffectPercent: 5"), "p.yaml", Some(6.0), 99.9).expect("a plan");
    assert_eq!(hopeless[0].findings[0].reason, "CannotDecide");
}

#[test]
fn what_cannot_be_foreseen_is_told_with_the_mend() {
    for (text, traffic, wanted) in [
        ("{kind: Deployment}", Some(1.0), "p.yaml: there is no Canary in it"),
        ("{kind: Canary, metadata: {name: a}, spec: {}}", Some(1.0), "p.yaml: Canary a: "),
        ("a: [", None, "p.yaml: it is not YAML"),
        (
            "{kind: Canary}",
            Some(-1.0),
            "-1 requests a minute, 99.9 % of them answered well, is no traffic: give numbers above 0",
        ),
    ] {
        let error = foresee(text, "p.yaml", traffic, 99.9).expect_err(text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn a_plan_of_its_own_is_told_with_its_budget() {
    let text = example("auto-plan");
    let known = foresee(&text, "p.yaml", Some(3000.0), 99.5).expect("a plan");
    insta::assert_snapshot!("plan_auto", plans(&known, PLAIN));
    assert!(known[0].lost_until_found_out.expect("known traffic") <= 300.0);
    let little = foresee(&text, "p.yaml", Some(0.01), 99.5).expect("a plan");
    assert_eq!(little[0].findings[0].reason, "CannotDecide");
}

/// Answers each question with the next number, as a Prometheus does that speaks with nobody else.
fn prometheus(answers: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a question");
            let mut request = vec![0; 65_536];
            let _ = stream.read(&mut request).expect("a request");
            let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
            let result = format!("[{{\"metric\":{{}},\"value\":[{now},\"{answer}\"]}}]");
            let body = format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":{result}}}}}");
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).expect("an answer");
        }
    });
    address
}

#[test]
fn traffic_is_measured_where_it_is_asked_for() {
    let file = format!("{}/../examples/podinfo/auto-plan.yaml", env!("CARGO_MANIFEST_DIR"));
    let asked = |answers, more: &[&str]| {
        let server = format!("http://{}", prometheus(answers));
        let mut serin = Command::new(env!("CARGO_BIN_EXE_serin"));
        serin.args(["plan", &file, "-n", "shop", "--metrics-server", &server]).args(more).output().expect("it runs")
    };
    let known = asked(&["360000", "1800"], &["--over", "2h", "-o", "json"]);
    let text = String::from_utf8_lossy(&known.stdout);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text} {known:?}"));
    assert_eq!(told[0]["requestsPerMinute"], 3000.0);
    assert_eq!(
        told[0]["finishSeconds"],
        foresee(&example("auto-plan"), "p", Some(3000.0), 99.5).expect("a plan")[0].finish_seconds
    );
    let silent = asked(&["0", "0"], &[]);
    let said = String::from_utf8_lossy(&silent.stderr);
    assert!(said.contains("knows of no requests to shop/podinfo-primary in the last 3600 s"), "{said}");
}
