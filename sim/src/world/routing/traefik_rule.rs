//! The rules of Traefik's routers: ``Host(`a`) && (PathPrefix(`/b`) || !Method(`GET`))``.

use regex::bytes::Regex;

use super::Request;
use super::request::pattern;

/// Deeper nesting is refused, so that no rule exhausts the stack.
const DEEPEST: usize = 32;

#[derive(Debug)]
pub(super) enum Rule {
    Both(Box<Rule>, Box<Rule>),
    Either(Box<Rule>, Box<Rule>),
    Not(Box<Rule>),
    Host(String),
    HostPattern(Regex),
    Path(String),
    PathPrefix(String),
    PathPattern(Regex),
    Method(String),
    Header(String, String),
    HeaderPattern(String, Regex),
    Query(String, Option<String>),
}

impl Rule {
    /// Errors name what cannot be read.
    pub(super) fn parse(text: &str) -> Result<Rule, String> {
        let mut parser = Parser { rest: text, depth: 0 };
        let rule = parser.either()?;
        match parser.rest.trim_start() {
            "" => Ok(rule),
            rest => Err(format!("unexpected {rest:?} after a rule")),
        }
    }

    /// The first host that it names.
    pub(super) fn host(&self) -> Option<&str> {
        match self {
            Rule::Host(host) => Some(host),
            Rule::Both(left, right) | Rule::Either(left, right) => left.host().or_else(|| right.host()),
            Rule::Not(_)
            | Rule::HostPattern(_)
            | Rule::Path(_)
            | Rule::PathPrefix(_)
            | Rule::PathPattern(_)
            | Rule::Method(_)
            | Rule::Header(..)
            | Rule::HeaderPattern(..)
            | Rule::Query(..) => None,
        }
    }

    /// The host without which it fits nothing, if there is one.
    pub(super) fn only_host(&self) -> Option<&str> {
        match self {
            Rule::Host(host) => Some(host),
            Rule::Both(left, right) => left.only_host().or_else(|| right.only_host()),
            Rule::Either(..)
            | Rule::Not(_)
            | Rule::HostPattern(_)
            | Rule::Path(_)
            | Rule::PathPrefix(_)
            | Rule::PathPattern(_)
            | Rule::Method(_)
            | Rule::Header(..)
            | Rule::HeaderPattern(..)
            | Rule::Query(..) => None,
        }
    }

    pub(super) fn fits(&self, request: &Request) -> bool {
        match self {
            Rule::Both(left, right) => left.fits(request) && right.fits(request),
            Rule::Either(left, right) => left.fits(request) || right.fits(request),
            Rule::Not(inner) => !inner.fits(request),
            Rule::Host(host) => request.host.eq_ignore_ascii_case(host),
            Rule::HostPattern(pattern) => pattern.is_match(request.host.as_bytes()),
            Rule::Path(path) => request.path == *path,
            // By letters, not by elements.
            Rule::PathPrefix(prefix) => request.path.starts_with(prefix.as_str()),
            Rule::PathPattern(pattern) => pattern.is_match(request.path.as_bytes()),
            Rule::Method(method) => request.method.eq_ignore_ascii_case(method),
            Rule::Header(name, value) => request.header(name).is_some_and(|own| own == *value),
            Rule::HeaderPattern(name, pattern) => {
                request.header(name).is_some_and(|own| pattern.is_match(own.as_bytes()))
            }
            Rule::Query(name, value) => {
                request.query.get(name).is_some_and(|own| value.as_ref().is_none_or(|value| value == own))
            }
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn takes(&mut self, sign: &str) -> bool {
        self.rest = self.rest.trim_start();
        let after = self.rest.strip_prefix(sign);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn either(&mut self) -> Result<Rule, String> {
        let mut rule = self.both()?;
        while self.takes("||") {
            rule = Rule::Either(Box::new(rule), Box::new(self.both()?));
        }
        Ok(rule)
    }

    fn both(&mut self) -> Result<Rule, String> {
        let mut rule = self.single()?;
        while self.takes("&&") {
            rule = Rule::Both(Box::new(rule), Box::new(self.single()?));
        }
        Ok(rule)
    }

    fn single(&mut self) -> Result<Rule, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("a rule of more than {DEEPEST} parts"));
        }
        if self.takes("!") {
            return Ok(Rule::Not(Box::new(self.single()?)));
        }
        if self.takes("(") {
            let rule = self.either()?;
            return if self.takes(")") { Ok(rule) } else { Err("a bracket is not closed".into()) };
        }
        let (name, after) = self.rest.split_once('(').ok_or_else(|| format!("no matcher in {:?}", self.rest))?;
        self.rest = after;
        let mut arguments = Vec::new();
        while !self.takes(")") {
            arguments.push(self.argument()?);
            self.takes(",");
        }
        matcher(name.trim(), &arguments)
    }

    fn argument(&mut self) -> Result<&'a str, String> {
        let quote = ["`", "\""].into_iter().find(|quote| self.takes(quote)).ok_or("an argument is not quoted")?;
        let (argument, after) = self.rest.split_once(quote).ok_or("a quote is not closed")?;
        self.rest = after;
        Ok(argument)
    }
}

fn matcher(name: &str, arguments: &[&str]) -> Result<Rule, String> {
    let read = |text: &str| pattern(text).ok_or_else(|| format!("the pattern {text:?} cannot be read"));
    Ok(match (name, arguments) {
        ("Host", [host]) => Rule::Host((*host).to_owned()),
        ("HostRegexp", [text]) => Rule::HostPattern(read(text)?),
        ("Path", [path]) => Rule::Path((*path).to_owned()),
        ("PathPrefix", [prefix]) => Rule::PathPrefix((*prefix).to_owned()),
        ("PathRegexp", [text]) => Rule::PathPattern(read(text)?),
        ("Method", [method]) => Rule::Method((*method).to_owned()),
        ("Header" | "Headers", [name, value]) => Rule::Header((*name).to_owned(), (*value).to_owned()),
        ("HeaderRegexp" | "HeadersRegexp", [name, text]) => Rule::HeaderPattern((*name).to_owned(), read(text)?),
        ("Query", [name]) => Rule::Query((*name).to_owned(), None),
        ("Query", [name, value]) => Rule::Query((*name).to_owned(), Some((*value).to_owned())),
        _ => return Err(format!("there is no matcher {name} with {} arguments", arguments.len())),
    })
}
