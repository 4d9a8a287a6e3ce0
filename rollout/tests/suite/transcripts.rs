//! Whole rollouts as a user reads them: one line per pass that changed something or said something new.

use std::fmt::Write;

use rollout::spec::HookKind;
use rollout::spec::Strategy;
use rollout::{Command, Spec};

use crate::support::build::{ab, at, blue_green, canary, gradual, hook, spec};
use crate::support::look::events;
use crate::support::world::{Open, Pass, Quality, World};

struct Scene {
    world: World,
    text: String,
    last: String,
}

impl Scene {
    fn new(strategy: Strategy) -> Scene {
        Scene::of(spec(strategy))
    }

    fn of(spec: Spec) -> Scene {
        Scene { world: World::new(spec), text: String::new(), last: String::new() }
    }

    fn say(&mut self, words: &str) {
        writeln!(self.text, "         ** {words}").expect("a string takes all");
    }

    fn push(mut self, id: &str) -> Scene {
        self.say(&format!("{id} is pushed"));
        self.world.push(id);
        self
    }

    fn is(mut self, id: &str, quality: Quality) -> Scene {
        self.world.quality.insert(id.into(), quality);
        self
    }

    fn gate(mut self, kind: HookKind, name: &str, from: i64) -> Scene {
        self.world.spec.webhooks.push(hook(kind, name));
        self.world.gates.insert(name.into(), Open { from, until: 1_000_000 });
        self
    }

    fn command(mut self, id: &str, verb: &str) -> Scene {
        self.say(&format!("ann asks for {verb}"));
        self.world.command = Some(Command { id: id.into(), verb: verb.into(), by: Some("ann".into()) });
        self
    }

    /// Lets the world run to so many seconds after noon.
    fn until(mut self, seconds: i64) -> Scene {
        let mut world = self.world.clone();
        world.run(at(seconds), &mut |_, pass| self.note(pass));
        world.assert_replays();
        self.world = world;
        self
    }

    fn crash(mut self, write: usize) -> Scene {
        let pass = self.world.pass(Some(write));
        self.note(&pass);
        self.say("the process dies and starts again");
        self.world.now = self.world.next_look(&pass).expect("after a crash");
        self
    }

    fn note(&mut self, pass: &Pass) {
        let stage = &pass.step.state.stage;
        let waiting: Vec<_> =
            pass.step.waiting.iter().map(|waiting| format!("{}: {}", waiting.reason, waiting.message)).collect();
        let line = format!("{:<16} {:>3} %  {}", stage.phase().as_str(), stage.weight(), waiting.join(" | "));
        let told = events(&pass.step.effects);
        if line != self.last || !told.is_empty() {
            let line = format!("{} {line}", pass.at.strftime("%H:%M:%S"));
            writeln!(self.text, "{}", line.trim_end()).expect("a string takes all");
        }
        for event in told {
            writeln!(self.text, "           {event}").expect("a string takes all");
        }
        self.last = line;
    }
}

#[test]
fn good_canary() {
    insta::assert_snapshot!(Scene::new(gradual(30)).until(120).push("r1").until(3600).text);
}

#[test]
fn bad_canary() {
    insta::assert_snapshot!(Scene::new(canary()).is("r1", Quality::Bad).until(120).push("r1").until(3600).text);
}

#[test]
fn crashing_canary() {
    insta::assert_snapshot!(Scene::new(canary()).is("r1", Quality::Crashing).until(120).push("r1").until(3600).text);
}

#[test]
fn blue_green_rollout() {
    insta::assert_snapshot!(Scene::new(blue_green(2)).until(120).push("r1").until(3600).text);
}

#[test]
fn ab_testing() {
    insta::assert_snapshot!(Scene::new(ab(2)).until(120).push("r1").until(3600).text);
}

#[test]
fn gates() {
    let scene = Scene::new(canary())
        .gate(HookKind::ConfirmRollout, "rollout-gate", 200)
        .gate(HookKind::PreRollout, "smoke-test", 0)
        .gate(HookKind::ConfirmTrafficIncrease, "traffic-gate", 400)
        .gate(HookKind::ConfirmPromotion, "promotion-gate", 900)
        .gate(HookKind::PostRollout, "clean-up", 0);
    insta::assert_snapshot!(scene.until(120).push("r1").until(3600).text);
}

#[test]
fn new_revision_under_way() {
    insta::assert_snapshot!(Scene::new(canary()).until(120).push("r1").until(230).push("r2").until(3600).text);
}

#[test]
fn taken_back_under_way() {
    insta::assert_snapshot!(Scene::new(canary()).until(120).push("r1").until(230).push("r0").until(3600).text);
}

#[test]
fn crash_under_way() {
    let scene = Scene::new(canary()).until(120).push("r1").until(192);
    insta::assert_snapshot!(scene.crash(1).until(3600).text);
}

#[test]
fn mended_at_once() {
    let mut spec = spec(canary());
    spec.metrics[0].interval = std::time::Duration::from_secs(300);
    let scene = Scene::of(spec).is("r1", Quality::Bad).until(600).push("r1").until(880);
    insta::assert_snapshot!(scene.push("r2").until(3600).text);
}

#[test]
fn metrics_away() {
    let mut scene = Scene::new(canary());
    scene.world.away = Open { from: 150, until: 400 };
    insta::assert_snapshot!(scene.until(120).push("r1").until(3600).text);
}

#[test]
fn broken_primary_and_its_mend() {
    let scene = Scene::new(canary()).is("r1", Quality::BreaksPrimary);
    insta::assert_snapshot!(scene.until(120).push("r1").until(1200).push("r2").until(3600).text);
}

#[test]
fn commands() {
    let scene = Scene::new(canary()).until(120).push("r1").until(150).command("1", "pause").until(400);
    let scene = scene.command("2", "resume").until(410).command("3", "promote").until(420);
    insta::assert_snapshot!(scene.command("4", "abort").until(600).command("5", "retry").until(3600).text);
}
