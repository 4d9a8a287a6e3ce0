//! Whatever the published API takes, ours takes, keeps and gives back. `fixtures/published-structure.yaml` holds the
//! structure of the published schemas: types, bounds and names, no texts.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod structure;

use serde_json::{Value, json};
use structure::{generate::Generator, narrowings, violations};

const KINDS: [&str; 3] = ["canaries", "metrictemplates", "alertproviders"];

fn published(plural: &str) -> Value {
    let all: Value = serde_saphyr::from_str(include_str!("fixtures/published-structure.yaml")).unwrap();
    all[plural].clone()
}

fn crd(plural: &str) -> Value {
    crds::all_crds().into_iter().find(|crd| crd["spec"]["names"]["plural"] == plural).unwrap()
}

fn ours(plural: &str) -> Value {
    crd(plural)["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn no_field_is_narrower_than_the_published_one() {
    for plural in KINDS {
        let (published, ours) = (published(plural), ours(plural));
        let mut found = Vec::new();
        for part in ["spec", "status"].into_iter().filter(|part| published["properties"][part].is_object()) {
            narrowings(&published["properties"][part], &ours["properties"][part], part, &mut found);
        }
        assert!(found.is_empty(), "{plural}:\n{}", found.join("\n"));
    }
}

#[test]
fn duration_patterns_take_more_than_the_published_one() {
    let pattern = ours("canaries")["properties"]["spec"]["properties"]["analysis"]["properties"]["interval"]["pattern"]
        .as_str()
        .unwrap()
        .to_owned();
    let (wider, narrower) = (regex::Regex::new(&pattern).unwrap(), regex::Regex::new("^[0-9]+(m|s)").unwrap());
    let mut taken = 0;
    for number in ["", "0", "1", "10", "1.5", "x", "-1", " 1", "007"] {
        for unit in ["", "m", "s", "ms", "h", "us", "ns", "d", "m30s", "h5m", "s and more", "µs"] {
            let text = format!("{number}{unit}");
            assert!(wider.is_match(&text) || !narrower.is_match(&text), "{text}");
            taken += usize::from(wider.is_match(&text));
        }
    }
    assert!(taken > 40);
    assert!(wider.is_match("1h") && wider.is_match("") && !wider.is_match("soon") && !wider.is_match("10"));
}

#[test]
fn schemas_are_structural() {
    fn walk(schema: &Value, path: &str) {
        let fields = schema.as_object().unwrap_or_else(|| panic!("{path} is no schema"));
        let free = fields.contains_key("x-kubernetes-int-or-string");
        assert!(free || fields.get("type").is_some_and(Value::is_string), "{path} has no single type");
        for key in fields.keys() {
            let known = [
                "additionalProperties",
                "anyOf",
                "default",
                "description",
                "enum",
                "format",
                "items",
                "maxItems",
                "maxLength",
                "maximum",
                "minLength",
                "minimum",
                "oneOf",
                "pattern",
                "properties",
                "required",
                "type",
                "x-kubernetes-int-or-string",
                "x-kubernetes-preserve-unknown-fields",
            ];
            assert!(known.contains(&key.as_str()), "{path} has {key}");
        }
        assert!(!(fields.contains_key("properties") && fields.contains_key("additionalProperties")), "{path}");
        let choices = ["oneOf", "anyOf"].into_iter().filter_map(|word| fields.get(word).and_then(Value::as_array));
        for choice in choices.flatten() {
            assert!(choice.as_object().unwrap().keys().eq(["required"]), "{path}");
        }
        for (name, schema) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
            walk(schema, &format!("{path}.{name}"));
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(schema) = fields.get(inner) {
                walk(schema, &format!("{path}.{inner}"));
            }
        }
    }
    for plural in KINDS.into_iter().chain(["gitsources"]) {
        walk(&ours(plural), plural);
    }
}

#[test]
fn names_and_columns_are_the_published_ones() {
    let canaries = crd("canaries");
    let columns: Vec<_> = canaries["spec"]["versions"][0]["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (column["name"].as_str().unwrap(), column["priority"].as_i64().unwrap_or(0)))
        .collect();
    assert_eq!(
        columns,
        [
            ("Status", 0),
            ("Weight", 0),
            ("Suspended", 1),
            ("FailedChecks", 1),
            ("Interval", 1),
            ("Mirror", 1),
            ("StepWeight", 1),
            ("StepWeights", 1),
            ("MaxWeight", 1),
            ("LastTransitionTime", 0),
        ]
    );
    for plural in KINDS {
        let crd = crd(plural);
        assert_eq!(crd["metadata"]["name"], format!("{plural}.flagger.app"));
        assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        assert_eq!(crd["spec"]["names"]["categories"], json!(["all"]));
        assert_eq!(crd["spec"]["versions"][0]["name"], "v1beta1");
        assert_eq!(crd["spec"]["versions"][0]["subresources"], json!({"status": {}}));
    }
    let phases = &ours("canaries")["properties"]["status"]["properties"]["phase"]["enum"];
    assert!(phases.as_array().unwrap().contains(&json!("")));
}

#[test]
fn what_the_published_api_takes_is_taken_kept_and_given_back() {
    for plural in KINDS {
        let (published, ours) = (published(plural), ours(plural));
        for seed in 0..1_000 {
            let mut generator = Generator::new(seed);
            let mut object = json!({ "metadata": { "name": "podinfo" } });
            for part in ["spec", "status"].into_iter().filter(|part| published["properties"][part].is_object()) {
                object[part] = generator.value(&published["properties"][part], part);
            }
            for (schema, whose) in [(&published, "the generator is wrong"), (&ours, "refused or pruned")] {
                for part in ["spec", "status"].into_iter().filter(|part| object[part].is_object()) {
                    let found = violations(&schema["properties"][part], &object[part]);
                    assert!(found.is_empty(), "{plural} {seed}: {whose}: {found:?}");
                }
            }
            let back =
                round_trip(plural, &object).unwrap_or_else(|error| panic!("{plural} {seed}: {error}: {object:#}"));
            for part in ["spec", "status"] {
                let mut lost = Vec::new();
                missing(&object[part], &back[part], part, &mut lost);
                assert!(lost.is_empty(), "{plural} {seed} lost {lost:?} of {object:#}");
                let mut invented = Vec::new();
                missing(&back[part], &object[part], part, &mut invented);
                // Argo CD reads these of every Canary, so they are always written.
                invented.retain(|path| {
                    !["status.phase", "status.failedChecks", "status.canaryWeight", "status.iterations"]
                        .contains(&path.as_str())
                });
                assert!(invented.is_empty(), "{plural} {seed} invented {invented:?} for {object:#}");
            }
        }
    }
}

fn round_trip(plural: &str, object: &Value) -> serde_json::Result<Value> {
    match plural {
        "canaries" => serde_json::to_value(serde_json::from_value::<crds::Canary>(object.clone())?),
        "metrictemplates" => serde_json::to_value(serde_json::from_value::<crds::MetricTemplate>(object.clone())?),
        "alertproviders" => serde_json::to_value(serde_json::from_value::<crds::AlertProvider>(object.clone())?),
        other => panic!("no type for {other}"),
    }
}

/// Paths in `wanted` that `found` lacks or has otherwise. What says nothing (`false`, an empty list or map) may be gone.
fn missing(wanted: &Value, found: &Value, path: &str, lost: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            for (key, value) in wanted {
                missing(value, found.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"), lost);
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                missing(wanted, found, &format!("{path}[{index}]"), lost);
            }
        }
        (Value::Number(wanted), Value::Number(found)) if wanted.as_f64() == found.as_f64() => {}
        (Value::Object(wanted), Value::Null) if wanted.is_empty() => {}
        (Value::Array(wanted), Value::Null) if wanted.is_empty() => {}
        (Value::Bool(false) | Value::Null, Value::Null) => {}
        (wanted, found) if wanted == found => {}
        _ => lost.push(path.to_owned()),
    }
}
