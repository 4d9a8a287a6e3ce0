//! Views as text for people. Plain text is the same text without colours.

pub mod age;
pub mod plan;
pub mod record;
pub mod table;

use crate::paint::{Paint, Tone};
use crate::view::{Look, Node, RolloutView, Row, StrategyView, Tag};
use age::span;
use table::{Cell, Table};

/// One rollout in full.
pub fn rollout(view: &RolloutView, paint: Paint) -> String {
    let mut text = heading(view, paint);
    text.push_str(&images_and_replicas(view, paint));
    if !view.waiting_for.is_empty() {
        text.push_str(&section("Waiting for", paint));
        let mut table = Table::default();
        for waiting in &view.waiting_for {
            table.row(vec![Cell::new(Tone::Held, waiting.reason.clone()), Cell::plain(waiting.message.clone())]);
        }
        text.push_str(&table.render(paint, 2));
    }
    text.push_str(&checks(view, paint));
    text.push('\n');
    text.push_str(&tree(&view.tree, paint));
    text.push_str(&events(view, paint));
    if !view.notes.is_empty() {
        text.push_str(&section("Notes", paint));
        for note in &view.notes {
            text.push_str(&format!("  {}\n", paint.put(Tone::Held, note)));
        }
    }
    text
}

/// Many Canaries, one a line.
pub fn rows(rows: &[Row], paint: Paint, namespaces: bool, wide: bool) -> String {
    let mut headings = vec!["NAME", "STATUS", "PROGRESS", "FAILED CHECKS", "LAST CHANGE"];
    if namespaces {
        headings.insert(0, "NAMESPACE");
    }
    if wide {
        headings.extend(["TARGET", "STRATEGY", "ROUTER", "INTERVAL", "SOURCE"]);
    }
    let templates = rows.iter().any(|row| row.template.is_some());
    if templates {
        headings.push("TEMPLATE");
    }
    headings.push("WAITING FOR");
    let mut table = Table::headed(&headings);
    for row in rows {
        let mut cells = vec![
            Cell::plain(row.name.clone()),
            Cell::new(
                tone(row.look),
                format!("{} {}", icon(row.look), status(row.phase.as_str(), row.paused, row.suspended)),
            ),
            Cell::plain(row.progress.clone()),
            Cell::plain(row.failed_checks.clone()),
            Cell::plain(ago(row.last_transition_seconds)),
        ];
        if namespaces {
            cells.insert(0, Cell::plain(row.namespace.clone()));
        }
        if wide {
            cells.extend([
                Cell::plain(row.target.clone()),
                Cell::plain(row.strategy),
                Cell::plain(row.router.clone().unwrap_or_else(|| "-".to_owned())),
                Cell::plain(row.interval.clone()),
                Cell::plain(row.source.clone().unwrap_or_else(|| "-".to_owned())),
            ]);
        }
        if templates {
            cells.push(Cell::plain(row.template.clone().unwrap_or_else(|| "-".to_owned())));
        }
        cells.push(Cell::plain(row.waiting_for.clone().unwrap_or_default()));
        table.row(cells);
    }
    table.render(paint, 0)
}

/// The state of a rollout in one line, for logs; it changes only when the rollout does.
pub fn line(view: &RolloutView) -> String {
    let mut parts = vec![
        format!("{}/{}", view.namespace, view.name),
        status(&view.phase, view.paused, view.suspended),
        view.strategy.progress(),
        format!("failed checks {}/{}", view.analysis.failed_checks, view.analysis.threshold),
    ];
    for (role, replicas) in [("primary", view.primary), ("canary", view.canary)] {
        parts.extend(replicas.map(|replicas| format!("{role} {}/{} ready", replicas.ready, replicas.desired)));
    }
    let commit = view.source.as_ref().and_then(|source| source.short_commit());
    parts.extend(commit.map(|commit| format!("commit {commit}")));
    parts.extend(view.waiting_for.first().map(|waiting| format!("waiting: {}", waiting.message)));
    parts.join("  ")
}

fn heading(view: &RolloutView, paint: Paint) -> String {
    let mut table = Table::default();
    let mut fact = |label: &str, value: String, tone: Tone| {
        table.row(vec![Cell::new(Tone::Strong, label), Cell::new(tone, value)]);
    };
    fact("Name:", view.name.clone(), Tone::Plain);
    fact("Namespace:", view.namespace.clone(), Tone::Plain);
    let words = status(&view.phase, view.paused, view.suspended);
    let since = match view.last_transition_seconds {
        Some(seconds) => format!(" for {}", span(seconds)),
        None => String::new(),
    };
    fact("Status:", format!("{} {words}{since}", icon(view.look)), tone(view.look));
    if let Some(message) = &view.message {
        fact("Message:", message.clone(), Tone::Plain);
    }
    fact("Target:", view.target.clone(), Tone::Plain);
    if let Some(template) = &view.template {
        fact("Template:", template.clone(), Tone::Plain);
    }
    if let Some(source) = &view.source
        && let Some(sentence) = source.sentence()
    {
        let doubt = if source.provisional { ", not confirmed yet" } else { "" };
        fact("Source:", format!("{sentence}{doubt}"), Tone::Plain);
        let path = source.path.as_deref().map(|path| format!("/{path}")).unwrap_or_default();
        let follows = source.branch.as_deref().or(source.tag.as_deref());
        let follows = follows.map(|follows| format!(" at {follows}")).unwrap_or_default();
        if let Some(repository) = &source.repository {
            fact("  Repository:", format!("{repository}{path}{follows}"), Tone::Plain);
        }
        if let Some(pull_request) = &source.pull_request {
            fact("  Pull request:", pull_request.clone(), Tone::Plain);
        }
    }
    if let Some(git) = &view.git {
        fact("In Git:", git.sentence(), Tone::Plain);
    }
    fact("Strategy:", strategy(&view.strategy), Tone::Plain);
    if view.strategy.iterations > 0 {
        let (done, all) = (i64::from(view.strategy.iteration), view.strategy.iterations);
        fact("  Iteration:", format!("{done} of {all}  {}", bar(done * 100 / all)), Tone::Plain);
    } else {
        let weights: Vec<String> = view.strategy.weights.iter().map(i64::to_string).collect();
        let (step, all, weight) = (view.strategy.step, weights.len(), view.strategy.weight);
        fact("  Step:", format!("{step} of {all}"), Tone::Plain);
        fact("  Weight:", format!("{weight} of [{}]  {}", weights.join(" "), bar(i64::from(weight))), Tone::Plain);
    }
    if let Some(baseline) = &view.baseline {
        fact("  Baseline:", baseline.to_string(), Tone::Plain);
    }
    let skipped = if view.analysis.skipped { ", analysis skipped" } else { "" };
    fact("  Interval:", format!("{}{skipped}", view.analysis.interval), Tone::Plain);
    let failed = format!("{} of {}", view.analysis.failed_checks, view.analysis.threshold);
    let worry = if view.analysis.failed_checks > 0 { Tone::Bad } else { Tone::Plain };
    fact("  Failed checks:", failed, worry);
    if let Some(taken) = &view.last_command {
        let by = taken.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        fact("Last command:", format!("{}{by}: {}", taken.command, taken.outcome), Tone::Plain);
    }
    table.render(paint, 0)
}

fn strategy(strategy: &StrategyView) -> String {
    let mut words = strategy.name.to_owned();
    if let Some(router) = &strategy.router {
        words.push_str(&format!(" through {router}"));
    }
    if strategy.mirrored {
        words.push_str(", mirrored");
    }
    if strategy.session_affinity {
        words.push_str(", users kept by cookie");
    }
    words
}

fn images_and_replicas(view: &RolloutView, paint: Paint) -> String {
    let mut table = Table::default();
    for (index, image) in view.images.iter().enumerate() {
        let label = if index == 0 { "Images:" } else { "" };
        table.row(vec![
            Cell::new(Tone::Strong, format!("{label:<16}")),
            Cell::plain(image.image.clone()),
            tags(&image.tags),
        ]);
    }
    let mut text = table.render(paint, 0);
    if view.primary.is_none() && view.canary.is_none() {
        return text;
    }
    let mut table = Table::headed(&["Replicas:       ", "DESIRED", "UPDATED", "READY", "AVAILABLE"]);
    for (role, replicas) in [("  Primary:", view.primary), ("  Canary:", view.canary)] {
        if let Some(replicas) = replicas {
            let numbers = [replicas.desired, replicas.updated, replicas.ready, replicas.available];
            let label = Cell::new(Tone::Strong, role);
            table.row(std::iter::once(label).chain(numbers.map(|number| Cell::plain(number.to_string()))).collect());
        }
    }
    text.push_str(&table.render(paint, 0));
    text
}

fn checks(view: &RolloutView, paint: Paint) -> String {
    if view.analysis.checks.is_empty() {
        return String::new();
    }
    let mut text = section(&format!("Checks, {}", ago(view.analysis.last_check_seconds)), paint);
    let mut table = Table::headed(&["CHECK", "VALUE", "THRESHOLD", "RESULT", "WHY"]);
    for check in &view.analysis.checks {
        let (look, tone) = match check.result.as_str() {
            "Passed" => (Look::Good, Tone::Good),
            "Failed" => (Look::Bad, Tone::Bad),
            _ => (Look::Unknown, Tone::Held),
        };
        table.row(vec![
            Cell::plain(check.name.clone()),
            Cell::plain(check.value.clone().unwrap_or_else(|| "-".to_owned())),
            Cell::plain(check.threshold.clone().unwrap_or_else(|| "-".to_owned())),
            Cell::new(tone, format!("{} {}", icon(look), check.result)),
            Cell::plain(check.message.clone().unwrap_or_default()),
        ]);
    }
    text.push_str(&table.render(paint, 2));
    text
}

fn tree(root: &Node, paint: Paint) -> String {
    let mut table = Table::headed(&["NAME", "KIND", "STATUS", "READY", "RESTARTS", "AGE", "INFO"]);
    add_node(&mut table, root, "", "");
    table.render(paint, 0)
}

fn add_node(table: &mut Table, node: &Node, own_lead: &str, children_lead: &str) {
    let revision = node.kind == "Revision";
    let name = if revision { format!("# revision {}", node.name) } else { node.name.clone() };
    let tags: Vec<String> = node.tags.iter().map(|tag| format!("({})", tag.as_str())).collect();
    let info = node.info.iter().cloned().chain(tags).chain(node.weight.map(|weight| format!("weight {weight}")));
    let info = info.collect::<Vec<_>>();
    let tone = match (revision, node.tags.first()) {
        (true, Some(Tag::Canary)) => Tone::Busy,
        (true, Some(Tag::Stable)) => Tone::Good,
        (true, None) | (false, Some(_) | None) => Tone::Plain,
    };
    let status = if revision { String::new() } else { format!("{} {}", icon(node.look), node.status) };
    table.row(vec![
        Cell::new(if own_lead.is_empty() { Tone::Strong } else { tone }, format!("{own_lead}{name}")),
        Cell::plain(if revision { "" } else { node.kind.as_str() }),
        Cell::new(crate::text::tone(node.look), status),
        Cell::plain(node.ready.clone().unwrap_or_default()),
        Cell::plain(node.restarts.map(|restarts| restarts.to_string()).unwrap_or_default()),
        Cell::plain(node.age_seconds.map(span).unwrap_or_default()),
        Cell::new(tone, info.join(" ")),
    ]);
    for (index, child) in node.children.iter().enumerate() {
        let last = index + 1 == node.children.len();
        let (own, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        add_node(table, child, &format!("{children_lead}{own}"), &format!("{children_lead}{below}"));
    }
}

fn events(view: &RolloutView, paint: Paint) -> String {
    if view.events.is_empty() {
        return String::new();
    }
    let mut text = section("Events", paint);
    let mut table = Table::headed(&["AGE", "TYPE", "MESSAGE"]);
    for event in &view.events {
        let tone = if event.type_ == "Warning" { Tone::Held } else { Tone::Plain };
        let times = if event.count > 1 { format!(" (x{})", event.count) } else { String::new() };
        table.row(vec![
            Cell::plain(event.age_seconds.map(span).unwrap_or_default()),
            Cell::new(tone, event.type_.clone()),
            Cell::plain(format!("{}{times}", event.message)),
        ]);
    }
    text.push_str(&table.render(paint, 2));
    text
}

pub(crate) fn section(title: &str, paint: Paint) -> String {
    format!("\n{}\n", paint.put(Tone::Strong, &format!("{title}:")))
}

fn tags(tags: &[Tag]) -> Cell {
    let tone = if tags.contains(&Tag::Canary) { Tone::Busy } else { Tone::Good };
    let words: Vec<&str> = tags.iter().map(|tag| tag.as_str()).collect();
    Cell::new(tone, format!("({})", words.join(", ")))
}

fn status(phase: &str, paused: bool, suspended: bool) -> String {
    let held = match (paused, suspended) {
        (true, true) => " (paused, suspended)",
        (true, false) => " (paused)",
        (false, true) => " (suspended)",
        (false, false) => "",
    };
    format!("{phase}{held}")
}

fn ago(seconds: Option<i64>) -> String {
    seconds.map_or_else(|| "never".to_owned(), |seconds| format!("{} ago", span(seconds)))
}

fn icon(look: Look) -> &'static str {
    match look {
        Look::Good => "✔",
        Look::Busy => "◌",
        Look::Held => "‖",
        Look::Bad => "✖",
        Look::Idle => "•",
        Look::Unknown => "?",
    }
}

fn tone(look: Look) -> Tone {
    match look {
        Look::Good => Tone::Good,
        Look::Busy => Tone::Busy,
        Look::Held => Tone::Held,
        Look::Bad => Tone::Bad,
        Look::Idle | Look::Unknown => Tone::Faint,
    }
}

/// Twenty cells, full up to `percent`.
/// As long as the part is large, with its number.
pub(crate) fn bar(percent: i64) -> String {
    const CELLS: i64 = 20;
    let full = (percent.clamp(0, 100) * CELLS / 100) as usize;
    format!("{}{} {percent}%", "█".repeat(full), "░".repeat(CELLS as usize - full))
}
