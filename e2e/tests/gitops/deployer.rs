//! Who applies what is in Git.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{ForgeRepository, Scene, objects, wait_for};
use serde_json::{Value, json};

/// The folder of the repository with the manifests.
pub(crate) const PATH: &str = "shop";

/// Who applies what is in Git.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deployer {
    /// Serin's own agent.
    Agent,
    /// Flux: source-controller and kustomize-controller.
    Flux,
    /// Argo CD, with automated sync.
    ArgoCd,
}

impl Deployer {
    /// Makes it follow the repository's main branch into the test's namespace.
    pub(crate) async fn follow(self, scene: &Scene, repository: &ForgeRepository) -> Result<()> {
        let namespace = &scene.namespace;
        match self {
            Deployer::Agent => {
                scene.apply(&repository.secret("git")).await?;
                scene
                    .apply(&json!({
                        "apiVersion": "serin.dev/v1alpha1", "kind": "GitSource", "metadata": {"name": "shop"},
                        "spec": {
                            "url": repository.url(), "ref": {"branch": "main"}, "path": PATH, "interval": "2s",
                            "secretRef": {"name": "git"}, "targetNamespace": namespace,
                        },
                    }))
                    .await
            }
            Deployer::Flux => {
                scene.apply(&repository.secret("git")).await?;
                scene
                    .apply(&json!({
                        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": "shop"},
                        "spec": {
                            "url": repository.url(), "ref": {"branch": "main"}, "interval": "2s",
                            "secretRef": {"name": "git"},
                        },
                    }))
                    .await?;
                scene
                    .apply(&json!({
                        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "shop"},
                        "spec": {
                            "sourceRef": {"kind": "GitRepository", "name": "shop"}, "path": format!("./{PATH}"),
                            "interval": "10m", "prune": true, "targetNamespace": namespace,
                        },
                    }))
                    .await
            }
            Deployer::ArgoCd => {
                let (url, secret) = (repository.url(), repository.secret(&format!("repository-{namespace}")));
                let mut secret = secret;
                secret["metadata"]["labels"] = json!({"argocd.argoproj.io/secret-type": "repository"});
                secret["stringData"]["url"] = url.clone().into();
                secret["stringData"]["type"] = "git".into();
                objects::apply(&scene.cluster.client, "argocd", "e2e", &secret).await?;
                let application = json!({
                    "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": namespace},
                    "spec": {
                        "project": "default",
                        "source": {"repoURL": url, "targetRevision": "main", "path": PATH},
                        "destination": {"name": "local", "namespace": namespace},
                        "syncPolicy": {"automated": {"prune": true, "selfHeal": true}},
                        // What Serin sets, in the words of the documentation.
                        "ignoreDifferences": [{"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}],
                    },
                });
                objects::apply(&scene.cluster.client, "argocd", "e2e", &application).await.map(drop)
            }
        }
    }

    /// The object that is held after a rollback.
    pub(crate) async fn object(self, scene: &Scene) -> Result<Value> {
        let (api_version, kind, namespace, name) = match self {
            Deployer::Agent => ("serin.dev/v1alpha1", "GitSource", scene.namespace.as_str(), "shop"),
            Deployer::Flux => ("kustomize.toolkit.fluxcd.io/v1", "Kustomization", scene.namespace.as_str(), "shop"),
            Deployer::ArgoCd => ("argoproj.io/v1alpha1", "Application", "argocd", scene.namespace.as_str()),
        };
        objects::get(&scene.cluster.client, namespace, api_version, kind, name).await
    }

    /// Waits until it was told to hold still, or let go again.
    pub(crate) async fn held(self, scene: &Scene, held: bool, deadline: Duration) -> Result<()> {
        wait_for(if held { "the hold" } else { "the hold to be lifted" }, deadline, || async {
            let object = self.object(scene).await?;
            let hold = &object["metadata"]["annotations"]["serin.dev/hold"];
            ensure!(hold.is_string() == held, "its hold is {hold}");
            let working = match self {
                Deployer::Agent => !held,
                Deployer::Flux => object["spec"]["suspend"] != true,
                Deployer::ArgoCd => {
                    let automated = &object["spec"]["syncPolicy"]["automated"];
                    automated.is_object() && automated["enabled"] != false
                }
            };
            ensure!(working != held, "held: {held}, and its spec is {}", object["spec"]);
            Ok(())
        })
        .await
    }

    /// Removes what [`Deployer::follow`] made outside of the test's namespace.
    pub(crate) async fn leave(self, scene: &Scene) -> Result<()> {
        match self {
            Deployer::Agent | Deployer::Flux => Ok(()),
            Deployer::ArgoCd => {
                let client = &scene.cluster.client;
                let name = &scene.namespace;
                objects::delete(client, "argocd", "argoproj.io/v1alpha1", "Application", name)
                    .await
                    .context("removing the Application")?;
                objects::delete(client, "argocd", "v1", "Secret", &format!("repository-{name}")).await
            }
        }
    }
}
