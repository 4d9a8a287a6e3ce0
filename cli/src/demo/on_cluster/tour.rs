//! The tour in a real cluster: a good release and a bad one, told from what the API server says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use controller::rollout_view::read_status;
use crds::Phase;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, LogParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep};

use super::super::narrator::of_phase;
use super::super::repository::Delivery;
use super::super::{DemoError, Demonstration, NAME, Repository};
use super::hook::{Hook, Judge};
use super::manifests::{BAD, BROKEN, FIRST, GOOD, HOST, NEVER_READY, Way};
use super::objects::{POD, resource, value};
use super::{ClusterError, NAMESPACE};
use crate::cluster::{Cluster, Kind, about};
use crate::paint::{Paint, Tone, write_out};
use crate::text::bar;

/// No part of the tour takes this long, unless something is wrong: images are pulled, and a release that is never ready is given
/// up after a minute.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks at the Canary.
const POLL: Duration = Duration::from_millis(500);
/// Looks between two at pods whose image may not be there.
const PODS_EVERY: u32 = 10;

/// Where the user finds things.
pub(super) struct Place {
    pub(super) repository: Repository,
    pub(super) context: String,
    pub(super) dashboard: SocketAddr,
}

impl Place {
    pub(super) fn greet(&self, paint: Paint) -> Result<(), DemoError> {
        let line = |name: &str, what: String| format!("  {}{what}\n", paint.put(Tone::Faint, &format!("{name:<12}")));
        let mut text = line("repository", self.repository.folder().display().to_string());
        text.push_str(&line("namespace", NAMESPACE.to_owned()));
        text.push_str(&line("dashboard", format!("http://{}/", self.dashboard)));
        Ok(write_out(&text)?)
    }
}

/// Leads through the demo.
pub(super) struct Tour<'a> {
    /// In the demo's namespace.
    cluster: Cluster,
    place: &'a Place,
    way: &'a Way,
    hook: &'a Hook,
    wanted: &'a Demonstration,
    deliveries: UnboundedReceiver<Delivery>,
    paint: Paint,
    begin: Instant,
    /// The release that serves everybody, and the one that is rolled out.
    releases: (&'static str, &'static str),
    shown: Option<(Phase, i32, i32)>,
    /// Names and counts of Events that have been told.
    heard: BTreeMap<String, u64>,
}

impl<'a> Tour<'a> {
    pub(super) fn new(
        cluster: &Cluster,
        place: &'a Place,
        way: &'a Way,
        hook: &'a Hook,
        wanted: &'a Demonstration,
        deliveries: UnboundedReceiver<Delivery>,
        paint: Paint,
    ) -> Tour<'a> {
        let cluster = cluster.at(NAMESPACE);
        let (begin, releases, heard) = (Instant::now(), (FIRST, FIRST), BTreeMap::new());
        Tour { cluster, place, way, hook, wanted, deliveries, paint, begin, releases, shown: None, heard }
    }

    /// The tour, and unless `short` what the user does then, for ever. A short one ends with whether all went as told.
    pub(super) async fn lead(mut self, short: bool) -> Result<ExitCode, DemoError> {
        let as_told = self.tour().await?;
        if short {
            return Ok(if as_told { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        self.invite()?;
        loop {
            self.look().await?;
            sleep(POLL).await;
        }
    }

    async fn tour(&mut self) -> Result<bool, DemoError> {
        self.heading("1. Git holds podinfo and a Canary that says how it is rolled out")?;
        if self.reach(&[Phase::Initialized]).await? != Some(Phase::Initialized) {
            return Ok(false);
        }
        let judge = self.choose_judge().await?;
        self.send_users().await?;

        self.heading(&format!("2. A good release is committed: it answers \"{GOOD}\""))?;
        self.releases = (FIRST, GOOD);
        self.place.repository.change(&[(FIRST, GOOD)], "podinfo, second release").await?;
        if self.rollout().await? != Some(Phase::Succeeded) {
            return self.otherwise("the second release should have been promoted");
        }

        let (edit, what) = match judge {
            Judge::Answers | Judge::Metrics => (BROKEN, "it answers every third request with an error"),
            Judge::Readiness => (NEVER_READY, "its pods do not get ready, which takes a minute to be given up"),
        };
        self.heading(&format!("3. A bad release is committed: {what}"))?;
        self.releases = (GOOD, BAD);
        self.place.repository.change(&[(GOOD, BAD), edit], "podinfo, third release").await?;
        if self.rollout().await? != Some(Phase::Failed) {
            return self.otherwise("the bad release should have been rolled back");
        }

        self.heading("What users saw")?;
        let account = self.account().await;
        write_out(&account)?;
        write_out(&format!("\nThe tour took {:.0} s.\n", self.begin.elapsed().as_secs_f64()))?;
        Ok(true)
    }

    /// Who judges the releases is what can be measured here.
    async fn choose_judge(&mut self) -> Result<Judge, DemoError> {
        let seen = self.hook.ask(&format!("{NAME}-primary")).await;
        let (judge, words) = match (&self.wanted.metrics_server, seen.are_fine()) {
            (Some(url), _) => (Judge::Metrics, format!("Releases are judged by the request metrics that {url} has.")),
            (None, true) => (
                Judge::Answers,
                "Releases are judged by real answers: at each check the demo asks the canary's pods 20 times through the API \
                 server."
                    .to_owned(),
            ),
            (None, false) => (
                Judge::Readiness,
                format!(
                    "The API server's proxy does not reach the pods ({} of {} requests failed; it takes the right to get \
                     services/proxy), so releases are judged by whether their pods get ready.",
                    seen.failed, seen.asked
                ),
            ),
        };
        self.hook.judge_by(judge);
        self.say(Tone::Plain, &words)?;
        Ok(judge)
    }

    /// A pod in the cluster that asks as users do, ten times a second, and writes down what it is answered.
    async fn send_users(&mut self) -> Result<(), DemoError> {
        let (url, header, through) = match self.way {
            Way::Gateway { address: Some(address), .. } => {
                (format!("http://{address}/"), format!("-H 'Host: {HOST}' "), "the Gateway")
            }
            Way::Gateway { address: None, .. } | Way::Services => {
                (format!("http://{NAME}.{NAMESPACE}/"), String::new(), "the Service")
            }
        };
        let script = format!(
            "while true; do a=$(curl -s -m 2 -w '\\n%{{http_code}}' {header}{url}); echo \"$(echo \"$a\" | tail -n 1) $(echo \"$a\" | \
             sed -n 's/.*\"message\": *\"\\([^\"]*\\)\".*/\\1/p')\"; sleep 0.1; done"
        );
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "users", "namespace": NAMESPACE, "labels": { "app": "users" } },
            "spec": {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                "securityContext": { "runAsNonRoot": true, "runAsUser": 10001, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "users", "image": self.wanted.image, "command": ["sh", "-c", script],
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                    "resources": { "requests": { "cpu": "10m", "memory": "32Mi" } },
                }],
            },
        });
        let doing = "making the pod that stands for users";
        let pod: DynamicObject = serde_json::from_value(pod)
            .map_err(|why| ClusterError::Api { doing: doing.to_owned(), why: why.to_string() })?;
        self.pods().create(&PostParams::default(), &pod).await.map_err(|why| ClusterError::api(doing, &why))?;
        Ok(self.say(
            Tone::Plain,
            &format!("Users come: a pod in the cluster asks up to ten times per second through {through}."),
        )?)
    }

    /// Who met what, out of the log of that pod.
    async fn account(&self) -> String {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client().clone(), NAMESPACE);
        match pods.logs("users", &LogParams::default()).await {
            Ok(log) => account(&log),
            Err(why) => {
                format!("  {}; so nothing is counted\n", ClusterError::api("reading the log of the pod users", &why))
            }
        }
    }

    /// From the commit to the end of the rollout.
    async fn rollout(&mut self) -> Result<Option<Phase>, DemoError> {
        if self.reach(&[Phase::Progressing]).await?.is_none() {
            return Ok(None);
        }
        self.reach(&[Phase::Succeeded, Phase::Failed]).await
    }

    /// Follows until one of these phases is there; nothing when that takes too long, or cannot be.
    async fn reach(&mut self, phases: &[Phase]) -> Result<Option<Phase>, DemoError> {
        let begin = Instant::now();
        let mut looks = 0;
        while begin.elapsed() < PATIENCE {
            if let Some(phase) = self.look().await?
                && phases.contains(&phase)
            {
                return Ok(Some(phase));
            }
            looks += 1;
            if looks % PODS_EVERY == 0
                && let Some(why) = self.unpullable().await
            {
                self.say(Tone::Bad, &why)?;
                return Ok(None);
            }
            sleep(POLL).await;
        }
        let wanted: Vec<&str> = phases.iter().map(|phase| phase.as_str()).collect();
        let stands = match self.cluster.canary(NAME).await {
            Ok(canary) => {
                let status = read_status(&canary, &mut Vec::new());
                let reasons: Vec<String> = status.waiting_for.into_iter().map(|wait| wait.message).collect();
                format!("it is {} and waits for: {}", status.phase.as_str(), reasons.join("; "))
            }
            Err(why) => why.to_string(),
        };
        let sentence =
            format!("The Canary should have been {} within {} s; {stands}", wanted.join(" or "), PATIENCE.as_secs());
        self.say(Tone::Bad, &sentence)?;
        Ok(None)
    }

    /// Tells what is new; the phase of the Canary, when there is one.
    async fn look(&mut self) -> Result<Option<Phase>, DemoError> {
        while let Ok(delivery) = self.deliveries.try_recv() {
            match delivery {
                Delivery::Applied(commit) => {
                    self.say(Tone::Faint, &format!("GitOps: commit {commit} is applied to the cluster."))?;
                }
                Delivery::Refused(why) => self.say(Tone::Bad, &format!("GitOps: {why}"))?,
            }
        }
        let canaries = self.cluster.api(Kind::Canary);
        let found = match canaries.get_opt(NAME).await {
            Ok(found) => found,
            Err(why) => {
                self.say(Tone::Bad, &ClusterError::api("reading the Canary", &why).to_string())?;
                None
            }
        };
        let Some(canary) = found else { return Ok(None) };
        let status = read_status(&value(&canary), &mut Vec::new());
        let now = (status.phase, status.canary_weight, status.iterations);
        if self.shown != Some(now) {
            // Reasons come before what follows from them.
            self.warnings().await?;
            let before = self.shown.replace(now);
            let (stable, new) = self.releases;
            let stable = if matches!(now.0, Phase::Succeeded | Phase::Finalising) && new != BAD { new } else { stable };
            if before.is_none_or(|before| before.0 != now.0)
                && let Some((tone, sentence)) = of_phase(now.0, &format!("the {new}"), &format!("the {stable}"))
            {
                self.say(tone, &sentence)?;
            }
            if now.0 == Phase::Progressing && now.1 > 0 && before.is_none_or(|before| before.1 != now.1) {
                let bar = self.paint.put(Tone::Busy, &bar(now.1.into()));
                self.say(Tone::Plain, &format!("{bar} of the requests for the {new}"))?;
            } else if now.0 == Phase::Progressing && now.2 > 0 {
                self.say(Tone::Plain, &format!("check {} of 4: users stay on the {stable}", now.2))?;
            }
        } else if now.0 == Phase::Progressing {
            self.warnings().await?;
        }
        Ok(Some(now.0))
    }

    async fn warnings(&mut self) -> Result<(), DemoError> {
        let about = ListParams::default().fields(&about(NAME));
        // What is not heard now is heard at the next look.
        let Ok(events) = self.cluster.api(Kind::Event).list(&about).await else { return Ok(()) };
        let mut events: Vec<Value> = events.items.iter().map(value).collect();
        events.sort_by_key(|event| event["lastTimestamp"].as_str().unwrap_or_default().to_owned());
        for event in events.iter().filter(|event| event["type"] == "Warning") {
            let name = event["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let count = event["count"].as_u64().unwrap_or(1);
            // Of one commit, the Canary may be seen a moment before its workload: nothing that anybody should mend.
            if self.heard.insert(name, count) != Some(count) && self.releases.1 != FIRST {
                let message = event["message"].as_str().unwrap_or_default();
                self.say(Tone::Held, &format!("Serin warns: {}.", message.trim_end_matches('.')))?;
            }
        }
        Ok(())
    }

    /// A pod whose image cannot be pulled, with the mend.
    async fn unpullable(&self) -> Option<String> {
        let pods = self.pods().list(&ListParams::default()).await.ok()?;
        pods.items.iter().find_map(|pod| unpullable(&value(pod)))
    }

    fn pods(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client().clone(), NAMESPACE, &resource(POD))
    }

    fn client(&self) -> &Client {
        &self.cluster.client
    }

    fn say(&self, tone: Tone, sentence: &str) -> std::io::Result<()> {
        let seconds = format!("{:>5.1}s  ", self.begin.elapsed().as_secs_f64());
        write_out(&format!("{}{}\n", self.paint.put(Tone::Faint, &seconds), self.paint.put(tone, sentence)))
    }

    fn heading(&self, text: &str) -> Result<(), DemoError> {
        Ok(write_out(&format!("\n{}\n", self.paint.put(Tone::Strong, text)))?)
    }

    fn otherwise(&self, wanted: &str) -> Result<bool, DemoError> {
        self.say(Tone::Bad, &format!("This is not what should have happened: {wanted}."))?;
        Ok(false)
    }

    fn invite(&self) -> Result<(), DemoError> {
        let Place { repository, context, dashboard } = self.place;
        self.heading("Your turn; everything stays up until Ctrl-C, which deletes it")?;
        Ok(write_out(&format!(
            "  edit app.yaml in {} and commit it; the demo brings it to the cluster\n  \
             watch it:\n    kubectl --context {context} -n {NAMESPACE} get canaries -w\n    \
             serin --context {context} -n {NAMESPACE} watch {NAME}\n  \
             or see the dashboard: http://{dashboard}/\n\n",
            repository.folder().display()
        ))?)
    }
}

fn unpullable(pod: &Value) -> Option<String> {
    let states = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    states.into_iter().flatten().find_map(|state| {
        let waiting = state.pointer("/state/waiting")?;
        if !matches!(waiting["reason"].as_str(), Some("ImagePullBackOff" | "ErrImagePull" | "InvalidImageName")) {
            return None;
        }
        let image = state["image"].as_str().unwrap_or_default();
        let why = waiting["message"].as_str().unwrap_or("no reason given");
        Some(format!(
            "The cluster cannot pull {image} ({why}); name an image of podinfo that it can pull with --image."
        ))
    })
}

/// From lines of a status code and the release that answered.
fn account(log: &str) -> String {
    let (mut all, mut failed) = (0_u64, 0_u64);
    let mut by_release: BTreeMap<&str, u64> = BTreeMap::new();
    for line in log.lines() {
        let (code, release) = line.split_once(' ').unwrap_or((line, ""));
        let Ok(code) = code.trim().parse::<u16>() else { continue };
        all += 1;
        if !(200..400).contains(&code) {
            failed += 1;
        } else if !release.is_empty() {
            *by_release.entry(release).or_default() += 1;
        }
    }
    let mut text = format!("  {all:>6} requests, {failed} failed\n");
    for (release, count) in by_release {
        text.push_str(&format!("  {count:>6} were answered by the {release}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_the_users_is_counted() {
        let log = "200 first release\n200 second release\n500 \n000 \nsh: broken\n200 first release\n";
        let text = account(log);
        assert!(text.contains("     5 requests, 2 failed"), "{text}");
        assert!(text.contains("     2 were answered by the first release"), "{text}");
        assert!(text.contains("     1 were answered by the second release"), "{text}");
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named_with_the_mend() {
        let pod = |reason: &str| {
            json!({"status": {"containerStatuses": [{"image": "podinfo:9",
                   "state": {"waiting": {"reason": reason, "message": "not found"}}}]}})
        };
        assert_eq!(unpullable(&pod("ContainerCreating")), None);
        assert_eq!(unpullable(&json!({})), None);
        let why = unpullable(&pod("ErrImagePull")).expect("a reason");
        assert!(why.contains("podinfo:9 (not found)") && why.contains("--image"), "{why}");
    }
}
