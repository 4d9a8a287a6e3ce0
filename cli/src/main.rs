//! The serin binary: the controller, and the command line that watches and steers it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os().collect())
}
