//! A request, as far as routes look at it.

use std::collections::BTreeMap;

use regex::bytes::{Regex, RegexBuilder};

/// Where a request comes in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entrance {
    /// A gateway of the Gateway API.
    Gateway,
    /// Traefik with its own kinds.
    Traefik,
    /// Ingress-NGINX.
    Nginx,
    /// A Service, from inside the cluster.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// A request, as far as routes look at it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Where it comes in.
    pub entrance: Entrance,
    /// Without port.
    pub host: String,
    /// Without query.
    pub path: String,
    /// In capitals.
    pub method: String,
    /// By name in small letters. Cookies are not among them.
    pub headers: BTreeMap<String, String>,
    /// Parameters of the query.
    pub query: BTreeMap<String, String>,
    /// What the sender's cookie jar has.
    pub cookies: BTreeMap<String, String>,
}

impl Request {
    /// A plain `GET /` of that host.
    pub fn new(entrance: Entrance, host: &str) -> Request {
        Request {
            entrance,
            host: host.to_owned(),
            path: "/".into(),
            method: "GET".into(),
            headers: BTreeMap::new(),
            query: BTreeMap::new(),
            cookies: BTreeMap::new(),
        }
    }

    /// The value of a header, whose name is compared without regard to case.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        if name == "cookie" {
            let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            return (!pairs.is_empty()).then(|| pairs.join("; "));
        }
        if name == "host" {
            return Some(self.host.clone());
        }
        self.headers.get(&name).cloned()
    }

    /// Whether the path is that prefix or below it, by whole elements.
    pub(super) fn is_below(&self, prefix: &str) -> bool {
        let prefix = prefix.trim_end_matches('/');
        self.path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// How well a host of a route fits: `None` does not; exact before wildcard before any, longer before shorter.
    pub(super) fn fits_host(&self, host: &str) -> Option<(bool, usize)> {
        match host.strip_prefix('*') {
            _ if host.is_empty() => Some((false, 0)),
            Some("") => Some((false, 0)),
            Some(suffix) => {
                let found = self.host.len() > suffix.len() && self.host.to_ascii_lowercase().ends_with(suffix);
                found.then_some((false, host.len()))
            }
            None => self.host.eq_ignore_ascii_case(host).then_some((true, host.len())),
        }
    }
}

/// A host that a wildcard stands for.
pub(super) fn concrete(host: &str) -> String {
    host.strip_prefix('*').map_or_else(|| host.to_owned(), |suffix| format!("any{suffix}"))
}

/// A pattern that finds its text anywhere; `None` when it cannot be read, which then fits nothing.
pub(super) fn pattern(text: &str) -> Option<Regex> {
    RegexBuilder::new(text).unicode(false).build().ok()
}

/// A pattern for the whole text.
pub(super) fn whole(text: &str) -> Option<Regex> {
    pattern(&format!("^(?:{text})$"))
}
