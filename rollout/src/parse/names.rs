//! Names that Kubernetes will take, also with a suffix of ours behind.

use super::notes::{Notes, quoted};

/// `-primary`; `-canary` is shorter.
const SUFFIX: usize = 8;

/// A workload or autoscaler, of which the primary's copy has a longer name.
pub(super) fn workload(field: &str, name: &str, notes: &mut Notes) {
    if !is_workload(name) {
        refuse(field, name, 253 - SUFFIX, "an object whose primary is called <name>-primary", notes);
    }
}

/// True when a workload may be called so.
pub(super) fn is_workload(name: &str) -> bool {
    is_subdomain(name) && name.len() <= 253 - SUFFIX
}

/// Any object.
pub(super) fn object(field: impl Into<String>, name: &str, notes: &mut Notes) {
    if !is_subdomain(name) {
        refuse(field, name, 253, "an object", notes);
    }
}

/// A Service, beside which there are `-primary` and `-canary`. `mend` begins the advice.
pub(super) fn service(field: &str, name: &str, mend: &str, notes: &mut Notes) {
    if is_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.len() <= 63 - SUFFIX {
        return;
    }
    notes.refuse(
        field,
        format!("{} cannot name a Service with a {name_primary} beside it", quoted(name), name_primary = "-primary"),
        format!(
            "{mend}, of at most {} lower-case letters, digits and hyphens that starts with a letter and ends with \
             none of the hyphens",
            63 - SUFFIX
        ),
    );
}

/// A workload and a Service that can be called as they are, and also with `-baseline` behind.
pub(super) fn with_baseline(workload: &str, service: &str, notes: &mut Notes) {
    const SUFFIX: usize = 9;
    for (field, name, longest) in [("spec.targetRef.name", workload, 253), ("spec.service.name", service, 63)] {
        if name.len() + SUFFIX == longest + 1 {
            let why = format!("{} is too long for a name with -baseline beside it", quoted(name));
            notes.refuse(field, why, format!("write at most {} characters, or baseline: Primary", longest - SUFFIX));
        }
    }
}

/// A port of a Service.
pub(super) fn port(field: &str, name: &str, notes: &mut Notes) {
    if !is_label(name) || name.len() > 63 {
        refuse(field, name, 63, "a port", notes);
    }
}

/// A port of a container.
pub(super) fn target_port(field: &str, name: &str, notes: &mut Notes) {
    let named = is_label(name) && name.len() <= 15 && !name.contains("--");
    if !named || !name.contains(|character: char| character.is_ascii_lowercase()) {
        refuse(field, name, 15, "a port of a container (write a number as a number, without quotes)", notes);
    }
}

fn refuse(field: impl Into<String>, name: &str, longest: usize, what: &str, notes: &mut Notes) {
    let why = if name.is_empty() { "is empty".to_owned() } else { format!("{} cannot name {what}", quoted(name)) };
    let mend =
        format!("write at most {longest} lower-case letters, digits and hyphens, with a letter or digit at both ends");
    notes.refuse(field, why, mend);
}

fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty()
        && name.bytes().all(|byte| inner(byte) || byte == b'-')
        && name.bytes().next().is_some_and(inner)
        && name.bytes().last().is_some_and(inner)
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}
