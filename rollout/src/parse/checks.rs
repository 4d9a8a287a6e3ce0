//! What is asked and who is told: metrics, webhooks, alerts, session affinity.

use std::time::Duration;

use crds::{CanaryAlert, CanaryMetric, CanaryWebhook};
use url::Url;

use super::notes::{Notes, quoted};
use super::{judge, names, strategy, written};
use crate::spec::{
    Alert, Defaults, HookKind, Judge, Method, Metric, MetricSource, Range, RouterAbility, SessionAffinity, Severity,
    Webhook,
};

const HOOK_KINDS: [HookKind; 8] = [
    HookKind::ConfirmRollout,
    HookKind::PreRollout,
    HookKind::Rollout,
    HookKind::ConfirmTrafficIncrease,
    HookKind::ConfirmPromotion,
    HookKind::PostRollout,
    HookKind::Rollback,
    HookKind::Event,
];

/// A URL that can be called. Its text is not repeated in messages: it may hold a password.
pub(super) fn http_url(field: impl Into<String>, text: &str, notes: &mut Notes) -> Option<Url> {
    const MEND: &str = "write one as http://name.namespace:port/path";
    match Url::parse(text) {
        Ok(url) if (url.scheme() == "http" || url.scheme() == "https") && url.has_host() => Some(url),
        Ok(_) => {
            notes.refuse(field, "is no http or https URL", MEND);
            None
        }
        Err(error) => {
            notes.refuse(field, format!("is no URL: {error}"), MEND);
            None
        }
    }
}

pub(super) fn metrics(written: &[CanaryMetric], namespace: &str, judge: &Judge, notes: &mut Notes) -> Vec<Metric> {
    let mut metrics: Vec<Metric> = Vec::new();
    for (index, metric) in written.iter().enumerate() {
        let field = format!("spec.analysis.metrics[{index}]");
        let found = self::metric(&field, metric, namespace, judge, notes);
        // Evidence is gathered by name.
        let twice = found.len() > 1 || metrics.iter().any(|other| other.name == metric.name);
        if twice && judge.method != Method::Threshold {
            let why = format!("{} would be judged twice", quoted(&metric.name));
            notes.refuse(field, why, "give each metric a name and one source of its own");
        }
        metrics.extend(found);
    }
    metrics
}

fn metric(field: &str, metric: &CanaryMetric, namespace: &str, judge: &Judge, notes: &mut Notes) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let interval_text = written(&metric.interval).unwrap_or("1m");
    let interval = notes.duration(format!("{field}.interval"), interval_text);
    let sources = sources(field, metric, namespace, notes);
    if sources.is_empty() {
        let name = if metric.name.is_empty() { "it".to_owned() } else { quoted(&metric.name) };
        notes.refuse(
            field,
            format!("{name} is no builtin metric and has no query of its own"),
            "name it request-success-rate or request-duration, or add templateRef or query",
        );
    }
    if sources.len() > 1 {
        notes.warn(format!(
            "{field}: {} has {} sources (a builtin name, query, templateRef); each is checked",
            quoted(&metric.name),
            sources.len()
        ));
    }
    for source in sources {
        let range = range(field, metric, &source, judge, notes);
        let comparison = judge::comparison(field, metric, &source, range, judge, notes);
        metrics.push(Metric {
            name: metric.name.clone(),
            source,
            range,
            comparison,
            interval: interval.unwrap_or_default(),
            interval_text: interval_text.to_owned(),
        });
    }
    metrics
}

fn sources(field: &str, metric: &CanaryMetric, namespace: &str, notes: &mut Notes) -> Vec<MetricSource> {
    let mut sources = Vec::new();
    match metric.name.as_str() {
        "request-success-rate" => sources.push(MetricSource::SuccessRate),
        "request-duration" => sources.push(MetricSource::Duration),
        _ => {}
    }
    if let Some(query) = written(&metric.query) {
        sources.push(MetricSource::Inline(query.to_owned()));
    }
    if let Some(reference) = &metric.template_ref {
        names::object(format!("{field}.templateRef.name"), &reference.name, notes);
        sources.push(MetricSource::Template {
            namespace: written(&reference.namespace).unwrap_or(namespace).to_owned(),
            name: reference.name.clone(),
            variables: metric.template_variables.clone(),
        });
    }
    sources
}

fn range(field: &str, metric: &CanaryMetric, source: &MetricSource, judge: &Judge, notes: &mut Notes) -> Range {
    if let Some(range) = metric.threshold_range {
        match (range.min, range.max) {
            (Some(min), Some(max)) if min > max => notes.refuse(
                format!("{field}.thresholdRange"),
                format!("min {min} is above max {max}, so no value passes"),
                "write a min that is not above max",
            ),
            (None, None) => notes.warn(format!("{field}.thresholdRange: is empty, so every value passes")),
            (Some(_) | None, Some(_) | None) => {}
        }
        return Range { min: range.min, max: range.max };
    }
    if metric.threshold.is_none() && judge.method != Method::Threshold {
        return Range::default();
    }
    let threshold = metric.threshold.unwrap_or(0.0);
    let (range, meaning) = match source {
        MetricSource::SuccessRate => (Range { min: Some(threshold), max: None }, "every value passes"),
        MetricSource::Duration | MetricSource::Inline(_) | MetricSource::Template { .. } => {
            (Range { min: None, max: Some(threshold) }, "every value above 0 fails")
        }
    };
    if metric.threshold.is_none() {
        notes.warn(format!("{field}: has neither thresholdRange nor threshold, so {meaning}"));
    }
    range
}

pub(super) fn webhooks(written: &[CanaryWebhook], notes: &mut Notes) -> Vec<Webhook> {
    let hook = |(index, webhook): (usize, &CanaryWebhook)| {
        self::webhook(&format!("spec.analysis.webhooks[{index}]"), webhook, notes)
    };
    written.iter().enumerate().filter_map(hook).collect()
}

fn webhook(field: &str, webhook: &CanaryWebhook, notes: &mut Notes) -> Option<Webhook> {
    let kind = match written(&webhook.type_) {
        None => Some(HookKind::Rollout),
        Some(text) => {
            let kind = HOOK_KINDS.into_iter().find(|kind| kind.as_str() == text);
            if kind.is_none() {
                let known: Vec<_> = HOOK_KINDS.iter().map(|kind| kind.as_str()).collect();
                let why = format!("{} is no kind of webhook", quoted(text));
                notes.refuse(format!("{field}.type"), why, format!("write one of {}", known.join(", ")));
            }
            kind
        }
    };
    let url = http_url(format!("{field}.url"), &webhook.url, notes);
    let timeout = match written(&webhook.timeout) {
        None => Some(Duration::from_secs(10)),
        Some(text) => notes.duration(format!("{field}.timeout"), text),
    };
    let retries = match webhook.retries {
        None => Some(0),
        Some(retries) => notes.count(format!("{field}.retries"), retries),
    };
    Some(Webhook {
        name: webhook.name.clone(),
        kind: kind?,
        url: url?,
        timeout: timeout?,
        retries: retries?,
        disable_tls: webhook.disable_tls,
        mute_alert: webhook.mute_alert,
        metadata: webhook.metadata.clone(),
    })
}

pub(super) fn alerts(written: &[CanaryAlert], namespace: &str, notes: &mut Notes) -> Vec<Alert> {
    let alert = |(index, alert): (usize, &CanaryAlert)| {
        self::alert(&format!("spec.analysis.alerts[{index}]"), alert, namespace, notes)
    };
    written.iter().enumerate().filter_map(alert).collect()
}

fn alert(field: &str, alert: &CanaryAlert, namespace: &str, notes: &mut Notes) -> Option<Alert> {
    names::object(format!("{field}.providerRef.name"), &alert.provider_ref.name, notes);
    let severity = match written(&alert.severity) {
        None | Some("info") => Some(Severity::Info),
        Some("warn") => Some(Severity::Warn),
        Some("error") => Some(Severity::Error),
        Some(other) => {
            let why = format!("{} is no severity", quoted(other));
            notes.refuse(format!("{field}.severity"), why, "write one of info, warn, error");
            None
        }
    };
    Some(Alert {
        name: alert.name.clone(),
        provider_namespace: written(&alert.provider_ref.namespace).unwrap_or(namespace).to_owned(),
        provider_name: alert.provider_ref.name.clone(),
        severity: severity?,
    })
}

pub(super) fn affinity(
    affinity: Option<&crds::SessionAffinity>,
    router: &RouterAbility,
    defaults: &Defaults<'_>,
    notes: &mut Notes,
) -> Option<SessionAffinity> {
    const FIELD: &str = "spec.analysis.sessionAffinity";
    let affinity = affinity?;
    let primary_cookie_name = written(&affinity.primary_cookie_name);
    cookie_name("cookieName", &affinity.cookie_name, notes);
    if let Some(name) = primary_cookie_name {
        cookie_name("primaryCookieName", name, notes);
        if name == affinity.cookie_name {
            let why = "is the same as cookieName, so the primary's users could not be told from the canary's";
            notes.refuse(format!("{FIELD}.primaryCookieName"), why, "write another name");
        }
    }
    let max_age = match affinity.max_age {
        None | Some(0) => 86_400,
        Some(seconds) => u64::try_from(seconds).unwrap_or_else(|_| {
            notes.refuse(format!("{FIELD}.maxAge"), format!("{seconds} is negative"), "write seconds, as 86400");
            0
        }),
    };
    let attributes = cookie_attributes(affinity, notes);
    if !router.affinity {
        notes.warn(format!(
            "{FIELD}: the {} router cannot keep users by cookie; ignored (routers that can: {})",
            router.name,
            strategy::able(defaults, |router| router.affinity)
        ));
        return None;
    }
    Some(SessionAffinity {
        cookie_name: affinity.cookie_name.clone(),
        primary_cookie_name: primary_cookie_name.map(str::to_owned),
        max_age,
        attributes,
    })
}

fn cookie_name(field: &str, name: &str, notes: &mut Notes) {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        let field = format!("spec.analysis.sessionAffinity.{field}");
        notes.refuse(field, format!("{} cannot name a cookie", quoted(name)), "write letters, digits and hyphens");
    }
}

fn cookie_attributes(affinity: &crds::SessionAffinity, notes: &mut Notes) -> String {
    let mut value = |field: &str, text: &Option<String>| {
        let text = written(text)?;
        if text.contains(|character: char| character == ';' || character.is_control()) {
            let field = format!("spec.analysis.sessionAffinity.{field}");
            notes.refuse(field, format!("{} would end the attribute", quoted(text)), "write it without semicolons");
        }
        Some(text.to_owned())
    };
    let domain = value("domain", &affinity.domain);
    let path = value("path", &affinity.path);
    let same_site = value("sameSite", &affinity.same_site);
    if let Some(text) = &same_site
        && !["Strict", "Lax", "None"].contains(&text.as_str())
    {
        let why = format!("{} is not known", quoted(text));
        notes.refuse("spec.analysis.sessionAffinity.sameSite", why, "write Strict, Lax or None");
    }
    let attributes = [
        domain.map(|domain| format!("Domain={domain}")),
        affinity.http_only.then(|| "HttpOnly".to_owned()),
        affinity.partitioned.then(|| "Partitioned".to_owned()),
        path.map(|path| format!("Path={path}")),
        same_site.map(|same_site| format!("SameSite={same_site}")),
        affinity.secure.then(|| "Secure".to_owned()),
    ];
    attributes.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
