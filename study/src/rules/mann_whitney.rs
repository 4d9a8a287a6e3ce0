//! The Mann–Whitney statistic as PipeCD's library has it: exact for samples as small as those here, ties included. The judge's
//! own test is another one, so that the rules of others do not lean on what they are compared with.

/// U of the first sample: pairs in which its value is the greater one, ties counted half. Twice, so that it is whole.
fn twice_u(first: &[f64], second: &[f64]) -> u32 {
    let pairs = first.iter().flat_map(|a| second.iter().map(move |b| (a, b)));
    pairs.map(|(a, b)| if a > b { 2 } else { u32::from(a == b) }).sum()
}

/// The chance of a U as great as this one, or half less, if both samples come from one distribution; none if all values are the
/// same. "Half less" is how the library computes it: where ties make halves, its `1 - CDF(U - 1)` takes one half step more than a
/// p-value would.
pub(super) fn chance_of_greater(first: &[f64], second: &[f64]) -> Option<f64> {
    let mut all: Vec<f64> = first.iter().chain(second).copied().collect();
    all.sort_by(f64::total_cmp);
    if all.first() == all.last() {
        return None;
    }
    // Ways to choose as many values as the first sample has, by twice the sum of their ranks (ties have their mean rank).
    let size = first.len();
    let most = 2 * all.len() * all.len() + 1;
    let mut ways = vec![vec![0.0_f64; most]; size + 1];
    ways[0][0] = 1.0;
    for value in &all {
        let below = all.partition_point(|other| other < value);
        let through = all.partition_point(|other| other <= value);
        let twice_rank = below + 1 + through;
        for chosen in (1..=size).rev() {
            for sum in (twice_rank..most).rev() {
                ways[chosen][sum] += ways[chosen - 1][sum - twice_rank];
            }
        }
    }
    let least = size * (size + 1); // twice the smallest sum of ranks
    let from = least + twice_u(first, second).saturating_sub(1) as usize;
    Some(ways[size][from..].iter().sum::<f64>() / ways[size].iter().sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_above_five_is_one_way_of_252() {
        let (low, high) = ([0.1, 0.2, 0.3, 0.4, 0.5], [10.1, 10.2, 10.3, 10.4, 10.5]);
        let chance = chance_of_greater(&high, &low).unwrap();
        assert!((chance - 1.0 / 252.0).abs() < 1e-12, "{chance}");
        assert!((chance_of_greater(&low, &high).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(chance_of_greater(&[1.0, 1.0], &[1.0]), None);
    }

    #[test]
    fn ties_take_half_a_step_more() {
        // Ranks 1.5, 1.5, 3.5, 3.5: sums of two are 3 once, 5 four times, 7 once.
        let chance = chance_of_greater(&[1.0, 0.0], &[1.0, 0.0]).unwrap();
        assert!((chance - 5.0 / 6.0).abs() < 1e-12, "{chance}");
    }
}
