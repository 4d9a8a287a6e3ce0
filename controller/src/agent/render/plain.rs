//! Folders of YAML and JSON: every document of every file is an object.

use serde_json::Value;

use super::super::manifest::{Manifest, Origin};
use super::super::problem::{Problem, Reason};
use super::super::upstream::{File, Mode};

/// The objects of all `.yaml`, `.yml` and `.json` files. Files and folders whose names begin with a dot do not count.
///
/// # Errors
/// When a file is no manifest, with file and line.
pub fn render(files: &[File], under: &str) -> Result<Vec<Manifest>, Problem> {
    let mut manifests = Vec::new();
    for file in files.iter().filter(|file| is_manifest(within(&file.path, under))) {
        match file.mode {
            Mode::File => manifests.extend(read(&file.path, &file.bytes)?),
            Mode::Link => {
                return Err(Problem::new(
                    Reason::NotFollowed,
                    format!(
                        "{} is a symbolic link to {:?}, and links are not followed: put the file itself there",
                        file.path,
                        String::from_utf8_lossy(&file.bytes)
                    ),
                ));
            }
            Mode::Submodule => {}
        }
    }
    if let Some(link) = files.iter().find(|file| file.mode == Mode::Link && leads_out(&file.path, &file.bytes)) {
        return Err(Problem::new(
            Reason::NotFollowed,
            format!("{} is a symbolic link that leads out of the repository: take it out", link.path),
        ));
    }
    if let Some(module) = files.iter().find(|file| file.mode == Mode::Submodule) {
        return Err(Problem::new(
            Reason::NotFollowed,
            format!(
                "{} is a submodule, and submodules are not fetched: put its files there, or make it a GitSource of its own",
                module.path
            ),
        ));
    }
    Ok(manifests)
}

/// The objects in a stream of documents. `file` is told in errors.
///
/// # Errors
/// When a document is no object of Kubernetes.
pub fn read(file: &str, bytes: &[u8]) -> Result<Vec<Manifest>, Problem> {
    let invalid = |line: usize, why: String| {
        let origin = Origin { file: file.to_owned(), line };
        Problem::new(Reason::InvalidManifest, format!("{origin} is not a manifest: {why}"))
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        invalid(line, "it is not UTF-8; save it as text, or move it out of the path".into())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut manifests = Vec::new();
    for (first, document) in documents(text) {
        // Most files have comments of licences before the first document.
        if document.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            continue;
        }
        let value = super::parse_yaml(document).map_err(|(line, why)| invalid(first + line.max(1) - 1, why))?;
        if value.is_null() {
            continue;
        }
        let line = first
            + document.lines().take_while(|line| line.trim().is_empty() || line.trim_start().starts_with('#')).count();
        let origin = Origin { file: file.to_owned(), line };
        take(value, &origin, &mut manifests).map_err(|why| invalid(line, why))?;
    }
    Ok(manifests)
}

/// The path below `under`; the path itself when it is elsewhere.
pub fn within<'a>(path: &'a str, under: &str) -> &'a str {
    path.strip_prefix(under).map_or(path, |rest| rest.strip_prefix('/').unwrap_or(rest))
}

/// True when the target of the link, as it stands, leads above the root of the repository.
pub fn leads_out(path: &str, target: &[u8]) -> bool {
    let target = String::from_utf8_lossy(target);
    if target.starts_with('/') {
        return true;
    }
    let mut depth = path.matches('/').count();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

fn is_manifest(path: &str) -> bool {
    let known = [".yaml", ".yml", ".json"].iter().any(|end| path.ends_with(end));
    known && !path.split('/').any(|part| part.starts_with('.'))
}

/// The documents of a stream, each with the number of its first line. `---` at the start of a line is a boundary
/// wherever it stands.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut begin, mut first, mut at) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let rest = line.strip_prefix("---");
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            documents.push((first, &text[begin..at]));
            // What follows on the line, as in `--- {a: b}`, is of the document; a comment is nothing.
            begin = at + "---".len();
            first = index + 1;
        }
        at += line.len();
    }
    documents.push((first, &text[begin..]));
    documents
}

/// Takes the object, or the objects of a List.
fn take(value: Value, origin: &Origin, manifests: &mut Vec<Manifest>) -> Result<(), String> {
    let Value::Object(mut object) = value else {
        return Err("it is a single value or a list; a manifest begins with apiVersion and kind".into());
    };
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    if text("apiVersion").is_empty() || text("kind").is_empty() {
        let mend = "move it out of the path, or give the file or its folder a name that begins with a dot";
        return Err(format!("it has no apiVersion and kind; {mend}"));
    }
    if text("apiVersion").starts_with("kustomize.config.k8s.io/") {
        return Err("Kustomize files below the path are not rendered; let spec.path name their folder".into());
    }
    if text("kind").ends_with("List") && object.get("items").is_some_and(Value::is_array) {
        if let Some(Value::Array(items)) = object.remove("items") {
            return items.into_iter().try_for_each(|item| take(item, origin, manifests));
        }
        return Ok(());
    }
    let named =
        object.get("metadata").and_then(|metadata| metadata["name"].as_str()).is_some_and(|name| !name.is_empty());
    if !named {
        return Err(format!("the {} has no metadata.name", text("kind")));
    }
    manifests.push(Manifest { object: Value::Object(object), origin: origin.clone() });
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), mode: Mode::File, bytes: text.into() }
    }

    fn config_map(name: &str) -> String {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
    }

    #[test]
    fn every_document_is_an_object_and_knows_its_line() {
        let text = format!(
            "# licence\n---\n{}---\n# nothing\n--- # more\n\n{}---\n{{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {{\"name\": \"c\"}}}}]}}\n",
            config_map("a"),
            config_map("b")
        );
        let found = render(&[file("deploy/all.yaml", &text)], "deploy").unwrap();
        let told: Vec<_> = found.iter().map(|found| (found.text("/metadata/name"), found.origin.to_string())).collect();
        assert_eq!(
            told,
            [("a", "deploy/all.yaml:3".into()), ("b", "deploy/all.yaml:10".into()), ("c", "deploy/all.yaml:14".into())]
        );
    }

    #[test]
    fn only_manifests_are_read() {
        let files = [
            file("deploy/a.yml", &config_map("a")),
            file("deploy/b.json", r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}"#),
            file("deploy/README.md", "# read me"),
            file("deploy/.github/workflows/ci.yaml", "on: push"),
            file("deploy/.sops.yaml", "a: b"),
            file("deploy/empty.yaml", "\n# only words\n"),
        ];
        let names: Vec<_> =
            render(&files, "deploy").unwrap().iter().map(|found| found.text("/metadata/name").to_owned()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_file_and_line() {
        for (text, place, word) in [
            ("a: [", "x.yaml:1", ""),
            ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: [\n", "x.yaml:", ""),
            ("- a\n- b\n", "x.yaml:1", "a list"),
            ("replicas: 3\n", "x.yaml:1", "no apiVersion and kind"),
            ("apiVersion: v1\nkind: ConfigMap\n", "x.yaml:1", "no metadata.name"),
            ("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n", "x.yaml:1", "spec.path"),
            ("a: b\na: c\n", "x.yaml:2", ""),
        ] {
            let refused = render(&[file("x.yaml", text)], "").unwrap_err();
            assert_eq!(refused.reason, Reason::InvalidManifest);
            assert!(refused.message.starts_with(place) && refused.message.contains(word), "{text:?}: {refused}");
        }
        let binary = File { path: "x.yaml".into(), mode: Mode::File, bytes: vec![b'a', b'\n', 0xff] };
        assert!(render(&[binary], "").unwrap_err().message.starts_with("x.yaml:2 is not a manifest: it is not UTF-8"));
    }

    #[test]
    fn a_broken_second_document_is_told_by_its_line_in_the_file() {
        let text = format!("{}---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: b\n", config_map("a"));
        let refused = render(&[file("x.yaml", &text)], "").unwrap_err();
        assert!(refused.message.starts_with("x.yaml:8 "), "{refused}");
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let before = level - 1;
            let list = vec![format!("*a{before}"); 10].join(",");
            text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
        }
        assert!(render(&[file("x.yaml", &text)], "").is_err());
    }

    #[test]
    fn numbers_are_read_as_the_tools_of_kubernetes_read_them() {
        let text = "apiVersion: v1\nkind: X\nmetadata: {name: a}\nmode: 0644\nquoted: \"0644\"\nflag: yes\n";
        let found = render(&[file("x.yaml", text)], "").unwrap();
        assert_eq!(found[0].object["mode"], json!(420));
        assert_eq!(found[0].object["quoted"], json!("0644"));
        assert_eq!(found[0].object["flag"], json!(true));
    }

    #[test]
    fn links_and_submodules_are_told_and_not_followed() {
        let thing = |path: &str, mode: Mode, target: &str| File { path: path.into(), mode, bytes: target.into() };
        for (file, word) in [
            (thing("deploy/a.yaml", Mode::Link, "../../etc/passwd"), "symbolic link"),
            (thing("deploy/a.yaml", Mode::Link, "b.yaml"), "put the file itself there"),
            (thing("deploy/a", Mode::Link, "/etc"), "leads out of the repository"),
            (thing("deploy/vendor", Mode::Submodule, "4f2c"), "submodule"),
        ] {
            let refused = render(std::slice::from_ref(&file), "deploy").unwrap_err();
            assert_eq!(refused.reason, Reason::NotFollowed);
            assert!(refused.message.contains(word), "{refused}");
        }
        assert!(render(&[thing("deploy/docs", Mode::Link, "../docs")], "deploy").unwrap().is_empty());
        for (target, out) in [("../x", false), ("../../x", true), ("a/../../../x", true), ("./x", false), ("/x", true)]
        {
            assert_eq!(leads_out("deploy/a", target.as_bytes()), out, "{target}");
        }
    }
}
