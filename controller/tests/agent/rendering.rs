//! Kustomize and Helm, as far as they are on this machine.

use serde_json::json;

use crate::world::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kustomization_is_rendered_with_its_bases_and_nothing_from_elsewhere() {
    if programs().kustomize.is_none() && programs().kubectl.is_none() {
        eprintln!("skipped: there is neither kustomize nor kubectl in $PATH");
        return;
    }
    let world = World::new();
    let kustomization = |resources: &str| {
        Some(format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamePrefix: prod-\nresources: [{resources}]\n"
        ))
    };
    let first = world.repository.commit([
        ("base/kustomization.yaml", Some("resources: [a.yaml]\n".to_owned())),
        ("base/a.yaml", Some(config_map("a", "1"))),
        ("overlays/prod/kustomization.yaml", kustomization("../../base")),
        ("unrelated/broken.yaml", Some("a: [".into())),
    ]);
    world.source("apps", json!({ "path": "overlays/prod" }));
    world.until_applied("apps", &first).await;
    assert_eq!(world.config("prod-a").unwrap()["data"]["key"], "1");
    for (resources, begins) in [
        (
            "https://example.com/x.yaml",
            "False RenderFailed overlays/prod/kustomization.yaml refers to \"https://example.com/x.yaml\", which is not in this repository",
        ),
        (
            "\"git@github.com:a/b\"",
            "False RenderFailed overlays/prod/kustomization.yaml refers to \"git@github.com:a/b\", which is not in this repository",
        ),
        (
            "github.com/a/b",
            "False RenderFailed overlays/prod/kustomization.yaml refers to \"github.com/a/b\", which is not in this repository",
        ),
        (
            "../../../../etc",
            "False RenderFailed overlays/prod/kustomization.yaml refers to \"../../../../etc\", which leads out of the repository",
        ),
        (
            "missing.yaml",
            "False RenderFailed overlays/prod/kustomization.yaml refers to \"missing.yaml\", which is not in this repository",
        ),
    ] {
        world.repository.commit([("overlays/prod/kustomization.yaml", kustomization(resources))]);
        world.ask("apps");
        world.until_ready("apps", begins).await;
    }
    let broken = "resources: [../../base]\npatches: [{path: nothing.yaml}]\n";
    world.repository.commit([("overlays/prod/kustomization.yaml", Some(broken.to_owned()))]);
    world.ask("apps");
    world.until_ready("apps", "False RenderFailed kustomize build overlays/prod failed: ").await;
    assert!(world.config("prod-a").is_some(), "what stands stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_is_rendered_with_values_of_files_and_of_the_spec() {
    if programs().helm.is_none() {
        eprintln!("skipped: there is no helm in $PATH or in the cache of the end-to-end tests");
        return;
    }
    let world = World::new();
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"{{ .Release.Name }}-a\"}\ndata: {one: \"{{ .Values.one }}\", two: \"{{ .Values.two }}\"}\n";
    let first = world.repository.commit([
        ("chart/Chart.yaml", Some("apiVersion: v2\nname: shop\nversion: 1.0.0\n".to_owned())),
        ("chart/values.yaml", Some("one: default\ntwo: default\n".to_owned())),
        ("chart/templates/a.yaml", Some(template.to_owned())),
        ("env/prod.yaml", Some("one: prod\ntwo: prod\n".to_owned())),
    ]);
    world.source(
        "apps",
        json!({ "path": "chart", "helm": { "valuesFiles": ["env/prod.yaml"], "values": { "two": "spec" } } }),
    );
    world.until_applied("apps", &first).await;
    assert_eq!(world.config("apps-a").unwrap()["data"], json!({ "one": "prod", "two": "spec" }));
    world.repository.commit([("chart/templates/a.yaml", Some("{{ fail \"not like this\" }}".to_owned()))]);
    world.ask("apps");
    world.until_ready("apps", "False RenderFailed helm template chart failed: ").await;
    assert!(world.condition("apps", "Ready").contains("not like this"));
}
