//! The demo as it is started: its tour in real time, and what it says when it cannot start.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

fn demo(arguments: &[&str], variables: &[(&str, &Path)]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_serin"))
        .arg("demo")
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_tour_goes_as_told_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().expect("a folder");
    let (code, told, complaints) = demo(&["--exit-after-tour"], &[("TMPDIR", place.path())]);
    assert_eq!(code, Some(0), "{told}{complaints}");
    assert_eq!(complaints, "", "the log stays out of the tour");
    let mut rest = told.as_str();
    for sentence in [
        "podinfo-primary serves all requests with 6.9.0",
        "Serin sees 6.9.1 and starts it as the canary",
        "██░░░░░░░░░░░░░░░░░░ 10% for 6.9.1",
        "██████████░░░░░░░░░░ 50% for 6.9.1",
        "Promoted: 6.9.1 serves everybody",
        "Serin sees 6.9.2 and starts it as the canary",
        "Serin warns: Halt podinfo.demo advancement success rate",
        "Serin warns: Rolling back podinfo.demo failed checks threshold reached 3",
        "Rolled back: 6.9.2 is gone, 6.9.1 serves everybody",
        "       0 found nobody to answer",
    ] {
        let at = rest.find(sentence).unwrap_or_else(|| panic!("{sentence:?} is not told, or not in its turn:\n{told}"));
        rest = &rest[at + sentence.len()..];
    }
    assert!(!told.contains('\x1b'), "no colours into a pipe");
    let left = std::fs::read_dir(place.path()).expect("the folder").count();
    assert_eq!(left, 0, "the folder is removed");
}

#[test]
fn a_port_that_is_taken_is_named_with_the_mend() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let (code, _, complaint) = demo(&["--exit-after-tour", "--dashboard-port", &port], &[]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains(&format!("127.0.0.1:{port} for the dashboard")), "{complaint}");
    assert!(complaint.contains("--dashboard-port"), "{complaint}");
}

#[test]
fn without_git_it_says_so() {
    let nothing = tempfile::tempdir().expect("a folder");
    let (code, _, complaint) = demo(&["--exit-after-tour"], &[("PATH", nothing.path())]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("running git") && complaint.contains("install git"), "{complaint}");
}
