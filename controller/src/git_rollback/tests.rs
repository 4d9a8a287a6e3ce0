//! Reverts in real repositories, pushed by the real Git.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crds::{AppliedBy, Check, GitRollback, GitRollbackState, Source, SourceImage};
use rollout::GitOutcome;
use serde_json::{Value, json};

use super::work::carry_out;
use super::{Access, Job, message};
use crate::attribution::Sight;
use crate::cache::CanaryKey;
use crate::git_rollback::Mirrors;
use crate::http::Clients;
use crate::objects::Kind;

const SHOP: &str = "kind: Deployment\nmetadata:\n  name: shop\nspec:\n  image: acme/shop:TAG # the shop\n  a: 1\n  b: 2\n  c: 3\n  d: 4\n";
const OTHER: &str = "kind: Deployment\nmetadata:\n  name: other\nspec:\n  image: acme/other:TAG\n";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A remote with the first release of two workloads.
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder") };
        place.git(".", &["init", "--quiet", "--bare", "--initial-branch", "main", "remote"]);
        place.git(".", &["clone", "--quiet", "remote", "work"]);
        place.git("work", &["config", "user.name", "Mia"]);
        place.git("work", &["config", "user.email", "mia@example.com"]);
        place.git("work", &["checkout", "--quiet", "-B", "main"]);
        place.commit(
            "First",
            &[("deploy/shop.yaml", &SHOP.replace("TAG", "1")), ("deploy/other.yaml", &OTHER.replace("TAG", "1"))],
        );
        place
    }

    fn git(&self, folder: &str, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(self.folder.path().join(folder))
            .env("GIT_CONFIG_GLOBAL", Path::new("/dev/null"))
            .args(arguments)
            .output()
            .expect("git");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits and pushes these files; returns the commit.
    fn commit(&self, message: &str, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.folder.path().join("work").join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            std::fs::write(path, text).expect("written");
        }
        self.git("work", &["add", "--all"]);
        self.git("work", &["commit", "--quiet", "--message", message]);
        self.git("work", &["push", "--quiet", "origin", "main"]);
        self.git("work", &["rev-parse", "HEAD"])
    }

    fn file(&self, path: &str) -> String {
        self.git("remote", &["show", &format!("main:{path}")])
    }

    fn commits(&self) -> usize {
        self.git("remote", &["rev-list", "--count", "main"]).parse().expect("a number")
    }

    fn job(&self, failed: &str, good: Option<&str>) -> Job {
        let image = |tag: &str| format!("acme/shop:{tag}");
        Job {
            canary: CanaryKey::new("eve", "shop"),
            target: ("Deployment".into(), "shop".into()),
            record: GitRollback {
                revision: "r2".into(),
                failed_commit: Some(failed.into()),
                good_commit: good.map(str::to_owned),
                why: "failed checks threshold reached 3".into(),
                since: "2026-01-02T03:04:05Z".parse().expect("a time"),
                state: GitRollbackState::Pending,
                revert_commit: None,
                pull_request: None,
                message: None,
                hold: None,
                undone_by: None,
            },
            source: Source {
                repository: Some(format!("file://{}", self.folder.path().join("remote").display())),
                branch: Some("main".into()),
                path: Some("deploy".into()),
                commit: Some(failed.into()),
                message: Some("Ship 2".into()),
                images: vec![SourceImage { container: "shop".into(), image: image("2"), digest: None }],
                ..Source::default()
            },
            serving: vec![image("1")],
            checks: vec![Check {
                name: "request-success-rate".into(),
                result: "Failed".into(),
                value: Some("83.87".into()),
                threshold: Some(">= 99".into()),
                message: None,
            }],
            look_only: false,
            by_pull_request: false,
            forge: None,
        }
    }

    async fn revert(&self, job: &Job) -> GitOutcome {
        let access = Access::of(&job.source, &BTreeMap::new()).expect("access");
        let mirrors = Mirrors::new(self.folder.path().join("mirrors"));
        let outside = Arc::new(Clients::default());
        carry_out(job, &access, &mirrors, outside.as_ref(), jiff::Timestamp::UNIX_EPOCH, "").await
    }
}

fn reverted(outcome: &GitOutcome) -> &str {
    let GitOutcome::Reverted { commit } = outcome else { panic!("{outcome:?}") };
    commit
}

#[tokio::test]
async fn only_the_failed_change_is_taken_back_and_later_commits_survive() {
    let place = Place::new();
    let good = place.git("work", &["rev-parse", "HEAD"]);
    let failed = place.commit(
        "Ship 2",
        &[
            ("deploy/shop.yaml", &SHOP.replace("TAG", "2")),
            ("deploy/other.yaml", &OTHER.replace("TAG", "2")),
            ("README", "x"),
        ],
    );
    place.commit("Later", &[("deploy/shop.yaml", &SHOP.replace("TAG", "2").replace("d: 4", "d: 5"))]);
    let outcome = place.revert(&place.job(&failed, Some(&good))).await;
    let commit = reverted(&outcome);
    assert_eq!(place.git("remote", &["rev-parse", "main"]), commit);
    assert_eq!(place.file("deploy/shop.yaml"), SHOP.replace("TAG", "1").replace("d: 4", "d: 5").trim());
    assert_eq!(place.file("deploy/other.yaml"), OTHER.replace("TAG", "2").trim());
    let text = place.git("remote", &["log", "-1", "--format=%an <%ae>%n%B", "main"]);
    let text = text.replace(&failed, "FAILED").replace(&good, "GOOD");
    insta::assert_snapshot!(text, @r#"
    Serin <serin@noreply.serin.dev>
    Revert deployment shop to acme/shop:1

    acme/shop:2 was taken back in the cluster by Serin, Canary eve/shop, at
    2026-01-02 03:04:05 UTC: failed checks threshold reached 3

    The checks of the last look:

        request-success-rate: Failed 83.87, wanted >= 99

    This reverts what commit FAILED changed ("Ship 2"),
    back to what commit GOOD had, in

        deploy/shop.yaml

    Serin-Rollback: eve/shop@FAILED
    "#);
}

#[tokio::test]
async fn what_a_person_undoes_goes_back_to_the_commit_they_named() {
    let place = Place::new();
    let oldest = place.git("work", &["rev-parse", "HEAD"]);
    place.commit("Ship 2", &[("deploy/shop.yaml", &SHOP.replace("TAG", "2"))]);
    let present = place.commit("Ship 3", &[("deploy/shop.yaml", &SHOP.replace("TAG", "3"))]);
    place.commit("Later", &[("README", "hello")]);
    let mut job = place.job(&present, Some(&oldest));
    job.record.undone_by = Some("mia@example.com".into());
    job.source.message = Some("Ship 3".into());
    let first = place.revert(&job).await;
    assert_eq!(place.file("deploy/shop.yaml"), SHOP.replace("TAG", "1").trim());
    assert_eq!(place.file("README"), "hello");
    let text = place.git("remote", &["log", "-1", "--format=%B", "main"]);
    let text = text.replace(&present, "PRESENT").replace(&oldest, "OLDEST");
    insta::assert_snapshot!(text, @r#"
    Revert deployment shop to acme/shop:1

    mia@example.com asked Serin at 2026-01-02 03:04:05 UTC to take back acme/shop:2,
    Canary eve/shop

    This reverts what commit PRESENT changed ("Ship 3"),
    back to what commit OLDEST had, in

        deploy/shop.yaml

    Serin-Undo: eve/shop@PRESENT..OLDEST
    "#);
    assert_eq!(reverted(&first), reverted(&place.revert(&job).await), "once");

    job.record.good_commit = Some("5555555555555555555555555555555555555555".into());
    let GitOutcome::Blocked { message } = place.revert(&job).await else { panic!("a commit that is nowhere") };
    assert!(message.contains("5555555") && message.contains("check that it is on the branch"), "{message}");
}

#[tokio::test]
async fn who_follows_the_default_branch_gets_the_revert_there() {
    let place = Place::new();
    let failed = place.commit("Ship 2", &[("deploy/shop.yaml", &SHOP.replace("TAG", "2"))]);
    place.git("remote", &["branch", "--move", "main", "trunk"]);
    let mut job = place.job(&failed, None);
    job.source.branch = Some(crate::attribution::DEFAULT_BRANCH.into());
    let outcome = place.revert(&job).await;
    assert_eq!(place.git("remote", &["rev-parse", "trunk"]), reverted(&outcome));
    assert_eq!(place.git("remote", &["show", "trunk:deploy/shop.yaml"]), SHOP.replace("TAG", "1").trim());
}

#[tokio::test]
async fn what_is_done_is_not_done_again() {
    let place = Place::new();
    let failed = place.commit("Ship 2", &[("deploy/shop.yaml", &SHOP.replace("TAG", "2"))]);
    let job = place.job(&failed, None);
    let look = Job { look_only: true, ..job.clone() };
    let before = place.commits();
    let none = place.revert(&look).await;
    assert_eq!(place.commits(), before, "who looks only makes none");
    assert!(matches!(none, GitOutcome::MovedOn { .. }), "{none:?}");
    let first = place.revert(&job).await;
    let commits = place.commits();
    let second = place.revert(&job).await;
    assert_eq!(reverted(&first), reverted(&second));
    assert_eq!(reverted(&first), reverted(&place.revert(&look).await));
    let other = Place { folder: tempfile::tempdir().expect("a folder") };
    let mirrors = Mirrors::new(other.folder.path().join("mirrors"));
    let access = Access::of(&job.source, &BTreeMap::new()).expect("access");
    let third = carry_out(&job, &access, &mirrors, &Clients::default(), jiff::Timestamp::UNIX_EPOCH, "").await;
    assert_eq!(reverted(&first), reverted(&third), "another process with an empty disk");
    assert_eq!(place.commits(), commits);
}

#[tokio::test]
async fn several_commits_that_came_together_go_together() {
    let place = Place::new();
    let good = place.git("work", &["rev-parse", "HEAD"]);
    place.commit("Ship 2", &[("deploy/shop.yaml", &SHOP.replace("TAG", "2"))]);
    let failed = place.commit("Tell", &[("README", "hello")]);
    reverted(&place.revert(&place.job(&failed, Some(&good))).await);
    assert_eq!(place.file("deploy/shop.yaml"), SHOP.replace("TAG", "1").trim());
    assert_eq!(place.file("README"), "hello");
}

#[tokio::test]
async fn git_that_has_moved_on_is_left_alone() {
    let place = Place::new();
    let failed = place.commit("Ship 2", &[("deploy/shop.yaml", &SHOP.replace("TAG", "2"))]);
    place.commit("Back", &[("deploy/shop.yaml", &SHOP.replace("TAG", "1"))]);
    let outcome = place.revert(&place.job(&failed, None)).await;
    assert!(matches!(outcome, GitOutcome::MovedOn { .. }), "{outcome:?}");
    place.git("work", &["reset", "--quiet", "--hard", "HEAD~2"]);
    place.git("work", &["push", "--quiet", "--force", "origin", "main"]);
    let outcome = place.revert(&place.job(&failed, None)).await;
    assert!(matches!(outcome, GitOutcome::MovedOn { .. }), "{outcome:?}");
    assert_eq!(place.commits(), 1);
}

#[tokio::test]
async fn a_conflict_is_a_persons_and_names_the_file() {
    let place = Place::new();
    let failed = place.commit("Ship 2", &[("deploy/shop.yaml", &SHOP.replace("TAG", "2"))]);
    place.commit("Ship 3", &[("deploy/shop.yaml", &SHOP.replace("TAG", "3"))]);
    let outcome = place.revert(&place.job(&failed, None)).await;
    let GitOutcome::Blocked { message } = &outcome else { panic!("{outcome:?}") };
    assert!(message.contains("deploy/shop.yaml"), "{message}");
}

#[tokio::test]
async fn a_branch_that_takes_no_push_gets_the_revert_on_another() {
    let place = Place::new();
    let failed = place.commit("Ship 2", &[("deploy/shop.yaml", &SHOP.replace("TAG", "2"))]);
    let hook = place.folder.path().join("remote/hooks/update");
    std::fs::write(&hook, "#!/bin/sh\n[ \"$1\" != refs/heads/main ] || { echo main is protected; exit 1; }\n")
        .expect("a hook");
    std::process::Command::new("chmod").arg("+x").arg(&hook).status().expect("chmod");
    let job = place.job(&failed, None);
    let outcome = place.revert(&job).await;
    // There is no forge behind a folder, so a person opens the pull request.
    let GitOutcome::Blocked { message } = &outcome else { panic!("{outcome:?}") };
    assert!(message.contains(&message::branch(&job)), "{message}");
    let text = place.git("remote", &["show", &format!("{}:deploy/shop.yaml", message::branch(&job))]);
    assert_eq!(text, SHOP.replace("TAG", "1").trim());
    assert_eq!(place.commits(), 2);
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_tried_again_later() {
    let place = Place::new();
    let failed = place.commit("Ship 2", &[("deploy/shop.yaml", &SHOP.replace("TAG", "2"))]);
    let mut job = place.job(&failed, None);
    job.source.repository = Some("http://127.0.0.1:9/shop".into());
    let outcome = place.revert(&job).await;
    assert!(matches!(outcome, GitOutcome::Delayed { .. }), "{outcome:?}");
}

#[tokio::test]
async fn what_else_came_with_the_commit_does_not_stand_in_the_way() {
    let place = Place::new();
    let work = place.folder.path().join("work/deploy");
    std::fs::create_dir(work.join("folder")).expect("a folder");
    std::fs::write(work.join("folder/a.yaml"), "kind: A\n").expect("a file");
    let good = place.commit("A folder", &[]);
    std::fs::remove_dir_all(work.join("folder")).expect("removed");
    std::os::unix::fs::symlink("/etc", work.join("folder")).expect("a link");
    std::os::unix::fs::symlink("/etc/passwd", work.join("passwd.yaml")).expect("a link");
    std::fs::write(work.join("huge.yaml"), vec![b'#'; 50 << 20]).expect("a file");
    place.git("work", &["update-index", "--add", "--cacheinfo", &format!("160000,{good},deploy/module")]);
    let failed = place.commit("Ship 2", &[("deploy/shop.yaml", &SHOP.replace("TAG", "2"))]);
    reverted(&place.revert(&place.job(&failed, Some(&good))).await);
    assert_eq!(place.file("deploy/shop.yaml"), SHOP.replace("TAG", "1").trim());
    let touched = place.git("remote", &["diff", "--name-only", "main~1", "main"]);
    assert_eq!(touched, "deploy/shop.yaml", "and nothing of the others");
}

#[tokio::test]
async fn a_deleted_branch_is_a_persons() {
    let place = Place::new();
    let failed = place.commit("Ship 2", &[("deploy/shop.yaml", &SHOP.replace("TAG", "2"))]);
    place.git("remote", &["branch", "--quiet", "--move", "main", "trunk"]);
    let outcome = place.revert(&place.job(&failed, None)).await;
    let GitOutcome::Blocked { message } = &outcome else { panic!("{outcome:?}") };
    assert!(message.contains("branch 'main'") && message.contains("revert by hand"), "{message}");
}

#[tokio::test]
async fn credentials_that_have_run_out_are_told_with_the_mend_and_not_shown() {
    crate::http::install_cryptography();
    // A server that repeats what it was told, as some do in pages of errors.
    let refuse = axum::routing::any(|headers: axum::http::HeaderMap| async move {
        let realm = [("www-authenticate", "Basic realm=\"git\"")];
        (axum::http::StatusCode::UNAUTHORIZED, realm, format!("{headers:?}"))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(refuse)).await });
    let place = Place::new();
    let mut job = place.job(&"5".repeat(40), None);
    job.source.repository = Some(format!("http://{address}/shop.git"));
    let data = [("username", "mia"), ("password", "hunter2-hunter2"), ("token", "another-secret")];
    let data = data.map(|(key, value)| (key.to_owned(), value.into())).into();
    let access = Access::of(&job.source, &data).expect("access");
    let mirrors = Mirrors::new(place.folder.path().join("mirrors"));
    let outcome =
        carry_out(&job, &access, &mirrors, &Clients::default(), jiff::Timestamp::UNIX_EPOCH, "; name a Secret").await;
    let GitOutcome::Delayed { message } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(*message, format!("http://{address}/shop.git refuses the credentials: it answers 401; name a Secret"));
    for secret in ["hunter2-hunter2", "bWlhOmh1bnRlcjItaHVudGVyMg", "another-secret"] {
        assert!(!format!("{outcome:?} {access:?}").contains(secret), "{secret} is shown");
    }
    serving.abort();
}

/// A Kustomization and its repository, in one namespace.
struct Flux(&'static str);

impl Sight for Flux {
    fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let spec = match kind.kind {
            "Kustomization" => json!({"sourceRef": {"kind": "GitRepository", "name": "shop"}}),
            "GitRepository" => json!({"secretRef": {"name": "git"}}),
            _ => return None,
        };
        let metadata = json!({"name": name, "namespace": namespace});
        (namespace == self.0).then(|| Arc::new(json!({"metadata": metadata, "spec": spec})))
    }
}

#[test]
fn repositories_of_this_machine_are_written_only_where_that_is_allowed() {
    for (url, local, refused) in [
        ("file:///srv/shop", false, true),
        ("file:///srv/shop", true, false),
        ("https://git.example.com/shop", false, false),
    ] {
        let source = Source { repository: Some(url.into()), ..Source::default() };
        assert_eq!(super::refused_here(&source, local).is_some(), refused, "{url}");
    }
}

#[test]
fn credentials_of_another_namespace_are_not_used() {
    let canary = CanaryKey::new("eve", "shop");
    let secret = |namespace: &'static str, own: Option<&str>| {
        let mut spec = crate::spec_fixture::spec();
        spec.git.secret = own.map(str::to_owned);
        let by = AppliedBy {
            api_version: "kustomize.toolkit.fluxcd.io/v1".into(),
            kind: "Kustomization".into(),
            namespace: namespace.into(),
            name: "shop".into(),
        };
        super::secret_of(&canary, &spec, &Source { applied_by: Some(by), ..Source::default() }, &Flux(namespace))
    };
    let named = |name: &str| Some(("eve".to_owned(), name.to_owned()));
    assert_eq!(secret("eve", None), named("git"));
    assert_eq!(secret("flux-system", None), None);
    assert_eq!(secret("flux-system", Some("writer")), named("writer"));
}
