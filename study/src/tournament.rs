//! Many rollouts, each shown to all rules.

use crate::interval::{Median, Share};
use crate::rules::{Answer, Rule};
use crate::stream::{Bucket, Generator};

/// What became of one rollout under one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Played {
    /// The first answer that decides, or that there was none.
    pub answer: Answer,
    /// When, in seconds; the end of the rollout if nothing was decided.
    pub at: i32,
    /// Requests of users that failed in the canary until then.
    pub failed: u64,
}

/// What became of all rollouts under one rule.
#[derive(Clone, Debug)]
pub struct Tally {
    /// The rule.
    pub name: String,
    /// One entry per rollout.
    pub played: Vec<Played>,
}

impl Tally {
    /// How often the release was taken back.
    pub fn worse(&self) -> Share {
        Share::count(&self.played, |played| played.answer == Answer::Worse)
    }

    /// How often the release was found good.
    pub fn not_worse(&self) -> Share {
        Share::count(&self.played, |played| played.answer == Answer::NotWorse)
    }

    /// How long until this answer, in minutes.
    pub fn minutes(&self, answer: Answer) -> Median {
        let times = self.played.iter().filter(|played| played.answer == answer);
        Median::of(times.map(|played| f64::from(played.at) / 60.0).collect(), self.played.len())
    }

    /// Failed requests until the rollback or the end, half of the rollouts having fewer.
    pub fn failed(&self) -> Median {
        Median::of(self.played.iter().map(|played| played.failed as f64).collect(), self.played.len())
    }
}

/// Shows rollouts `from` to `from + count` to each rule until it decides.
pub fn play(generator: &Generator, from: u64, count: u64, rules: &[Box<dyn Rule>]) -> Vec<Tally> {
    let mut tallies: Vec<Tally> =
        rules.iter().map(|rule| Tally { name: rule.name(), played: Vec::with_capacity(count as usize) }).collect();
    let mut buckets = Vec::new();
    for number in from..from + count {
        generator.rollout(number, &mut buckets);
        for (rule, tally) in rules.iter().zip(&mut tallies) {
            tally.played.push(play_one(rule.as_ref(), &buckets));
        }
    }
    tallies
}

/// Shows one rollout to one rule until it decides.
pub fn play_one(rule: &dyn Rule, buckets: &[Bucket]) -> Played {
    let end = buckets.last().map_or(0, |bucket| bucket.at);
    let (answer, at) = rule.play(buckets).unwrap_or((Answer::GoOn, end));
    let failed =
        buckets.iter().take_while(|bucket| bucket.at <= at).map(|bucket| u64::from(bucket.canary.errors)).sum();
    Played { answer, at, failed }
}

/// The first rule of a grid that takes back at most `share` of `count` good rollouts; the last one if none does.
pub fn tune<R: Rule + Clone + 'static>(good: &Generator, count: u64, share: f64, grid: Vec<R>) -> R {
    let mut grid = grid;
    grid.reverse();
    let mut chosen = grid.first().cloned().expect("a grid has rules");
    // A grid goes from keen to dull, so the search may halve it: fewer good releases are taken back further on.
    let mut buckets = Vec::new();
    let rollouts: Vec<Vec<Bucket>> = (0..count)
        .map(|number| {
            good.rollout(u64::MAX - number, &mut buckets); // never the rollouts that figures are made of
            buckets.clone()
        })
        .collect();
    let (mut dull, mut keen) = (0, grid.len());
    while dull < keen {
        let middle = (dull + keen) / 2;
        let taken = rollouts.iter().filter(|rollout| play_one(&grid[middle], rollout).answer == Answer::Worse).count();
        if taken as f64 <= share * count as f64 {
            chosen = grid[middle].clone();
            dull = middle + 1;
        } else {
            keen = middle;
        }
    }
    chosen
}
