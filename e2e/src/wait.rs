//! Level-triggered waiting: ask until the state is there, and say what it was when the time ran out.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(100);

/// Asks until `probe` succeeds. Its error is "not yet, because": the last one is the reason given when `deadline` passes.
pub async fn wait_for<T, F, Fut>(what: &str, deadline: Duration, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let started = Instant::now();
    loop {
        let reason = match probe().await {
            Ok(value) => return Ok(value),
            Err(reason) => reason,
        };
        if started.elapsed() > deadline {
            bail!("waited {} s for {what}; at last: {reason:#}", deadline.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Fails as soon as `probe` does, within `duration`: for what must not happen.
pub async fn holds_for<F, Fut>(what: &str, duration: Duration, mut probe: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let started = Instant::now();
    while started.elapsed() < duration {
        if let Err(reason) = probe().await {
            bail!(
                "{what} should hold for {} s; after {} ms: {reason:#}",
                duration.as_secs(),
                started.elapsed().as_millis()
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
