//! HTTPRoutes of the Gateway API. Which rule wins is the API's own order: host, path, method, headers, parameters,
//! age, name, place in the list. Patterns match from end to end, and stand between exact paths and prefixes.

use std::sync::Arc;

use regex::bytes::Regex;
use serde_json::Value;

use super::hosts::Hosts;
use super::request::{concrete, whole};
use super::{Backend, Choice, Failure, Place, Request, SeenAs, Target, array, by_age, identity, number, text};

#[derive(Debug, Default)]
pub(super) struct Gateway {
    /// The oldest route first.
    routes: Vec<Route>,
    hosts: Hosts,
}

#[derive(Debug)]
struct Route {
    hosts: Vec<String>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    matches: Vec<Match>,
    choices: Vec<Choice>,
}

#[derive(Debug)]
struct Match {
    path: Path,
    method: Option<String>,
    headers: Vec<(String, Test)>,
    query: Vec<(String, Test)>,
}

#[derive(Debug)]
enum Path {
    Exact(String),
    Prefix(String),
    Pattern(Option<Regex>, usize),
}

#[derive(Debug)]
enum Test {
    Exact(String),
    Pattern(Option<Regex>),
}

impl Test {
    fn read(of: &Value) -> Test {
        match text(of, "type") {
            "RegularExpression" => Test::Pattern(whole(text(of, "value"))),
            _ => Test::Exact(text(of, "value").to_owned()),
        }
    }

    fn fits(&self, value: &str) -> bool {
        match self {
            Test::Exact(wanted) => value == wanted,
            Test::Pattern(pattern) => pattern.as_ref().is_some_and(|pattern| pattern.is_match(value.as_bytes())),
        }
    }
}

/// Greater is better: host, kind of path, length of path, method, headers, parameters.
type Rank = ((bool, usize), u8, usize, bool, usize, usize);

impl Gateway {
    pub(super) fn read(routes: &[Arc<Value>]) -> Gateway {
        let routes: Vec<Route> = by_age(routes).into_iter().map(Route::read).collect();
        let mut hosts = Hosts::default();
        for (at, route) in routes.iter().enumerate() {
            if route.hosts.is_empty() {
                hosts.add("", at);
            }
            route.hosts.iter().for_each(|host| hosts.add(host, at));
        }
        Gateway { routes, hosts }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    pub(super) fn host(&self) -> Option<String> {
        self.routes.iter().flat_map(|route| &route.hosts).map(|host| concrete(host)).next()
    }

    pub(super) fn choices(&self, request: &Request) -> Vec<Choice> {
        let mut best: Option<(Rank, &Rule)> = None;
        for route in self.hosts.of(&request.host).into_iter().map(|at| &self.routes[at]) {
            let any = [String::new()];
            let hosts = if route.hosts.is_empty() { &any[..] } else { &route.hosts };
            let Some(host) = hosts.iter().filter_map(|host| request.fits_host(host)).max() else { continue };
            for rule in &route.rules {
                let Some(rank) = rule.matches.iter().filter_map(|one| one.rank(request, host)).max() else { continue };
                // Of equals the first stays.
                if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                    best = Some((rank, rule));
                }
            }
        }
        best.map_or_else(|| Choice::refused(404, Failure::NoRoute), |(_, rule)| rule.choices.clone())
    }
}

impl Route {
    fn read(route: &Value) -> Route {
        let (namespace, _) = identity(route);
        let hosts = array(&route["spec"]["hostnames"]).iter().filter_map(Value::as_str).map(str::to_ascii_lowercase);
        let rules = array(&route["spec"]["rules"]).iter().map(|rule| Rule::read(rule, namespace));
        Route { hosts: hosts.collect(), rules: rules.collect() }
    }
}

impl Rule {
    fn read(rule: &Value, namespace: &str) -> Rule {
        let mut matches: Vec<Match> = array(&rule["matches"]).iter().map(Match::read).collect();
        if matches.is_empty() {
            matches.push(Match::read(&Value::Null));
        }
        Rule { matches, choices: choices(rule, namespace) }
    }
}

fn choices(rule: &Value, namespace: &str) -> Vec<Choice> {
    let of_rule = Filters::read(&rule["filters"], namespace);
    if let Some(status) = of_rule.redirect {
        return vec![Choice::at(Place::Redirected(status))];
    }
    let backends = array(&rule["backendRefs"]);
    let weight = |backend: &Value| number(&backend["weight"]).unwrap_or(1.0);
    let total: f64 = backends.iter().map(weight).sum();
    if total <= 0.0 {
        return Choice::refused(500, Failure::NoWeight);
    }
    let choice = |one: &Value| {
        let mut filters = of_rule.clone();
        let own = Filters::read(&one["filters"], namespace);
        filters.cookies.extend(own.cookies);
        filters.mirrors.extend(own.mirrors);
        Choice {
            share: weight(one) / total,
            target: Target::Backend(backend(one, namespace)),
            cookies: filters.cookies,
            mirrors: filters.mirrors,
        }
    };
    backends.iter().map(choice).collect()
}

fn backend(reference: &Value, namespace: &str) -> Backend {
    Backend {
        namespace: reference["namespace"].as_str().unwrap_or(namespace).to_owned(),
        service: text(reference, "name").to_owned(),
        seen_as: SeenAs::Uncounted,
        missing: 500,
    }
}

#[derive(Clone, Default)]
struct Filters {
    cookies: Vec<String>,
    mirrors: Vec<(f64, Backend)>,
    redirect: Option<u16>,
}

impl Filters {
    fn read(filters: &Value, namespace: &str) -> Filters {
        let mut read = Filters::default();
        for filter in array(filters) {
            let headers = &filter["responseHeaderModifier"];
            let added = array(&headers["set"]).iter().chain(array(&headers["add"]));
            let cookies = added.filter(|header| text(header, "name").eq_ignore_ascii_case("set-cookie"));
            read.cookies.extend(cookies.map(|header| text(header, "value").to_owned()));
            if let Some(mirror) = filter.get("requestMirror") {
                let fraction = &mirror["fraction"];
                let part = number(&fraction["numerator"]);
                let part = part.map(|part| part / number(&fraction["denominator"]).unwrap_or(100.0));
                let share = number(&mirror["percent"]).map(|percent| percent / 100.0).or(part).unwrap_or(1.0);
                read.mirrors.push((share.min(1.0), backend(&mirror["backendRef"], namespace)));
            }
            if let Some(redirect) = filter.get("requestRedirect") {
                let status = redirect["statusCode"].as_u64().and_then(|status| status.try_into().ok());
                read.redirect = Some(status.unwrap_or(302));
            }
        }
        read
    }
}

impl Match {
    fn read(one: &Value) -> Match {
        let value = one["path"]["value"].as_str().unwrap_or("/").to_owned();
        let path = match text(&one["path"], "type") {
            "Exact" => Path::Exact(value),
            "RegularExpression" => Path::Pattern(whole(&value), value.len()),
            _ => Path::Prefix(value),
        };
        let tests =
            |list: &Value| array(list).iter().map(|test| (text(test, "name").to_owned(), Test::read(test))).collect();
        Match {
            path,
            method: one["method"].as_str().map(str::to_owned),
            headers: tests(&one["headers"]),
            query: tests(&one["queryParams"]),
        }
    }

    fn rank(&self, request: &Request, host: (bool, usize)) -> Option<Rank> {
        let (kind, length) = match &self.path {
            Path::Exact(path) => (request.path == *path).then_some((2, path.len()))?,
            Path::Pattern(pattern, length) => {
                let found = pattern.as_ref().is_some_and(|pattern| pattern.is_match(request.path.as_bytes()));
                found.then_some((1, *length))?
            }
            Path::Prefix(prefix) => request.is_below(prefix).then_some((0, prefix.len()))?,
        };
        let method = self.method.as_ref().is_none_or(|method| *method == request.method);
        let headers = self.headers.iter().all(|(name, test)| request.header(name).is_some_and(|own| test.fits(&own)));
        let query = self.query.iter().all(|(name, test)| request.query.get(name).is_some_and(|own| test.fits(own)));
        (method && headers && query).then_some((
            host,
            kind,
            length,
            self.method.is_some(),
            self.headers.len(),
            self.query.len(),
        ))
    }
}
