//! Which paths may name something in a tree.

use crate::Error;

/// Checks a path as it stands in a tree: relative, with forward slashes, and nowhere near Git's own files.
/// An empty path means the whole tree and is allowed where `whole` says so.
pub(crate) fn check(path: &str, whole: bool) -> Result<(), Error> {
    let refuse = |why| Err(Error::Path { path: path.to_owned(), why });
    if path.is_empty() {
        return if whole { Ok(()) } else { refuse("it is empty") };
    }
    if path.starts_with('/') {
        return refuse("it is absolute");
    }
    if path.contains(['\\', '\0', '\n']) {
        return refuse("it holds a backslash, a line break or a zero byte");
    }
    for part in path.split('/') {
        match part {
            "" | "." => return refuse("a part of it is empty or '.'"),
            ".." => return refuse("it leads out of the tree with '..'"),
            _ => {}
        }
        // Also the spellings that some file systems take for `.git`.
        if gix::validate::path::component(part.into(), None, Default::default()).is_err() {
            return refuse("a part of it is '.git' or would be taken for it");
        }
    }
    Ok(())
}

/// A path as people write it (`./deploy/`, `deploy`, `.`) as it stands in a tree (`deploy`, and empty for the whole of it).
pub(crate) fn normal(path: &str) -> Result<String, Error> {
    let mut path = path;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = if path == "." { "" } else { path };
    check(path, true)?;
    Ok(path.to_owned())
}

/// Whether `path` is `under` or lies below it.
pub(crate) fn is_under(path: &str, under: &str) -> bool {
    under.is_empty() || path.strip_prefix(under).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_named() {
        for path in ["a", "a/b.yaml", ".github/x", "deploy/.gitignore", "a..b/c"] {
            assert!(check(path, false).is_ok(), "{path}");
        }
        for path in
            ["", "/a", "..", "a/../b", "a//b", "a/", "./a", ".git", ".git/config", "a/.GIT/x", "git~1/x", "a\\b", "a\0"]
        {
            assert!(check(path, false).is_err(), "{path:?}");
        }
    }

    #[test]
    fn as_people_write_it() {
        for (written, meant) in [(".", ""), ("", ""), ("./", ""), ("./deploy/", "deploy"), ("a/b", "a/b")] {
            assert_eq!(normal(written).expect(written), meant);
        }
        assert!(normal("/etc").is_err());
        assert!(normal("./../x").is_err());
    }

    #[test]
    fn below_a_folder() {
        assert!(is_under("a/b", "a") && is_under("a", "a") && is_under("x", ""));
        assert!(!is_under("ab/c", "a") && !is_under("b", "a"));
    }
}
