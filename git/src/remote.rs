//! Where a repository is, which part of it is meant, and who asks.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{CommitId, Error};

/// The most that is kept of what a server or a program said, in characters.
const SAID: usize = 400;

/// A repository elsewhere, the part of it that is followed, and who asks for it.
#[derive(Clone, Debug)]
pub struct Remote {
    url: Url,
    /// What is followed.
    pub reference: Reference,
    credentials: Credentials,
    ca: Option<String>,
}

/// What of a repository is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A branch by its short name, as in `main`.
    Branch(String),
    /// A tag by its short name, as in `v1.2.0`.
    Tag(String),
    /// One commit, which never moves.
    Commit(CommitId),
}

/// Who asks. Its `Debug` shows the kind and nothing else.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    None,
    /// User and password or token, for `http` and `https`.
    Basic {
        /// The user; forges that take a token alone accept any.
        username: String,
        /// The password or token.
        password: String,
    },
    /// A token in an `Authorization: Bearer` header, for `http` and `https`.
    Bearer(String),
    /// A key, for `ssh`.
    Ssh {
        /// The private key as OpenSSH writes it, without a passphrase.
        private_key: String,
        /// Lines of a `known_hosts` file: no other server is trusted.
        known_hosts: String,
    },
}

#[derive(Clone, PartialEq, Eq)]
struct Url {
    text: String,
    scheme: Scheme,
}

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
    Ssh,
    File,
}

impl Remote {
    /// A remote at an `https`, `http`, `ssh` (also `user@host:path`) or `file` address.
    ///
    /// User information belongs into the credentials: an `http` address with it is refused, and so are credentials of a kind that
    /// the address cannot use. A `file` address opens any repository that this process may read, so whoever takes addresses
    /// from strangers has to refuse those.
    pub fn new(url: &str, reference: Reference, credentials: Credentials) -> Result<Self, Error> {
        let url = parse(url)?;
        reference.check()?;
        match (&credentials, url.scheme) {
            (Credentials::None, Scheme::Http | Scheme::Https | Scheme::File)
            | (Credentials::Basic { .. } | Credentials::Bearer(_), Scheme::Http | Scheme::Https) => {}
            (Credentials::Ssh { known_hosts, .. }, Scheme::Ssh) => {
                if known_hosts.trim().is_empty() {
                    return Err(address("no known hosts are given, so no server could be trusted"));
                }
            }
            (Credentials::None, Scheme::Ssh) => return Err(address("ssh needs a private key and known hosts")),
            (Credentials::Basic { .. } | Credentials::Bearer(_), Scheme::Ssh | Scheme::File) => {
                return Err(address("a password or token is of use for http and https only"));
            }
            (Credentials::Ssh { .. }, Scheme::Http | Scheme::Https | Scheme::File) => {
                return Err(address("a private key is of use for ssh only"));
            }
        }
        if let Credentials::Basic { username, password } = &credentials
            && (username.contains([':', '\n', '\r', '\0']) || password.contains(['\n', '\r', '\0']))
        {
            return Err(address("the user holds a colon, or user or password a line break"));
        }
        if let Credentials::Bearer(token) = &credentials
            && (token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(address("the token is empty or holds characters that no header can carry"));
        }
        Ok(Self { url, reference, credentials, ca: None })
    }

    /// Trusts these certificates (PEM) for `https`, and no others.
    pub fn with_ca(mut self, pem: impl Into<String>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// The same repository with another part of it followed.
    pub fn at(&self, reference: Reference) -> Result<Self, Error> {
        reference.check()?;
        Ok(Self { reference, ..self.clone() })
    }

    /// The address; it holds no secret.
    pub fn url(&self) -> &str {
        &self.url.text
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.url.scheme
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(crate) fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// The value of the `Authorization` header, where there is one.
    pub(crate) fn authorization(&self) -> Option<String> {
        match &self.credentials {
            Credentials::None | Credentials::Ssh { .. } => None,
            Credentials::Basic { username, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
            }
            Credentials::Bearer(token) => Some(format!("Bearer {token}")),
        }
    }

    /// Foreign text as one line that may be shown: without secrets, user information of URLs and control characters.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets() {
            text = text.replace(&secret, "***");
        }
        let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        let line = words.map(without_user).collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(SAID) {
            Some((at, _)) => format!("{}…", &line[..at]),
            None => line,
        }
    }

    fn secrets(&self) -> Vec<String> {
        let mut secrets = match &self.credentials {
            Credentials::None => Vec::new(),
            Credentials::Basic { username, password } => {
                vec![password.clone(), STANDARD.encode(format!("{username}:{password}")), STANDARD.encode(password)]
            }
            Credentials::Bearer(token) => vec![token.clone()],
            Credentials::Ssh { private_key, .. } => private_key
                .lines()
                .filter(|line| line.len() > 8 && !line.starts_with("-----"))
                .map(Into::into)
                .collect(),
        };
        let encoded = |secret: &String| url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
        secrets.extend(secrets.iter().map(encoded).collect::<Vec<_>>());
        secrets.retain(|secret| !secret.is_empty());
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }
}

impl Reference {
    fn check(&self) -> Result<(), Error> {
        let name = match self {
            Reference::Branch(name) | Reference::Tag(name) => name,
            Reference::Commit(_) => return Ok(()),
        };
        let full = format!("refs/heads/{name}");
        // A leading dash would be a flag to `git push`, and a plus forces.
        let odd = name.starts_with(['-', '+']) || name.contains(['*', ':']);
        if odd || gix::validate::reference::name(full.as_str().into()).is_err() {
            return Err(Error::Name { name: name.clone() });
        }
        Ok(())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Branch(name) => write!(f, "branch '{name}'"),
            Reference::Tag(name) => write!(f, "tag '{name}'"),
            Reference::Commit(id) => write!(f, "commit {id}"),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::None => "None",
            Credentials::Basic { .. } => "Basic(***)",
            Credentials::Bearer(_) => "Bearer(***)",
            Credentials::Ssh { .. } => "Ssh(***)",
        })
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn address(why: impl Into<String>) -> Error {
    Error::Address { why: why.into() }
}

fn parse(text: &str) -> Result<Url, Error> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(address("it holds white space or control characters"));
    }
    if text.starts_with('-') {
        return Err(address("it starts with a dash"));
    }
    let Some((scheme, _)) = text.split_once("://") else {
        // user@host:path, as everybody writes it for ssh.
        let host = text.split_once(':').filter(|(host, path)| !host.contains('/') && !path.starts_with(':'));
        return match host {
            Some((host, path)) if !host.is_empty() && !path.is_empty() && !host.starts_with('-') => {
                let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
                if host.is_empty() || host.starts_with('-') {
                    return Err(address("it names no host"));
                }
                Ok(Url { text: text.to_owned(), scheme: Scheme::Ssh })
            }
            _ => Err(address("it must start with https://, http://, ssh:// or file://")),
        };
    };
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        "ssh" => Scheme::Ssh,
        "file" => Scheme::File,
        _ => return Err(address("it must start with https://, http://, ssh:// or file://")),
    };
    let url = url::Url::parse(text).map_err(|error| address(error.to_string()))?;
    let host = url.host_str().unwrap_or_default();
    match scheme {
        Scheme::Http | Scheme::Https => {
            if !url.username().is_empty() || url.password().is_some() {
                return Err(address("user and password belong into the credentials, not into the address"));
            }
            if url.query().is_some() || url.fragment().is_some() {
                return Err(address("it holds a query or a fragment"));
            }
        }
        Scheme::Ssh => {
            if url.password().is_some() {
                return Err(address("a password does not belong into the address"));
            }
            if host.is_empty() || host.starts_with('-') || url.username().starts_with('-') {
                return Err(address("it names no host"));
            }
        }
        Scheme::File => {
            if !host.is_empty() {
                return Err(address("a file address names no host: file:///path"));
            }
        }
    }
    Ok(Url { text: text.trim_end_matches('/').to_owned(), scheme })
}

/// A word of foreign text without what stands before the `@` of a URL in it.
fn without_user(word: &str) -> String {
    let Some((before, after)) = word.split_once("://") else { return word.to_owned() };
    let authority = after.find('/').unwrap_or(after.len());
    match after[..authority].rfind('@') {
        Some(at) => format!("{before}://{}", &after[at + 1..]),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn main() -> Reference {
        Reference::Branch("main".into())
    }

    fn ssh() -> Credentials {
        Credentials::Ssh { private_key: "k".into(), known_hosts: "h ssh-ed25519 AAAA".into() }
    }

    #[test]
    fn addresses_that_can_be_used() {
        for url in ["https://git.example.com/a/b.git", "http://gitea.git:3000/a/b", "file:///srv/a.git"] {
            assert_eq!(Remote::new(url, main(), Credentials::None).expect(url).url(), url);
        }
        for url in ["ssh://git@example.com:2222/a/b.git", "git@example.com:a/b.git", "example.com:a/b"] {
            assert_eq!(Remote::new(url, main(), ssh()).expect(url).scheme(), Scheme::Ssh);
        }
    }

    #[test]
    fn addresses_that_cannot_be_used_and_their_secrets_stay_hidden() {
        for url in [
            "https://u:hunter2@example.com/a",
            "https://hunter2@example.com/a",
            "ssh://git:hunter2@example.com/a",
            "ext::sh -c hunter2",
            "ext::hunter2",
            "-oProxyCommand=hunter2:a",
            "a@-oProxyCommand=hunter2:a",
            "ssh://-oProxyCommand=hunter2/a",
            "/srv/hunter2",
            "../hunter2",
            "file://host/hunter2",
            "https://example.com/a?token=hunter2",
            "https://example.com/a\nhunter2",
        ] {
            let error = Remote::new(url, main(), Credentials::None).expect_err(url).to_string();
            assert!(!error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn credentials_must_fit_the_address() {
        let basic = Credentials::Basic { username: "u".into(), password: "p".into() };
        assert!(Remote::new("ssh://git@h/a", main(), basic).is_err());
        assert!(Remote::new("https://h/a", main(), ssh()).is_err());
        assert!(Remote::new("ssh://git@h/a", main(), Credentials::None).is_err());
        let blind = Credentials::Ssh { private_key: "k".into(), known_hosts: " ".into() };
        assert!(Remote::new("ssh://git@h/a", main(), blind).is_err());
        for token in ["", "a\r\nHost: b", "a b"] {
            assert!(Remote::new("https://h/a", main(), Credentials::Bearer(token.into())).is_err(), "{token:?}");
        }
    }

    #[test]
    fn names_that_git_would_misread_are_refused() {
        for name in ["", "-f", "+main", "a b", "a..b", "a:b", "x*", "a.lock", "/a"] {
            let remote = Remote::new("https://h/a", Reference::Branch(name.into()), Credentials::None);
            assert!(matches!(remote, Err(Error::Name { .. })), "{name:?}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let basic = Credentials::Basic { username: "ada".into(), password: "hunter2+/x".into() };
        let remote = Remote::new("https://h/a", main(), basic).expect("valid");
        assert!(!format!("{remote:?}").contains("hunter2"));
        let encoded = STANDARD.encode("ada:hunter2+/x");
        let said = format!("fatal: https://ada:hunter2%2B%2Fx@h/a\tand hunter2+/x, Authorization: Basic {encoded}\n");
        let shown = remote.scrub(&said);
        assert_eq!(shown, "fatal: https://h/a and ***, Authorization: Basic ***");
    }
}
