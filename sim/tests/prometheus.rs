//! The same samples to the real Prometheus and to ours: the same answers. Without the binary, which the end-to-end
//! tests build, this says so and ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use controller::providers::Span;
use controller::providers::builtin::{self, Signal, Subject};
use rollout::spec::{Target, TargetKind};
use serde_json::Value;
use sim::world::promql::{Answer, Query};
use sim::world::series::{Labels, NAME, Point, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How far answers may be apart, as a part of them: sums are made in another order.
const TOLERANCE: f64 = 1e-9;

#[tokio::test]
async fn answers_are_those_of_the_real_prometheus() {
    let Some(binary) = binary() else {
        eprintln!("skipped: no Prometheus in ~/.cache/serin-e2e/bin; e2e/assets/build makes it");
        return;
    };
    let end = jiff::Timestamp::now().as_second() * 1000 - 60_000;
    let store = samples(end);
    let server = Server::start(&binary, exposition(&store)).await;
    server.has_all(&store, end).await;

    let (mut differences, mut compared) = (Vec::new(), 0);
    for query in queries() {
        // On a scrape, between two, and after the last ones.
        for at in [end - 120_000, end - 7_321, end, end + 45_000] {
            let ours = Query::parse(&query).and_then(|parsed| parsed.at(&store, at));
            let theirs = server.ask(&query, at).await;
            let same = match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) => {
                    compared += theirs.len();
                    same(&comparable(ours), theirs)
                }
                (Err(_), Err(_)) => true,
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
            };
            if !same {
                differences.push(format!("{query}\n  at {}: ours {ours:?}\n  theirs {theirs:?}", at - end));
            }
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(compared > 1000, "only {compared} numbers were there to compare");
}

/// Labels to value; a scalar has no labels.
type Numbers = BTreeMap<BTreeMap<String, String>, f64>;

fn comparable(answer: &Answer) -> Numbers {
    match answer {
        Answer::Scalar(value) => Numbers::from([(BTreeMap::new(), *value)]),
        Answer::Vector(samples) => {
            let own =
                |labels: &Labels| labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            samples.iter().map(|sample| (own(&sample.labels), sample.value)).collect()
        }
        Answer::Matrix(series) => panic!("no query of these gives a matrix: {series:?}"),
    }
}

fn same(ours: &Numbers, theirs: &Numbers) -> bool {
    let near = |left: f64, right: f64| {
        left == right
            || (left.is_nan() && right.is_nan())
            || (left - right).abs() <= TOLERANCE * left.abs().max(right.abs())
    };
    ours.len() == theirs.len()
        && ours.iter().all(|(labels, value)| theirs.get(labels).is_some_and(|other| near(*value, *other)))
}

/// Ten minutes of pods that come and go, restart and fall silent, scraped every fifteen seconds.
fn samples(end: i64) -> Store {
    let mut store = Store::default();
    let bounds = ["0.005", "0.05", "0.1", "0.25", "1", "+Inf"];
    let pods =
        [("podinfo-6d4b8f9c7d-x7k2p", 7), ("podinfo-primary-6d4b8f9c7d-bbbbb", 31), ("podinfo-55b8c4d6f9-zzzzz", 3)];
    for (number, (pod, pace)) in pods.into_iter().enumerate() {
        for status in ["200", "404", "500"] {
            let of = |metric: &str, extra: (&str, &str)| {
                let place = [("kubernetes_namespace", "shop"), ("kubernetes_pod_name", pod), ("status", status)];
                let canary = if pod.contains("primary") { "" } else { "shop-podinfo-svc-canary-80" };
                let nginx = [("namespace", "shop"), ("ingress", "podinfo-ing"), ("canary", canary)];
                let service = if canary.is_empty() { "shop-podinfo-svc-primary-80" } else { canary };
                let service = format!("{service}@kubernetescrd");
                let traefik = [("service", service.as_str()), ("code", status), ("pod", pod)];
                Labels::new([(NAME, metric), extra].into_iter().chain(place).chain(nginx).chain(traefik))
            };
            for step in 0..40_i64 {
                let at = end - (40 - step) * 15_000 + 1000 * number as i64;
                // The third pod is young; the second misses scrapes; the first starts again in the middle.
                if (number == 2 && step < 25) || (number == 1 && step % 7 == 3) || (status == "500" && step < 12) {
                    continue;
                }
                let lived = if number == 0 && step >= 20 { step - 20 } else { step };
                let part = match status {
                    "200" => 1.0,
                    "404" => 0.25,
                    _ => 0.03,
                };
                let count = (lived as f64 * pace as f64 * part * (1.0 + 0.1 * (step % 5) as f64 / 5.0)).floor();
                let mut put = |labels: Labels, value: f64| {
                    let series = store.series(&labels);
                    store.append(series, Point { at, value });
                };
                for metric in ["http_request_duration_seconds", "traefik_service_request_duration_seconds"] {
                    for (rank, bound) in bounds.iter().enumerate() {
                        let below = (count * [0.1, 0.5, 0.8, 0.97, 0.999, 1.0][rank]).floor();
                        put(of(&format!("{metric}_bucket"), ("le", bound)), below);
                    }
                    put(of(&format!("{metric}_count"), ("", "")), count);
                    put(of(&format!("{metric}_sum"), ("", "")), count * 0.0613);
                }
                put(of("nginx_ingress_controller_requests", ("", "")), count);
                put(of("nginx_ingress_controller_response_duration_seconds_count", ("", "")), count);
                put(of("nginx_ingress_controller_response_duration_seconds_sum", ("", "")), count * 0.07);
                put(of("checkouts_total", ("", "")), count);
                put(of("checkout_failures_total", ("", "")), (count * 0.02).floor());
                let gauge = match step % 9 {
                    0 => f64::NAN,
                    1 => f64::INFINITY,
                    other => (other - 5) as f64 * 1.37,
                };
                put(of("queue_length", ("", "")), gauge);
                put(of("temperature", ("", "")), (step * 37 % 11) as f64 - 4.5);
            }
        }
    }
    store
}

fn queries() -> Vec<String> {
    let mut queries = Vec::new();
    let target = Target { kind: TargetKind::Deployment, name: "podinfo".into() };
    for window in [30, 60, 90, 300] {
        let subject = Subject {
            namespace: "shop",
            target: &target,
            service: "podinfo-svc",
            ingress: "podinfo-ing",
            route: "podinfo",
            span: Span::until_now(Duration::from_secs(window)),
        };
        for provider in ["kubernetes", "gatewayapi:v1", "traefik", "nginx"] {
            for signal in [Signal::SuccessRate, Signal::Duration] {
                queries.push(builtin::query(provider, signal, &subject).expect("a builtin query"));
            }
        }
    }
    let template = std::fs::read_to_string(repository("examples/podinfo/metric-template.yaml")).expect("the example");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&template).expect("the example is YAML");
    let text = documents[0]["spec"]["query"].as_str().expect("the example has a query");
    let filled = [("namespace", "shop"), ("target", "podinfo"), ("interval", "2m")]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{{ {name} }}}}"), value));
    assert!(!filled.contains("{{"), "{filled}");
    queries.push(filled);
    let fixed = include_str!("prometheus-queries.txt");
    queries.extend(fixed.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    queries
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn binary() -> Option<PathBuf> {
    let cache = std::env::var_os("SERIN_E2E_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/serin-e2e")))?;
    Some(cache.join("bin/prometheus")).filter(|path| path.is_file())
}

/// All points with their times, as an exporter may write them.
fn exposition(store: &Store) -> String {
    let mut text = String::new();
    for (labels, points) in store.select(&[]) {
        for point in points {
            let value = match point.value {
                value if value.is_nan() => "NaN".to_owned(),
                value if value.is_infinite() => "+Inf".to_owned(),
                value => value.to_string(),
            };
            writeln!(text, "{} {value} {}", labels.to_string().replace(", ", ","), point.at)
                .expect("a String takes all");
        }
    }
    text
}

struct Server {
    process: Child,
    address: String,
    data: PathBuf,
}

impl Server {
    async fn start(binary: &Path, exposition: String) -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let exporter = listener.local_addr().expect("an address");
        let page = get(move || {
            let exposition = exposition.clone();
            async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], exposition) }
        });
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", page)).await });

        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prometheus-{}", std::process::id()));
        std::fs::create_dir_all(&data).expect("a folder for Prometheus");
        let settings = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n- job_name: samples\n  honor_labels: true\n  \
             static_configs: [{{targets: ['{exporter}']}}]\n  \
             metric_relabel_configs: [{{action: labeldrop, regex: job|instance}}]\n"
        );
        std::fs::write(data.join("prometheus.yml"), settings).expect("the settings are written");
        let mut process = Command::new(binary)
            .arg(format!("--config.file={}", data.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", data.join("tsdb").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.level=info"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("Prometheus starts");
        let log = BufReader::new(process.stderr.take().expect("a pipe"));
        let (found, address) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut found = Some(found);
            // Read on to the end, or a full pipe would stop it.
            for line in log.lines().map_while(Result::ok) {
                let address = line.split("address=").nth(1).filter(|_| line.contains("Listening on"));
                if let Some((address, found)) = address.and_then(|address| Some((address, found.take()?))) {
                    let _ = found.send(address.split_whitespace().next().unwrap_or_default().to_owned());
                }
            }
        });
        let address = tokio::time::timeout(Duration::from_secs(60), address).await;
        let address = address.expect("Prometheus listens within a minute").expect("it says where");
        Server { process, address, data }
    }

    /// Waits until the last points of every metric are there.
    async fn has_all(&self, store: &Store, end: i64) {
        let wanted =
            Query::parse("count(last_over_time({__name__!=\"\"}[20m]))").and_then(|all| all.at(store, end + 45_000));
        let wanted = comparable(&wanted.expect("a count of series")).into_values().sum::<f64>();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        let mut pause = tokio::time::interval(Duration::from_millis(50));
        loop {
            pause.tick().await;
            // Prometheus' own series have a job.
            let found = self.ask("count(last_over_time({__name__!=\"\",job=\"\"}[20m]))", end + 45_000).await;
            if found.as_ref().is_ok_and(|found| found.values().sum::<f64>() >= wanted) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "of {wanted} series Prometheus has {found:?}");
        }
    }

    async fn ask(&self, query: &str, at: i64) -> Result<Numbers, String> {
        let escaped = query.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
        let request = format!(
            "GET /api/v1/query?query={escaped}&time={}.{:03} HTTP/1.0\r\nHost: {}\r\n\r\n",
            at / 1000,
            at % 1000,
            self.address
        );
        let mut stream = tokio::net::TcpStream::connect(&self.address).await.map_err(|error| error.to_string())?;
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map_err(|error| error.to_string())?;
        let answer = String::from_utf8_lossy(&answer);
        let body = answer.split_once("\r\n\r\n").ok_or("no answer")?.1;
        let body: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
        let data = &body["data"];
        let number = |value: &Value| value[1].as_str().and_then(|text| text.parse::<f64>().ok());
        match data["resultType"].as_str() {
            Some("scalar") => Ok(Numbers::from([(BTreeMap::new(), number(&data["result"]).ok_or("no number")?)])),
            Some("vector") => data["result"]
                .as_array()
                .ok_or("no list")?
                .iter()
                .map(|one| {
                    let labels = serde_json::from_value(one["metric"].clone()).map_err(|error| error.to_string())?;
                    Ok((labels, number(&one["value"]).ok_or("no number")?))
                })
                .collect(),
            Some(_) | None => Err(body["error"].to_string()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
