//! A look at evidence: what was gathered is added to what is known, and the judge says what follows.

use std::sync::Arc;

use crds::Check;
use jiff::Timestamp;
use judge::explain::{explain, headline};
use judge::plan::Impossible;
use judge::verdict::{Decision, Measured, Needs, Opinion, Reason, Then, Verdict};

use crate::desired::Desired;
use crate::evidence::{add, known, policy};
use crate::observation::Ask;
use crate::plan::{self, Course};
use crate::spec::{HookKind, Severity};
use crate::state::Run;

use super::Pass;
use super::checks::Judgement;

/// What a look at evidence came to.
pub(super) enum Weighed {
    Judged(Judgement),
    /// The canary is worse, or cannot be judged any longer: it is taken back.
    Ended(Desired),
}

impl Pass<'_> {
    /// Asks for what is missing to weigh the evidence at this look.
    pub(super) fn need_evidence(&self) -> Result<(), Vec<Ask>> {
        let run = self.state.run.clone().unwrap_or_default();
        let remembered = self.memory.evidence.as_ref().is_some_and(|(known, _)| *known == run);
        let past = (!remembered).then_some(Ask::Past);
        // Where there is a record already, it has what was usual, and this is one question too many.
        let evidence = Ask::Evidence { since: self.unweighed_since(), usual: !remembered };
        let asks: Vec<Ask> = past.into_iter().chain([evidence]).collect();
        self.need(&asks)
    }

    /// Since when no evidence was gathered while the traffic was split as it is now.
    fn unweighed_since(&self) -> Timestamp {
        let step = self.memory.matched_since.or(self.state.since);
        self.state.checked_at.into_iter().chain(step).max().unwrap_or(self.now)
    }

    /// Judges hooks and evidence.
    pub(super) fn judge_evidence(&mut self, run: Run) -> Result<Weighed, Vec<Ask>> {
        if self.judge_hooks(HookKind::Rollout) == Judgement::Failed {
            return Ok(Weighed::Judged(Judgement::Failed));
        }
        let Some(Ok(policy)) = policy(self.spec) else {
            self.wait("JudgeNotAble", "the judge does not take this policy; this is a defect of Serin".into());
            return Ok(Weighed::Judged(Judgement::Undecided));
        };
        let name = self.state.run.clone().unwrap_or_default();
        let baseline = self.spec.judge.baseline;
        let mut evidence = match self.memory.evidence.take() {
            Some((known, evidence)) if known == name => evidence,
            Some(_) | None => Arc::new(known(self.answers.past.as_deref().unwrap_or_default(), baseline)),
        };
        add(Arc::make_mut(&mut evidence), self.answers.gathered.as_deref().unwrap_or_default(), run.weight, baseline);
        let verdict = judge::judge(&evidence, &policy);
        let course = self.spec.plan.and_then(|auto| plan::course(self.spec, auto, &evidence, run.weight, self.now));
        self.memory.evidence = Some((name, evidence));
        self.state.checks.extend(checks(&verdict));
        Ok(self.follow(run, verdict, course))
    }

    fn follow(&mut self, run: Run, verdict: Verdict, course: Option<Result<Course, Impossible>>) -> Weighed {
        let canary = self.canary();
        let said = headline(&verdict.decision, verdict.at);
        match verdict.decision {
            Decision::Worse { .. } => {
                let told = told(&verdict);
                let event = format!("Rolling back {canary} {told}");
                Weighed::Ended(self.roll_back(event, Severity::Error, format!("Rolled back: {told}")))
            }
            Decision::NotWorse { .. } => {
                self.planned = course.and_then(|course| course.ok()?.next);
                Weighed::Judged(Judgement::Passed)
            }
            Decision::CannotTell { reason, needs, then } => match then {
                Some(Then::Rollback) => {
                    let event = format!("Rolling back {canary} {said}");
                    Weighed::Ended(self.roll_back(event, Severity::Error, format!("Rolled back: {said}")))
                }
                Some(Then::Promote) => {
                    self.event(true, format!("Advance {canary} without evidence: {said}"));
                    Weighed::Judged(Judgement::Passed)
                }
                Some(Then::Pause) => {
                    self.state.paused = true;
                    self.wait_told("Paused", said);
                    Weighed::Judged(Judgement::Undecided)
                }
                None => {
                    // What one share may cost is spent, and the next one tells more.
                    let open = matches!(reason, Reason::NotEnoughTraffic | Reason::Close);
                    let spent = |course: &Course| open && course.left.is_zero();
                    self.planned = course.and_then(Result::ok).filter(spent).and_then(|course| course.next);
                    if self.planned.is_some() {
                        return Weighed::Judged(Judgement::Passed);
                    }
                    let planned = course.map(|course| self.by_plan(run, course, needs)).unwrap_or_default();
                    self.wait(word(&reason), format!("{said}{planned}"));
                    Weighed::Judged(Judgement::Undecided)
                }
            },
        }
    }

    /// What follows, and when the end is to be expected.
    fn by_plan(&self, run: Run, course: Result<Course, Impossible>, needs: Option<Needs>) -> String {
        let course = match course {
            Ok(course) => course,
            Err(why) => return format!("; there is no plan: {why}"),
        };
        let (finish, left) = (self.after(self.now, course.finish), self.after(self.now, course.left));
        match course.next {
            Some(next) => format!(
                "; by the plan {} % last until {} UTC and {next} % follow, and the end is expected about {} UTC",
                run.weight,
                left.strftime("%H:%M:%S"),
                finish.strftime("%H:%M"),
            ),
            None => {
                let finish = needs.map_or(finish, |needs| self.after(self.now, plan::time(needs.seconds)));
                format!("; the end is expected about {} UTC", finish.strftime("%H:%M"))
            }
        }
    }
}

/// The verdict with the numbers of every metric, in one line.
fn told(verdict: &Verdict) -> String {
    explain(verdict).lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// What each metric came to, in the order of the verdict.
fn checks(verdict: &Verdict) -> Vec<Check> {
    let text = explain(verdict);
    let lines = text.lines().skip(1).map(str::trim);
    let of_metrics = verdict.metrics.iter().zip(lines);
    of_metrics
        .map(|(evidence, line)| Check {
            name: evidence.metric.clone(),
            result: match evidence.opinion {
                Opinion::Worse | Opinion::Failing => "Failed",
                Opinion::NotWorse => "Passed",
                Opinion::Open => "Held",
                Opinion::Missing => "Unavailable",
            }
            .into(),
            value: evidence.canary.map(value),
            threshold: None,
            message: Some(line.to_owned()),
        })
        .collect()
}

/// In percent of requests, or in the metric's own unit.
fn value(measured: Measured) -> String {
    match measured {
        Measured::Counts { requests, events } if requests > 0.0 => format!("{:.3}", 100.0 * events / requests),
        Measured::Counts { .. } => "0".into(),
        Measured::Value(value) => format!("{value:.4}"),
    }
}

fn word(reason: &Reason) -> &'static str {
    match reason {
        Reason::NoMetrics => "NoMetrics",
        Reason::NoData => "NoData",
        Reason::WarmingUp { .. } => "WarmingUp",
        Reason::NotEnoughTraffic => "NotEnoughTraffic",
        Reason::Close => "NotEnoughEvidence",
        Reason::FailedCheck { .. } => "FailedCheck",
        Reason::MissingData { .. } => "MetricsUnavailable",
        Reason::WrongSplit { .. } => "WrongSplit",
    }
}
