use super::*;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn changed(text: &str, wanted: &str, policy: Option<&str>) -> String {
    let wanted = Reference::parse(wanted).expect("an image");
    let found = look(text, &wanted, policy).expect("YAML");
    let made = make(text, &found.edits);
    let again = look(&made, &wanted, policy).expect("YAML");
    assert_eq!(again.edits, [], "a second time changes more:\n{made}");
    assert!(again.places >= found.places.min(1), "the image is lost:\n{made}");
    made
}

/// What was, what is wanted, what should be; everything around stays as it is.
#[test]
fn each_place_is_changed_and_nothing_else() {
    let rows = [
        // The field `image`, at any depth, with its quotes and remarks.
        (
            "spec:\n  containers:\n  - image: ghcr.io/acme/shop:1.0.0   # the shop\n    name: a\n",
            "ghcr.io/acme/shop:1.1.0",
            "spec:\n  containers:\n  - image: ghcr.io/acme/shop:1.1.0   # the shop\n    name: a\n",
        ),
        ("image: 'ghcr.io/acme/shop:1'\n", "ghcr.io/acme/shop:2", "image: 'ghcr.io/acme/shop:2'\n"),
        ("{\"image\": \"ghcr.io/acme/shop:1\"}", "ghcr.io/acme/shop:2", "{\"image\": \"ghcr.io/acme/shop:2\"}"),
        ("image: docker.io/library/nginx:1\r\nx: y\r\n", "nginx:2", "image: docker.io/library/nginx:2\r\nx: y\r\n"),
        ("image: ghcr.io/acme/shop:1\n", "ghcr.io/acme/shop:2@DIGEST", "image: ghcr.io/acme/shop:2@DIGEST\n"),
        ("image: ghcr.io/acme/shop@DIGEST\n", "ghcr.io/acme/shop:2", "image: ghcr.io/acme/shop:2\n"),
        // Another image, a longer name, another field.
        (
            "image: ghcr.io/acme/shopper:1\nimage2: ghcr.io/acme/shop:1\n",
            "ghcr.io/acme/shop:2",
            "image: ghcr.io/acme/shopper:1\nimage2: ghcr.io/acme/shop:1\n",
        ),
        // Kustomize.
        (
            "images:\n- name: shop\n  newName: ghcr.io/acme/shop\n  newTag: \"1.0\"\n",
            "ghcr.io/acme/shop:1.1",
            "images:\n- name: shop\n  newName: ghcr.io/acme/shop\n  newTag: \"1.1\"\n",
        ),
        (
            "images:\n  - name: ghcr.io/acme/shop\n    newTag: v1\n",
            "ghcr.io/acme/shop:1.1",
            "images:\n  - name: ghcr.io/acme/shop\n    newTag: \"1.1\"\n",
        ),
        (
            "images:\n  - name: ghcr.io/acme/shop # ours\nother: x\n",
            "ghcr.io/acme/shop:v2",
            "images:\n  - name: ghcr.io/acme/shop # ours\n    newTag: v2\nother: x\n",
        ),
        (
            "images:\n- name: ghcr.io/acme/shop\n  newTag: v1\n  digest: sha256:ff\n",
            "ghcr.io/acme/shop:v2",
            "images:\n- name: ghcr.io/acme/shop\n  newTag: v2\n",
        ),
        (
            "images: [{name: ghcr.io/acme/shop, newTag: v1, digest: sha256:ff}]\n",
            "ghcr.io/acme/shop:v2",
            "images: [{name: ghcr.io/acme/shop, newTag: v2}]\n",
        ),
        (
            "images: [{name: ghcr.io/acme/shop}]\n",
            "ghcr.io/acme/shop:v2",
            "images: [{name: ghcr.io/acme/shop, newTag: v2}]\n",
        ),
        (
            "kind: Kustomization\nspec:\n  images:\n  - name: ghcr.io/acme/shop\n    newTag: v1\n",
            "ghcr.io/acme/shop:v2",
            "kind: Kustomization\nspec:\n  images:\n  - name: ghcr.io/acme/shop\n    newTag: v2\n",
        ),
        // Helm values.
        (
            "shop:\n  image:\n    repository: ghcr.io/acme/shop\n    tag: 1.0.0\n    pullPolicy: Always\n",
            "ghcr.io/acme/shop:1.0.1",
            "shop:\n  image:\n    repository: ghcr.io/acme/shop\n    tag: 1.0.1\n    pullPolicy: Always\n",
        ),
        (
            "image:\n  registry: ghcr.io\n  repository: acme/shop\n  tag: v1\n  digest: \"\"\n",
            "ghcr.io/acme/shop:v2@DIGEST",
            "image:\n  registry: ghcr.io\n  repository: acme/shop\n  tag: v2\n  digest: \"DIGEST\"\n",
        ),
        (
            "image:\n  repository: ghcr.io/acme/shop\n  tag: v1\n  digest: DIGEST\n",
            "ghcr.io/acme/shop:v2",
            "image:\n  repository: ghcr.io/acme/shop\n  tag: v2\n  digest: \"\"\n",
        ),
        (
            "image:\n  repository: ghcr.io/acme/shop\n",
            "ghcr.io/acme/shop:v2",
            "image:\n  repository: ghcr.io/acme/shop\n  tag: v2\n",
        ),
        (
            "chart:\n  repository: ghcr.io/acme/shop\n",
            "ghcr.io/acme/shop:v2",
            "chart:\n  repository: ghcr.io/acme/shop\n",
        ),
        // Setter comments.
        (
            "a: x:1 # serin:image ghcr.io/acme/shop\nb: 1 # serin:tag ghcr.io/acme/shop\nc: q # serin:digest ghcr.io/acme/shop\n",
            "ghcr.io/acme/shop:v2@DIGEST",
            "a: x:v2@DIGEST # serin:image ghcr.io/acme/shop\nb: v2@DIGEST # serin:tag ghcr.io/acme/shop\nc: DIGEST # serin:digest ghcr.io/acme/shop\n",
        ),
        ("b: 1 # serin:tag ghcr.io/acme/other\n", "ghcr.io/acme/shop:v2", "b: 1 # serin:tag ghcr.io/acme/other\n"),
        (
            "image: ghcr.io/acme/shop:1 # {\"$imagepolicy\": \"flux-system:shop\"}\n",
            "ghcr.io/acme/shop:2",
            "image: ghcr.io/acme/shop:2 # {\"$imagepolicy\": \"flux-system:shop\"}\n",
        ),
        // Several documents, and what only looks like an image.
        (
            "a: b\n---\nimage: ghcr.io/acme/shop:1\n---\n# image: ghcr.io/acme/shop:1\nc: |\n  image: ghcr.io/acme/shop:1\n",
            "ghcr.io/acme/shop:2",
            "a: b\n---\nimage: ghcr.io/acme/shop:2\n---\n# image: ghcr.io/acme/shop:1\nc: |\n  image: ghcr.io/acme/shop:1\n",
        ),
    ];
    for (was, wanted, should_be) in rows {
        let with = |text: &str| text.replace("DIGEST", DIGEST);
        assert_eq!(changed(&with(was), &with(wanted), None), with(should_be), "{wanted} in:\n{was}");
    }
}

#[test]
fn a_policy_of_flux_is_this_image_when_that_was_told() {
    let was = "tag: \"1\" # {\"$imagepolicy\": \"flux-system:shop:tag\"}\nname: x # {\"$imagepolicy\": \"flux-system:shop:name\"}\n";
    assert_eq!(changed(was, "ghcr.io/acme/shop:2", None), was);
    assert_eq!(changed(was, "ghcr.io/acme/shop:2", Some("flux-system:other")), was);
    assert_eq!(
        changed(was, "ghcr.io/acme/shop:2", Some("flux-system:shop")),
        "tag: \"2\" # {\"$imagepolicy\": \"flux-system:shop:tag\"}\nname: ghcr.io/acme/shop # {\"$imagepolicy\": \"flux-system:shop:name\"}\n"
    );
}

#[test]
fn a_tag_that_reads_as_a_number_is_quoted() {
    for (tag, quoted) in [
        ("1.0", true),
        ("1", true),
        ("1e3", true),
        ("0x1f", true),
        ("true", true),
        ("1.0.0", false),
        ("v1", false),
        ("build-20260101", false),
        ("2026-01-01", true),
    ] {
        let made = changed("images:\n- name: shop\n  newTag: v0\n", &format!("shop:{tag}"), None);
        let value = if quoted { format!("\"{tag}\"") } else { tag.to_owned() };
        assert_eq!(made, format!("images:\n- name: shop\n  newTag: {value}\n"));
    }
}

#[test]
fn repositories_are_told() {
    let wanted = Reference::parse("ghcr.io/acme/ship:2").expect("an image");
    let found =
        look("image: ghcr.io/acme/shop:1\n---\nimage: {repository: redis, tag: x}\n", &wanted, None).expect("YAML");
    assert_eq!((found.places, found.repositories), (0, vec!["ghcr.io/acme/shop".to_owned(), "redis".to_owned()]));
}
