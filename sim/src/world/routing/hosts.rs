//! Which routes a host can have: of many routes, a request is compared with few.

use std::collections::HashMap;

/// Numbers of routes by the hosts they are for.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<String, Vec<usize>>,
    /// Routes for hosts that are not named one by one.
    open: Vec<usize>,
}

impl Hosts {
    /// A route of that number is for a host: empty and wildcards mean many. Numbers go up.
    pub(super) fn add(&mut self, host: &str, route: usize) {
        let routes = if host.is_empty() || host.starts_with('*') {
            &mut self.open
        } else {
            self.exact.entry(host.to_ascii_lowercase()).or_default()
        };
        if routes.last() != Some(&route) {
            routes.push(route);
        }
    }

    /// The numbers of all routes that can fit a host, and of some that may not, upwards.
    pub(super) fn of(&self, host: &str) -> Vec<usize> {
        let exact = self.exact.get(&host.to_ascii_lowercase()).into_iter().flatten();
        let mut routes: Vec<usize> = exact.chain(&self.open).copied().collect();
        routes.sort_unstable();
        routes.dedup();
        routes
    }
}
