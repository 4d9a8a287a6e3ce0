//! Fills in query templates: the part of Go's `text/template` that queries use, and nothing else. A template engine
//! of another dialect would refuse what Flagger's users have written (`{{ index variables "key" }}`,
//! `{{ printf "%s-canary" service }}`) and run what they could not have meant. No loops, no recursion: the work is
//! linear in the length of the template, and the result is bounded.

use std::collections::BTreeMap;

/// Longest query, in bytes.
pub const QUERY_LIMIT: usize = 64 * 1024;

/// What the names in a template stand for.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// `name`: the Canary.
    pub name: &'a str,
    /// `namespace` of the Canary.
    pub namespace: &'a str,
    /// `target`: the workload.
    pub target: &'a str,
    /// `service`: the Service that clients use.
    pub service: &'a str,
    /// `ingress`: the source Ingress, or the target's name.
    pub ingress: &'a str,
    /// `route`: the source route, or the target's name.
    pub route: &'a str,
    /// `interval`: the window, as written.
    pub interval: &'a str,
    /// `variables`, by key.
    pub variables: &'a BTreeMap<String, String>,
}

/// Why a template cannot be filled in; the user must mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// An action without an end.
    #[error("the query template has {{{{ without }}}} on line {line}")]
    Unclosed {
        /// Line within the template, from 1.
        line: usize,
    },
    /// A name that stands for nothing.
    #[error("the query template names {name}, which is not known; known are {known}, variables.<key>", known = NAMES.join(", "))]
    UnknownName {
        /// As written.
        name: String,
    },
    /// A variable that the metric does not set.
    #[error("the query template wants variables.{key}; the metric's templateVariables have {known}")]
    UnknownVariable {
        /// As written.
        key: String,
        /// What there is.
        known: String,
    },
    /// Anything else of Go's language, or of no language.
    #[error(
        "the query template has {{{{ {action} }}}}: {why}; understood are a name, variables.<key>, \
         index variables \"<key>\" and printf \"<format>\" with these"
    )]
    NotUnderstood {
        /// As written, cut short.
        action: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The result is too long.
    #[error("the query is longer than {QUERY_LIMIT} bytes")]
    TooLong,
}

/// The template with every action replaced by its value.
pub fn render(template: &str, values: &Values<'_>) -> Result<String, TemplateError> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        let text = &rest[..start];
        let inside = &rest[start + 2..];
        let line = || 1 + template[..template.len() - inside.len()].matches('\n').count();
        let action = Action::cut(inside).ok_or_else(|| TemplateError::Unclosed { line: line() })?;
        out.push_str(if action.trims_left { text.trim_end_matches(SPACE) } else { text });
        out.push_str(&evaluate(action.body, values)?);
        if out.len() > QUERY_LIMIT {
            return Err(TemplateError::TooLong);
        }
        rest = &inside[action.length..];
        if action.trims_right {
            rest = rest.trim_start_matches(SPACE);
        }
    }
    out.push_str(rest);
    if out.len() > QUERY_LIMIT { Err(TemplateError::TooLong) } else { Ok(out) }
}

const NAMES: [&str; 7] = ["name", "namespace", "target", "service", "ingress", "route", "interval"];

/// White space as Go's templates trim it.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// What stands between `{{` and `}}`.
struct Action<'a> {
    body: &'a str,
    trims_left: bool,
    trims_right: bool,
    /// Bytes from after `{{` to after `}}`.
    length: usize,
}

impl<'a> Action<'a> {
    /// `None` when there is no end.
    fn cut(inside: &'a str) -> Option<Action<'a>> {
        let trims_left = inside.starts_with('-') && inside[1..].starts_with(SPACE);
        let begin = usize::from(trims_left);
        let end = begin + end_of(&inside[begin..])?;
        let body = &inside[begin..end];
        // The marker needs white space before it, as `{{ x -}}` has.
        let trimmed = body.strip_suffix('-').filter(|body| body.ends_with(SPACE));
        Some(Action {
            body: trimmed.unwrap_or(body).trim_matches(SPACE),
            trims_left,
            trims_right: trimmed.is_some(),
            length: end + 2,
        })
    }
}

/// Where the `}}` stands that is in no string and no comment.
fn end_of(text: &str) -> Option<usize> {
    let blank = text.len() - text.trim_start_matches(SPACE).len();
    if text[blank..].starts_with("/*") {
        let comment = blank + text[blank..].find("*/")?;
        return Some(comment + text[comment..].find("}}")?);
    }
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut position = 0;
    while position < bytes.len() {
        match (quote, bytes[position]) {
            (None, b'}') if bytes.get(position + 1) == Some(&b'}') => return Some(position),
            (None, mark @ (b'"' | b'`')) => quote = Some(mark),
            (Some(b'"'), b'\\') => position += 1,
            (Some(mark), byte) if mark == byte => quote = None,
            (None | Some(_), _) => {}
        }
        position += 1;
    }
    None
}

#[derive(Clone, Debug, PartialEq)]
enum Word<'a> {
    /// A name, dots included.
    Name(&'a str),
    Text(String),
}

fn evaluate(action: &str, values: &Values<'_>) -> Result<String, TemplateError> {
    let not_understood =
        |why| TemplateError::NotUnderstood { action: crate::http::excerpt(action.as_bytes(), 80), why };
    if action.starts_with("/*") {
        return if action.ends_with("*/") { Ok(String::new()) } else { Err(not_understood("a comment stands alone")) };
    }
    let words = words(action).map_err(not_understood)?;
    match words.as_slice() {
        [] => Err(not_understood("there is nothing in it")),
        [Word::Text(text)] => Ok(text.clone()),
        [Word::Name("index"), Word::Name("variables"), Word::Text(key)] => variable(key, values),
        [Word::Name("printf"), Word::Text(format), arguments @ ..] => {
            let arguments = arguments.iter().map(|word| match word {
                Word::Name(name) => lookup(name, values),
                Word::Text(text) => Ok(text.clone()),
            });
            let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
            print_formatted(format, &arguments).map_err(not_understood)
        }
        [Word::Name("variables")] => Err(not_understood("it names no key")),
        [Word::Name(name)] => lookup(name, values),
        [Word::Name(_) | Word::Text(_), ..] => Err(not_understood("this is not supported")),
    }
}

fn words(action: &str) -> Result<Vec<Word<'_>>, &'static str> {
    let mut words = Vec::new();
    let mut rest = action.trim_start_matches(SPACE);
    while let Some(first) = rest.chars().next() {
        let length;
        if first.is_ascii_alphabetic() || first == '_' {
            length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
            words.push(Word::Name(&rest[..length]));
        } else if first == '`' {
            length = 2 + rest[1..].find('`').ok_or("a string has no end")?;
            words.push(Word::Text(rest[1..length - 1].to_owned()));
        } else if first == '"' {
            let (text, used) = quoted(rest)?;
            length = used;
            words.push(Word::Text(text));
        } else {
            return Err("this is not supported");
        }
        let after = &rest[length..];
        rest = after.trim_start_matches(SPACE);
        if !rest.is_empty() && rest.len() == after.len() {
            return Err("two words need a space between them");
        }
    }
    Ok(words)
}

/// The string that begins `text`, and the bytes it takes there.
fn quoted(text: &str) -> Result<(String, usize), &'static str> {
    let mut out = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return Ok((out, position + 1)),
            '\n' => break,
            '\\' => match characters.next() {
                Some((_, escaped @ ('\\' | '"'))) => out.push(escaped),
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                _ => return Err("a string has an escape other than \\\\, \\\", \\n and \\t"),
            },
            character => out.push(character),
        }
    }
    Err("a string has no end")
}

fn lookup(name: &str, values: &Values<'_>) -> Result<String, TemplateError> {
    let value = match name {
        "name" => values.name,
        "namespace" => values.namespace,
        "target" => values.target,
        "service" => values.service,
        "ingress" => values.ingress,
        "route" => values.route,
        "interval" => values.interval,
        _ => match name.strip_prefix("variables.").filter(|key| !key.is_empty() && !key.contains('.')) {
            Some(key) => return variable(key, values),
            None => return Err(TemplateError::UnknownName { name: crate::http::excerpt(name.as_bytes(), 80) }),
        },
    };
    Ok(value.to_owned())
}

fn variable(key: &str, values: &Values<'_>) -> Result<String, TemplateError> {
    values.variables.get(key).cloned().ok_or_else(|| {
        let known: Vec<_> = values.variables.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        TemplateError::UnknownVariable { key: crate::http::excerpt(key.as_bytes(), 80), known }
    })
}

fn print_formatted(format: &str, arguments: &[String]) -> Result<String, &'static str> {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('%') => out.push('%'),
            Some('s' | 'v') => out.push_str(arguments.next().ok_or("printf has more verbs than values")?),
            _ => return Err("printf has a verb other than %s, %v and %%"),
        }
        if out.len() > QUERY_LIMIT {
            return Err("the result is too long");
        }
    }
    if arguments.next().is_some() { Err("printf has more values than verbs") } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str) -> Result<String, TemplateError> {
        let variables = BTreeMap::from([("direction".into(), "inbound".into()), ("a-b".into(), "dashed".into())]);
        render(
            template,
            &Values {
                name: "podinfo",
                namespace: "shop",
                target: "podinfo-app",
                service: "podinfo-svc",
                ingress: "podinfo-ing",
                route: "podinfo-route",
                interval: "1m",
                variables: &variables,
            },
        )
    }

    #[test]
    fn what_users_write_is_filled_in() {
        let table = [
            ("no action", "no action"),
            (r#"m{ns="{{ namespace }}",t=~"{{target}}"}[{{ interval }}]"#, r#"m{ns="shop",t=~"podinfo-app"}[1m]"#),
            ("{{ name }} {{ service }} {{ ingress }} {{ route }}", "podinfo podinfo-svc podinfo-ing podinfo-route"),
            ("{{ variables.direction }}", "inbound"),
            (r#"{{ index variables "a-b" }}"#, "dashed"),
            ("{{ index variables `direction` }}", "inbound"),
            ("a \n {{- name -}} \n b", "apodinfob"),
            ("a {{- name }} b", "apodinfo b"),
            ("a {{ name -}} b", "a podinfob"),
            ("a{{/* a }} comment */}}b", "ab"),
            ("a {{- /* comment */ -}} b", "ab"),
            (r#"{{ "{{ name }}" }}"#, "{{ name }}"),
            (r#"{{ "a\"\\\n" }}"#, "a\"\\\n"),
            (
                r#"{{ printf "kube(ew)?_%s__%s_canary__.*__%s_canary(_[0-9]+)?" namespace ingress service }}"#,
                "kube(ew)?_shop__podinfo-ing_canary__.*__podinfo-svc_canary(_[0-9]+)?",
            ),
            (r#"{{ printf "100%% %v %s" variables.direction "x" }}"#, "100% inbound x"),
            // Special to other engines, plain text here.
            ("{% raw %}{# no #}{name} }} # %}", "{% raw %}{# no #}{name} }} # %}"),
            ("ünï{{ name }}ködé", "ünïpodinfoködé"),
            ("", ""),
        ];
        for (template, wanted) in table {
            assert_eq!(rendered(template).as_deref(), Ok(wanted), "{template}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_says_why() {
        let table = [
            (
                "{{ nmae }}",
                "names nmae, which is not known; known are name, namespace, target, service, ingress, route",
            ),
            ("{{ .Name }}", "this is not supported"),
            ("{{ name.x }}", "names name.x"),
            ("{{ variables.x }}", "wants variables.x; the metric's templateVariables have a-b, direction"),
            (r#"{{ index variables "x" }}"#, "wants variables.x"),
            ("{{ variables }}", "names no key"),
            ("{{ variables. }}", "names variables."),
            ("{{ variables.a-b }}", "two words need a space"),
            ("{{ }}", "nothing in it"),
            ("{{ name target }}", "not supported"),
            ("{{ name | upper }}", "not supported"),
            ("{{ if name }}x{{ end }}", "not supported"),
            ("{{ range(1000000000) }}", "two words"),
            ("{{ 'x' * 1000000000 }}", "not supported"),
            ("{{ namespace() }}", "two words"),
            ("{{ printf \"%s\" }}", "more verbs"),
            ("{{ printf \"x\" name }}", "more values"),
            ("{{ printf \"%1000000000s\" name }}", "a verb other than"),
            ("{{ printf name }}", "not supported"),
            ("\n\n{{ name", "without }} on line 3"),
            ("{{ \"name }}", "without }}"),
            ("{{ `name }}", "without }}"),
            ("{{/* comment }}", "without }}"),
            ("{{ \"\\", "without }}"),
            ("{{ /* a */ name }}", "a comment stands alone"),
            ("{{ \"\\x\" }}", "an escape other than"),
            ("{{-", "without }}"),
            ("{{{{", "without }}"),
            ("{{{ name }}}", "not supported"),
        ];
        for (template, wanted) in table {
            let error = rendered(template).expect_err(template).to_string();
            assert!(error.contains(wanted), "{template}: {error}");
        }
    }

    #[test]
    fn hostile_templates_end_soon() {
        assert_eq!(rendered(&"{{ name }}".repeat(100_000)), Err(TemplateError::TooLong));
        assert_eq!(rendered(&"x".repeat(QUERY_LIMIT + 1)), Err(TemplateError::TooLong));
        assert!(rendered(&"{{".repeat(500_000)).is_err());
        assert!(rendered(&format!("{{{{ printf \"{}\" {} }}}}", "%s".repeat(9_999), "name ".repeat(9_999))).is_err());
        // No cut of a valid template makes the reader stumble.
        let template = "ü{{- `ä` -}} {{ printf \"%s\\\"é\" variables.direction }}{{/* ö */}}";
        for end in (0..=template.len()).filter(|end| template.is_char_boundary(*end)) {
            let _ = rendered(&template[..end]);
        }
    }
}
