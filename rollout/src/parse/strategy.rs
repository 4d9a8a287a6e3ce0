//! How traffic moves: the schedule of weights, or the number of checks.

use crds::{CanaryAnalysis, CanarySpec};

use super::judge;
use super::notes::Notes;
use crate::spec::{Defaults, Mirror, RouterAbility, Strategy};

/// Checks before promotion on a router that cannot share traffic, when the Canary does not say.
const ITERATIONS_WITHOUT_WEIGHTS: u32 = 10;

pub(super) fn strategy(
    spec: &CanarySpec,
    router: &RouterAbility,
    defaults: &Defaults<'_>,
    notes: &mut Notes,
) -> Option<Strategy> {
    let analysis = &spec.analysis;
    let mirror = mirror(analysis, router, defaults, notes);
    let iterations = match analysis.iterations {
        None => Some(0),
        Some(iterations) => notes.count("spec.analysis.iterations", iterations),
    };
    // Looked at also where they are not used: a slip in them is a slip.
    let promotion_step = match analysis.step_weight_promotion {
        None => None,
        Some(step) => notes.percent("spec.analysis.stepWeightPromotion", step).filter(|step| *step > 0),
    };
    let weights = weights(analysis, notes);
    let iterations = iterations?;

    if !router.weights {
        return Some(without_weights(analysis, iterations, router, notes));
    }
    if iterations > 0 {
        if analysis.step_weight.is_some_and(|step| step > 0) || !analysis.step_weights.is_empty() {
            notes.warn("spec.analysis.iterations: stepWeight and stepWeights are ignored beside it");
        }
        if analysis.match_.is_empty() {
            return Some(Strategy::BlueGreen { iterations, mirror });
        }
        return a_b_testing(analysis, iterations, mirror, router, defaults, notes);
    }
    if !analysis.match_.is_empty() {
        notes.warn("spec.analysis.match: ignored without iterations, which A/B testing needs");
    }
    match weights? {
        Some(weights) => Some(Strategy::Canary { weights, promotion_step, mirror }),
        None if spec.skip_analysis => Some(Strategy::Canary { weights: vec![100], promotion_step, mirror }),
        None => {
            let why = if analysis.step_weight == Some(0) {
                "stepWeight 0 never moves any traffic"
            } else {
                "says neither how traffic moves nor how often to check"
            };
            let mend = "write stepWeight (percents, as 10), stepWeights (as [1, 10, 50]) or iterations (as 10)";
            notes.refuse("spec.analysis", why, mend);
            None
        }
    }
}

fn without_weights(analysis: &CanaryAnalysis, iterations: u32, router: &RouterAbility, notes: &mut Notes) -> Strategy {
    let router = router.name;
    if !analysis.match_.is_empty() {
        notes.warn(format!("spec.analysis.match: the {router} router cannot send requests by match; ignored"));
    }
    if iterations == 0 {
        notes.warn(format!(
            "spec.analysis: the {router} router cannot share traffic; the canary is checked \
             {ITERATIONS_WITHOUT_WEIGHTS} times without any (set iterations for another number)"
        ));
        return Strategy::BlueGreen { iterations: ITERATIONS_WITHOUT_WEIGHTS, mirror: None };
    }
    Strategy::BlueGreen { iterations, mirror: None }
}

fn a_b_testing(
    analysis: &CanaryAnalysis,
    iterations: u32,
    mirror: Option<Mirror>,
    router: &RouterAbility,
    defaults: &Defaults<'_>,
    notes: &mut Notes,
) -> Option<Strategy> {
    if !router.matches {
        let able = able(defaults, |router| router.matches);
        let why = format!("the {} router cannot send requests by match", router.name);
        notes.refuse(
            "spec.analysis.match",
            why,
            format!("remove it for blue/green, or set spec.provider to one that can: {able}"),
        );
        return None;
    }
    if mirror.is_some() {
        notes.warn("spec.analysis.mirror: ignored in A/B testing");
    }
    Some(Strategy::AbTesting { iterations, matches: analysis.match_.clone() })
}

fn mirror(
    analysis: &CanaryAnalysis,
    router: &RouterAbility,
    defaults: &Defaults<'_>,
    notes: &mut Notes,
) -> Option<Mirror> {
    let percent = match analysis.mirror_weight {
        None | Some(0) => 100,
        Some(weight) => notes.percent("spec.analysis.mirrorWeight", weight).unwrap_or(100),
    };
    if !analysis.mirror {
        return None;
    }
    if !router.mirror {
        notes.warn(format!(
            "spec.analysis.mirror: the {} router cannot copy traffic; ignored (routers that can: {})",
            router.name,
            able(defaults, |router| router.mirror)
        ));
        return None;
    }
    Some(Mirror { percent })
}

/// The names of the routers that can, for a message.
pub(super) fn able(defaults: &Defaults<'_>, can: impl Fn(&RouterAbility) -> bool) -> String {
    let able: Vec<_> = defaults.routers.iter().filter(|router| can(router)).map(|router| router.name).collect();
    if able.is_empty() { "none in this version".to_owned() } else { able.join(", ") }
}

/// The schedule; `Some(None)` when there is none, `None` when it is wrong.
fn weights(analysis: &CanaryAnalysis, notes: &mut Notes) -> Option<Option<Vec<u8>>> {
    let step = match analysis.step_weight {
        None => Some(0),
        Some(step) => notes.percent("spec.analysis.stepWeight", step),
    };
    if !analysis.step_weights.is_empty() {
        if analysis.step_weight.is_some_and(|step| step != 0) {
            notes.refuse("spec.analysis.stepWeight", "stands beside stepWeights", "keep one of the two");
        }
        return listed(&analysis.step_weights, notes).map(Some);
    }
    if analysis.plan.is_some() {
        return judge::first_weights(analysis, notes).map(Some);
    }
    // Only here: beside stepWeights it means nothing.
    let last = match analysis.max_weight {
        None | Some(0) => Some(100),
        Some(weight) => notes.percent("spec.analysis.maxWeight", weight),
    };
    let (step, last) = (step?, last?);
    if step == 0 {
        return Some(None);
    }
    let mut weights: Vec<u8> = (1..=100)
        .map(|count| count * u16::from(step))
        .map_while(|weight| u8::try_from(weight).ok())
        .take_while(|weight| *weight < last)
        .collect();
    weights.push(last);
    Some(Some(weights))
}

fn listed(written: &[i64], notes: &mut Notes) -> Option<Vec<u8>> {
    const MEND: &str = "list strictly increasing percents";
    let known = notes.errors.len();
    let mut weights: Vec<u8> = Vec::new();
    for (index, &weight) in written.iter().enumerate() {
        let field = format!("spec.analysis.stepWeights[{index}]");
        match u8::try_from(weight).ok().filter(|weight| (1..=100).contains(weight)) {
            None => notes.refuse(field, format!("{weight} is no percent from 1 to 100"), MEND),
            Some(weight) => match weights.last() {
                Some(&before) if weight <= before => {
                    notes.refuse(field, format!("must be greater than the step before it ({before})"), MEND);
                }
                Some(_) | None => weights.push(weight),
            },
        }
    }
    (notes.errors.len() == known).then_some(weights)
}
