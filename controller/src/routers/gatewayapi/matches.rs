//! Which requests a rule takes.

use std::collections::BTreeMap;

use crds::{MatchRequest, StringMatch};
use serde_json::{Map, Value, json};

use super::RouteError;

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Match {
    path: Option<Condition>,
    method: Option<String>,
    headers: Vec<Condition>,
    query: Vec<Condition>,
}

/// How a named thing must look; the name of a path is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Condition {
    name: String,
    how: &'static str,
    value: String,
}

impl Match {
    /// Requests that carry the cookie, given as `name=value`.
    pub(super) fn cookie(cookie: &str) -> Match {
        let (name, value) = cookie.split_once('=').unwrap_or((cookie, ""));
        let value = format!(".*{name}.*{value}.*");
        Match {
            headers: vec![Condition { name: "Cookie".into(), how: "RegularExpression", value }],
            ..Match::default()
        }
    }

    /// Requests that both take. Of one header or parameter, only the first condition counts in the Gateway API: that
    /// of `self`.
    fn and(&self, other: &Match) -> Match {
        Match {
            path: self.path.clone().or_else(|| other.path.clone()),
            method: self.method.clone().or_else(|| other.method.clone()),
            headers: union(&self.headers, &other.headers, str::eq_ignore_ascii_case),
            query: union(&self.query, &other.query, |one, two| one == two),
        }
    }

    pub(super) fn is_by_prefix(&self) -> bool {
        self.path.as_ref().is_none_or(|path| path.how == "PathPrefix")
    }

    /// The path condition, for people.
    pub(super) fn path_text(&self) -> String {
        self.path.as_ref().map(|path| format!("{} {}", path.how, path.value)).unwrap_or_default()
    }

    pub(super) fn to_value(&self) -> Value {
        // The API server would fill in the path; said here, it is also seen when somebody changes it.
        let (how, value) = self.path.as_ref().map_or(("PathPrefix", "/"), |path| (path.how, path.value.as_str()));
        let mut written = Map::from_iter([
            ("path".to_owned(), json!({ "type": how, "value": value })),
            ("headers".to_owned(), named(&self.headers)),
            ("queryParams".to_owned(), named(&self.query)),
        ]);
        if let Some(method) = &self.method {
            written.insert("method".into(), method.clone().into());
        }
        Value::Object(written)
    }
}

fn named(conditions: &[Condition]) -> Value {
    conditions.iter().map(|one| json!({ "name": one.name, "type": one.how, "value": one.value })).collect()
}

fn union(first: &[Condition], second: &[Condition], same: fn(&str, &str) -> bool) -> Vec<Condition> {
    let more = second.iter().filter(|more| !first.iter().any(|one| same(&one.name, &more.name)));
    let mut all: Vec<_> = first.iter().chain(more).cloned().collect();
    all.sort();
    all
}

/// Every one of `first` with every one of `second`.
pub(super) fn all_pairs(first: &[Match], second: &[Match]) -> Vec<Match> {
    first.iter().flat_map(|one| second.iter().map(|two| one.and(two))).collect()
}

/// The requests of `spec.service.match`; all when it says nothing that the Gateway API knows.
pub(super) fn of_service(requests: &[MatchRequest]) -> Result<Vec<Match>, RouteError> {
    let mut matches = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let one = read(request, &format!("spec.service.match[{index}]"))?;
        if one != Match::default() {
            matches.push(one);
        }
    }
    if matches.is_empty() {
        matches.push(Match::default());
    }
    Ok(matches)
}

/// The requests of `spec.analysis.match`. One that says nothing would send everybody to the canary: an error.
pub(super) fn of_analysis(requests: &[MatchRequest]) -> Result<Vec<Match>, RouteError> {
    let read = |(index, request)| {
        let field = format!("spec.analysis.match[{index}]");
        let one = read(request, &field)?;
        if one == Match::default() {
            return Err(RouteError::Field {
                field,
                why: "the Gateway API matches headers and queryParams: give at least one".into(),
            });
        }
        Ok(one)
    };
    requests.iter().enumerate().map(read).collect()
}

fn read(request: &MatchRequest, field: &str) -> Result<Match, RouteError> {
    let path = request
        .uri
        .as_ref()
        .map(|uri| condition(uri, "", &format!("{field}.uri"), &[Form::Regex, Form::Exact, Form::Prefix]))
        .transpose()?;
    let method = request
        .method
        .as_ref()
        .map(|method| condition(method, "", &format!("{field}.method"), &[Form::Exact]))
        .transpose()?;
    Ok(Match {
        path,
        method: method.map(|method| method.value),
        headers: conditions(&request.headers, &format!("{field}.headers"))?,
        query: conditions(&request.query_params, &format!("{field}.queryParams"))?,
    })
}

fn conditions(of: &BTreeMap<String, StringMatch>, field: &str) -> Result<Vec<Condition>, RouteError> {
    of.iter()
        .map(|(name, value)| condition(value, name, &format!("{field}[{name:?}]"), &[Form::Exact, Form::Regex]))
        .collect()
}

#[derive(Clone, Copy)]
enum Form {
    Exact,
    Prefix,
    Regex,
}

impl Form {
    const fn key(self) -> &'static str {
        match self {
            Form::Exact => "exact",
            Form::Prefix => "prefix",
            Form::Regex => "regex",
        }
    }

    const fn how(self) -> &'static str {
        match self {
            Form::Exact => "Exact",
            Form::Prefix => "PathPrefix",
            Form::Regex => "RegularExpression",
        }
    }

    fn of(self, text: &StringMatch) -> Option<&String> {
        match self {
            Form::Exact => text.exact.as_ref(),
            Form::Prefix => text.prefix.as_ref(),
            Form::Regex => text.regex.as_ref(),
        }
    }
}

/// The first of the forms that is given.
fn condition(text: &StringMatch, name: &str, field: &str, forms: &[Form]) -> Result<Condition, RouteError> {
    let given = forms.iter().find_map(|form| Some((form, form.of(text).filter(|value| !value.is_empty())?)));
    let (form, value) = given.ok_or_else(|| RouteError::Field {
        field: field.to_owned(),
        why: format!(
            "the Gateway API needs one of: {}",
            forms.iter().map(|form| form.key()).collect::<Vec<_>>().join(", ")
        ),
    })?;
    Ok(Condition { name: name.to_owned(), how: form.how(), value: value.clone() })
}
