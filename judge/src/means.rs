//! Values of two arms, window by window, whose difference is as likely to be on one side as on the other if the arms
//! behave alike: the sign of each is a fair coin. For not being worse the canary is credited with the margin first, which
//! takes a shift by that much to leave the shape of the values as it is.

use libm::{sqrt, tanh};

use crate::wealth::Wealth;

const TILTS: [f64; 6] = [0.1, 0.25, 0.6, 1.2, 2.5, 5.0];
const SHARES: [f64; 6] = [0.08, 0.12, 0.2, 0.25, 0.2, 0.1];

/// Bets on the signs of differences.
#[derive(Clone, Debug)]
pub(crate) struct Signs {
    pub(crate) wealth: Wealth,
    squares: f64,
    times: f64,
}

impl Signs {
    pub(crate) fn new(cap: f64) -> Self {
        Self { wealth: Wealth::new(&SHARES, cap), squares: 0.0, times: 0.0 }
    }

    /// Bets on the difference being above 0. Its size counts beside those of all so far, itself among them, which says
    /// nothing about its sign.
    pub(crate) fn add(&mut self, difference: f64) {
        self.squares += difference * difference;
        self.times += 1.0;
        let scale = sqrt(self.squares / self.times);
        if scale > 0.0 && scale.is_finite() {
            self.wealth.fair(|place| tanh(TILTS[place] * difference / scale / 2.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_win_nothing_on_average() {
        let sizes = [1.0, 0.2, 7.0, 3.0, 0.0];
        let ways = 1_u32 << sizes.len();
        let total: f64 = (0..ways)
            .map(|way| {
                let mut signs = Signs::new(20.0);
                for (place, size) in sizes.iter().enumerate() {
                    signs.add(if way >> place & 1 == 0 { *size } else { -size });
                }
                signs.wealth.total()
            })
            .sum();
        assert!((total / f64::from(ways) - 1.0).abs() < 1e-9);
    }
}
