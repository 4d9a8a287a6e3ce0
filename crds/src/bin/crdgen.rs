//! Writes the CustomResourceDefinitions into a folder: `crdgen [FOLDER]`, the crate's own by default.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    for file in crds::published_files()? {
        let path = folder.join(&file.name);
        std::fs::write(&path, &file.text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}
