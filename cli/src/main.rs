//! The serin binary: the controller, and the command line that watches and steers it.

use std::process::ExitCode;

/// Gives memory back that a burst of passes needed, and is as quick with musl as with glibc: see docs/adr/0008.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os().collect())
}
