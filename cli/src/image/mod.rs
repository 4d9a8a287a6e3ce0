//! `serin image set`: the step of a pipeline that tells Git of an image which was just built. It changes the tag or digest
//! where manifests name the image, leaves every other byte alone, and commits.

mod document;
mod edits;
mod pull_request;
mod reference;
mod repository;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use controller::forges::NewPull;

use crate::complaint::Complaint;
use crate::paint;
use edits::Edit;
use pull_request::Forge;
use reference::Reference;
use repository::Checkout;

/// What to do with images in Git.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Change tag or digest of an image in the manifests of a Git checkout, and commit that
    Set(SetImage),
}

/// Which image, and where.
#[derive(Debug, Args)]
pub struct SetImage {
    /// The image with its new tag, digest or both: ghcr.io/acme/shop:1.2.3
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Folder or file with the manifests, in a Git checkout
    #[arg(long, default_value = ".", value_name = "PATH")]
    path: PathBuf,
    /// What setter comments of Flux call the image: flux-system:shop
    #[arg(long, value_name = "NAMESPACE:NAME")]
    policy: Option<String>,
    /// Message of the commit
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Commit to a new branch of this name instead of the present one
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Push the commit, and try again when somebody else was faster
    #[arg(long)]
    push: bool,
    /// Push to a branch of its own and open a pull request for it; the token is read from $SERIN_FORGE_TOKEN
    #[arg(long, conflicts_with_all = ["no_commit", "dry_run"])]
    pull_request: bool,
    /// What the repository is on, where its address does not tell: github, gitlab, gitea, bitbucket, bitbucketserver, azuredevops
    #[arg(long, value_name = "NAME", requires = "pull_request")]
    forge: Option<String>,
    /// Only change the files
    #[arg(long, conflicts_with_all = ["push", "branch", "message"])]
    no_commit: bool,
    /// Only say what would be changed
    #[arg(long, conflicts_with_all = ["push", "no_commit"])]
    dry_run: bool,
}

/// A file and what it should say.
struct Change {
    path: PathBuf,
    before: String,
    after: String,
    edits: Vec<Edit>,
}

/// What was found below the path.
#[derive(Default)]
struct Survey {
    changes: Vec<Change>,
    places: usize,
    repositories: Vec<String>,
    /// Files that are no YAML, most of them templates.
    unread: Vec<String>,
}

/// Does what was asked; text for people goes to stderr, the changed lines to stdout.
///
/// # Errors
/// When nothing names the image, or Git refuses.
pub fn obey(command: &ImageCommand) -> Result<ExitCode, Complaint> {
    let ImageCommand::Set(asked) = command;
    let wanted = asked
        .images
        .iter()
        .map(|image| {
            let image = Reference::parse(image).map_err(|error| Complaint::Refused(error.to_string()))?;
            if image.tag.is_none() && image.digest.is_none() {
                return Err(Complaint::Refused(format!("{image} has neither tag nor digest: say which one is new")));
            }
            Ok(image)
        })
        .collect::<Result<Vec<Reference>, Complaint>>()?;
    let mut survey = survey(asked, &wanted)?;
    if survey.places == 0 {
        return Err(nothing_found(asked, &wanted, &survey));
    }
    survey.changes.retain(|change| change.before != change.after);
    if survey.changes.is_empty() {
        eprintln!("nothing to change: {} is what {} says already", list(&wanted), asked.path.display());
        return Ok(ExitCode::SUCCESS);
    }
    paint::write_out(&survey.changes.iter().map(marked).collect::<String>())?;
    if asked.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if asked.no_commit {
        write(&survey.changes)?;
        return Ok(ExitCode::SUCCESS);
    }
    let checkout = Checkout::around(&asked.path)?;
    let base = checkout.branch()?;
    let forge = asked.pull_request.then(|| Forge::find(&checkout.address()?, asked.forge.as_deref())).transpose()?;
    let own = asked.pull_request.then(|| format!("serin/set-{}", word(&list(&wanted))));
    if let Some(branch) = asked.branch.as_ref().or(own.as_ref()) {
        checkout.begin(branch)?;
    }
    write(&survey.changes)?;
    let paths: Vec<&Path> = survey.changes.iter().map(|change| change.path.as_path()).collect();
    let message = asked.message.clone().unwrap_or_else(|| format!("Set {}", list(&wanted)));
    let commit = checkout.commit(&paths, &message)?;
    eprintln!("committed {commit}: {}", message.lines().next().unwrap_or_default());
    if asked.push || asked.pull_request {
        let branch = checkout.push()?;
        eprintln!("pushed to {branch}");
        if let Some(forge) = forge {
            let pull = NewPull { head: branch, base, title: message, body: told(&survey.changes) };
            eprintln!("pull request: {}", forge.open(&pull)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn survey(asked: &SetImage, wanted: &[Reference]) -> Result<Survey, Complaint> {
    let mut survey = Survey::default();
    for path in manifests(&asked.path)? {
        let before = std::fs::read(&path).map_err(|error| file(&path, "reading", &error))?;
        let Ok(before) = String::from_utf8(before) else {
            survey.unread.push(format!("{}: not UTF-8", path.display()));
            continue;
        };
        let (mut after, mut edits) = (before.clone(), Vec::new());
        for image in wanted {
            match edits::look(&after, image, asked.policy.as_deref()) {
                Ok(found) => {
                    survey.places += found.places;
                    for repository in found.repositories {
                        if !survey.repositories.contains(&repository) {
                            survey.repositories.push(repository);
                        }
                    }
                    after = edits::make(&after, &found.edits);
                    edits.extend(found.edits);
                }
                Err(error) => {
                    survey.unread.push(format!("{}: {error}", path.display()));
                    break;
                }
            }
        }
        survey.changes.push(Change { path, before, after, edits });
    }
    Ok(survey)
}

/// The YAML files below a folder, in order; links are not followed.
fn manifests(path: &Path) -> Result<Vec<PathBuf>, Complaint> {
    let kind = std::fs::symlink_metadata(path).map_err(|error| file(path, "looking at", &error))?.file_type();
    if !kind.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| file(&folder, "listing", &error))? {
            let entry = entry.map_err(|error| file(&folder, "listing", &error))?;
            let kind = entry.file_type().map_err(|error| file(&entry.path(), "looking at", &error))?;
            let path = entry.path();
            if kind.is_dir() && entry.file_name() != ".git" {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn nothing_found(asked: &SetImage, wanted: &[Reference], survey: &Survey) -> Complaint {
    let mut told = format!("no manifest in {} names {}", asked.path.display(), list(wanted));
    if survey.repositories.is_empty() {
        told.push_str("; no images are named there at all, check --path");
    } else {
        told.push_str(&format!("; named there: {}", survey.repositories.join(", ")));
    }
    if let [first, rest @ ..] = survey.unread.as_slice() {
        told.push_str(&format!("; not readable as YAML: {first}"));
        if !rest.is_empty() {
            told.push_str(&format!(" and {} more", rest.len()));
        }
    }
    Complaint::Refused(told)
}

fn write(changes: &[Change]) -> Result<(), Complaint> {
    for change in changes {
        std::fs::write(&change.path, &change.after).map_err(|error| file(&change.path, "writing", &error))?;
    }
    Ok(())
}

/// Letters, digits, dashes and dots.
fn word(text: &str) -> String {
    let fits = |char: char| char.is_ascii_alphanumeric() || "-.".contains(char);
    text.chars().map(|char| if fits(char) { char } else { '-' }).take(80).collect()
}

/// What a pull request says: the changed lines.
fn told(changes: &[Change]) -> String {
    format!("```diff\n{}```\n", changes.iter().map(marked).collect::<String>())
}

/// The changed lines, as a person would mark them on paper.
fn marked(change: &Change) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(&change.before), lines(&change.after));
    let mut out = format!("{}\n", change.path.display());
    for line in change.edits.iter().map(|edit| edit.line) {
        if let Some(was) = before.get(line.saturating_sub(1)).filter(|was| !after.contains(was)) {
            out.push_str(&format!("- {}\n", was.trim()));
        }
    }
    for is in after.iter().filter(|is| !before.contains(is)) {
        out.push_str(&format!("+ {}\n", is.trim()));
    }
    out
}

fn list(images: &[Reference]) -> String {
    images.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn file(path: &Path, doing: &str, why: &std::io::Error) -> Complaint {
    Complaint::Refused(format!("{doing} {}: {why}", path.display()))
}
