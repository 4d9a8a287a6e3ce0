//! What is applied before what.

use super::manifest::ObjectId;

/// Where in the order an object stands. Those of one step do not wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Namespaces.
    Namespaces,
    /// CustomResourceDefinitions; the next step begins when their APIs are served.
    Definitions,
    /// Accounts, rights, quotas, classes.
    Foundations,
    /// ConfigMaps, Secrets, volumes.
    Configuration,
    /// Services.
    Services,
    /// What makes pods.
    Workloads,
    /// What speaks of workloads: autoscalers, budgets, Ingresses.
    Surroundings,
    /// What other kinds stand behind: custom resources.
    CustomResources,
    /// What may refuse all others: webhooks and policies of admission.
    Admission,
}

/// The step of an object.
pub fn step(id: &ObjectId) -> Step {
    match (id.group.as_str(), id.kind.as_str()) {
        ("", "Namespace") => Step::Namespaces,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Step::Definitions,
        ("", "ServiceAccount" | "ResourceQuota" | "LimitRange")
        | ("rbac.authorization.k8s.io" | "scheduling.k8s.io" | "storage.k8s.io" | "node.k8s.io", _)
        | ("networking.k8s.io", "NetworkPolicy" | "IngressClass") => Step::Foundations,
        ("", "ConfigMap" | "Secret" | "PersistentVolume" | "PersistentVolumeClaim") => Step::Configuration,
        ("", "Service" | "Endpoints") | ("discovery.k8s.io", _) => Step::Services,
        ("", "Pod" | "ReplicationController" | "PodTemplate") | ("apps" | "batch", _) => Step::Workloads,
        ("autoscaling" | "policy" | "networking.k8s.io", _) => Step::Surroundings,
        ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => Step::Admission,
        _ => Step::CustomResources,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_before_what_it_needs() {
        let names = [
            "Namespace//shop",
            "CustomResourceDefinition.apiextensions.k8s.io//canaries.flagger.app",
            "ServiceAccount/shop/web",
            "ConfigMap/shop/web",
            "Service/shop/web",
            "Deployment.apps/shop/web",
            "HorizontalPodAutoscaler.autoscaling/shop/web",
            "Canary.flagger.app/shop/web",
            "ValidatingWebhookConfiguration.admissionregistration.k8s.io//guard",
        ];
        let steps: Vec<Step> = names.iter().map(|name| step(&name.parse().unwrap())).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert_eq!(step(&"CronJob.batch/shop/x".parse().unwrap()), Step::Workloads);
        assert_eq!(step(&"RoleBinding.rbac.authorization.k8s.io/shop/x".parse().unwrap()), Step::Foundations);
    }
}
