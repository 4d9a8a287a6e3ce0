//! What pods request, out of the quantities of Kubernetes.

use serde_json::Value;

/// What a pod requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Requests {
    /// Thousandths of a CPU.
    pub(super) cpu: u64,
    /// Bytes.
    pub(super) memory: u64,
}

/// What the containers of a pod request as long as it runs; a limit without a request is one. What cannot be read counts
/// as nothing.
pub(super) fn of_pod(pod_spec: &Value) -> Requests {
    let containers = pod_spec["containers"].as_array().into_iter().flatten();
    containers.fold(Requests::default(), |sum, container| {
        let resource = |name: &str| {
            let of = |of: &str| container["resources"][of].get(name).cloned();
            of("requests").or_else(|| of("limits")).and_then(|quantity| thousandths(&quantity)).unwrap_or_default()
        };
        Requests {
            cpu: sum.cpu.saturating_add(rounded(resource("cpu"))),
            memory: sum.memory.saturating_add(rounded(resource("memory") / 1000.0)),
        }
    })
}

/// As `200m` or `2`.
pub(super) fn cpu(thousandths: u64) -> String {
    if thousandths.is_multiple_of(1000) { (thousandths / 1000).to_string() } else { format!("{thousandths}m") }
}

/// As `128Mi`, rounded up to the largest unit of which there is at least one.
pub(super) fn memory(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    let exact = UNITS.iter().find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    match exact.or_else(|| UNITS[1..].iter().find(|(_, size)| bytes >= *size)) {
        Some((unit, size)) => format!("{}{unit}", bytes.div_ceil(*size)),
        None => bytes.to_string(),
    }
}

fn rounded(amount: f64) -> u64 {
    // Saturates, and takes what is no number for nothing.
    amount.ceil() as u64
}

/// A quantity as Kubernetes writes it, in thousandths.
fn thousandths(quantity: &Value) -> Option<f64> {
    let text = match quantity {
        Value::Number(number) => return number.as_f64().map(|number| number * 1000.0),
        Value::String(text) => text.trim(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "n" => 1e-6,
        "u" => 1e-3,
        "m" => 1.0,
        "" => 1e3,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "T" => 1e15,
        "Ki" => 1e3 * 1024.0,
        "Mi" => 1e3 * 1024.0 * 1024.0,
        "Gi" => 1e3 * 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1e3 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return text.parse::<f64>().ok().map(|number| number * 1000.0),
    };
    digits.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (quantity, expected) in [
            (json!("100m"), Some(100.0)),
            (json!("0.5"), Some(500.0)),
            (json!(2), Some(2000.0)),
            (json!("1e3"), Some(1_000_000.0)),
            (json!("64Mi"), Some(67_108_864_000.0)),
            (json!("1G"), Some(1e12)),
            (json!("much"), None),
            (json!(null), None),
        ] {
            assert_eq!(thousandths(&quantity), expected, "{quantity}");
        }
    }

    #[test]
    fn amounts_are_written_as_people_do() {
        assert_eq!((cpu(200), cpu(2000), cpu(0)), ("200m".into(), "2".into(), "0".into()));
        for (bytes, text) in
            [(0, "0"), (1 << 30, "1Gi"), (3 << 29, "1536Mi"), ((1 << 20) + 1, "2Mi"), (1_000_000, "977Ki"), (5, "5")]
        {
            assert_eq!(memory(bytes), text);
        }
    }
}
