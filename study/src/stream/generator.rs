//! One rollout from its seed.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution, Geometric, Poisson};

use super::latency::{Latency, SLOW_SHARE};
use super::{Arm, BUCKET_SECONDS, Bucket, Effect, Plan, Scenario};

/// How far the shared drift wanders: the standard deviation of its logarithm, and its memory from one bucket to the next
/// (five minutes).
const DRIFT: (f64, f64) = (0.5, 0.967_2);
const BURST: f64 = 5.0;
const PODS: usize = 5;
const POD_SPREAD: f64 = 0.2;
/// Restarts of a pod per arm and bucket: one in fifteen minutes.
const RESTART: f64 = 1.0 / 90.0;
const RESTART_BUCKETS: u32 = 2;
const RESTART_ERRORS: f64 = 0.2;
const HOUR_BUCKETS: f64 = 360.0;

/// Makes rollouts of one plan, scenario and effect.
#[derive(Clone, Copy, Debug)]
pub struct Generator {
    /// The shape of the rollout.
    pub plan: Plan,
    /// What goes on around it.
    pub scenario: Scenario,
    /// What the new version does differently.
    pub effect: Effect,
    /// The seed of the study.
    pub seed: u64,
}

impl Generator {
    /// Writes the rollout of this number into `buckets`, which is emptied first.
    pub fn rollout(&self, number: u64, buckets: &mut Vec<Bucket>) {
        buckets.clear();
        let mut rollout = Rollout::new(self, number);
        let (history, watched) = (self.plan.history as i32, self.plan.buckets as i32);
        buckets.extend((-history..watched).map(|bucket| rollout.bucket(bucket)));
    }

    /// The seed of one rollout: of everything that tells it from others.
    fn seed_of(&self, number: u64) -> u64 {
        [
            self.seed,
            self.scenario as u64,
            self.plan.rate.to_bits(),
            u64::from(self.plan.buckets),
            self.effect.errors.to_bits(),
            self.effect.slow_path.to_bits(),
            number,
        ]
        .into_iter()
        .fold(0x9e37_79b9_7f4a_7c15, |hash, word| {
            let mixed = (hash ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (mixed >> 29)
        })
    }
}

/// What one arm carries from bucket to bucket.
#[derive(Default)]
struct Carried {
    /// Its own factor on the error ratio, for good.
    factor: f64,
    /// Its own factor on latencies, for good.
    pace: f64,
    /// Errors of a burst that found no request yet.
    pending: u32,
    /// Buckets until the restarted pod is well again.
    restarting: u32,
}

struct Rollout<'a> {
    of: &'a Generator,
    rng: ChaCha8Rng,
    drift: f64,
    phase: f64,
    arms: [Carried; 3],
    weight: u8,
    since_step: i32,
}

impl<'a> Rollout<'a> {
    fn new(of: &'a Generator, number: u64) -> Rollout<'a> {
        let mut rng = ChaCha8Rng::seed_from_u64(of.seed_of(number));
        let drift = normal(&mut rng) * DRIFT.0;
        let phase = rng.random::<f64>();
        let arm = |pods: usize, rng: &mut ChaCha8Rng| {
            let mut mean = |spread: f64| match of.scenario {
                Scenario::UnequalPods => {
                    (0..pods).map(|_| (normal(rng) * spread - spread * spread / 2.0).exp()).sum::<f64>() / pods as f64
                }
                Scenario::Independent
                | Scenario::SharedDrift
                | Scenario::Clumped
                | Scenario::Diurnal
                | Scenario::RestartSpike => 1.0,
            };
            Carried { factor: mean(POD_SPREAD), pace: mean(POD_SPREAD / 4.0), ..Carried::default() }
        };
        let arms = [arm(PODS, &mut rng), arm(PODS, &mut rng), arm(2 * PODS, &mut rng)];
        Rollout { of, rng, drift, phase, arms, weight: 0, since_step: 0 }
    }

    /// The bucket of this number; below zero it is history.
    fn bucket(&mut self, number: i32) -> Bucket {
        let Generator { plan, scenario, effect, .. } = *self.of;
        let weight = u32::try_from(number).map_or(0, |number| plan.weight(number));
        self.since_step = if weight == self.weight { self.since_step + 1 } else { 0 };
        self.weight = weight;
        self.drift = DRIFT.1 * self.drift + (1.0 - DRIFT.1 * DRIFT.1).sqrt() * DRIFT.0 * normal(&mut self.rng);
        let swing = 1.0 + 0.6 * (std::f64::consts::TAU * (f64::from(number) / HOUR_BUCKETS + self.phase)).sin();
        // What all arms have in common: how much more is asked, how much more fails, how much longer it takes.
        let (load, errors, pace) = match scenario {
            Scenario::SharedDrift | Scenario::Clumped => (1.0, self.drift.exp(), (self.drift * 0.3).exp()),
            Scenario::Diurnal => (swing, swing, swing.sqrt()),
            Scenario::Independent | Scenario::UnequalPods | Scenario::RestartSpike => (1.0, 1.0, 1.0),
        };
        let all = plan.rate * load * f64::from(BUCKET_SECONDS) / 60.0;
        let share = f64::from(weight) / 100.0;
        let mut arm = |index: usize, share: f64, effect: Effect| {
            let latency = Latency { slow_share: SLOW_SHARE, scale: pace, slow_path: effect.slow_path };
            self.arm(index, all * share, plan.base * errors * effect.errors, latency)
        };
        Bucket {
            at: (number + 1) * BUCKET_SECONDS,
            weight,
            canary: arm(0, share, effect),
            baseline: arm(1, share, Effect::NONE),
            primary: arm(2, (1.0 - 2.0 * share).max(0.0), Effect::NONE),
        }
    }

    /// One arm of which `expected` requests are expected, of which `ratio` would fail on an ordinary day.
    fn arm(&mut self, index: usize, expected: f64, ratio: f64, mut latency: Latency) -> Arm {
        let Rollout { of, rng, arms, since_step, .. } = self;
        let carried = &mut arms[index];
        let mut ratio = ratio * carried.factor;
        latency.scale *= carried.pace;
        match of.scenario {
            Scenario::RestartSpike => {
                if index < 2 {
                    // Pods of the canary and of its baseline were started for this step.
                    let young = 9.0 * (-f64::from(*since_step * BUCKET_SECONDS) / 20.0).exp();
                    ratio *= 1.0 + young;
                    latency.slow_share *= 1.0 + young / 3.0;
                }
                if carried.restarting == 0 && rng.random_bool(RESTART) {
                    carried.restarting = RESTART_BUCKETS;
                }
                if carried.restarting > 0 {
                    carried.restarting -= 1;
                    ratio += RESTART_ERRORS / PODS as f64;
                    latency.slow_share *= 3.0;
                }
            }
            Scenario::Clumped => latency.slow_share *= (0.5 * normal(rng) - 0.125).exp(),
            Scenario::Independent | Scenario::SharedDrift | Scenario::Diurnal | Scenario::UnequalPods => {}
        }
        let requests = poisson(rng, expected);
        let errors = match of.scenario {
            Scenario::Clumped => {
                let bursts = poisson(rng, expected * ratio / BURST);
                let drawn: u32 = (0..bursts).map(|_| burst(rng)).sum();
                let due = carried.pending + drawn;
                let errors = due.min(requests);
                carried.pending = due - errors;
                errors
            }
            Scenario::Independent
            | Scenario::SharedDrift
            | Scenario::Diurnal
            | Scenario::UnequalPods
            | Scenario::RestartSpike => binomial(rng, requests, ratio.min(1.0)),
        };
        let histogram = if of.plan.latencies { latency.draw(requests, rng) } else { Default::default() };
        Arm { requests, errors, latency: histogram }
    }
}

fn normal(rng: &mut impl Rng) -> f64 {
    rand_distr::StandardNormal.sample(rng)
}

fn poisson(rng: &mut impl Rng, mean: f64) -> u32 {
    // A mean of nothing is no distribution, and nothing is what is drawn from it.
    Poisson::new(mean).map_or(0, |poisson: Poisson<f64>| poisson.sample(rng) as u32)
}

fn binomial(rng: &mut impl Rng, of: u32, share: f64) -> u32 {
    Binomial::new(u64::from(of), share).map_or(0, |binomial| binomial.sample(rng) as u32)
}

/// Errors of one burst: at least one, [`BURST`] on average.
fn burst(rng: &mut impl Rng) -> u32 {
    1 + Geometric::new(1.0 / BURST).map_or(0, |geometric| geometric.sample(rng) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generator(scenario: Scenario, effect: Effect) -> Generator {
        Generator { plan: Plan::half_hour(6000.0), scenario, effect, seed: 7 }
    }

    fn rollout(generator: &Generator, number: u64) -> Vec<Bucket> {
        let mut buckets = Vec::new();
        generator.rollout(number, &mut buckets);
        buckets
    }

    #[test]
    fn a_rollout_follows_from_its_number() {
        for scenario in Scenario::ALL {
            let generator = generator(scenario, Effect::NONE);
            assert_eq!(rollout(&generator, 3), rollout(&generator, 3), "{scenario}");
            assert_ne!(rollout(&generator, 3), rollout(&generator, 4), "{scenario}");
        }
    }

    #[test]
    fn arms_of_a_good_release_fail_alike_on_average_and_a_bad_one_by_its_factor() {
        for scenario in Scenario::ALL {
            for (effect, expected) in [(Effect::NONE, 1.0), (Effect::errors(4.0), 4.0)] {
                let generator = generator(scenario, effect);
                let (mut canary, mut baseline) = ((0, 0), (0, 0));
                for bucket in (0..60).flat_map(|number| rollout(&generator, number)) {
                    canary.0 += bucket.canary.errors;
                    canary.1 += bucket.canary.requests;
                    baseline.0 += bucket.baseline.errors;
                    baseline.1 += bucket.baseline.requests;
                    assert!(bucket.canary.errors <= bucket.canary.requests);
                }
                let ratio = |(errors, requests): (u32, u32)| f64::from(errors) / f64::from(requests);
                let factor = ratio(canary) / ratio(baseline);
                // A restarted pod fails as much whatever version it runs.
                let low = if scenario == Scenario::RestartSpike { 0.5 } else { 0.85 };
                assert!((low * expected..1.15 * expected).contains(&factor), "{scenario}: {factor} for {expected}");
            }
        }
    }

    #[test]
    fn clumped_errors_vary_more_than_chance() {
        let dispersion = |scenario| {
            let buckets = rollout(&generator(scenario, Effect::NONE), 1);
            let errors: Vec<f64> = buckets[180 + 144..].iter().map(|bucket| f64::from(bucket.canary.errors)).collect();
            let mean = errors.iter().sum::<f64>() / errors.len() as f64;
            errors.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / errors.len() as f64 / mean
        };
        assert!(dispersion(Scenario::Independent) < 2.0);
        assert!(dispersion(Scenario::Clumped) > 3.0);
    }

    #[test]
    fn the_weight_rises_in_steps() {
        let buckets = rollout(&generator(Scenario::Independent, Effect::NONE), 0);
        let weights: Vec<u8> =
            [-1, 0, 35, 36, 179].iter().map(|bucket| buckets[(180 + bucket) as usize].weight).collect();
        assert_eq!(weights, [0, 10, 10, 20, 50]);
        assert_eq!((buckets[179].at, buckets[180].at, buckets[359].at), (0, 10, 1800));
        assert_eq!(buckets[0].canary, Arm::default(), "the primary serves all of it");
        assert_eq!(buckets[359].primary, Arm::default(), "canary and baseline share all of it");
    }
}
