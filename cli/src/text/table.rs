//! Columns that stand under each other, with colours that do not count.

use crate::paint::{Paint, Tone};

/// One cell.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in this tone.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Cell { text: text.into(), tone }
    }

    /// A cell as it is.
    pub fn plain(text: impl Into<String>) -> Self {
        Cell::new(Tone::Plain, text)
    }
}

/// Rows of cells; all columns but the last are as wide as their widest cell.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with this heading.
    pub fn headed(headings: &[&str]) -> Self {
        Table { rows: vec![headings.iter().map(|heading| Cell::new(Tone::Strong, *heading)).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The text, every line with its end and with `indent` spaces before it. No line ends in blanks.
    pub fn render(&self, paint: Paint, indent: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let filled = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
            if filled > 0 {
                text.push_str(&" ".repeat(indent));
            }
            for (column, cell) in row.iter().take(filled).enumerate() {
                text.push_str(&paint.put(cell.tone, &cell.text));
                if column + 1 < filled {
                    text.push_str(&" ".repeat(widths[column] - cell.text.chars().count() + 2));
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_do_not_end_in_blanks() {
        let mut table = Table::headed(&["NAME", "STATUS", "INFO"]);
        table.row(vec![Cell::plain("├── podinfo"), Cell::new(Tone::Good, "✔ Healthy"), Cell::plain("x")]);
        table.row(vec![Cell::plain("b"), Cell::plain(""), Cell::plain("")]);
        let plain = table.render(Paint { colours: false }, 1);
        assert_eq!(plain, " NAME         STATUS     INFO\n ├── podinfo  ✔ Healthy  x\n b\n");
        let coloured = table.render(Paint { colours: true }, 1);
        let stripped = coloured.replace("\x1b[1m", "").replace("\x1b[32m", "").replace("\x1b[0m", "");
        assert_eq!(stripped, plain);
    }
}
