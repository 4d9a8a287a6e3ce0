//! Every scenario ends as it says, goes the same way twice, and goes as it went when somebody read it.

use std::path::{Path, PathBuf};

use cli::record::Record;
use cli::record::replay::Replayed;
use cli::simulate::scenario::Scenario;
use cli::simulate::stage::play;

fn scenarios(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of scenarios")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no scenarios in {}", folder.display());
    files
}

fn check(folder: &str) {
    let mut unmet = Vec::new();
    for file in scenarios(folder) {
        let scenario = Scenario::read(&file).expect("a scenario");
        let home = file.parent().expect("a folder");
        let once = play(&scenario, home).expect("a play");
        let again = play(&scenario, home).expect("a play");
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        assert_eq!(once.transcript.to_string(), again.transcript.to_string(), "{name} goes otherwise the second time");
        if !once.verdict.is_met() {
            unmet.push(format!("{name}: {:#?}\n{}", once.verdict.objections, once.transcript));
        }
        for record in &once.records {
            let record = Record::of(record, &name).expect("a record");
            let replayed = Replayed::of(&record, None).expect("a record that can be replayed");
            assert!(replayed.same, "{name}: {:#?}", replayed.difference);
        }
        insta::assert_snapshot!(name, once.transcript.to_string());
    }
    assert!(unmet.is_empty(), "{}", unmet.join("\n"));
}

#[test]
fn the_examples_go_as_they_should() {
    check("../examples/scenarios");
}

#[test]
fn the_scenarios_go_as_they_should() {
    check("scenarios");
}
