//! The verbs: create, read, update, patch, apply, delete.

mod delete;
mod patch;
mod read;
mod write;

pub(crate) use delete::{Deletion, Dependents, FOREGROUND, ORPHAN};
pub(crate) use patch::Patch;
pub(crate) use read::Query;
