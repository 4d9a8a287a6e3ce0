//! What stands in a cluster before anybody has written anything.

use serde_json::{Value, json};

use crate::state::{Options, State};

impl State {
    /// Namespaces and the API's own Service.
    pub(crate) fn found(&mut self) {
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            self.put_own(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }));
        }
        self.put_own(&json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": { "component": "apiserver", "provider": "kubernetes" },
            },
            "spec": { "clusterIP": "10.96.0.1", "ports": [{ "name": "https", "port": 443, "targetPort": 6443 }] },
        }));
    }

    /// What controllers of the cluster make in every namespace, and make again.
    pub(crate) fn furnish(&mut self, namespace: &str) {
        self.put_own(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": namespace },
        }));
        self.put_own(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "kube-root-ca.crt", "namespace": namespace },
            "data": { "ca.crt": "" },
        }));
    }

    fn put_own(&mut self, object: &Value) {
        let options = Options { manager: "kube-controller-manager".to_owned(), ..Options::default() };
        if let Ok(target) = self.target_of(object)
            && self.stored(&target).is_err()
        {
            let made = self.create(&target, object.clone(), &options);
            debug_assert!(made.is_ok(), "the cluster's own objects are valid: {made:?}");
        }
    }
}
