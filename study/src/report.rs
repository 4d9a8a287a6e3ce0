//! Figures as files: a page of Markdown and the same as JSON for each experiment.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::interval::{Median, Share};

/// One field of a table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Cell {
    /// Words.
    Text(String),
    /// A share, shown in percent.
    Share(Share),
    /// A median, in the unit that the head of its column names.
    Median(Median),
    /// A number with the digits it is shown with.
    Number(f64, usize),
}

impl Cell {
    fn markdown(&self) -> String {
        match self {
            Cell::Text(text) => text.replace('|', "\\|"),
            Cell::Share(share) => {
                let (low, high) = share.interval();
                format!("{} % ({}–{})", percent(share.value()), percent(low), percent(high))
            }
            Cell::Median(median) => {
                let number = |value: Option<f64>| value.map_or("∞".to_owned(), |value| format!("{value:.1}"));
                match median.value {
                    Some(value) => format!("{value:.1} ({}–{})", number(median.low), number(median.high)),
                    None => "never".to_owned(),
                }
            }
            Cell::Number(value, digits) => format!("{value:.digits$}"),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<Share> for Cell {
    fn from(share: Share) -> Cell {
        Cell::Share(share)
    }
}

impl From<Median> for Cell {
    fn from(median: Median) -> Cell {
        Cell::Median(median)
    }
}

/// A share in percent with the digits that say something.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent >= 99.95 {
        format!("{percent:.0}")
    } else if percent < 0.095 {
        format!("{percent:.2}")
    } else {
        format!("{percent:.1}")
    }
}

/// A table with a title and what must be known to read it.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// What is shown.
    pub title: String,
    /// How it was made.
    pub note: String,
    /// The heads.
    pub columns: Vec<String>,
    /// The rows, as long as the heads.
    pub rows: Vec<Vec<Cell>>,
}

/// Something that was promised, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Bar {
    /// What was promised.
    pub promise: String,
    /// What was found.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
}

/// All that an experiment has to say.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The subcommand.
    pub name: String,
    /// The heading.
    pub title: String,
    /// The command that makes it again.
    pub command: String,
    /// What was promised.
    pub bars: Vec<Bar>,
    /// The figures.
    pub tables: Vec<Table>,
    /// File names of plots beside it.
    pub plots: Vec<String>,
}

impl Report {
    /// The page.
    pub fn markdown(&self) -> String {
        let mut page =
            format!("# {}\n\nMade by `{}`; the same as JSON in `{}.json`.\n", self.title, self.command, self.name);
        if !self.bars.is_empty() {
            page += "\n| promised | found | holds |\n| --- | --- | --- |\n";
            for bar in &self.bars {
                let _ = writeln!(
                    page,
                    "| {} | {} | {} |",
                    bar.promise,
                    bar.found,
                    if bar.holds { "yes" } else { "**no**" }
                );
            }
        }
        for plot in &self.plots {
            let _ = writeln!(page, "\n![{}]({plot})", self.title);
        }
        for table in &self.tables {
            let _ = writeln!(page, "\n## {}\n\n{}\n\n| {} |", table.title, table.note, table.columns.join(" | "));
            let _ = writeln!(page, "|{}", " --- |".repeat(table.columns.len()));
            for row in &table.rows {
                let cells: Vec<String> = row.iter().map(Cell::markdown).collect();
                let _ = writeln!(page, "| {} |", cells.join(" | "));
            }
        }
        page
    }

    /// Writes `NAME.md` and `NAME.json` into a folder, which is made if it is not there.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
        let json = serde_json::to_string(self).context("figures as JSON")?;
        for (ending, text) in [("md", self.markdown()), ("json", json + "\n")] {
            let path = folder.join(format!("{}.{ending}", self.name));
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}
