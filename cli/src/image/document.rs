//! A YAML file as a tree whose scalars know where they stand in the text, so that one can be changed and the rest left alone.

use std::collections::BTreeMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};

/// A node of the tree.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// A mapping, in the order of the text.
    Map {
        /// Keys and values.
        entries: Vec<(Scalar, Node)>,
        /// Written in braces.
        flow: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A scalar.
    Scalar(Scalar),
    /// Another node's name: what it means is changed where it is defined.
    Alias,
}

/// A scalar and its place.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    /// What it says.
    pub(super) value: String,
    /// Its bytes in the text, quotes included.
    pub(super) place: Range<usize>,
    /// Its line, counted from one.
    pub(super) line: usize,
    /// How it is quoted.
    pub(super) style: ScalarStyle,
}

/// A file.
#[derive(Debug)]
pub(super) struct File {
    /// Its documents.
    pub(super) documents: Vec<Node>,
    /// Comments behind something, by line: the text after the number sign.
    pub(super) remarks: BTreeMap<usize, String>,
}

/// Where a file is no YAML.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {why}")]
pub(super) struct NoYaml {
    /// Counted from one.
    pub(super) line: usize,
    /// The parser's words.
    pub(super) why: String,
}

impl Node {
    /// The value of that key, when this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Node::Map { entries, .. } => entries.iter().find(|(own, _)| own.value == key).map(|(_, node)| node),
            Node::List(_) | Node::Scalar(_) | Node::Alias => None,
        }
    }

    /// The scalar of that key.
    pub(super) fn scalar(&self, key: &str) -> Option<&Scalar> {
        match self.get(key)? {
            Node::Scalar(scalar) => Some(scalar),
            Node::Map { .. } | Node::List(_) | Node::Alias => None,
        }
    }
}

/// Reads a file.
///
/// # Errors
/// When it is no YAML.
pub(super) fn read(text: &str) -> Result<File, NoYaml> {
    let mut remarks = BTreeMap::new();
    let mut documents = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| NoYaml { line: error.marker().line(), why: error.to_string() })?;
        let done = match event {
            Event::Scalar(value, style, _, _) => Some(Node::Scalar(scalar(&value, style, &span))),
            Event::Alias(_) | Event::UnresolvedAlias(_) => Some(Node::Alias),
            Event::MappingStart(style, _, _) => {
                open.push(Open::Map { entries: Vec::new(), key: None, flow: style == StructureStyle::Flow });
                None
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                None
            }
            Event::MappingEnd | Event::SequenceEnd => open.pop().map(Open::close),
            Event::Comment(words, _) => {
                remarks.insert(span.start.line(), words.trim().to_owned());
                None
            }
            // Of these nothing can be changed.
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | _ => None,
        };
        let Some(node) = done else { continue };
        match open.last_mut() {
            Some(parent) => parent.take(node),
            None => documents.push(node),
        }
    }
    Ok(File { documents, remarks })
}

enum Open {
    Map { entries: Vec<(Scalar, Node)>, key: Option<Option<Scalar>>, flow: bool },
    List(Vec<Node>),
}

impl Open {
    fn take(&mut self, node: Node) {
        match self {
            Open::List(nodes) => nodes.push(node),
            Open::Map { entries, key, .. } => match (key.take(), node) {
                (None, Node::Scalar(scalar)) => *key = Some(Some(scalar)),
                // A key that is no scalar is nobody's field; its value is passed over with it.
                (None, Node::Map { .. } | Node::List(_) | Node::Alias) => *key = Some(None),
                (Some(Some(name)), value) => entries.push((name, value)),
                (Some(None), _) => {}
            },
        }
    }

    fn close(self) -> Node {
        match self {
            Open::Map { entries, flow, .. } => Node::Map { entries, flow },
            Open::List(nodes) => Node::List(nodes),
        }
    }
}

fn scalar(value: &str, style: ScalarStyle, span: &Span) -> Scalar {
    Scalar { value: value.to_owned(), place: span.byte_range().unwrap_or_default(), line: span.start.line(), style }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_know_their_place() {
        let text = "# über\na: \"x y\" # remark\nb: [1, {c: 'd'}]\n---\ne: f\n";
        let file = read(text).expect("YAML");
        assert_eq!(file.documents.len(), 2);
        let quoted = file.documents[0].scalar("a").expect("a");
        assert_eq!((&text[quoted.place.clone()], quoted.line), ("\"x y\"", 2));
        assert_eq!(file.remarks[&2], "remark");
        let Some(Node::List(list)) = file.documents[0].get("b") else { panic!("no list") };
        assert_eq!(&text[list[1].scalar("c").expect("c").place.clone()], "'d'");
        assert_eq!(&text[file.documents[1].scalar("e").expect("e").place.clone()], "f");
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        let error = read("a: b\nc: [\n").expect_err("no YAML");
        assert!(error.line >= 2, "{error}");
    }
}
