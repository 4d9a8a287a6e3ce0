//! An image as manifests name it.

use std::fmt;

use controller::image::{Parts, parts};

/// A repository with the tag, the digest, or both that are wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Registry and path, as written: `ghcr.io/acme/shop`.
    pub(super) repository: String,
    /// The tag.
    pub(super) tag: Option<String>,
    /// The digest, with its algorithm: `sha256:…`.
    pub(super) digest: Option<String>,
}

/// Why a text is no image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is no image: {why}; write it as ghcr.io/acme/shop:1.2.3 or ghcr.io/acme/shop@sha256:…")]
pub(super) struct NoImage {
    text: String,
    why: &'static str,
}

impl Reference {
    /// Reads `repository[:tag][@digest]`.
    ///
    /// # Errors
    /// When a part is empty or holds a character that it may not.
    pub(super) fn parse(text: &str) -> Result<Reference, NoImage> {
        let no = |why| Err(NoImage { text: text.to_owned(), why });
        let Parts { repository, tag, digest } = parts(text);
        let word = |text: &str, more: &str| {
            !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric() || more.contains(char))
        };
        if !word(repository, "._-/:") || repository.starts_with('/') || repository.ends_with('/') {
            return no("the repository is empty or has a character that none may have");
        }
        if tag.is_some_and(|tag| !word(tag, "._-") || tag.len() > 128) {
            return no("a tag has letters, digits, dots, dashes and underscores, 128 at most");
        }
        let sound = |digest: &str| {
            digest.split_once(':').is_some_and(|(algorithm, hex)| {
                word(algorithm, "+._-") && hex.len() >= 32 && hex.chars().all(|char| char.is_ascii_hexdigit())
            })
        };
        if digest.is_some_and(|digest| !sound(digest)) {
            return no("a digest is an algorithm and hexadecimal digits, as in sha256:…");
        }
        Ok(Reference {
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// Whether a repository written in a manifest means the same: the registry that everybody leaves out may be left out.
    pub(super) fn is_of(&self, repository: &str) -> bool {
        familiar(&self.repository) == familiar(repository)
    }

    /// Tag and digest behind a repository spelled in the manifest's own way.
    pub(super) fn spelled(&self, repository: &str) -> String {
        Reference { repository: repository.to_owned(), ..self.clone() }.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(out, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(out, "@{digest}")?;
        }
        Ok(())
    }
}

fn familiar(repository: &str) -> &str {
    let short = ["docker.io/", "index.docker.io/"].iter().find_map(|host| repository.strip_prefix(host));
    let short = short.unwrap_or(repository);
    short.strip_prefix("library/").unwrap_or(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, repository, tag, with_digest) in [
            ("shop", "shop", None, false),
            ("shop:1", "shop", Some("1"), false),
            ("localhost:5000/shop", "localhost:5000/shop", None, false),
            ("localhost:5000/a/shop:v1.2-rc_3", "localhost:5000/a/shop", Some("v1.2-rc_3"), false),
            ("ghcr.io/acme/shop@DIGEST", "ghcr.io/acme/shop", None, true),
            ("ghcr.io/acme/shop:1@DIGEST", "ghcr.io/acme/shop", Some("1"), true),
        ] {
            let text = text.replace("DIGEST", &digest);
            let parsed = Reference::parse(&text).expect("an image");
            assert_eq!(parsed.repository, repository, "{text}");
            assert_eq!(parsed.tag.as_deref(), tag, "{text}");
            assert_eq!(parsed.digest.is_some(), with_digest, "{text}");
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_image_says_why() {
        for text in
            ["", ":1", "shop:", "shop:a b", "shop@sha256:xyz", "shop@abc", "/shop:1", "shop/:1", "a b:1", "shop:a/b c"]
        {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_usual_registry_may_be_left_out() {
        let nginx = Reference::parse("nginx:1.27").expect("an image");
        for same in ["nginx", "library/nginx", "docker.io/nginx", "docker.io/library/nginx"] {
            assert!(nginx.is_of(same), "{same}");
        }
        for other in ["ghcr.io/nginx", "nginx2", "acme/nginx"] {
            assert!(!nginx.is_of(other), "{other}");
        }
        assert_eq!(nginx.spelled("docker.io/library/nginx"), "docker.io/library/nginx:1.27");
    }
}
