//! URLs without secrets, paths, and the words of operators for a commit.

use url::Url;

/// The URL of a repository without user, password, query and fragment; `user@host:path` without the user. What cannot be
/// read as either is not kept: it may hold a secret.
pub(super) fn repository(text: &str) -> Option<String> {
    let text = text.trim();
    if text.contains("://") {
        let mut url = Url::parse(text).ok()?;
        if url.scheme() == "ssh" && url.username() == "git" {
            url.set_password(None).ok()?;
        } else if !url.cannot_be_a_base() && url.has_host() && url.scheme() != "file" {
            url.set_username("").ok()?;
            url.set_password(None).ok()?;
        }
        url.set_query(None);
        url.set_fragment(None);
        return Some(url.to_string().trim_end_matches('/').to_owned());
    }
    // As in git@github.com:mia/shop.git, and as images are named.
    let (user, place) = text.rsplit_once('@').unwrap_or(("", text));
    if place.is_empty() || place.contains(char::is_whitespace) {
        return None;
    }
    Some(if user == "git" { text.to_owned() } else { place.to_owned() })
}

/// A directory without `./` in front and `/` behind; `None` for the root.
pub(super) fn path(text: &str) -> Option<String> {
    let path = text.trim().trim_start_matches("./").trim_matches('/');
    (!path.is_empty() && path != ".").then(|| path.to_owned())
}

/// The name and the commit in the words of Flux: `main@sha1:4f2c…`, `sha1:4f2c…`, and `main/4f2c…` as it once was.
pub(super) fn revision(word: &str) -> (Option<&str>, Option<&str>) {
    let (name, digest) = match word.rsplit_once('@') {
        Some((name, digest)) => (Some(name), digest),
        None if word.contains(':') => (None, word),
        None => match word.rsplit_once('/') {
            Some((name, commit)) => (Some(name), commit),
            None => (None, word),
        },
    };
    let commit = match digest.split_once(':') {
        Some(("sha1", commit)) => Some(commit),
        // A commit where Git uses SHA-256; of what is not Git it is a checksum, which the caller knows.
        Some(("sha256", commit)) if name.is_some() => Some(commit),
        Some(_) => None,
        None => Some(digest),
    };
    (name.filter(|name| !name.is_empty()), commit.filter(|commit| is_commit(commit)))
}

/// True for 7 to 64 hexadecimal digits.
pub(super) fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The pull request that a message names as the one it comes from, where the host is known to number them so.
pub(super) fn pull_request(repository: &str, message: &str) -> Option<String> {
    let url = Url::parse(repository).ok().filter(|url| url.host_str() == Some("github.com"))?;
    let subject = message.lines().next()?;
    let number = match subject.strip_prefix("Merge pull request #") {
        Some(rest) => rest.split(' ').next()?,
        None => subject.strip_suffix(')')?.rsplit_once("(#")?.1,
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let path = url.path().trim_end_matches(".git");
    digits.then(|| format!("https://github.com{path}/pull/{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_url_is_kept() {
        for (text, kept) in [
            (
                "https://mia:s3cret@git.example.com/shop.git?token=s3cret#s3cret",
                Some("https://git.example.com/shop.git"),
            ),
            ("https://s3cret@github.com/mia/shop", Some("https://github.com/mia/shop")),
            ("ssh://git@github.com/mia/shop.git", Some("ssh://git@github.com/mia/shop.git")),
            ("ssh://git:s3cret@github.com/mia/shop.git", Some("ssh://git@github.com/mia/shop.git")),
            ("git@github.com:mia/shop.git", Some("git@github.com:mia/shop.git")),
            ("mia:s3cret@github.com:mia/shop.git", Some("github.com:mia/shop.git")),
            ("oci://ghcr.io/mia/shop", Some("oci://ghcr.io/mia/shop")),
            ("file:///srv/shop", Some("file:///srv/shop")),
            ("https://mia:s3cret@", None),
            ("", None),
        ] {
            assert_eq!(repository(text).as_deref(), kept, "{text}");
        }
    }

    #[test]
    fn revisions_are_read_as_flux_writes_and_wrote_them() {
        let sha = "4f2c1e9a0c6f1a5d3b7e8f9012345678abcdef01";
        for (word, name, commit) in [
            (format!("main@sha1:{sha}"), Some("main"), Some(sha)),
            (format!("feature/cart@sha1:{sha}"), Some("feature/cart"), Some(sha)),
            (format!("refs/pull/4/head@sha1:{sha}"), Some("refs/pull/4/head"), Some(sha)),
            (format!("sha1:{sha}"), None, Some(sha)),
            (format!("feature/cart/{sha}"), Some("feature/cart"), Some(sha)),
            ("sha256:0011223344".to_owned(), None, None),
            ("HEAD".to_owned(), None, None),
            (String::new(), None, None),
        ] {
            assert_eq!(revision(&word), (name, commit), "{word}");
        }
    }

    #[test]
    fn a_pull_request_is_named_where_its_number_means_one() {
        let shop = "https://github.com/mia/shop.git";
        let four = Some("https://github.com/mia/shop/pull/4".to_owned());
        assert_eq!(pull_request(shop, "Bump to 6.9.1 (#4)"), four);
        assert_eq!(pull_request(shop, "Merge pull request #4 from mia/bump\n\nBump"), four);
        assert_eq!(pull_request(shop, "Bump to 6.9.1"), None);
        assert_eq!(pull_request("https://git.example.com/mia/shop", "Bump (#4)"), None);
    }
}
