//! An image as manifests name it, in its parts.

/// What `repository[:tag][@digest]` is made of; nothing is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Registry and path: `ghcr.io/acme/shop`.
    pub repository: &'a str,
    /// The tag.
    pub tag: Option<&'a str>,
    /// The digest, with its algorithm: `sha256:…`.
    pub digest: Option<&'a str>,
}

/// Splits it.
pub fn parts(image: &str) -> Parts<'_> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        Some(_) | None => (name, None),
    };
    Parts { repository, tag, digest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        for (image, repository, tag, digest) in [
            ("podinfo:6.9.0", "podinfo", Some("6.9.0"), None),
            ("ghcr.io/stefan/podinfo", "ghcr.io/stefan/podinfo", None, None),
            ("localhost:5000/podinfo", "localhost:5000/podinfo", None, None),
            ("localhost:5000/podinfo:1@sha256:ab", "localhost:5000/podinfo", Some("1"), Some("sha256:ab")),
        ] {
            assert_eq!(parts(image), Parts { repository, tag, digest }, "{image}");
        }
    }
}
