//! Which scalars of a manifest name an image, and what they should say: decided from the text alone.
//!
//! Four places are known: a field with a setter comment, an entry of a Kustomization's `images`, `repository` and `tag` side
//! by side as in Helm values, and the field `image`.

use std::ops::Range;

use granit_parser::ScalarStyle;

use super::document::{self, File, NoYaml, Node, Scalar};
use super::reference::Reference;

/// A change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// What is replaced, in bytes.
    pub(super) place: Range<usize>,
    /// By what.
    pub(super) text: String,
    /// The line, counted from one.
    pub(super) line: usize,
}

/// What a manifest says of images.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// What is to be changed; empty when all is as it should be.
    pub(super) edits: Vec<Edit>,
    /// How many places name the image, changed or not.
    pub(super) places: usize,
    /// Repositories that are named, for people who mistyped theirs.
    pub(super) repositories: Vec<String>,
}

/// Looks through a manifest. `policy` is the name in Flux's setter comments that means this image, where one was told.
///
/// # Errors
/// When it is no YAML.
pub(super) fn look(text: &str, wanted: &Reference, policy: Option<&str>) -> Result<Found, NoYaml> {
    let file = document::read(text)?;
    let mut search = Search { text, file: &file, wanted, policy, found: Found::default() };
    for document in &file.documents {
        search.node("", document);
    }
    let mut found = search.found;
    found.edits.sort_by_key(|edit| (edit.place.start, edit.place.end));
    found.edits.dedup();
    Ok(found)
}

/// The text with the changes made.
pub(super) fn make(text: &str, edits: &[Edit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for edit in edits {
        out.push_str(text.get(from..edit.place.start).unwrap_or_default());
        out.push_str(&edit.text);
        from = edit.place.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

/// What a setter comment says of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Name,
    Tag,
    Digest,
}

struct Search<'a> {
    text: &'a str,
    file: &'a File,
    wanted: &'a Reference,
    policy: Option<&'a str>,
    found: Found,
}

impl Search<'_> {
    fn node(&mut self, key: &str, node: &Node) {
        match node {
            Node::Map { entries, .. } => {
                let kustomization = key.is_empty() || key == "spec";
                let helm = self.side_by_side(key, node);
                for (name, value) in entries {
                    if let Node::Scalar(scalar) = value {
                        self.field(&name.value, scalar, helm);
                    } else if let (true, "images", Node::List(items)) = (kustomization, name.value.as_str(), value) {
                        for item in items {
                            self.kustomize(item);
                        }
                    } else {
                        self.node(&name.value, value);
                    }
                }
            }
            Node::List(nodes) => {
                for node in nodes {
                    self.node(key, node);
                }
            }
            Node::Scalar(_) | Node::Alias => {}
        }
    }

    /// A field by itself: one with a setter comment, or `image`.
    fn field(&mut self, key: &str, scalar: &Scalar, taken: bool) {
        if let Some((part, meant)) = self.setter(scalar.line) {
            if !(meant || part == Part::Whole && self.names(&scalar.value)) {
                return;
            }
            let new = match part {
                Part::Whole => {
                    let own = Reference::parse(&scalar.value).map(|own| own.repository);
                    self.wanted.spelled(&own.unwrap_or_else(|_| self.wanted.repository.clone()))
                }
                Part::Name => self.wanted.repository.clone(),
                Part::Tag => match (&self.wanted.tag, &self.wanted.digest) {
                    (Some(tag), Some(digest)) => format!("{tag}@{digest}"),
                    (Some(only), None) | (None, Some(only)) => only.clone(),
                    (None, None) => return,
                },
                Part::Digest => self.wanted.digest.clone().unwrap_or_default(),
            };
            self.set(scalar, &new);
            return;
        }
        if key == "image" && !taken {
            let Ok(own) = Reference::parse(&scalar.value) else { return };
            self.seen(&own.repository);
            if self.wanted.is_of(&own.repository) {
                self.set(scalar, &self.wanted.spelled(&own.repository));
            }
        }
    }

    /// `repository` and `tag` in one mapping. True when it is this image.
    fn side_by_side(&mut self, key: &str, map: &Node) -> bool {
        let Some(repository) = map.scalar("repository") else { return false };
        let image = key.to_lowercase().ends_with("image");
        let (tag, digest) = (map.scalar("tag"), map.scalar("digest"));
        if tag.is_none() && digest.is_none() && !image {
            return false;
        }
        let registry = map.scalar("registry").map(|registry| registry.value.as_str()).unwrap_or_default();
        let full =
            if registry.is_empty() { repository.value.clone() } else { format!("{registry}/{}", repository.value) };
        self.seen(&full);
        if !self.wanted.is_of(&full) {
            return false;
        }
        self.parts(map, repository, "tag", true);
        true
    }

    /// An entry of a Kustomization's `images`.
    fn kustomize(&mut self, entry: &Node) {
        let Some(name) = entry.scalar("name") else { return };
        let last = entry.scalar("newName").unwrap_or(name);
        self.seen(&last.value);
        if self.wanted.is_of(&name.value) || self.wanted.is_of(&last.value) {
            self.parts(entry, last, "newTag", false);
        }
    }

    /// Tag and digest in fields of their own, beside the name. What is not wanted is emptied, or taken out where an empty
    /// field means something else.
    fn parts(&mut self, map: &Node, name: &Scalar, tag: &str, may_be_empty: bool) {
        let flow = matches!(map, Node::Map { flow: true, .. });
        for (key, wanted) in [(tag, &self.wanted.tag), ("digest", &self.wanted.digest)] {
            match (map.scalar(key), wanted) {
                (Some(scalar), Some(wanted)) => self.set(scalar, wanted),
                (Some(scalar), None) if may_be_empty => {
                    if !scalar.value.is_empty() {
                        self.edit(scalar.place.clone(), "\"\"".into(), scalar.line);
                    }
                }
                (Some(scalar), None) => self.take_out(map, key, scalar, flow),
                (None, Some(wanted)) => self.put_beside(name, key, wanted, flow),
                (None, None) => {}
            }
        }
    }

    fn set(&mut self, scalar: &Scalar, new: &str) {
        self.found.places += 1;
        if scalar.value != new {
            self.edit(scalar.place.clone(), quoted(new, scalar.style), scalar.line);
        }
    }

    fn put_beside(&mut self, name: &Scalar, key: &str, value: &str, flow: bool) {
        self.found.places += 1;
        let value = quoted(value, ScalarStyle::Plain);
        if flow {
            self.edit(name.place.end..name.place.end, format!(", {key}: {value}"), name.line);
            return;
        }
        let line = self.line_around(name.place.start);
        // Where the entry begins with a dash, the next key stands below the first.
        let own = self.text.get(line.clone()).unwrap_or_default();
        let column = own.len() - own.trim_start_matches([' ', '-', '\t']).len();
        let ending = if own.ends_with("\r\n") { "\r\n" } else { "\n" };
        let before = if own.ends_with('\n') { "" } else { ending };
        self.edit(line.end..line.end, format!("{before}{}{key}: {value}{ending}", " ".repeat(column)), name.line);
    }

    fn take_out(&mut self, map: &Node, key: &str, scalar: &Scalar, flow: bool) {
        let Node::Map { entries, .. } = map else { return };
        let Some(index) = entries.iter().position(|(own, _)| own.value == key) else { return };
        if flow {
            // With the comma before it; there is one, because the name comes first.
            let from = self.text.get(..entries[index].0.place.start).and_then(|before| before.rfind(','));
            self.edit(from.unwrap_or(scalar.place.start)..scalar.place.end, String::new(), scalar.line);
        } else if index > 0 {
            self.edit(self.line_around(scalar.place.start), String::new(), scalar.line);
        } else {
            self.edit(scalar.place.clone(), "\"\"".into(), scalar.line);
        }
    }

    fn edit(&mut self, place: Range<usize>, text: String, line: usize) {
        self.found.edits.push(Edit { place, text, line });
    }

    fn line_around(&self, place: usize) -> Range<usize> {
        let start = self.text.get(..place).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        let end =
            self.text.get(place..).and_then(|after| after.find('\n')).map_or(self.text.len(), |end| place + end + 1);
        start..end
    }

    fn names(&self, value: &str) -> bool {
        Reference::parse(value).is_ok_and(|own| self.wanted.is_of(&own.repository))
    }

    fn seen(&mut self, repository: &str) {
        if !self.found.repositories.iter().any(|known| known == repository) {
            self.found.repositories.push(repository.to_owned());
        }
    }

    /// The setter comment of a line, and whether it means this image: Serin's own names the repository, Flux's a policy.
    fn setter(&self, line: usize) -> Option<(Part, bool)> {
        let remark = self.file.remarks.get(&line)?;
        if let Some(words) = remark.strip_prefix("serin:") {
            let (part, repository) = words.split_once(' ').unwrap_or((words, ""));
            let meant = !repository.trim().is_empty() && self.wanted.is_of(repository.trim());
            return Some((part_of(part)?, meant));
        }
        let words = remark.strip_prefix('{')?.strip_suffix('}')?;
        let (key, value) = words.split_once(':')?;
        if key.trim().trim_matches('"') != "$imagepolicy" {
            return None;
        }
        let mut names = value.trim().trim_matches('"').splitn(3, ':');
        let (namespace, name) = (names.next()?, names.next()?);
        let part = part_of(names.next().unwrap_or("image"))?;
        Some((part, self.policy == Some(format!("{namespace}:{name}").as_str())))
    }
}

fn part_of(word: &str) -> Option<Part> {
    match word {
        "image" => Some(Part::Whole),
        "name" => Some(Part::Name),
        "tag" => Some(Part::Tag),
        "digest" => Some(Part::Digest),
        _ => None,
    }
}

/// The value in the quotes that were there; a plain one gets some where it would be read as a number or the like.
fn quoted(value: &str, style: ScalarStyle) -> String {
    match style {
        ScalarStyle::SingleQuoted => format!("'{value}'"),
        ScalarStyle::Plain if is_plain(value) => value.to_owned(),
        // Images have no character that would have to be escaped.
        ScalarStyle::Plain | ScalarStyle::DoubleQuoted | ScalarStyle::Literal | ScalarStyle::Folded => {
            format!("\"{value}\"")
        }
    }
}

/// True when every YAML reader takes the plain value for a string. Old ones also read `1_000`, `1e3`, `0x1f`, `0o17`, `12:30`
/// and `yes` as something else, so whatever is not clearly a word is not plain.
fn is_plain(value: &str) -> bool {
    let word = matches!(
        value.to_ascii_lowercase().as_str(),
        "" | "~" | "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    let number = value.parse::<f64>().is_ok()
        || value.chars().all(|char| char.is_ascii_digit() || "._:+-eExXoOabcdfABCDF".contains(char))
            && value.starts_with(|char: char| char.is_ascii_digit() || "+-.".contains(char))
            && value.matches('.').count() < 2;
    !word && !number
}

#[cfg(test)]
#[path = "edits_tests.rs"]
mod tests;
