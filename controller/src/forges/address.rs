//! Where a repository is, read from the URL that people clone it by.

use url::Url;

/// Longest URL that is looked at, in bytes.
const LONGEST: usize = 2048;

/// A clone URL in its parts, without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloneAddress {
    /// How it is reached.
    pub scheme: Scheme,
    /// Host in small letters.
    pub host: String,
    /// Port, when it is not the scheme's own.
    pub port: Option<u16>,
    /// Path, decoded, without `.git` at its end.
    pub path: Vec<String>,
}

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// https.
    Https,
    /// http, as inside a cluster.
    Http,
    /// ssh, also as `git@host:path`.
    Ssh,
}

impl CloneAddress {
    /// Reads a clone URL: https, http, ssh, or `user@host:path`. The error says what is wrong and repeats no URL, as that
    /// may hold a password.
    pub fn parse(text: &str) -> Result<CloneAddress, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("the address of the repository is empty".into());
        }
        if text.len() > LONGEST {
            return Err(format!("the address of the repository is longer than {LONGEST} bytes"));
        }
        if !text.contains("://") {
            return scp_like(text);
        }
        let url = Url::parse(text).map_err(|error| format!("the address of the repository is not a URL: {error}"))?;
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            "ssh" | "git+ssh" | "ssh+git" => Scheme::Ssh,
            _ => return Err("the address of the repository must begin with https://, http:// or ssh://".into()),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or("the address of the repository has no host")?.to_ascii_lowercase();
        let port = url.port().filter(|port| scheme != Scheme::Ssh || *port != 22);
        Ok(CloneAddress { scheme, host, port, path: segments(url.path())? })
    }

    /// Where its web pages and API are: the host itself, by https unless it is cloned by http.
    pub fn origin(&self) -> Result<Url, String> {
        let text = match (self.scheme, self.port) {
            (Scheme::Https, Some(port)) => format!("https://{}:{port}/", self.host),
            (Scheme::Http, Some(port)) => format!("http://{}:{port}/", self.host),
            (Scheme::Http, None) => format!("http://{}/", self.host),
            // The port is that of ssh.
            (Scheme::Ssh, _) | (Scheme::Https, None) => format!("https://{}/", self.host),
        };
        Url::parse(&text).map_err(|error| format!("the host of the repository cannot be used: {error}"))
    }

    /// True when the token for the one may be sent to the other: the same host, and no weaker scheme.
    pub fn same_server(&self, other: &CloneAddress) -> bool {
        let ports = self.scheme == Scheme::Ssh || other.scheme == Scheme::Ssh || self.port == other.port;
        let schemes = self.scheme != Scheme::Https || other.scheme != Scheme::Http;
        self.host == other.host && ports && schemes
    }

    /// The path as borrowed text, for patterns.
    pub(super) fn parts(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }
}

/// `git@host:group/project.git`, as git itself reads it.
fn scp_like(text: &str) -> Result<CloneAddress, String> {
    let wrong = || "the address of the repository is neither a URL nor of the form user@host:path".to_owned();
    let (before, path) = text.split_once(':').ok_or_else(wrong)?;
    if before.contains('/') {
        return Err(wrong());
    }
    let host = before.rsplit_once('@').map_or(before, |(_, host)| host);
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || !host.chars().all(named) {
        return Err(wrong());
    }
    Ok(CloneAddress { scheme: Scheme::Ssh, host: host.to_ascii_lowercase(), port: None, path: segments(path)? })
}

fn segments(path: &str) -> Result<Vec<String>, String> {
    let mut segments = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
        let decoded = decoded.map_err(|_| "the path of the repository is not UTF-8")?;
        let odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
        if decoded == "." || decoded == ".." || decoded.chars().any(odd) {
            return Err("the path of the repository has a part that no repository has".into());
        }
        segments.push(decoded.into_owned());
    }
    if let Some(last) = segments.last_mut()
        && let Some(name) = last.strip_suffix(".git").filter(|name| !name.is_empty())
    {
        *last = name.to_owned();
    }
    Ok(segments)
}
