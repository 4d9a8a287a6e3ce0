//! The tour: a good release and a bad one, and what came of them.

use std::process::ExitCode;
use std::time::Duration;

use crds::Phase;
use sim::world::Tick;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::narrator::Narrator;
use super::{DemoError, Place};
use crate::paint::Tone;

/// No part of the tour takes this long, unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

const FIRST: &str = "6.9.0";
const GOOD: &str = "6.9.1";
const BAD: &str = "6.9.2";

/// Leads through the demo.
pub(super) struct Tour<'a> {
    narrator: Narrator,
    place: &'a Place,
    /// Told when users may come.
    opened: &'a Notify,
}

impl<'a> Tour<'a> {
    pub(super) fn new(narrator: Narrator, place: &'a Place, opened: &'a Notify) -> Tour<'a> {
        Tour { narrator, place, opened }
    }

    /// The tour, and unless `short` what the user does then, for ever. A short one ends with whether all went as told.
    ///
    /// # Errors
    /// When Git or the output cannot be used.
    pub(super) async fn lead(mut self, short: bool) -> Result<ExitCode, DemoError> {
        let as_told = self.tour().await?;
        if short {
            return Ok(if as_told { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        self.invite()?;
        loop {
            self.narrator.until(&[]).await?;
        }
    }

    async fn tour(&mut self) -> Result<bool, DemoError> {
        self.heading(&format!("1. Git holds {FIRST} of podinfo and a Canary that says how it is rolled out"))?;
        if self.reach(&[Phase::Initialized]).await? != Some(Phase::Initialized) {
            return Ok(false);
        }
        self.opened.notify_one();
        self.narrator.say(Tone::Plain, "Users come: about 200 requests per second through a simulated gateway.")?;

        self.heading(&format!("2. A good release: {GOOD} is committed"))?;
        self.place.repository.release(FIRST, GOOD).await?;
        if self.rollout().await? != Some(Phase::Succeeded) || self.narrator.serving() != GOOD {
            return self.otherwise(&format!("{GOOD} should have been promoted"));
        }

        self.heading(&format!(
            "3. A bad release: {BAD} is committed, which answers every fifth request with an error"
        ))?;
        self.place.repository.release(GOOD, BAD).await?;
        if self.rollout().await? != Some(Phase::Failed) || self.narrator.serving() != GOOD {
            return self.otherwise(&format!("{BAD} should have been rolled back to {GOOD}"));
        }

        self.heading("What users saw")?;
        self.narrator.print(&account(&self.narrator.flowed()))?;
        self.narrator.print(&format!("\nThe tour took {:.0} s.\n", self.narrator.seconds()))?;
        Ok(true)
    }

    /// From the commit to the end of the rollout.
    async fn rollout(&mut self) -> Result<Option<Phase>, DemoError> {
        if self.reach(&[Phase::Progressing]).await?.is_none() {
            return Ok(None);
        }
        self.reach(&[Phase::Succeeded, Phase::Failed]).await
    }

    /// Follows until one of these phases is there; nothing when that takes too long.
    async fn reach(&mut self, phases: &[Phase]) -> Result<Option<Phase>, DemoError> {
        match timeout(PATIENCE, self.narrator.until(phases)).await {
            Ok(phase) => Ok(Some(phase?)),
            Err(_) => {
                let wanted: Vec<&str> = phases.iter().map(|phase| phase.as_str()).collect();
                let sentence = format!(
                    "The Canary should have been {} within {} s; {}",
                    wanted.join(" or "),
                    PATIENCE.as_secs(),
                    self.narrator.whereabouts()
                );
                self.narrator.say(Tone::Bad, &sentence)?;
                Ok(None)
            }
        }
    }

    fn otherwise(&self, wanted: &str) -> Result<bool, DemoError> {
        self.narrator.say(Tone::Bad, &format!("This is not what should have happened: {wanted}."))?;
        Ok(false)
    }

    fn heading(&self, text: &str) -> Result<(), DemoError> {
        Ok(self.narrator.print(&format!("\n{}\n", self.narrator.paint().put(Tone::Strong, text)))?)
    }

    fn invite(&self) -> Result<(), DemoError> {
        let folder = self.place.repository.folder().display();
        let kubeconfig = self.place.kubeconfig.display();
        self.heading("Your turn; everything stays up until Ctrl-C")?;
        Ok(self.narrator.print(&format!(
            "  commit a release (6.9.3 is fine, {BAD} fails, 6.10.0 is slow):\n    \
             cd {folder} && sed -i.bak 's/podinfo:6.*/podinfo:6.9.3/' app.yaml && git commit -am 'podinfo 6.9.3'\n  \
             watch it:\n    kubectl --kubeconfig {kubeconfig} -n {} get canaries -w\n    \
             serin --kubeconfig {kubeconfig} -n {} watch {}\n  \
             or see the dashboard: http://{}/\n\n",
            super::NAMESPACE,
            super::NAMESPACE,
            super::NAME,
            self.place.dashboard
        ))?)
    }
}

/// Who met what.
fn account(flowed: &Tick) -> String {
    let mut text = format!(
        "  {:>6} requests, {} failed ({})\n",
        flowed.requests,
        flowed.failed(),
        percent(flowed.failed(), flowed.requests)
    );
    for (version, answers) in &flowed.by_version {
        let (count, errors) = (answers.count(), answers.errors());
        text.push_str(&format!(
            "  {count:>6} met {version} ({}), {errors} of them an error\n",
            percent(count, flowed.requests)
        ));
    }
    let elsewhere = flowed.failed().saturating_sub(flowed.by_version.values().map(|answers| answers.errors()).sum());
    text.push_str(&format!("  {elsewhere:>6} found nobody to answer\n"));
    text
}

/// With one digit after the point.
fn percent(part: u64, all: u64) -> String {
    let tenths = (part * 1000 + all / 2).checked_div(all).unwrap_or(0);
    format!("{}.{}%", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn percents_are_rounded_and_nothing_is_nothing() {
        for (part, all, expected) in [(0, 0, "0.0%"), (1, 3, "33.3%"), (2, 3, "66.7%"), (3, 3, "100.0%")] {
            assert_eq!(percent(part, all), expected);
        }
    }
}
