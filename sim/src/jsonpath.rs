//! The part of JSONPath that printer columns use: `.a.b`, `['a.b']`, `[0]`, `[*]` and `[?(@.type=="Ready")]`.

use serde_json::Value;

/// All values at the path.
pub(crate) fn find<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![value];
    let mut rest = path.trim().trim_start_matches('$');
    while !rest.is_empty() {
        let Some((step, after)) = next(rest) else { return vec![] };
        found = found.into_iter().flat_map(|value| take(value, &step)).collect();
        rest = after;
    }
    found
}

enum Step {
    Field(String),
    Index(i64),
    All,
    Where(Vec<String>, String),
}

fn next(path: &str) -> Option<(Step, &str)> {
    if let Some(rest) = path.strip_prefix('[') {
        let end = rest.find(']')?;
        let (inside, after) = (&rest[..end], &rest[end + 1..]);
        if inside == "*" {
            return Some((Step::All, after));
        }
        if let Some(name) = inside.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')) {
            return Some((Step::Field(name.to_owned()), after));
        }
        if let Some(condition) = inside.strip_prefix("?(").and_then(|condition| condition.strip_suffix(')')) {
            let (left, right) = condition.split_once("==")?;
            let fields = left.trim().strip_prefix("@.")?.split('.').map(str::to_owned).collect();
            return Some((Step::Where(fields, right.trim().trim_matches(['"', '\'']).to_owned()), after));
        }
        return Some((Step::Index(inside.parse().ok()?), after));
    }
    let rest = path.strip_prefix('.').unwrap_or(path);
    let mut name = String::new();
    let mut letters = rest.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => name.extend(letters.next().map(|(_, letter)| letter)),
            '.' | '[' if at == 0 => return Some((Step::All, &rest[at..])),
            '.' | '[' => return Some((Step::Field(name), &rest[at..])),
            letter => name.push(letter),
        }
    }
    Some((Step::Field(name), ""))
}

fn take<'a>(value: &'a Value, step: &Step) -> Vec<&'a Value> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Index(index) => {
            let at = if *index < 0 {
                items.len().checked_sub(index.unsigned_abs() as usize)
            } else {
                usize::try_from(*index).ok()
            };
            at.and_then(|at| items.get(at)).into_iter().collect()
        }
        Step::All => items.iter().chain(value.as_object().into_iter().flat_map(|object| object.values())).collect(),
        Step::Where(fields, wanted) => items
            .iter()
            .filter(|item| {
                let found = fields.iter().fold(*item, |value, field| &value[field]);
                found.as_str().map_or_else(|| found.to_string(), str::to_owned) == *wanted
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_printer_columns() {
        let object = json!({
            "metadata": { "annotations": { "a.b/c": "x" } },
            "status": { "weight": 5, "conditions": [{ "type": "Ready", "status": "True" }, { "type": "Other", "status": "No" }] },
        });
        for (path, expected) in [
            (".status.weight", json!(5)),
            (".status.conditions[?(@.type==\"Ready\")].status", json!("True")),
            (".status.conditions[?(@.type=='Other')].status", json!("No")),
            (".status.conditions[1].type", json!("Other")),
            (".status.conditions[*].type", json!("Ready")),
            (".metadata.annotations.a\\.b/c", json!("x")),
            (".metadata.annotations['a.b/c']", json!("x")),
        ] {
            assert_eq!(find(&object, path).first(), Some(&&expected), "{path}");
        }
        assert!(find(&object, ".status.absent").is_empty());
        assert!(find(&object, ".status[").is_empty());
    }
}
