//! Which of the files that changed speak of the workload: the others belong to somebody else's change.

use serde_json::Value;

use super::Job;
use crate::image;

/// A file that changed, as it was with the failed commit and with the good one; `None` where it was not there.
pub(super) struct Changed {
    pub(super) path: String,
    pub(super) failed: Option<String>,
    pub(super) good: Option<String>,
}

/// The paths that speak of the workload or of its images; all of them when none does, as the change then came by a way that
/// is not seen, such as values that a template puts together.
pub(super) fn of_workload(job: &Job, changed: &[Changed]) -> Vec<String> {
    let speaks = |file: &&Changed| [&file.failed, &file.good].into_iter().flatten().any(|text| names(job, text));
    let own: Vec<String> = changed.iter().filter(speaks).map(|file| file.path.clone()).collect();
    if own.is_empty() { changed.iter().map(|file| file.path.clone()).collect() } else { own }
}

/// The folders and files that make up what is deployed from `path`: itself, and what kustomizations in it lead to. `read` gives
/// the text of a file of the repository.
pub(super) fn roots(path: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut roots = vec![path.trim_matches('/').to_owned()];
    let mut next = 0;
    while let Some(root) = roots.get(next).cloned().filter(|_| roots.len() < MOST_ROOTS) {
        next += 1;
        let names = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
        let text = names.iter().find_map(|name| read(&join(&root, name)?));
        let Some(Ok(kustomization)) = text.map(|text| serde_saphyr::from_str::<Value>(&text)) else { continue };
        let lists = ["resources", "bases", "components", "patchesStrategicMerge"].into_iter();
        let named = lists.filter_map(|list| kustomization.get(list)?.as_array()).flatten().filter_map(Value::as_str);
        let patches = kustomization.get("patches").and_then(Value::as_array).into_iter().flatten();
        let patches = patches.filter_map(|patch| patch.get("path")?.as_str());
        for relative in named.chain(patches).filter(|relative| !relative.contains("://")) {
            let Some(found) = join(&root, relative) else { continue };
            let known = |root: &String| found == *root || root.is_empty() || found.starts_with(&format!("{root}/"));
            // What is inside may still lead out.
            if !roots.contains(&found) && (!roots.iter().any(known) || !relative.ends_with(".yaml")) {
                roots.push(found);
            }
        }
    }
    roots
}

/// No honest kustomization has as many.
const MOST_ROOTS: usize = 64;

/// `None` when it leads out of the repository.
fn join(folder: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn names(job: &Job, text: &str) -> bool {
    let (kind, name) = &job.target;
    let field = |key: &str, value: &str| {
        text.lines().any(|line| {
            let line = line.trim_start_matches([' ', '-', '{', '"']);
            let rest = line.strip_prefix(key).map(|rest| rest.trim_start_matches('"'));
            let said = rest.and_then(|rest| rest.strip_prefix(':')).map(|rest| rest.split(" #").next().unwrap_or(rest));
            said.is_some_and(|said| said.trim().trim_matches(['"', '\'', ',', '}']) == value)
        })
    };
    let itself = field("kind", kind) && field("name", name);
    itself || job.source.images.iter().any(|one| text.contains(image::parts(&one.image).repository))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kustomizations_are_followed_and_lead_nowhere_else() {
        let read = |path: &str| {
            let text = match path {
                "apps/dev/kustomization.yaml" => {
                    "resources: [../base, own.yaml, https://git.example.com/x, ../../../../etc]\npatches: [{path: p.yaml}]"
                }
                "apps/base/kustomization.yaml" => "resources: [deployment.yaml]\ncomponents: [../../parts/a]",
                _ => return None,
            };
            Some(text.to_owned())
        };
        assert_eq!(roots("apps/dev/", &read), ["apps/dev", "apps/base", "parts/a"]);
        assert_eq!(roots("", &read), [""]);
    }
}
