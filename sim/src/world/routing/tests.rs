use serde_json::json;

use super::super::fixture::{CANARY, STABLE, http_route, pod, rollout, service, shared};
use super::*;

/// A recorded object, a request by `host/path` and more, and the shares of a thousand.
type Row<'a> = (&'a str, &'a str, &'a [&'a str], BTreeMap<String, i64>);

/// What a router of ours wrote, as its tests have recorded it.
fn recorded(name: &str) -> Vec<Value> {
    let file = format!("{}/../controller/tests/routers/snapshots/{name}.snap", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let body = text.splitn(3, "---\n").nth(2).expect("a snapshot has a head");
    let desired: Vec<Value> = serde_saphyr::from_str(body).unwrap();
    desired.into_iter().filter_map(|mut one| Some(one.get_mut("apply")?.take())).collect()
}

fn routes(objects: impl IntoIterator<Item = Value>) -> Routes {
    Routes::compile(&shared(rollout().into_iter().chain(objects))[..])
}

/// The share of each version, or of each status that the data plane gives itself.
fn shares(routes: &Routes, request: &Request) -> BTreeMap<String, i64> {
    let mut shares = BTreeMap::new();
    let plan = routes.plan(request);
    let total: f64 = plan.ways.iter().map(|way| way.share).sum();
    assert!((total - 1.0).abs() < 1e-9, "{plan:?}");
    for way in plan.ways {
        let whom = match way.place {
            Place::Pod(pod) => routes.pods()[pod].version.to_string(),
            Place::Refused(status, failure) => format!("{status} {failure:?}"),
            Place::Redirected(status) => status.to_string(),
        };
        *shares.entry(whom).or_default() += (way.share * 1000.0).round() as i64;
    }
    shares
}

fn split(stable: i64, canary: i64) -> BTreeMap<String, i64> {
    let all = [(STABLE.to_owned(), stable), (CANARY.to_owned(), canary)];
    all.into_iter().filter(|(_, share)| *share > 0).collect()
}

/// `host/path`, then headers as `name: value`, cookies as `name=value` and parameters as `?name=value`.
fn request(entrance: Entrance, line: &str, more: &[&str]) -> Request {
    let (host, path) = line.split_once('/').unwrap();
    let mut request = Request { path: format!("/{path}"), ..Request::new(entrance, host) };
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    for part in more {
        if let Some(pair) = part.split_once(": ") {
            request.headers.extend([own(pair)]);
        } else if let Some(pair) = part.strip_prefix('?').and_then(|part| part.split_once('=')) {
            request.query.extend([own(pair)]);
        } else {
            request.cookies.extend(part.split_once('=').map(own));
        }
    }
    request
}

#[test]
fn recorded_http_routes_split_as_they_say() {
    let none = |status: &str| BTreeMap::from([(status.to_owned(), 1000)]);
    let table: &[Row<'_>] = &[
        ("gatewayapi-weight-0", "shop.example.com/", &[], split(1000, 0)),
        ("gatewayapi-weight-50", "shop.example.com/", &[], split(500, 500)),
        ("gatewayapi-weight-100", "shop.example.com/", &[], split(0, 1000)),
        ("gatewayapi-weight-0", "x.test/", &[], none("404 NoRoute")),
        ("gatewayapi-v1beta1", "x.test/any", &[], split(1000, 0)),
        ("gatewayapi-drift", "shop.example.com/any", &[], split(600, 400)),
        ("gatewayapi-drift", "other.example.com/any", &[], none("404 NoRoute")),
        ("gatewayapi-headers", "x.test/", &[], split(900, 100)),
        ("gatewayapi-rewrite-full", "x.test/a/b", &[], split(900, 100)),
        ("gatewayapi-rewrite-full", "x.test/b", &[], split(900, 100)),
        ("gatewayapi-rewrite-full", "x.test/b/c", &[], none("404 NoRoute")),
        ("gatewayapi-rewrite-full", "x.test/ab", &[], none("404 NoRoute")),
        ("gatewayapi-affinity", "x.test/shop", &[], split(900, 100)),
        ("gatewayapi-affinity", "x.test/shop", &["canary=abcdefghij"], split(0, 1000)),
        ("gatewayapi-affinity", "x.test/shop", &["primary=klmnopqrst"], split(1000, 0)),
        ("gatewayapi-affinity", "x.test/shop", &["primary=stale"], split(900, 100)),
        ("gatewayapi-affinity-expire", "x.test/", &["canary=abcdefghij"], split(1000, 0)),
        (
            "gatewayapi-ab",
            "x.test/shop/1",
            &["x-insider: yes", "x-tenant: blue", "x-zone: eu-1", "?version=2"],
            split(0, 1000),
        ),
        ("gatewayapi-ab", "x.test/shop/1", &["x-insider: maybe", "x-tenant: blue", "canary=always"], split(0, 1000)),
        ("gatewayapi-ab", "x.test/shop/1", &["x-insider: maybe", "x-tenant: blue"], split(1000, 0)),
        ("gatewayapi-ab", "x.test/shop/1", &["x-insider: maybe", "x-tenant: blue", "canary=never"], split(1000, 0)),
        ("gatewayapi-ab", "x.test/cart/77", &["canary=always", "other=1"], split(0, 1000)),
        ("gatewayapi-ab", "x.test/cart/77", &[], split(1000, 0)),
        ("gatewayapi-ab", "x.test/cart/x", &[], none("404 NoRoute")),
    ];
    for (name, line, more, wanted) in table {
        let routes = routes(recorded(name));
        let found = shares(&routes, &request(Entrance::Gateway, line, more));
        assert_eq!(found, *wanted, "{name} {line} {more:?}");
    }
}

#[test]
fn recorded_cookies_and_mirrors_are_handed_out() {
    let plan = routes(recorded("gatewayapi-affinity")).plan(&request(Entrance::Gateway, "x.test/shop", &[]));
    for way in &plan.ways {
        let wanted = if way.service.as_deref() == Some("shop/podinfo-canary") { "canary=" } else { "primary=" };
        assert!(way.cookies.len() == 1 && way.cookies[0].starts_with(wanted), "{way:?}");
    }
    let expire = request(Entrance::Gateway, "x.test/", &["canary=abcdefghij"]);
    let plan = routes(recorded("gatewayapi-affinity-expire")).plan(&expire);
    assert_eq!(plan.ways[0].cookies.to_vec(), ["canary=abcdefghij; Max-Age=-1"]);

    let routes = routes(recorded("gatewayapi-mirror-canary"));
    let plan = routes.plan(&request(Entrance::Gateway, "x.test/", &[]));
    for way in &plan.ways {
        assert_eq!(way.mirrors[0], (1.0, Place::Refused(500, Failure::NoSuchService)), "the Service audit");
        let (share, Place::Pod(pod)) = way.mirrors[1] else { panic!("{way:?}") };
        assert!((share - 0.2).abs() < 1e-9 && &*routes.pods()[pod].version == CANARY);
    }
}

fn rule(path: Value, more: Value, weight: u64) -> Value {
    let mut one = json!({"path": path});
    for (key, value) in more.as_object().unwrap() {
        one[key] = value.clone();
    }
    json!({"matches": [one], "backendRefs": [
        {"name": "podinfo-primary", "port": 80, "weight": 100 - weight},
        {"name": "podinfo-canary", "port": 80, "weight": weight},
    ]})
}

/// The weight on the canary tells which rule won.
#[test]
fn of_several_rules_the_most_specific_wins() {
    let route = |name: &str, made: &str, hosts: &[&str], rules: Vec<Value>| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": "shop", "creationTimestamp": made},
            "spec": {"hostnames": hosts, "rules": rules},
        })
    };
    let prefix = |value: &str| json!({"type": "PathPrefix", "value": value});
    let header = json!({"headers": [{"name": "X-A", "value": "1"}]});
    let routes = routes([
        route("young", "2026-01-02T00:00:00Z", &[], vec![rule(prefix("/same"), json!({}), 90)]),
        route(
            "old",
            "2026-01-01T00:00:00Z",
            &[],
            vec![
                rule(prefix("/"), json!({}), 1),
                rule(prefix("/a"), json!({}), 2),
                rule(prefix("/a/b"), json!({}), 3),
                rule(json!({"type": "Exact", "value": "/a"}), json!({}), 4),
                rule(json!({"type": "RegularExpression", "value": "/a/[0-9]+"}), json!({}), 5),
                rule(prefix("/a"), json!({"method": "POST"}), 6),
                rule(prefix("/a"), header.clone(), 7),
                rule(prefix("/a"), json!({"queryParams": [{"name": "q", "value": "1"}]}), 8),
                rule(prefix("/same"), json!({}), 9),
                rule(prefix("/same"), json!({}), 10),
            ],
        ),
        route("wild", "2026-01-01T00:00:00Z", &["*.shop.test"], vec![rule(prefix("/"), json!({}), 20)]),
        route("exact", "2026-01-03T00:00:00Z", &["www.shop.test"], vec![rule(prefix("/"), json!({}), 30)]),
    ]);
    let table: &[(&str, &[&str], i64)] = &[
        ("x.test/", &[], 1),
        ("x.test/ab", &[], 1),
        ("x.test/a/", &[], 2),
        ("x.test/a/b/c", &[], 3),
        ("x.test/a", &["x-a: 1"], 4),
        ("x.test/a/77", &[], 5),
        ("x.test/a/x", &["x-a: 1"], 7),
        ("x.test/a/x", &["x-a: 2"], 2),
        ("x.test/a/x", &["?q=1"], 8),
        ("x.test/a/x", &["?q=1", "x-a: 1"], 7),
        // The older route before the younger, and of its rules the first.
        ("x.test/same", &[], 9),
        ("b.shop.test/a", &[], 20),
        ("www.shop.test/a", &[], 30),
        ("shop.test/", &[], 1),
    ];
    for (line, more, wanted) in table {
        let found = shares(&routes, &request(Entrance::Gateway, line, more));
        assert_eq!(found.get(CANARY), Some(&(wanted * 10)), "{line} {more:?}");
    }
    let post = Request { method: "POST".into(), ..request(Entrance::Gateway, "x.test/a/x", &["x-a: 1"]) };
    assert_eq!(shares(&routes, &post).get(CANARY), Some(&60));
}

#[test]
fn recorded_traefik_services_split_behind_an_ingress_route() {
    let ingress_route = json!({
        "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"routes": [
            {"match": "Host(`shop.test`)", "services": [{"name": "podinfo", "kind": "TraefikService"}]},
            {"match": "Host(`shop.test`) && (PathPrefix(`/old`) || Header(`X-Old`, `1`))", "services": [{"name": "podinfo-primary", "port": "http"}]},
            {"match": "HostRegexp(`^v[0-9]+[.]test$`) && !Method(`GET`)", "services": [{"name": "podinfo-canary", "port": 80}]},
            {"match": "Host(`broken", "services": [{"name": "podinfo-primary", "port": 80}]},
            {"match": "Host(`gone.test`)", "services": [{"name": "nothing", "port": 80}]},
        ]},
    });
    for (name, wanted) in [
        ("traefik-weight-0", split(1000, 0)),
        ("traefik-weight-50", split(500, 500)),
        ("traefik-weight-100", split(0, 1000)),
    ] {
        let routes = routes(recorded(name).into_iter().chain([ingress_route.clone()]));
        let plan = request(Entrance::Traefik, "shop.test/", &[]);
        assert_eq!(shares(&routes, &plan), wanted, "{name}");
        for way in routes.plan(&plan).ways {
            let SeenAs::Traefik(service) = way.seen_as else { panic!("{way:?}") };
            assert!(
                ["shop-podinfo-primary-80@kubernetescrd", "shop-podinfo-canary-80@kubernetescrd"].contains(&&*service)
            );
        }
        let none = BTreeMap::from([("404 NoRoute".to_owned(), 1000)]);
        for (line, more, wanted) in [
            ("shop.test/old", &[] as &[&str], split(1000, 0)),
            ("shop.test/", &["x-old: 1"], split(1000, 0)),
            ("v1.test/", &[], none.clone()),
            ("gone.test/", &[], none.clone()),
        ] {
            assert_eq!(shares(&routes, &request(Entrance::Traefik, line, more)), wanted, "{line}");
        }
        let post = Request { method: "POST".into(), ..request(Entrance::Traefik, "v1.test/", &[]) };
        assert_eq!(shares(&routes, &post), split(0, 1000));
        assert_eq!(routes.host(&Entrance::Traefik).as_deref(), Some("shop.test"));
    }
}

#[test]
fn traefik_mirrors_and_nests() {
    let of = |name: &str, spec: Value| json!({"apiVersion": "traefik.io/v1alpha1", "kind": "TraefikService", "metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    let routes = routes([
        of(
            "copies",
            json!({"mirroring": {"name": "podinfo-primary", "port": 80, "mirrors": [{"name": "podinfo-canary", "port": 80, "percent": 30}]}}),
        ),
        of(
            "outer",
            json!({"weighted": {"services": [{"name": "copies", "kind": "TraefikService", "weight": 3}, {"name": "podinfo-canary", "port": 80}]}}),
        ),
        of("circle", json!({"weighted": {"services": [{"name": "circle", "kind": "TraefikService"}]}})),
        json!({
            "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"routes": [
                {"match": "Host(`outer.test`)", "services": [{"name": "outer", "kind": "TraefikService"}]},
                {"match": "Host(`circle.test`)", "services": [{"name": "circle", "kind": "TraefikService"}]},
            ]},
        }),
    ]);
    let outer = request(Entrance::Traefik, "outer.test/", &[]);
    assert_eq!(shares(&routes, &outer), split(750, 250));
    let ways = routes.plan(&outer).ways;
    let copied = ways.iter().filter(|way| !way.mirrors.is_empty()).map(|way| way.share).sum::<f64>();
    assert!((copied - 0.75).abs() < 1e-9 && ways[0].mirrors[0].0 == 0.3, "{ways:?}");
    assert_eq!(shares(&routes, &request(Entrance::Traefik, "circle.test/", &[])).keys().next().unwrap(), "404 NoRoute");
}

#[test]
fn recorded_ingresses_split_beside_their_source() {
    let main = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"rules": [{"host": "shop.example.com", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "podinfo", "port": {"number": 80}}}},
            {"path": "/static", "pathType": "Prefix", "backend": {"service": {"name": "assets", "port": {"name": "http"}}}},
        ]}}]},
    });
    let assets = [service("assets", "assets"), pod("assets-1", "assets", "assets")];
    let all = |version: &str| BTreeMap::from([(version.to_owned(), 1000)]);
    let table: &[Row<'_>] = &[
        ("nginx-weight-0", "shop.example.com/", &[], split(1000, 0)),
        ("nginx-weight-50", "shop.example.com/x", &[], split(500, 500)),
        ("nginx-weight-100", "shop.example.com/", &[], split(0, 1000)),
        ("nginx-weight-100", "shop.example.com/static/a", &[], all("assets")),
        ("nginx-weight-100", "other.example.com/", &[], all("404 NoRoute")),
        ("nginx-ab", "shop.example.com/", &[], split(1000, 0)),
        ("nginx-ab", "shop.example.com/", &["x-insider: a.bc"], split(0, 1000)),
        ("nginx-ab", "shop.example.com/", &["x-insider: always"], split(1000, 0)),
        ("nginx-ab", "shop.example.com/", &["canary=always"], split(0, 1000)),
        ("nginx-ab", "shop.example.com/", &["canary=yes"], split(1000, 0)),
        ("nginx-ab-over", "shop.example.com/", &["x-insider: a.bc", "canary=always"], split(1000, 0)),
    ];
    for (name, line, more, wanted) in table {
        let routes = routes(recorded(name).into_iter().chain([main.clone()]).chain(assets.clone()));
        assert_eq!(shares(&routes, &request(Entrance::Nginx, line, more)), *wanted, "{name} {line} {more:?}");
    }
    // As its metrics have it: the source's name, and the canary's backend.
    let routes = routes(recorded("nginx-weight-50").into_iter().chain([main]));
    let plan = routes.plan(&request(Entrance::Nginx, "shop.example.com/", &[]));
    let labels = |canary: &str| SeenAs::Nginx {
        namespace: "shop".into(),
        ingress: "web".into(),
        service: "podinfo".into(),
        canary: canary.into(),
    };
    assert_eq!(plan.ways[0].seen_as, labels(""));
    assert_eq!(plan.ways.last().unwrap().seen_as, labels("shop-podinfo-canary-80"));
}

#[test]
fn an_ingress_steers_by_header_before_cookie_before_weight() {
    let ingress = |name: &str, service: &str, annotations: Value| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
            "spec": {"defaultBackend": {"service": {"name": service, "port": {"number": 80}}}},
        })
    };
    let steering = json!({
        "custom.test/canary": "true", "custom.test/canary-by-header": "X-Canary", "custom.test/canary-by-cookie": "c",
        "custom.test/canary-weight": "50", "custom.test/canary-weight-total": "200",
    });
    let routes = routes([ingress("a", "podinfo", json!({})), ingress("a-canary", "podinfo-canary", steering)]);
    let table: &[(&[&str], BTreeMap<String, i64>)] = &[
        (&[], split(750, 250)),
        (&["x-canary: always", "c=never"], split(0, 1000)),
        (&["x-canary: never", "c=always"], split(1000, 0)),
        (&["x-canary: perhaps", "c=always"], split(0, 1000)),
        (&["c=never"], split(1000, 0)),
        (&["c=perhaps"], split(750, 250)),
    ];
    for (more, wanted) in table {
        assert_eq!(shares(&routes, &request(Entrance::Nginx, "x.test/", more)), *wanted, "{more:?}");
    }
}

#[test]
fn services_lead_to_ready_pods() {
    let direct = |name: &str| {
        let entrance = Entrance::Service { namespace: "shop".into(), name: name.into() };
        request(entrance, "x.test/", &[])
    };
    let gateway = request(Entrance::Gateway, "shop.test/", &[]);
    let all = |what: &str| BTreeMap::from([(what.to_owned(), 1000)]);
    let mut objects = rollout();
    assert_eq!(shares(&routes([]), &direct("podinfo")), all(STABLE));
    assert_eq!(shares(&routes([]), &direct("podinfo-canary")), all(CANARY));
    assert_eq!(shares(&routes([]), &direct("nothing")), all("503 NoSuchService"));

    objects[5]["status"]["conditions"][0]["status"] = "False".into();
    objects.push(http_route(50));
    let unready = Routes::compile(&shared(objects.clone())[..]);
    assert_eq!(shares(&unready, &direct("podinfo-canary")), all("503 NoReadyPod"));
    let half = BTreeMap::from([(STABLE.to_owned(), 500), ("503 NoReadyPod".to_owned(), 500)]);
    assert_eq!(shares(&unready, &gateway), half);
    let missing = http_route(0).to_string().replace("podinfo-primary", "nothing");
    let missing = Routes::compile(&shared([serde_json::from_str(&missing).unwrap()])[..]);
    assert_eq!(shares(&missing, &gateway), all("500 NoSuchService"));
    let mut weightless = http_route(0);
    weightless["spec"]["rules"][0]["backendRefs"][0]["weight"] = 0.into();
    assert_eq!(shares(&Routes::compile(&shared([weightless])[..]), &gateway), all("500 NoWeight"));

    // Slices are what counts where there are any, also when they are late.
    let endpoint = |pod: &str, ready: bool| json!({"conditions": {"ready": ready}, "targetRef": {"name": pod}});
    objects.push(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "a", "namespace": "shop", "labels": {"kubernetes.io/service-name": "podinfo"}},
        "endpoints": [
            endpoint("podinfo-primary-6d4b8f9c7d-aaaaa", true),
            endpoint("podinfo-primary-6d4b8f9c7d-bbbbb", false),
            endpoint("long-gone", true),
        ],
    }));
    let sliced = Routes::compile(&shared(objects)[..]);
    let late = BTreeMap::from([(STABLE.to_owned(), 500), ("502 PodGone".to_owned(), 500)]);
    assert_eq!(shares(&sliced, &direct("podinfo")), late);
    assert_eq!(shares(&sliced, &direct("podinfo-primary")), all("503 NoReadyPod"));
}

#[test]
fn an_ingress_canary_without_pods_is_no_backend() {
    let mut objects = rollout();
    objects.truncate(5);
    let ingress = |name: &str, service: &str, annotations: Value| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
            "spec": {"defaultBackend": {"service": {"name": service, "port": {"number": 80}}}},
        })
    };
    let canary =
        json!({"nginx.ingress.kubernetes.io/canary": "true", "nginx.ingress.kubernetes.io/canary-weight": "50"});
    objects.extend([ingress("a", "podinfo", json!({})), ingress("a-canary", "podinfo-canary", canary)]);
    let routes = Routes::compile(&shared(objects)[..]);
    assert_eq!(shares(&routes, &request(Entrance::Nginx, "x.test/", &[])), split(1000, 0));
}

#[test]
fn the_version_is_the_tag() {
    for (image, wanted) in [
        ("podinfo:6.9.0", "6.9.0"),
        ("registry.test:5000/a/podinfo:6.9.0@sha256:ab", "6.9.0"),
        ("registry.test:5000/a/podinfo@sha256:ab", "sha256:ab"),
        ("registry.test:5000/podinfo", "latest"),
    ] {
        assert_eq!(version_of(image), wanted);
    }
}
