//! The chart, rendered by the real Helm: least rights, safe pods, Flagger's values. Without a Helm (`$HELM`, the one
//! that the end-to-end tests build, or one in `$PATH`) the tests that need it say so and pass.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn helm() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/serin-e2e"));
    let cache = std::env::var_os("SERIN_E2E_CACHE").map(PathBuf::from).or(home);
    let named = std::env::var_os("HELM").filter(|name| !name.is_empty()).map(PathBuf::from);
    let known = [named, cache.map(|cache| cache.join("bin/helm"))].into_iter().flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = std::env::split_paths(&path).map(|folder| folder.join("helm")).collect();
    let found = known.chain(in_path).find(|candidate| candidate.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no helm in $HELM, in the cache of the end-to-end tests, or in $PATH");
    }
    found
}

fn run(helm: &Path, arguments: &[&str]) -> Output {
    Command::new(helm).args(arguments).current_dir(root()).output().expect("helm starts")
}

/// What the chart makes of these values; the error is Helm's.
fn template(helm: &Path, values: &Value) -> Result<Vec<Value>, String> {
    let file = std::env::temp_dir().join(format!("serin-values-{}-{:p}.json", std::process::id(), values));
    std::fs::write(&file, values.to_string()).expect("values are written");
    let path = file.to_string_lossy().into_owned();
    let common = ["template", "serin", "charts/serin", "--namespace=serin-system", "--kube-version=1.33.0"];
    let output = run(helm, &[&common[..], &["--values", &path]].concat());
    std::fs::remove_file(&file).expect("values are removed");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn arguments(objects: &[Value]) -> Vec<String> {
    let container = &of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
    serde_json::from_value(container["args"].clone()).expect("arguments")
}

/// Verbs that the rules give for a resource.
fn verbs(rules: &Value, group: &str, resource: &str) -> Vec<String> {
    let holds = |rule: &&Value, field: &str, word: &str| {
        rule[field].as_array().is_some_and(|words| words.iter().any(|known| known == word))
    };
    let rules = rules["rules"].as_array().expect("rules");
    let matching = rules.iter().filter(|rule| holds(rule, "apiGroups", group) && holds(rule, "resources", resource));
    matching.flat_map(|rule| serde_json::from_value::<Vec<String>>(rule["verbs"].clone()).expect("verbs")).collect()
}

#[test]
fn lint_finds_nothing() {
    let Some(helm) = helm() else { return };
    let output = run(&helm, &["lint", "--strict", "charts/serin"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn rights_name_every_verb_and_resource() {
    let Some(helm) = helm() else { return };
    let objects = template(&helm, &json!({})).expect("the chart renders");
    let role = of_kind(&objects, "ClusterRole")[0];
    assert!(!role.to_string().contains('*'), "{role}");
    // A Canary that was made from a template goes with the annotation, a baseline with its analysis, and an old record goes;
    // nothing else is deleted.
    assert_eq!(role.to_string().matches("delete").count(), 4, "{role}");
    let deleted = [("flagger.app", "canaries"), ("apps", "deployments"), ("", "services"), ("serin.dev", "canaryruns")];
    for (group, resource) in deleted {
        assert!(verbs(role, group, resource).contains(&"delete".to_owned()), "{resource}");
    }
    assert_eq!(verbs(role, "", "pods"), Vec::<String>::new());
    assert_eq!(verbs(role, "flagger.app", "metrictemplates"), ["get", "list", "watch"]);
    assert_eq!(verbs(role, "", "secrets"), ["get", "list", "watch", "create", "patch"]);
    assert_eq!(verbs(role, "coordination.k8s.io", "leases"), Vec::<String>::new());
}

#[test]
fn rights_follow_the_routers_and_the_features() {
    let Some(helm) = helm() else { return };
    let values = json!({"routers": ["traefik"], "configTracking": {"enabled": false}});
    let objects = template(&helm, &values).expect("the chart renders");
    let role = of_kind(&objects, "ClusterRole")[0];
    assert_eq!(verbs(role, "traefik.io", "traefikservices"), ["get", "list", "watch", "create", "patch"]);
    assert_eq!(verbs(role, "gateway.networking.k8s.io", "httproutes"), Vec::<String>::new());
    assert_eq!(verbs(role, "networking.k8s.io", "ingresses"), Vec::<String>::new());
    assert_eq!(verbs(role, "", "secrets"), ["get", "list", "watch"]);
    assert_eq!(verbs(role, "", "configmaps"), Vec::<String>::new());
    let unknown = template(&helm, &json!({"routers": ["istoi"]})).expect_err("an unknown router");
    assert!(unknown.contains("routers"), "{unknown}");
}

#[test]
fn rights_to_operators_follow_what_is_switched_on() {
    let Some(helm) = helm() else { return };
    for deployer in controller::attribution::DEPLOYERS {
        let Some(value) = deployer.value() else { continue };
        for (on, hold) in [(true, true), (true, false), (false, true)] {
            let objects = template(&helm, &json!({"gitops": {value: on, "hold": hold}})).expect("the chart renders");
            let role = of_kind(&objects, "ClusterRole")[0];
            for (index, kind) in deployer.resources().iter().enumerate() {
                // The first is the one that is held.
                let expected: &[&str] = match (on, hold && index == 0) {
                    (true, true) => &["get", "list", "watch", "patch"],
                    (true, false) => &["get", "list", "watch"],
                    (false, _) => &[],
                };
                assert_eq!(verbs(role, kind.group, kind.plural), expected, "{value}: {on}: {kind:?}");
            }
        }
    }
}

#[test]
fn rights_cover_what_the_controller_says_it_needs() {
    let Some(helm) = helm() else { return };
    let objects = template(&helm, &json!({"leaderElection": {"enabled": true}})).expect("the chart renders");
    let roles = [of_kind(&objects, "ClusterRole"), of_kind(&objects, "Role")].concat();
    for (kind, written) in controller::resources() {
        let given: Vec<String> = roles.iter().flat_map(|role| verbs(role, kind.group, kind.plural)).collect();
        let needed: &[&str] = match (kind.plural, written) {
            ("events", _) => &["create", "patch"],
            ("replicasets" | "controllerrevisions", _) => &["list"],
            ("leases", _) => &["get", "create", "update"],
            ("canaryruns", _) => &["get", "list", "create", "patch", "delete"],
            ("canaries", _) => &["get", "list", "watch", "create", "patch", "delete"],
            ("deployments" | "services", _) => &["get", "list", "watch", "create", "patch", "delete"],
            (_, true) => &["get", "list", "watch", "create", "patch"],
            (_, false) => &["get", "list", "watch"],
        };
        assert!(needed.iter().all(|verb| given.iter().any(|known| known == verb)), "{kind:?}: {given:?}");
    }
}

#[test]
fn one_namespace_asks_nothing_of_the_cluster() {
    let Some(helm) = helm() else { return };
    let values = json!({"namespace": "shop", "leaderElection": {"enabled": true, "replicaCount": 2}});
    let objects = template(&helm, &values).expect("the chart renders");
    assert!(of_kind(&objects, "ClusterRole").is_empty() && of_kind(&objects, "ClusterRoleBinding").is_empty());
    let roles = of_kind(&objects, "Role");
    assert!(roles.iter().all(|role| role["metadata"]["namespace"] == "shop"), "{roles:?}");
    let bindings = of_kind(&objects, "RoleBinding");
    assert!(bindings.iter().all(|binding| binding["subjects"][0]["namespace"] == "serin-system"), "{bindings:?}");
    assert_eq!(verbs(roles[1], "coordination.k8s.io", "leases"), ["create", "get", "update", "patch"]);
    assert!(arguments(&objects).contains(&"-namespace=shop".to_owned()));
    let deployment = of_kind(&objects, "Deployment")[0];
    assert_eq!((&deployment["spec"]["replicas"], &deployment["spec"]["strategy"]), (&json!(2), &Value::Null));
}

#[test]
fn the_dashboard_brings_its_rights_and_nothing_more() {
    let Some(helm) = helm() else { return };
    let made = |access: &str, namespace: &str| {
        let values = json!({"namespace": namespace, "dashboard": {"enabled": true, "access": access, "port": 9090}});
        template(&helm, &values).expect("the chart renders")
    };
    let given = |objects: &[Value]| {
        let roles = [of_kind(objects, "ClusterRole"), of_kind(objects, "Role")].concat();
        ["pods", "tokenreviews", "subjectaccessreviews"].map(|resource| {
            let group = match resource {
                "tokenreviews" => "authentication.k8s.io",
                "subjectaccessreviews" => "authorization.k8s.io",
                _ => "",
            };
            roles.iter().flat_map(|role| verbs(role, group, resource)).collect::<Vec<_>>()
        })
    };
    let needed = |by_token: bool| {
        let needed = controller::dashboard::resources(by_token);
        ["pods", "tokenreviews", "subjectaccessreviews"].map(|resource| {
            let found = needed.iter().filter(|(kind, _)| kind.plural == resource);
            found.flat_map(|(_, verbs)| verbs.iter().map(ToString::to_string)).collect::<Vec<_>>()
        })
    };
    for namespace in ["", "shop"] {
        let by_token = made("token", namespace);
        assert_eq!(given(&by_token), needed(true), "{namespace}");
        assert!(arguments(&by_token).contains(&"-dashboard-address=:9090".to_owned()));
        let services = of_kind(&by_token, "Service");
        assert_eq!(services[0]["spec"]["ports"][0]["targetPort"], "dashboard");
        let container = &of_kind(&by_token, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["ports"][1], json!({"name": "dashboard", "containerPort": 9090}));
        let on_loopback = made("loopback", namespace);
        assert_eq!(given(&on_loopback), needed(false), "{namespace}");
        assert!(arguments(&on_loopback).contains(&"-dashboard-address=127.0.0.1:9090".to_owned()));
        assert!(of_kind(&on_loopback, "Service").is_empty());
    }
    let without = template(&helm, &json!({})).expect("the chart renders");
    assert_eq!(given(&without), [const { Vec::<String>::new() }; 3]);
    assert!(!arguments(&without).iter().any(|argument| argument.contains("dashboard")));
}

#[test]
fn the_git_agent_brings_its_rights_and_its_folders_and_nothing_is_there_without_it() {
    let Some(helm) = helm() else { return };
    let without = template(&helm, &json!({})).expect("the chart renders");
    let told: Vec<String> = arguments(&without).into_iter().filter(|argument| argument.contains("git-")).collect();
    assert_eq!(told, ["-git-agent=false"]);
    assert!(!controller::arguments(arguments(&without)).expect("the program knows them").git_agent);
    let of = |objects: &[Value], group: &str, resource: &str| {
        let roles = [of_kind(objects, "ClusterRole"), of_kind(objects, "Role")].concat();
        roles.iter().flat_map(|role| verbs(role, group, resource)).collect::<Vec<_>>()
    };
    assert!(of(&without, "", "serviceaccounts").is_empty());
    let rule = json!({"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["patch"]});
    let agent = json!({"enabled": true, "defaultServiceAccount": "deployer", "rules": [rule], "webhook": {"enabled": true, "port": 9000}});
    for namespace in ["", "shop"] {
        let with = template(&helm, &json!({"gitAgent": agent, "namespace": namespace})).expect("the chart renders");
        for (kind, needed) in controller::agent::resources() {
            let given = of(&with, kind.group, kind.plural);
            assert!(needed.iter().all(|verb| given.iter().any(|known| known == verb)), "{kind:?}: {given:?}");
        }
        assert_eq!(of(&with, "apps", "statefulsets"), ["patch"]);
        let told = arguments(&with);
        for flag in
            ["-git-storage=/var/lib/serin", "-git-default-service-account=deployer", "-git-webhook-address=:9000"]
        {
            assert!(told.iter().any(|argument| argument == flag), "{flag}: {told:?}");
        }
        let understood = controller::arguments(told).expect("the program knows them");
        assert!(understood.git_agent && understood.git_webhook_address == ":9000");
        let pod = &of_kind(&with, "Deployment")[0]["spec"]["template"]["spec"];
        let mounts = json!([{"name": "git", "mountPath": "/var/lib/serin"}, {"name": "tmp", "mountPath": "/tmp"}]);
        assert_eq!(pod["containers"][0]["volumeMounts"], mounts);
        assert_eq!(of_kind(&with, "Service")[0]["spec"]["ports"][0]["targetPort"], "git-webhook");
    }
}

#[test]
fn the_image_with_git_is_taken_where_git_is_needed() {
    let Some(helm) = helm() else { return };
    for (values, image, folder) in [
        (json!({"image": {"tag": "1.2.3"}}), "serin:1.2.3", false),
        (json!({"image": {"tag": "1.2.3"}, "gitAgent": {"enabled": true}}), "serin:1.2.3-git", true),
        (json!({"image": {"tag": "1.2.3"}, "gitRollback": {"enabled": true}}), "serin:1.2.3-git", true),
        (json!({"image": {"tag": "1.2.3", "gitSuffix": ""}, "gitRollback": {"enabled": true}}), "serin:1.2.3", true),
    ] {
        let objects = template(&helm, &values).expect("the chart renders");
        let container = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], image, "{values}");
        let mounted = container["volumeMounts"].as_array().is_some_and(|mounts| mounts.len() == 2);
        let told = arguments(&objects).iter().any(|argument| argument == "-git-storage=/var/lib/serin");
        assert_eq!((mounted, told), (folder, folder), "{values}");
    }
}

#[test]
fn the_image_with_git_has_the_programs_that_are_called() {
    let text = std::fs::read_to_string(root().join("Containerfile")).expect("the Containerfile");
    let stages: Vec<&str> = text.split("\nFROM ").collect();
    let git = stages.iter().find(|stage| stage.contains(" AS git\n")).expect("a stage for git");
    for package in ["git", "openssh-client-default", "openssh-keygen", "gnupg", "kustomize", "helm"] {
        assert!(git.split_whitespace().any(|word| word.trim_end_matches(';') == package), "{package}: {git}");
    }
    assert!(stages.last().is_some_and(|stage| stage.starts_with("scratch")), "what is built when none is named");
}

#[test]
fn pods_are_restricted_and_probed() {
    let Some(helm) = helm() else { return };
    let objects = template(&helm, &json!({})).expect("the chart renders");
    let deployment = of_kind(&objects, "Deployment")[0];
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate"}));
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({
            "readOnlyRootFilesystem": true, "runAsUser": 10001, "runAsGroup": 10001, "runAsNonRoot": true,
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        })
    );
    assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/healthz", "port": "http"}));
    assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/readyz", "port": "http"}));
    assert!(container["resources"]["limits"]["memory"].is_string());
}

#[test]
fn flaggers_values_become_flaggers_flags() {
    let Some(helm) = helm() else { return };
    let values = json!({
        "logLevel": "debug", "metricsServer": "http://prometheus.monitoring:9090", "meshProvider": "gatewayapi:v1",
        "selectorLabels": "app.kubernetes.io/name", "includeLabelPrefix": "team.example.com/",
        "configTracking": {"enabled": false}, "ingressAnnotationsPrefix": "custom.ingress.kubernetes.io",
        "ingressClass": "edge", "eventWebhook": "http://events.test", "clusterName": "prod",
        "slack": {"url": "http://slack.test", "channel": "releases", "proxyUrl": "http://proxy.test"},
        "msteams": {"url": "http://teams.test"}, "noCrossNamespaceRefs": true, "threadiness": 4, "kubeconfigQPS": 50,
        "leaderElection": {"enabled": true, "replicaCount": 2},
        "controlplane": {"kubeconfig": {"secretName": "mesh", "key": "config"}},
        "env": [{"name": "SLACK_TOKEN", "value": "t"}], "podLabels": {"team": "edge"},
        "podMonitor": {"enabled": true}, "serviceMonitor": {"enabled": true, "labels": {"release": "monitoring"}},
        "podDisruptionBudget": {"enabled": true}, "image": {"repository": "mirror/serin", "tag": "1", "pullSecret": "pull"},
    });
    let objects = template(&helm, &values).expect("the chart renders");
    assert_eq!(
        arguments(&objects),
        [
            "-log-level=debug",
            "-metrics-server=http://prometheus.monitoring:9090",
            "-cluster-name=prod",
            "-event-webhook=http://events.test",
            "-include-label-prefix=team.example.com/",
            "-ingress-annotations-prefix=custom.ingress.kubernetes.io",
            "-ingress-class=edge",
            "-kubeconfig-qps=50",
            "-mesh-provider=gatewayapi:v1",
            "-msteams-url=http://teams.test",
            "-selector-labels=app.kubernetes.io/name",
            "-slack-channel=releases",
            "-slack-proxy-url=http://proxy.test",
            "-slack-url=http://slack.test",
            "-slack-user=flagger",
            "-threadiness=4",
            "-enable-config-tracking=false",
            "-no-cross-namespace-refs=true",
            "-enable-leader-election=true",
            "-leader-election-namespace=serin-system",
            "-git-agent=false",
            "-kubeconfig-service-mesh=/tmp/controlplane/config",
        ]
    );
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"]["team"], "edge");
    assert_eq!(pod["spec"]["containers"][0]["image"], "mirror/serin:1");
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    for kind in ["PodMonitor", "ServiceMonitor", "Service", "PodDisruptionBudget"] {
        assert_eq!(of_kind(&objects, kind).len(), 1, "{kind}");
    }
}

#[test]
fn what_would_go_wrong_later_is_refused_now() {
    let Some(helm) = helm() else { return };
    for (values, word) in [
        (json!({"prometheus": {"install": true}}), "metricsServer"),
        (json!({"leaderElection": {"replicaCount": 2}}), "leaderElection.enabled"),
        (json!({"logLevel": "loud"}), "logLevel"),
    ] {
        let refused = template(&helm, &values).expect_err("refused");
        assert!(refused.contains(word), "{values}: {refused}");
    }
}

#[test]
fn the_definitions_of_the_chart_are_those_of_the_crate() {
    for file in
        crds::published_files().expect("definitions").iter().filter(|file| !file.name.starts_with("kustomization"))
    {
        same(&root().join("charts/serin/crds").join(&file.name), &file.text);
    }
    let Some(helm) = helm() else { return };
    let with = template(&helm, &json!({"crd": {"create": true}})).expect("the chart renders");
    assert_eq!(of_kind(&with, "CustomResourceDefinition").len(), crds::all_crds().len());
    let without = template(&helm, &json!({})).expect("the chart renders");
    assert!(of_kind(&without, "CustomResourceDefinition").is_empty());
}

#[test]
fn the_plain_manifests_are_those_of_the_chart() {
    let Some(helm) = helm() else { return };
    let common = ["template", "serin", "charts/serin", "--namespace=serin-system", "--kube-version=1.33.0"];
    let output = run(&helm, &common);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let plain: String = text
        .lines()
        .filter(|line| !line.contains("helm.sh/chart") && !line.contains("app.kubernetes.io/managed-by"))
        .filter(|line| !line.starts_with("# Source"))
        .flat_map(|line| [line, "\n"])
        .collect();
    same(&root().join("examples/install/serin.yaml"), &plain);
}

/// The file says this; `UPDATE=1` makes it so.
fn same(path: &Path, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, text).expect("the file is written");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == text, "{} is out of date; run UPDATE=1 cargo test -p cli --test chart", path.display());
}
