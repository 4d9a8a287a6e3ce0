//! Against real Git: repositories made by the `git` executable, reached by `file` and, through `git http-backend`, by HTTP.

mod fetch;
mod fixture;
mod limits;
mod measure;
mod push;
mod read;
mod revert;
mod secrets;
mod server;
mod signatures;
mod ssh;
