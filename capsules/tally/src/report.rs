//! What was found, as a table or as JSON.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::count::Lines;

#[derive(Default)]
pub struct Report {
    languages: BTreeMap<&'static str, Tally>,
    /// Files of no known language.
    pub unknown: u64,
    /// Files that are not text, or too large to be source.
    pub binary: u64,
    /// Files and folders that could not be read.
    pub unreadable: u64,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    files: u64,
    lines: Lines,
}

impl Report {
    pub fn add(&mut self, language: &'static str, lines: Lines) {
        let tally = self.languages.entry(language).or_default();
        tally.files += 1;
        tally.lines += lines;
    }

    /// One row per language, most code first, and the totals.
    fn rows(&self) -> (Vec<(&'static str, Tally)>, Tally) {
        let mut rows: Vec<_> = self.languages.iter().map(|(&name, &tally)| (name, tally)).collect();
        rows.sort_by_key(|&(name, tally)| (Reverse(tally.lines.code), name));
        let mut total = Tally::default();
        for (_, tally) in &rows {
            total.files += tally.files;
            total.lines += tally.lines;
        }
        (rows, total)
    }

    pub fn table(&self) -> String {
        let (rows, total) = self.rows();
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("Language".len());
        let row = |name: &str, cells: [String; 5]| {
            let mut line = format!("{name:width$}");
            cells.iter().for_each(|cell| line.push_str(&format!("{cell:>11}")));
            line + "\n"
        };
        let heads = ["Files", "Lines", "Code", "Comments", "Blanks"].map(str::to_owned);
        let mut text = row("Language", heads);
        let rule = "-".repeat(width + 55) + "\n";
        text.push_str(&rule);
        for (name, tally) in rows {
            text.push_str(&row(name, tally.cells().map(|(_, number)| number.to_string())));
        }
        text.push_str(&rule);
        text.push_str(&row("Total", total.cells().map(|(_, number)| number.to_string())));
        let skipped: Vec<_> = self.skipped().into_iter().filter(|&(_, number)| number > 0).collect();
        if !skipped.is_empty() {
            let parts: Vec<_> = skipped.iter().map(|(why, number)| format!("{number} {why}")).collect();
            text.push_str(&format!("\nNot counted: {}\n", parts.join(", ")));
        }
        text
    }

    /// The names of languages and fields hold nothing that JSON would have to escape.
    pub fn json(&self) -> String {
        let fields = |fields: &[(&str, u64)]| {
            let parts: Vec<_> = fields.iter().map(|(name, number)| format!("\"{name}\":{number}")).collect();
            parts.join(",")
        };
        let (rows, total) = self.rows();
        let languages: Vec<_> =
            rows.iter().map(|(name, tally)| format!("{{\"name\":\"{name}\",{}}}", fields(&tally.cells()))).collect();
        format!(
            "{{\"languages\":[{}],\"total\":{{{}}},\"not_counted\":{{{}}}}}\n",
            languages.join(","),
            fields(&total.cells()),
            fields(&self.skipped()),
        )
    }

    fn skipped(&self) -> [(&'static str, u64); 3] {
        [("unknown", self.unknown), ("binary", self.binary), ("unreadable", self.unreadable)]
    }
}

impl Tally {
    fn cells(self) -> [(&'static str, u64); 5] {
        [
            ("files", self.files),
            ("lines", self.lines.all()),
            ("code", self.lines.code),
            ("comments", self.lines.comments),
            ("blanks", self.lines.blanks),
        ]
    }
}
