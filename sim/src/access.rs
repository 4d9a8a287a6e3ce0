//! Who may do what. Everybody may do everything unless a rule is set.

use std::sync::Arc;

/// What somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// `system:serviceaccount:NAMESPACE:NAME` or another name; `admin` without a token.
    pub user: String,
    /// RBAC verb such as `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group.
    pub group: String,
    /// Plural, with the subresource after a slash: `deployments/status`.
    pub resource: String,
    /// Empty for the cluster and for all namespaces.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
}

type Rule = Arc<dyn Fn(&Attempt) -> bool + Send + Sync>;

/// The rule in force.
#[derive(Clone, Default)]
pub(crate) struct Access {
    rule: Option<Rule>,
}

impl Access {
    pub(crate) fn by(rule: impl Fn(&Attempt) -> bool + Send + Sync + 'static) -> Access {
        Access { rule: Some(Arc::new(rule)) }
    }

    pub(crate) fn allows(&self, attempt: &Attempt) -> bool {
        self.rule.as_ref().is_none_or(|rule| rule(attempt))
    }
}
