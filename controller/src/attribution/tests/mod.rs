//! Operators' objects as they really look, and what is read out of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollout::SourceSeen;
use serde_json::{Value, json};

use super::*;

/// The objects of a file, as the watch keeps them.
struct Cluster(BTreeMap<(String, String, String), Arc<Value>>);

impl Cluster {
    fn of(yaml: &str) -> Cluster {
        let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("YAML");
        let named = |mut object: Value| {
            thin(&mut object);
            let text = |pointer| text(&object, pointer).unwrap_or_default().to_owned();
            ((text("/kind"), text("/metadata/namespace"), text("/metadata/name")), Arc::new(object))
        };
        Cluster(objects.into_iter().map(named).collect())
    }

    fn change(&mut self, kind: &str, change: impl FnOnce(&mut Value)) {
        let (_, object) = self.0.iter_mut().find(|((known, _, _), _)| known == kind).expect("the object");
        change(Arc::make_mut(object));
    }

    fn deployment(&self) -> SourceSeen {
        let (_, target) = self.0.iter().find(|((kind, _, _), _)| kind == "Deployment").expect("a Deployment");
        attribute(target, self, &NoCommits)
    }
}

impl Sight for Cluster {
    fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.get(&(kind.kind.to_owned(), namespace.to_owned(), name.to_owned())).cloned()
    }
}

const COMMIT: &str = "4f2c1e9a0c6f1a5d3b7e8f9012345678abcdef01";
const BEFORE: &str = "0b1c2d3e4f5061728394a5b6c7d8e9f001122334";

/// What is known, word by word.
fn facts(seen: &SourceSeen) -> BTreeMap<&'static str, String> {
    seen.source.facts().into_iter().collect()
}

fn assert_facts(seen: &SourceSeen, expected: &[(&'static str, &str)]) {
    let expected: BTreeMap<_, _> = expected.iter().map(|(word, value)| (*word, (*value).to_owned())).collect();
    assert_eq!(facts(seen), expected);
}

#[test]
fn a_kustomization_that_follows_a_branch() {
    let mut cluster = Cluster::of(include_str!("kustomization-git.yaml"));
    let seen = cluster.deployment();
    let expected = [
        ("repository", "https://git.example.com/mia/shop"),
        ("branch", "main"),
        ("path", "apps/web"),
        ("commit", COMMIT),
        ("appliedBy", "Kustomization flux-system/apps"),
    ];
    assert_facts(&seen, &expected);
    assert!(!seen.at_work);
    assert_eq!(seen.source.revision.as_deref(), Some(format!("main@sha1:{COMMIT}").as_str()));
    let image = &seen.source.images[0];
    assert_eq!((image.container.as_str(), image.image.as_str()), ("web", "registry.example.com/web:6.9.1"));
    assert!(image.digest.as_deref().is_some_and(|digest| digest.starts_with("sha256:5f1c")));

    cluster.change("GitRepository", |repository| repository["spec"]["ref"] = json!({ "semver": ">=6" }));
    cluster.change("Kustomization", |object| {
        object["status"]["lastAppliedRevision"] = json!(format!("v6.9.1@sha1:{COMMIT}"));
    });
    let seen = cluster.deployment();
    assert_eq!((seen.source.branch, seen.source.tag.as_deref()), (None, Some("v6.9.1")));

    // Without the right to read sources the commit is known all the same.
    cluster.0.retain(|(kind, _, _), _| kind != "GitRepository");
    assert_eq!(cluster.deployment().source.commit.as_deref(), Some(COMMIT));
    cluster.0.retain(|(kind, _, _), _| kind != "Kustomization");
    assert!(cluster.deployment().source.applied_by.is_none());
}

#[test]
fn a_kustomization_at_work_says_what_it_applies_before_it_does() {
    let mut cluster = Cluster::of(include_str!("kustomization-git.yaml"));
    let conditions = |message: &str, ready: (&str, &str)| {
        let mut object = json!({ "status": { "conditions": [
            { "type": "Reconciling", "status": "True", "reason": "Progressing", "message": message },
            { "type": "Ready", "status": ready.0, "reason": ready.1, "message": "…" },
        ] } });
        for condition in object["status"]["conditions"].as_array_mut().expect("a list") {
            flux::thin_condition(condition);
        }
        object["status"]["conditions"].take()
    };
    for (message, ready, at_work) in [
        (
            format!("Building manifests for revision main@sha1:{COMMIT} with a timeout of 1m0s"),
            ("Unknown", "Progressing"),
            true,
        ),
        (
            format!("Detecting drift for revision main@sha1:{COMMIT} with a timeout of 1m0s"),
            ("Unknown", "Progressing"),
            true,
        ),
        (
            format!("Running health checks for revision main@sha1:{COMMIT} with a timeout of 1m0s"),
            ("Unknown", "Progressing"),
            false,
        ),
        ("timeout waiting for: Canary/shop/web".to_owned(), ("False", "HealthCheckFailed"), false),
        ("apply failed".to_owned(), ("False", "ReconciliationFailed"), true),
    ] {
        cluster.change("Kustomization", |object| {
            object["status"]["lastAppliedRevision"] = json!(format!("main@sha1:{BEFORE}"));
            object["status"]["conditions"] = conditions(&message, ready);
        });
        let seen = cluster.deployment();
        assert_eq!((seen.source.commit.as_deref(), seen.at_work), (Some(COMMIT), at_work), "{message}");
    }
}

#[test]
fn a_kustomization_out_of_an_artifact() {
    let mut cluster = Cluster::of(include_str!("kustomization-oci.yaml"));
    let expected = [
        ("repository", "https://git.example.com/mia/shop"),
        ("branch", "main"),
        ("path", "deploy"),
        ("commit", COMMIT),
        ("appliedBy", "Kustomization flux-system/web"),
    ];
    assert_facts(&cluster.deployment(), &expected);

    // The artifact has moved on; what it says of itself is not what stands applied.
    cluster.change("OCIRepository", |object| object["status"]["artifact"]["revision"] = json!("latest@sha256:99aa"));
    cluster.change("Kustomization", |object| object["status"]["lastAppliedOriginRevision"] = Value::Null);
    let expected = [
        ("repository", "oci://registry.example.com/mia/shop-manifests"),
        ("tag", "latest"),
        ("path", "deploy"),
        ("appliedBy", "Kustomization flux-system/web"),
    ];
    assert_facts(&cluster.deployment(), &expected);

    cluster.change("Kustomization", |object| object["spec"]["sourceRef"]["kind"] = json!("Bucket"));
    let expected = [
        ("repository", "minio.example.com/manifests"),
        ("path", "deploy"),
        ("appliedBy", "Kustomization flux-system/web"),
    ];
    assert_facts(&cluster.deployment(), &expected);
}

#[test]
fn a_helm_release_of_a_chart_in_git_and_of_one_whose_values_are_in_git() {
    let mut cluster = Cluster::of(include_str!("helm-release.yaml"));
    let expected = [
        ("repository", "https://git.example.com/mia/shop"),
        ("branch", "main"),
        ("path", "charts/web"),
        ("commit", COMMIT),
        ("appliedBy", "HelmRelease shop/web"),
    ];
    let seen = cluster.deployment();
    assert_facts(&seen, &expected);
    assert_eq!(seen.source.revision.as_deref(), Some("web@6.9.1 with values 9f1b3c5d"));
    assert!(!seen.at_work);

    cluster.change("HelmRelease", |release| {
        release["spec"]["chart"]["spec"]["sourceRef"]["kind"] = json!("HelmRepository")
    });
    let expected = [
        ("repository", "https://git.example.com/mia/shop"),
        ("branch", "main"),
        ("path", "releases"),
        ("commit", BEFORE),
        ("appliedBy", "HelmRelease shop/web"),
    ];
    assert_facts(&cluster.deployment(), &expected);

    cluster.change("HelmRelease", |release| {
        release["status"]["conditions"] = json!([{ "type": "Reconciling", "status": "True", "reason": "Progressing" }]);
        release["status"]["lastAttemptedRevision"] = json!("7.0.0");
    });
    let seen = cluster.deployment();
    assert_eq!((seen.source.revision.as_deref(), seen.at_work), (Some("web@7.0.0 with values 9f1b3c5d"), true));
}

#[test]
fn an_application_of_one_source_and_of_several() {
    let mut cluster = Cluster::of(include_str!("application.yaml"));
    let one = [
        ("repository", "https://git.example.com/mia/shop.git"),
        ("branch", "main"),
        ("path", "apps/web"),
        ("commit", COMMIT),
        ("appliedBy", "Application argocd/web"),
    ];
    let seen = cluster.deployment();
    assert_facts(&seen, &one);
    assert!(!seen.at_work);

    // What is compared may be newer than what was applied.
    cluster.change("Application", |object| {
        object["status"]["sync"] = json!({ "status": "OutOfSync", "revision": BEFORE })
    });
    assert_facts(&cluster.deployment(), &one);
    cluster.change("Application", |object| {
        object["status"]["operationState"]["phase"] = json!("Running");
        object["status"]["operationState"]["syncResult"]["revision"] = json!(BEFORE);
    });
    let seen = cluster.deployment();
    assert_eq!((seen.source.commit.as_deref(), seen.at_work), (Some(BEFORE), true));

    cluster.change("Application", |object| {
        object["spec"] = json!({ "sources": [
            { "repoURL": "https://charts.example.com", "chart": "web", "targetRevision": "6.9.1" },
            { "repoURL": "https://git.example.com/mia/values.git", "targetRevision": "HEAD", "ref": "values" },
        ] });
        object["status"]["operationState"] =
            json!({ "phase": "Succeeded", "syncResult": { "revisions": ["6.9.1", COMMIT] } });
    });
    let seen = cluster.deployment();
    let several = [
        ("repository", "https://git.example.com/mia/values.git"),
        ("branch", "HEAD"),
        ("commit", COMMIT),
        ("appliedBy", "Application argocd/web"),
    ];
    assert_facts(&seen, &several);
    assert_eq!(seen.source.revision, Some(format!("6.9.1, {COMMIT}")));

    // Found by the label too, and in a namespace of its own.
    cluster.change("Deployment", |web| {
        web["metadata"]["annotations"] = json!({});
        web["metadata"]["labels"] = json!({ "app.kubernetes.io/instance": "web" });
    });
    assert_facts(&cluster.deployment(), &several);
    cluster
        .change("Deployment", |web| web["metadata"]["labels"] = json!({ "argocd.argoproj.io/instance": "shop_web" }));
    assert!(cluster.deployment().source.applied_by.is_none(), "there is no such Application");
    cluster.change("Deployment", |web| {
        web["metadata"]["annotations"] =
            json!({ "argocd.argoproj.io/tracking-id": "web:apps/Deployment:shop/original" });
        web["metadata"]["labels"] = json!({ "app.kubernetes.io/instance": "web" });
    });
    assert!(cluster.deployment().source.applied_by.is_none(), "a copy of another object");
}

#[test]
fn a_git_source_knows_author_and_message() {
    let mut cluster = Cluster::of(include_str!("git-source.yaml"));
    let seen = cluster.deployment();
    let sentence = seen.source.sentence();
    assert_eq!(sentence.as_deref(), Some("commit 4f2c1e9 by Mia: \"Bump to 6.9.1 (#4)\" (GitSource shop/web)"));
    assert_eq!(facts(&seen)["pullRequest"], "https://github.com/mia/shop/pull/4");
    assert_eq!(facts(&seen)["repository"], "https://github.com/mia/shop.git");

    let at_work = json!(format!("main@sha1:{BEFORE}"));
    cluster.change("GitSource", |object| object["status"]["lastAttemptedRevision"] = at_work);
    let seen = cluster.deployment();
    assert!(seen.at_work);
    assert_eq!(seen.source.sentence().as_deref(), Some("commit 0b1c2d3 (GitSource shop/web)"), "not Mia's commit");
}

#[test]
fn without_an_operator_labels_and_images_tell_what_they_can() {
    let target = json!({
        "metadata": { "name": "web", "namespace": "shop", "labels": { "app.kubernetes.io/version": "6.9.1" } },
        "spec": { "template": {
            "metadata": { "annotations": {
                "org.opencontainers.image.source": "https://mia:s3cret@git.example.com/mia/shop",
                "org.opencontainers.image.revision": COMMIT,
            } },
            "spec": { "containers": [{ "name": "web", "image": "web@sha256:77ab" }, { "name": "odd" }] },
        } },
    });
    let seen = attribute(&target, &Cluster(BTreeMap::new()), &NoCommits);
    assert_facts(&seen, &[("repository", "https://git.example.com/mia/shop"), ("commit", COMMIT)]);
    assert_eq!(seen.source.images.len(), 1);
    assert_eq!(attribute(&json!({}), &Cluster(BTreeMap::new()), &NoCommits), SourceSeen::default());
}

#[test]
fn what_is_known_of_a_commit_elsewhere_completes_it() {
    struct Mirror;
    impl Commits for Mirror {
        fn look_up(&self, repository: &str, commit: &str) -> Option<Commit> {
            (repository == "https://git.example.com/mia/shop" && commit == COMMIT).then(|| Commit {
                author: Some(Author { name: Some("Mia".into()), mail: None }),
                message: Some("Bump to 6.9.1\n\nAnd more".into()),
                pull_request: Some("https://git.example.com/mia/shop/pulls/4".into()),
            })
        }
    }
    let cluster = Cluster::of(include_str!("kustomization-git.yaml"));
    let (_, target) = cluster.0.iter().find(|((kind, _, _), _)| kind == "Deployment").expect("a Deployment");
    let sentence = attribute(target, &cluster, &Mirror).source.sentence();
    assert_eq!(sentence.as_deref(), Some("commit 4f2c1e9 by Mia: \"Bump to 6.9.1\" (Kustomization flux-system/apps)"));
}

#[test]
fn of_an_operators_object_little_is_kept() {
    let file = include_str!("application.yaml");
    let cluster = Cluster::of(file);
    let kept: usize =
        cluster.0.values().filter(|object| object["kind"] == "Application").map(|o| o.to_string().len()).sum();
    assert!(kept < 1000, "{kept} bytes");
    let known =
        [("Kustomization", "/status/inventory"), ("Application", "/status/resources"), ("HelmRelease", "/spec/values")];
    for (kind, pointer) in known {
        for yaml in [include_str!("kustomization-git.yaml"), file, include_str!("helm-release.yaml")] {
            let objects = Cluster::of(yaml);
            let found =
                objects.0.values().find(|object| object["kind"] == kind).and_then(|object| object.pointer(pointer));
            assert_eq!(found, None, "{kind} {pointer}");
        }
    }
    for mut odd in
        [json!(3), json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Application" }), json!({ "apiVersion": 1 })]
    {
        thin(&mut odd);
    }
}

#[test]
fn odd_objects_are_no_trouble() {
    for odd in [
        json!({}),
        json!({ "status": [] }),
        json!({ "spec": { "sourceRef": 3, "sources": {}, "source": [] }, "status": { "history": {}, "conditions": 1, "operationState": [] } }),
    ] {
        struct Odd(Value);
        impl Sight for Odd {
            fn find(&self, _: Kind, _: &str, _: &str) -> Option<Arc<Value>> {
                Some(Arc::new(self.0.clone()))
            }
        }
        for marks in [
            json!({ "labels": { "kustomize.toolkit.fluxcd.io/name": "a", "kustomize.toolkit.fluxcd.io/namespace": "b" } }),
            json!({ "labels": { "helm.toolkit.fluxcd.io/name": "a", "helm.toolkit.fluxcd.io/namespace": "b" } }),
            json!({ "labels": { "app.kubernetes.io/instance": "_" } }),
            json!({ "annotations": { "serin.dev/source": "a.b", "argocd.argoproj.io/tracking-id": ":::/" } }),
            json!({ "labels": 3, "annotations": [] }),
        ] {
            attribute(&json!({ "metadata": marks }), &Odd(odd.clone()), &NoCommits);
        }
    }
}
