//! What is to be applied: objects, where in Git they come from, and their names in an inventory.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// An object as Git has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// With `apiVersion`, `kind` and `metadata.name`.
    pub object: Value,
    /// File and line, or who rendered it.
    pub origin: Origin,
}

/// Where an object comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Path in the repository, or as in `kustomize build deploy`.
    pub file: String,
    /// First line of its document, from 1; 0 for a whole file.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => formatter.write_str(&self.file),
            line => write!(formatter, "{}:{line}", self.file),
        }
    }
}

/// An object's name that is unique in the cluster; `KIND.GROUP/NAMESPACE/NAME` without what it has not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Kind.
    pub kind: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Empty for objects of the cluster.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectId { kind, group, namespace, name } = self;
        let dot = if group.is_empty() { "" } else { "." };
        write!(formatter, "{kind}{dot}{group}/{namespace}/{name}")
    }
}

impl FromStr for ObjectId {
    type Err = String;

    fn from_str(text: &str) -> Result<ObjectId, String> {
        let mut parts = text.splitn(3, '/');
        let (Some(kind), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(format!("{text:?} is not KIND.GROUP/NAMESPACE/NAME"));
        };
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        let owned = str::to_owned;
        Ok(ObjectId { kind: owned(kind), group: owned(group), namespace: owned(namespace), name: owned(name) })
    }
}

impl ObjectId {
    /// As people name it: `Deployment shop/web`.
    pub fn spoken(&self) -> String {
        let ObjectId { kind, namespace, name, .. } = self;
        if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
    }
}

impl Manifest {
    /// API group, version and kind.
    pub fn type_of(&self) -> (&str, &str, &str) {
        let (group, version) = group_and_version(self.text("/apiVersion"));
        (group, version, self.text("/kind"))
    }

    /// A text in the object; empty when there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Of `apps/v1` or `v1`.
pub fn group_and_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_read_back() {
        for text in ["Deployment.apps/shop/web", "Namespace//shop", "HTTPRoute.gateway.networking.k8s.io/shop/web"] {
            let id: ObjectId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
        }
        let id: ObjectId = "ClusterRole.rbac.authorization.k8s.io//system:reader".parse().unwrap();
        assert_eq!((id.group.as_str(), id.name.as_str()), ("rbac.authorization.k8s.io", "system:reader"));
        assert_eq!(id.spoken(), "ClusterRole system:reader");
        assert!("Deployment/web".parse::<ObjectId>().is_err());
    }
}
