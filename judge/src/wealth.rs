//! Evidence as the capital of a bettor who starts with 1 and is offered bets that pay nothing on average if what is to be
//! disproved holds. Whoever has 1/α then was lucky with a chance of at most α, at whatever moment one looks (Ville).

/// Several bettors with a stake of the capital each, some of whom keep theirs as cash.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wealth {
    parts: Vec<f64>,
    /// What each starts with; the last is cash.
    prior: Vec<f64>,
    /// The capital at which one stops; no more is won than that.
    cap: f64,
}

/// The part of the capital that is dealt out anew after each bet, so that a regression which begins late finds bettors
/// that a good beginning has not ruined.
const DEALT_ANEW: f64 = 0.004;
/// No bettor stakes more than this part.
const LARGEST_STAKE: f64 = 0.9;

impl Wealth {
    /// Bettors with these shares; what they leave of 1 is cash.
    pub(crate) fn new(shares: &[f64], cap: f64) -> Self {
        let mut prior = shares.to_vec();
        prior.push(1.0 - shares.iter().sum::<f64>());
        Self { parts: prior.clone(), prior, cap }
    }

    pub(crate) fn total(&self) -> f64 {
        self.parts.iter().sum::<f64>().min(self.cap)
    }

    pub(crate) fn enough(&self) -> bool {
        self.parts.iter().sum::<f64>() >= self.cap * (1.0 - 1e-12)
    }

    /// A bet on a fair coin: the bettor wins `gain(i)` of their capital (or loses it, when negative) the way the coin
    /// fell, and would have got the opposite had it fallen the other way. What would have gone beyond the cap there is
    /// not needed, and is won here instead.
    pub(crate) fn fair(&mut self, gain: impl Fn(usize) -> f64) {
        if self.enough() {
            return;
        }
        let (mut here, mut there) = (0.0, 0.0);
        let bettors = self.parts.len() - 1;
        for (place, part) in self.parts.iter_mut().enumerate() {
            let gain = if place < bettors { gain(place).clamp(-LARGEST_STAKE, LARGEST_STAKE) } else { 0.0 };
            there += *part * (1.0 - gain);
            *part *= 1.0 + gain;
            here += *part;
        }
        self.settle(here, here + (there - self.cap).max(0.0));
    }

    /// The part of what the bettors would stake that is enough to reach the cap if each wins `best(i)` of the capital.
    pub(crate) fn needed(&self, best: impl Fn(usize) -> f64) -> f64 {
        let has: f64 = self.parts.iter().sum();
        let bettors = self.parts.len() - 1;
        let wins: f64 = self.parts[..bettors].iter().enumerate().map(|(place, part)| part * best(place)).sum();
        if wins > 0.0 { ((self.cap - has) / wins).clamp(0.0, 1.0) } else { 1.0 }
    }

    /// A bet whose factor is 1 or less on average if what is to be disproved holds.
    pub(crate) fn multiply(&mut self, factor: impl Fn(usize) -> f64) {
        if self.enough() {
            return;
        }
        let bettors = self.parts.len() - 1;
        let mut total = 0.0;
        for (place, part) in self.parts.iter_mut().enumerate() {
            if place < bettors {
                *part *= factor(place).max(0.0);
            }
            total += *part;
        }
        self.settle(total, total);
    }

    fn settle(&mut self, has: f64, gets: f64) {
        let gets = gets.min(self.cap);
        if has <= 0.0 || gets >= self.cap {
            self.parts.iter_mut().zip(&self.prior).for_each(|(part, prior)| *part = gets * prior);
            return;
        }
        let keep = gets / has * (1.0 - DEALT_ANEW);
        let dealt = gets * DEALT_ANEW;
        self.parts.iter_mut().zip(&self.prior).for_each(|(part, prior)| *part = *part * keep + dealt * prior);
    }
}
