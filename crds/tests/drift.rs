//! The YAML beside this crate says what the types say. `UPDATE=1 cargo test -p crds` rewrites it.

use std::path::Path;

use serde_json::Value;

#[test]
fn the_yaml_says_what_the_types_say() {
    for file in crds::published_files().unwrap() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file.name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &file.text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == file.text, "{} is out of date; run UPDATE=1 cargo test -p crds", path.display());
        let read: Value = serde_saphyr::from_str(&found).unwrap();
        assert!(read["kind"].is_string(), "{} is not an object", path.display());
    }
}

#[test]
fn what_is_compiled_in_says_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/definitions.json");
    let wanted = crds::written_definitions();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(found == wanted, "{} is out of date; run UPDATE=1 cargo test -p crds", path.display());
}

#[test]
fn yaml_loses_nothing_on_the_way() {
    for (crd, file) in crds::all_crds().iter().zip(crds::published_files().unwrap()) {
        assert_eq!(&serde_saphyr::from_str::<Value>(&file.text).unwrap(), crd, "{}", file.name);
    }
}
