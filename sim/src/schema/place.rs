//! Where in an object a value stands. It is written out only when something is wrong there.

use std::fmt;

#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl<'a> Place<'a> {
    pub(super) fn field(&'a self, name: &'a str) -> Place<'a> {
        Place::Field(self, name)
    }

    pub(super) fn item(&'a self, index: usize) -> Place<'a> {
        Place::Item(self, index)
    }
}

/// `spec.ports[0].name`
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => Ok(()),
            Place::Field(Place::Root, name) => f.write_str(name),
            Place::Field(above, name) => write!(f, "{above}.{name}"),
            Place::Item(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}
