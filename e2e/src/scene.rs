//! What one test works in: a namespace, a service account for its controller, a Git repository, a host name, a folder of artefacts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::config::AuthInfo;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::canary::{Observed, release_of, route_weights};
use crate::fake::MANAGER;
use crate::serin::{Options, target_folder};
use crate::workload::NAME;
use crate::{Cluster, GitRepository, Plan, Serin, Traffic, objects, wait_for};

/// One test's part of the cluster.
pub struct Scene {
    /// The cluster.
    pub cluster: Cluster,
    /// The test's namespace.
    pub namespace: String,
    /// The host that the test's routes answer to.
    pub host: String,
    /// Where logs, objects and transcripts go.
    pub folder: PathBuf,
    traffic: Mutex<Vec<Arc<Traffic>>>,
    namespaces: Mutex<Vec<String>>,
}

/// The folder for the artefacts of all tests.
#[must_use]
pub fn artefacts() -> PathBuf {
    target_folder().join("e2e-artifacts")
}

impl Scene {
    /// Makes the namespace anew, with the service account `serin` in it.
    ///
    /// # Errors
    /// When the API server refuses, or what an earlier run left does not go away.
    pub async fn open(cluster: &Cluster, test: &str) -> Result<Self> {
        let name = test.replace("::", "-").replace('_', "-");
        let namespace = format!("t-{name}");
        let folder = artefacts().join(&name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let scene = Self {
            cluster: cluster.clone(),
            host: format!("{name}.example.com"),
            namespace,
            folder,
            traffic: Mutex::default(),
            namespaces: Mutex::default(),
        };
        scene.make_namespace(&scene.namespace).await?;
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "serin"}});
        scene.apply(&account).await?;
        let rights = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": scene.namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "serin", "namespace": scene.namespace}],
        });
        scene.apply(&rights).await?;
        Ok(scene)
    }

    /// Makes a namespace of the test, after whatever an earlier run left in it is gone.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn make_namespace(&self, name: &str) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        if namespaces.get_opt(name).await.with_context(|| format!("looking for namespace {name}"))?.is_some() {
            self.remove_namespace(name).await?;
        }
        wait_for(&format!("namespace {name} to be gone"), Duration::from_secs(60), || async {
            let found = namespaces.get_opt(name).await?;
            ensure!(found.is_none(), "it is still there");
            Ok(())
        })
        .await?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        objects::apply(&self.cluster.client, "", MANAGER, &namespace).await?;
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
        Ok(())
    }

    /// Waits, for two minutes at most, until no other test has left anything that a controller of all namespaces would see.
    pub async fn by_itself(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let alone = wait_for("other tests' namespaces to be gone", Duration::from_secs(120), || async {
            let names = namespaces.list(&ListParams::default()).await?.items.into_iter().map(|found| found.name_any());
            let left: Vec<_> = names.filter(|name| name.starts_with("t-") && *name != self.namespace).collect();
            ensure!(left.is_empty(), "there are {}", left.join(", "));
            Ok(())
        });
        if let Err(why) = alone.await {
            self.report(&format!("it is not by itself: {why}"));
        }
    }

    /// Asks for a namespace's removal, and lets go of what waits for a controller that is gone.
    ///
    /// # Errors
    /// When the API server refuses.
    async fn remove_namespace(&self, name: &str) -> Result<()> {
        for (api_version, kind) in [("flagger.app/v1beta1", "Canary"), ("serin.dev/v1alpha1", "GitSource")] {
            for object in objects::list(&self.cluster.client, name, api_version, kind).await? {
                let change = json!({
                    "apiVersion": api_version, "kind": kind,
                    "metadata": {"name": object["metadata"]["name"], "finalizers": null},
                });
                objects::merge(&self.cluster.client, name, &change).await?;
            }
        }
        let namespaces: Api<Namespace> = Api::all(self.client());
        namespaces
            .delete(name, &DeleteParams::background())
            .await
            .with_context(|| format!("deleting namespace {name}"))?;
        Ok(())
    }

    /// An administrator's client.
    #[must_use]
    pub fn client(&self) -> Client {
        self.cluster.client.clone()
    }

    /// The user name under which the test's controller talks to the API server.
    #[must_use]
    pub fn controller_user(&self) -> String {
        format!("system:serviceaccount:{}:serin", self.namespace)
    }

    /// Server-side apply into the test's namespace.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        objects::apply(&self.cluster.client, &self.namespace, MANAGER, object).await.map(drop)
    }

    /// A Git repository whose commits are applied to the test's namespace.
    ///
    /// # Errors
    /// When `git` fails.
    pub async fn git(&self) -> Result<GitRepository> {
        GitRepository::create(&self.folder, self.client(), &self.namespace).await
    }

    /// A controller for this namespace alone, with the Gateway API as its provider.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn serin(&self) -> Result<Serin> {
        self.serin_with(&["-mesh-provider", "gatewayapi:v1", "-namespace", &self.namespace]).await
    }

    /// A controller with these flags, beside kubeconfig, port, log level and Prometheus.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn serin_with(&self, flags: &[&str]) -> Result<Serin> {
        self.controller(None, flags).await
    }

    /// Another controller in Serin's place, or Serin.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn controller(&self, binary: Option<PathBuf>, flags: &[&str]) -> Result<Serin> {
        let mut all = vec!["-metrics-server".to_owned(), self.cluster.prometheus()];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let kubeconfig = self.controller_kubeconfig().await?;
        Serin::start(&Options { binary, kubeconfig, log: self.folder.join("serin.log"), flags: all }).await
    }

    async fn controller_kubeconfig(&self) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), &self.namespace);
        let hours = TokenRequestSpec { expiration_seconds: Some(7200), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: hours, ..TokenRequest::default() };
        let answer = accounts
            .create_token_request("serin", &PostParams::default(), &request)
            .await
            .context("asking for a token of the controller's service account")?;
        let token = answer.status.context("the token request has no answer")?.token;
        let mut kubeconfig = self.cluster.kubeconfig.clone();
        for user in &mut kubeconfig.auth_infos {
            user.auth_info = Some(AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() });
        }
        let mut value = serde_json::to_value(&kubeconfig).context("writing the controller's kubeconfig")?;
        // A secret is left out when it is serialised.
        for user in value["users"].as_array_mut().into_iter().flatten() {
            user["user"] = json!({"token": token});
        }
        let path = self.folder.join("serin.kubeconfig");
        std::fs::write(&path, value.to_string()).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Starts traffic whose transcript is kept when the test fails.
    ///
    /// # Errors
    /// When the plan is none.
    pub fn traffic(&self, adjust: impl FnOnce(&mut Plan)) -> Result<Arc<Traffic>> {
        let mut plan = Plan::new(self.cluster.gateway(), &self.host);
        adjust(&mut plan);
        let traffic = Arc::new(Traffic::start(plan)?);
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&traffic));
        Ok(traffic)
    }

    /// What the Canary's status comes to.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn canary(&self) -> Result<Observed> {
        Ok(Observed::of(&self.whole_canary().await?))
    }

    /// The Canary's status, as it is.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn status(&self) -> Result<Value> {
        Ok(self.whole_canary().await?["status"].take())
    }

    async fn whole_canary(&self) -> Result<Value> {
        objects::get(&self.cluster.client, &self.namespace, "flagger.app/v1beta1", "Canary", NAME).await
    }

    /// The weights of primary and canary in the HTTPRoute.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn weights(&self) -> Result<(i64, i64)> {
        let kind = ("gateway.networking.k8s.io/v1", "HTTPRoute");
        route_weights(&objects::get(&self.cluster.client, &self.namespace, kind.0, kind.1, NAME).await?, NAME)
    }

    /// A Deployment of the namespace.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn deployment(&self, name: &str) -> Result<Value> {
        objects::get(&self.cluster.client, &self.namespace, "apps/v1", "Deployment", name).await
    }

    /// A workload of the namespace, of the kind that the Canary rolls out.
    ///
    /// # Errors
    /// When it or the Canary is not there.
    pub async fn workload(&self, name: &str) -> Result<Value> {
        let canary = objects::get(&self.cluster.client, &self.namespace, "flagger.app/v1beta1", "Canary", NAME).await?;
        let kind = canary["spec"]["targetRef"]["kind"].as_str().context("the Canary has no target")?;
        objects::get(&self.cluster.client, &self.namespace, "apps/v1", kind, name).await
    }

    /// Waits until the Canary is in `phase`. A rollout that ends otherwise fails the wait at once.
    ///
    /// # Errors
    /// When it does not come there.
    pub async fn phase(&self, phase: &str, deadline: Duration) -> Result<Observed> {
        let seen = wait_for(&format!("phase {phase}"), deadline, || async {
            let seen = self.canary().await?;
            let over = matches!(seen.phase.as_str(), "Failed" | "Succeeded") && phase_is_an_end(phase);
            ensure!(seen.phase == phase || over, "it is {seen:?}");
            Ok(seen)
        })
        .await?;
        if seen.phase != phase {
            bail!("the rollout should have ended as {phase}, it is {seen:?}");
        }
        Ok(seen)
    }

    /// Waits until `release` runs in the primary and the rollout that brought it is over.
    ///
    /// # Errors
    /// When it fails or takes longer.
    pub async fn promoted(&self, release: &str, deadline: Duration) -> Result<()> {
        wait_for(&format!("{release} to be promoted"), deadline, || async {
            let seen = self.canary().await?;
            let primary = release_of(&self.workload(&format!("{NAME}-primary")).await?);
            ensure!(
                primary == release && seen.phase == "Succeeded",
                "the primary has {primary}, the Canary is {seen:?}"
            );
            Ok(())
        })
        .await
    }

    /// Tells a figure to whoever reads the run.
    pub fn report(&self, line: &str) {
        use std::io::Write as _;
        eprintln!("{}: {line}", self.namespace);
        let path = artefacts().join("figures.txt");
        let written = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| writeln!(file, "{}: {line}", self.namespace));
        if let Err(error) = written {
            eprintln!("{}: could not be kept in {}: {error}", self.namespace, path.display());
        }
    }

    /// Keeps all that explains a failure: objects, events, transcripts; logs and the repository are there already.
    pub async fn keep(&self) {
        let namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for namespace in namespaces {
            let folder = self.folder.join("objects").join(&namespace);
            drop(std::fs::create_dir_all(&folder));
            for (api_version, kind) in objects::KINDS {
                let found = match objects::list(&self.cluster.client, &namespace, api_version, kind).await {
                    Ok(found) if found.is_empty() => continue,
                    Ok(found) => serde_saphyr::to_string(&found).unwrap_or_else(|error| error.to_string()),
                    Err(error) => format!("# {error:#}\n"),
                };
                keep_file(&folder.join(format!("{}.yaml", kind.to_lowercase())), &found);
            }
        }
        let traffic = self.traffic.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (number, traffic) in traffic.iter().enumerate() {
            drop(traffic.write_transcript(&self.folder.join(format!("traffic-{number}.csv"))));
        }
    }

    /// Removes the namespaces and, after a test that passed, the artefacts.
    pub async fn close(&self, passed: bool) {
        for traffic in self.traffic.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            drop(traffic.stop());
        }
        if std::env::var_os("SERIN_E2E_KEEP").is_some() {
            return;
        }
        let namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for namespace in namespaces {
            if let Err(error) = self.remove_namespace(&namespace).await {
                eprintln!("{namespace}: {error:#}");
            }
        }
        drop(
            objects::delete(
                &self.cluster.client,
                "",
                "rbac.authorization.k8s.io/v1",
                "ClusterRoleBinding",
                &self.namespace,
            )
            .await,
        );
        if passed {
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }
}

fn phase_is_an_end(phase: &str) -> bool {
    matches!(phase, "Failed" | "Succeeded")
}

fn keep_file(path: &Path, text: &str) {
    if let Err(error) = std::fs::write(path, text) {
        eprintln!("keeping {}: {error}", path.display());
    }
}
