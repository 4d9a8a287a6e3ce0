//! Flux: a HelmRelease. What changed is the chart, or the values, which mostly come from Git with the HelmRelease itself.

use rollout::SourceSeen;
use serde_json::{Value, json};

use super::flux::{self, Progress};
use super::{Deployer, Sight, applied_by, kustomization, label, owned, place, text};
use crate::objects::{At, Kind};

const HELM_RELEASE: Kind =
    Kind { group: "helm.toolkit.fluxcd.io", version: "v2", kind: "HelmRelease", plural: "helmreleases" };
const HELM_CHART: Kind = Kind { group: flux::SOURCE_GROUP, version: "v1", kind: "HelmChart", plural: "helmcharts" };

pub(super) struct HelmRelease;
pub(super) static DEPLOYER: HelmRelease = HelmRelease;

impl Deployer for HelmRelease {
    fn value(&self) -> Option<&'static str> {
        Some("flux")
    }

    fn resources(&self) -> &'static [Kind] {
        &[HELM_RELEASE, HELM_CHART]
    }

    fn kept(&self, kind: &str) -> Option<&'static [&'static str]> {
        match kind {
            "HelmRelease" => Some(&[
                "/spec/chart/spec/chart",
                "/spec/chart/spec/sourceRef",
                "/spec/chartRef",
                "/spec/suspend",
                "/status/helmChart",
                "/status/history",
                "/status/lastAttemptedRevision",
                "/status/lastAttemptedRevisionDigest",
                "/status/lastAttemptedConfigDigest",
                "/status/conditions",
            ]),
            "HelmChart" => Some(&["/spec/sourceRef", "/spec/chart", "/status/observedSourceArtifactRevision"]),
            _ => None,
        }
    }

    fn trace(&self, target: &Value, sight: &dyn Sight) -> Option<SourceSeen> {
        let name = label(target, "helm.toolkit.fluxcd.io/name")?;
        let namespace = label(target, "helm.toolkit.fluxcd.io/namespace")?;
        let release = sight.find(HELM_RELEASE, namespace, name)?;
        let progress = flux::progress(&release);
        let mut seen = git_chart(&release, namespace, sight)
            .or_else(|| kustomization::DEPLOYER.trace(&release, sight))
            .unwrap_or_default();
        if seen.source.applied_by.is_none() && seen.source.repository.is_none() {
            seen.source = oci_chart(&release, namespace, sight);
        }
        seen.source.revision = word(&release, progress);
        seen.source.applied_by = Some(applied_by(HELM_RELEASE, namespace, name));
        seen.at_work |= progress == Progress::AtWork;
        Some(seen)
    }

    fn head(&self, object: &Value, sight: &dyn Sight) -> Option<String> {
        match git_reference(object, flux::namespace(object), sight) {
            Some((reference, namespace)) => flux::head(&reference, &namespace, sight),
            None => by_kustomization(object, sight).and_then(|by| kustomization::DEPLOYER.head(&by, sight)),
        }
    }

    fn secret(&self, object: &Value, sight: &dyn Sight) -> Option<(String, String)> {
        match git_reference(object, flux::namespace(object), sight) {
            Some((reference, namespace)) => flux::secret(&reference, &namespace, sight),
            None => by_kustomization(object, sight).and_then(|by| kustomization::DEPLOYER.secret(&by, sight)),
        }
    }

    fn is_suspended(&self, object: &Value) -> bool {
        object.at("/spec/suspend") == Some(&Value::Bool(true))
    }

    fn hold(&self, _: &Value) -> (Value, Option<String>) {
        (json!({ "spec": { "suspend": true } }), None)
    }

    fn lift(&self, _: Option<&str>) -> Value {
        json!({ "spec": { "suspend": null } })
    }
}

/// The GitRepository that the chart is packed from, and the namespace in which it is named.
fn git_reference(release: &Value, namespace: &str, sight: &dyn Sight) -> Option<(Value, String)> {
    let is_git = |reference: &&Value| reference["kind"] == "GitRepository";
    if let Some(reference) = release.at("/spec/chart/spec/sourceRef").filter(is_git) {
        return Some((reference.clone(), namespace.to_owned()));
    }
    let reference = release.at("/spec/chartRef").filter(|reference| reference["kind"] == "HelmChart")?;
    let namespace = text(reference, "/namespace").unwrap_or(namespace);
    let chart = sight.find(HELM_CHART, namespace, text(reference, "/name")?)?;
    Some((chart.at("/spec/sourceRef").filter(is_git)?.clone(), namespace.to_owned()))
}

/// The Kustomization that has brought the release.
fn by_kustomization(release: &Value, sight: &dyn Sight) -> Option<std::sync::Arc<Value>> {
    let by = kustomization::DEPLOYER.trace(release, sight)?.source.applied_by?;
    super::deployer(&by, sight).map(|(_, _, object)| object)
}

/// `podinfo@6.9.1+1a2b3c4d`: the chart, its version, and the beginning of the checksum of its values.
fn word(release: &Value, progress: Progress) -> Option<String> {
    let newest = release.at("/status/history/0");
    let done = newest.filter(|_| progress == Progress::Done);
    let (version, values) = match done {
        Some(newest) => (text(newest, "/chartVersion"), text(newest, "/configDigest")),
        None => (
            text(release, "/status/lastAttemptedRevision"),
            text(release, "/status/lastAttemptedConfigDigest"),
        ),
    };
    let chart = newest
        .and_then(|newest| text(newest, "/chartName"))
        .or_else(|| text(release, "/spec/chart/spec/chart"))
        .or_else(|| text(release, "/spec/chartRef/name"))
        .map(|chart| chart.rsplit('/').next().unwrap_or(chart))?;
    let values = values.and_then(|digest| digest.rsplit(':').next()?.get(..8));
    // A version of a chart out of Git ends in the commit already.
    let version = version?;
    Some(values.map_or_else(|| format!("{chart}@{version}"), |values| format!("{chart}@{version} with values {values}")))
}

/// Of a chart that lies in a Git repository: the commit it was packed from.
fn git_chart(release: &Value, namespace: &str, sight: &dyn Sight) -> Option<SourceSeen> {
    let by_reference = text(release, "/spec/chartRef/kind") == Some("HelmChart");
    let (chart_namespace, chart_name) = if by_reference {
        let reference = release.at("/spec/chartRef")?;
        (text(reference, "/namespace").unwrap_or(namespace), text(reference, "/name")?)
    } else if text(release, "/spec/chart/spec/sourceRef/kind") == Some("GitRepository") {
        text(release, "/status/helmChart")?.split_once('/')?
    } else {
        return None;
    };
    let chart = sight.find(HELM_CHART, chart_namespace, chart_name)?;
    let reference = chart.at("/spec/sourceRef").filter(|reference| reference["kind"] == "GitRepository")?;
    let packed = text(&chart, "/status/observedSourceArtifactRevision");
    let mut source = flux::source(reference, chart_namespace, packed, None, sight);
    source.path = text(&chart, "/spec/chart").and_then(place::path);
    Some(SourceSeen { source, at_work: false })
}

/// Of a chart that is an artifact: what the artifact says it was built from.
fn oci_chart(release: &Value, namespace: &str, sight: &dyn Sight) -> crds::Source {
    let Some(reference) = release.at("/spec/chartRef") else { return crds::Source::default() };
    let name = text(reference, "/name").unwrap_or_default();
    let namespace = text(reference, "/namespace").unwrap_or(namespace);
    let tried = text(release, "/status/lastAttemptedRevisionDigest");
    let artifact = sight.find(flux::OCI_REPOSITORY, namespace, name).and_then(|repository| {
        let word = owned(&repository, "/status/artifact/revision")?;
        tried.is_none_or(|tried| word.ends_with(tried)).then_some(word)
    });
    flux::source(reference, namespace, artifact.as_deref(), None, sight)
}
