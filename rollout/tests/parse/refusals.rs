//! What is said about a Canary that means nothing.

use serde_json::{Value, json};

use super::{patched, read};

#[test]
fn malformed_canaries_are_refused_with_field_and_mend() {
    #[derive(serde::Deserialize)]
    struct Case {
        patch: Value,
        field: String,
        says: String,
    }
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("malformed.yaml")).unwrap();
    assert!(cases.len() >= 60);
    let mut surprises = Vec::new();
    for Case { patch, field, says } in cases {
        match read(&patched(&patch)) {
            Ok(_) => surprises.push(format!("{patch} was taken")),
            Err(errors) => {
                let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                let told = errors.len() == 1
                    && errors[0].field == field
                    && text.contains(&says)
                    && !errors[0].mend.is_empty()
                    && !text.ends_with('.');
                if !told {
                    surprises.push(format!("{patch} should say {says:?} of {field}, but says\n{text}"));
                }
            }
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n\n"));
}

#[test]
fn all_errors_come_at_once_and_read_well() {
    let errors = read(&patched(&json!({"spec": {
        "provider": "gatewayap", "progressDeadlineSeconds": 0, "service": {"port": 0},
        "analysis": {"interval": "1d", "stepWeight": null, "stepWeights": [5, 10, 7, 101], "maxWeight": 101},
    }})))
    .unwrap_err();
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    spec.provider: "gatewayap" is not a known router; write one of kubernetes, gatewayapi:v1, traefik, nginx
    spec.service.port: 0 is no port; write a port from 1 to 65535
    spec.progressDeadlineSeconds: 0 seconds cannot be waited; write a whole number from 1 to 2147483647
    spec.analysis.interval: "1d" has a unit that is none of ns, us, ms, s, m, h; write a number with a unit (h, m, s, ms), as 30s or 1m30s
    spec.analysis.stepWeights[2]: must be greater than the step before it (10); list strictly increasing percents
    spec.analysis.stepWeights[3]: 101 is no percent from 1 to 100; list strictly increasing percents
    "#);
}

#[test]
fn errors_stay_short_however_long_the_text() {
    let long = "x".repeat(1_000_000);
    for patch in [
        json!({"spec": {"provider": long, "analysis": {"interval": long}}}),
        json!({"spec": {"targetRef": {"name": long, "kind": long}}}),
        json!({"spec": {"targetRef": long}}),
        json!({"status": {"phase": long}}),
        json!({"kind": long}),
        json!({"spec": {"analysis": {"match": [{"headers": {long.clone(): {"exact": "a", "prefix": "b"}}}]}}}),
        json!({"spec": {"analysis": {"match": [{"headers": {long.clone(): 5}}]}}}),
        json!({"spec": {"analysis": {"webhooks": [{"name": "a", "url": long}]}}}),
    ] {
        for error in read(&patched(&patch)).unwrap_err() {
            assert!(error.to_string().chars().count() < 500, "{}", error.to_string().len());
        }
    }
}
