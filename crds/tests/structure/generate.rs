//! Values that fit a schema, in random combinations of fields, the same for the same seed.

use serde_json::{Value, json};

use super::{chosen, matches};

/// Makes values.
pub(crate) struct Generator {
    state: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Generator { state: seed }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// A value of the schema; `path` ends with the name of the field.
    pub(crate) fn value(&mut self, schema: &Value, path: &str) -> Value {
        if let Some(choices) = schema["enum"].as_array() {
            return self.pick(choices).clone();
        }
        if schema["x-kubernetes-int-or-string"] == true {
            return self.pick(&[json!(9898), json!("http"), json!("80%")]).clone();
        }
        match schema["type"].as_str() {
            Some("object") => self.object(schema, path),
            Some("array") => (0..self.below(4)).map(|_| self.value(&schema["items"], &format!("{path}[]"))).collect(),
            Some("string") => self.text(schema),
            Some("boolean") => json!(self.below(2) == 0),
            Some("number") => self.number(path),
            Some("integer") => {
                let least = schema["minimum"].as_i64().unwrap_or(-3);
                json!(least + self.below(100) as i64)
            }
            other => panic!("{path}: unknown type {other:?}"),
        }
    }

    fn object(&mut self, schema: &Value, path: &str) -> Value {
        for _ in 0..1_000 {
            let mut object = json!({});
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                if required.contains(&json!(name)) || self.below(2) == 0 {
                    object[name] = self.value(schema, &format!("{path}.{name}"));
                }
            }
            if schema["additionalProperties"].is_object() {
                for _ in 0..self.below(3) {
                    let name = *self.pick(&["x-canary", "app", "user.name/with.slash", "ä", "*"]);
                    object[name] = self.value(&schema["additionalProperties"], &format!("{path}{{}}"));
                }
            }
            if chosen(schema, &object) {
                return object;
            }
        }
        panic!("{path}: no object fits the alternatives");
    }

    fn text(&mut self, schema: &Value) -> Value {
        if schema["format"] == "date-time" {
            return json!("2024-05-06T07:08:09Z");
        }
        if schema["format"] == "url" {
            return json!("http://loadtester.test/");
        }
        let texts = [
            "",
            "a",
            "podinfo",
            "1m",
            "30s",
            "1m30s",
            "500ms",
            "5s, and more",
            "Service",
            "Gateway",
            "shop.example.com",
            "gateway.networking.k8s.io",
            "with space",
            "Ünïcode",
            "^(.*?;)?(canary=always)(;.*)?$",
            "{{ interval }}\n",
        ];
        let pattern = schema["pattern"].as_str();
        let least = schema["minLength"].as_u64().unwrap_or(0) as usize;
        let fits = |text: &&str| text.len() >= least && pattern.is_none_or(|pattern| matches(pattern, text));
        let fitting: Vec<_> = texts.into_iter().filter(fits).collect();
        json!(self.pick(&fitting))
    }

    /// Whole, also as a float; with a fraction only where a fraction has a meaning: the published controller cannot
    /// read one elsewhere either.
    fn number(&mut self, path: &str) -> Value {
        let whole = self.below(220) as i64 - 20;
        let measured = path.ends_with("metrics[].threshold") || path.contains("thresholdRange");
        match self.below(3) {
            // The counters of the status are written by controllers, as integers.
            0 if !path.starts_with("status.") => json!(whole as f64),
            1 if measured => json!(whole as f64 + 0.25),
            // A service that only says port 0 says nothing.
            _ if path.ends_with("service.port") => json!(whole.max(1)),
            _ => json!(whole),
        }
    }
}
