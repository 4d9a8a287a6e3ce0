//! What a hundred Canaries cost while nothing happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::audit::Audit;
use e2e::{Scene, fleet};

const CANARIES: usize = 100;
const WATCHED: Duration = Duration::from_secs(60);
const MOST_RESIDENT_KIB: u64 = 25 * 1024;

pub(crate) async fn hundred_canaries_cost_next_to_nothing(scene: Arc<Scene>) -> Result<()> {
    scene.by_itself().await;
    // With a dashboard that nobody looks at, which is to cost nothing.
    let flags = ["-mesh-provider", "kubernetes", "-dashboard-address", "127.0.0.1:0"];
    let mut serin = scene.serin_with(&flags).await?;
    let began = fleet::create(&scene, CANARIES).await?;
    fleet::initialized(&scene, CANARIES, Duration::from_secs(120)).await?;
    scene.report(&format!("{CANARIES} Canaries were initialized after {:.1} s", began.elapsed().as_secs_f64()));

    fleet::quiet(&scene).await?;
    let Some(audit) = Audit::from_now(&scene.cluster, &scene.controller_user())? else {
        scene.report("requests are not counted: this API server's audit log cannot be read");
        return Ok(());
    };
    let (processor, watched) = (serin.processor_time()?, Instant::now());
    tokio::time::sleep(WATCHED).await;
    let seconds = watched.elapsed().as_secs_f64();
    let requests = audit.requests()?;
    let busy = (serin.processor_time()? - processor).as_secs_f64() * 100.0 / seconds;
    let (resident, peak) = (serin.resident_kib()?, serin.peak_resident_kib()?);
    let total: usize = requests.values().sum();
    scene.report(&format!(
        "{CANARIES} idle: {total} requests in {seconds:.0} s, {busy:.2} % of a core, {resident} KiB resident, {peak} KiB at most"
    ));
    ensure!(total < 60, "an idle controller made {total} requests in a minute: {requests:?}");
    ensure!(resident <= MOST_RESIDENT_KIB, "{resident} KiB are resident, at most {MOST_RESIDENT_KIB} should be");
    serin.alive()
}
