//! Tables for people.

use std::fmt::Write;

use crate::style::{Painted, Style};

/// A table whose columns are as wide as their widest cell; the last one is not padded.
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

/// A cell: its text, and how it is painted.
pub(crate) struct Cell {
    text: String,
    paint: fn(Style, String) -> Painted<String>,
}

impl Cell {
    pub(crate) fn good(text: impl Into<String>) -> Self {
        Cell { text: text.into(), paint: Style::good }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Cell { text: text.into(), paint: Style::bad }
    }

    pub(crate) fn warning(text: impl Into<String>) -> Self {
        Cell { text: text.into(), paint: Style::warning }
    }

    pub(crate) fn title(text: impl Into<String>) -> Self {
        Cell { text: text.into(), paint: Style::title }
    }

    pub(crate) fn faint(text: impl Into<String>) -> Self {
        Cell { text: text.into(), paint: Style::faint }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell { text: text.into(), paint: |style, text| style.plain(text) }
    }
}

impl Table {
    /// A table without rows, each of which begins with so many spaces.
    pub(crate) fn new(indent: usize) -> Self {
        Table { rows: Vec::new(), indent }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        // A cell is on one line, or what is in it would pass for another row.
        self.rows.push(cells.map(|cell| Cell { text: cell.text.replace('\n', "\\n"), ..cell }).into());
    }

    /// The table as text.
    pub(crate) fn render(self, style: Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in self.rows {
            text.push_str(&" ".repeat(self.indent));
            let last = row.len().saturating_sub(1);
            for (column, Cell { text: cell, paint }) in row.into_iter().enumerate() {
                let padding = if column == last { 0 } else { widths[column] - cell.chars().count() + 2 };
                // Writing to a string cannot fail.
                let _ = write!(text, "{}{}", paint(style, cell), " ".repeat(padding));
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(1);
        table.row(["a".into(), Cell::good("b"), "c".into()]);
        table.row(["aaa".into(), "".into(), "".into()]);
        assert_eq!(table.render(Style::none()), " a    b  c\n aaa\n");
    }
}
