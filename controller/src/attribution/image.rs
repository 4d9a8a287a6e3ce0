//! What the target itself says: its images, and the labels that builds leave on it.

use crds::{Source, SourceImage};
use serde_json::Value;

use super::place;
use crate::objects::At;

/// Images told of at most.
const IMAGES: usize = 8;

/// The images of its containers.
pub(super) fn images(target: &Value) -> Vec<SourceImage> {
    let containers = target.at("/spec/template/spec/containers").and_then(Value::as_array);
    let image = |container: &Value| {
        let image = container["image"].as_str()?;
        let (image, digest) = image.split_once('@').map_or((image, None), |(image, digest)| (image, Some(digest)));
        Some(SourceImage {
            container: container["name"].as_str()?.to_owned(),
            image: image.to_owned(),
            digest: digest.map(str::to_owned),
        })
    };
    containers.into_iter().flatten().filter_map(image).take(IMAGES).collect()
}

/// What labels and annotations of the pod template, or else of the target, say of repository and commit.
pub(super) fn labelled(target: &Value) -> Source {
    let places = [
        "/spec/template/metadata/annotations",
        "/spec/template/metadata/labels",
        "/metadata/annotations",
        "/metadata/labels",
    ];
    let find = |names: &[&str]| {
        places.iter().filter_map(|place| target.at(place)).find_map(|marks| {
            names.iter().find_map(|name| marks.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
        })
    };
    let commit = find(&["org.opencontainers.image.revision", "org.label-schema.vcs-ref"]);
    let version = find(&["org.opencontainers.image.version", "app.kubernetes.io/version"]);
    Source {
        repository: find(&["org.opencontainers.image.source", "org.label-schema.vcs-url"])
            .and_then(|url| place::repository(&url)),
        commit: commit.clone().filter(|commit| place::is_commit(commit)),
        revision: commit.or(version),
        ..Source::default()
    }
}
