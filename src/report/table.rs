//! A table: columns as wide as their widest cell, two spaces between them.

use std::fmt;

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// At the left: names.
    Left,
    /// At the right: figures.
    Right,
}

/// Rows of cells under a head, to be shown aligned. A row that is too short is filled with empty cells; what is beyond the
/// head is not shown.
///
/// ```
/// use cachekv::report::{Align, Table};
/// let mut table = Table::new([("name", Align::Left), ("size", Align::Right)]);
/// table.row(["a".into(), "1,000".into()]);
/// table.rule();
/// table.row(["all".into(), "1,000".into()]);
/// assert_eq!(table.to_string(), "\
/// name   size
/// ----  -----
/// a     1,000
/// ----  -----
/// all   1,000
/// ");
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    head: Vec<(String, Align)>,
    /// `None` is a rule.
    rows: Vec<Option<Vec<String>>>,
}

impl Table {
    /// A table without rows.
    pub fn new<'a>(head: impl IntoIterator<Item = (&'a str, Align)>) -> Self {
        Self { head: head.into_iter().map(|(name, align)| (name.to_owned(), align)).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(Some(cells.into_iter().collect()));
    }

    /// Adds a line across, as the one under the head.
    pub fn rule(&mut self) {
        self.rows.push(None);
    }

    fn widths(&self) -> Vec<usize> {
        let cell = |row: &Vec<String>, at: usize| row.get(at).map_or(0, |cell| cell.chars().count());
        let widest = |at: usize| self.rows.iter().flatten().map(|row| cell(row, at)).max().unwrap_or(0);
        self.head.iter().enumerate().map(|(at, (name, _))| name.chars().count().max(widest(at))).collect()
    }

    fn line<'a>(&self, widths: &[usize], cells: impl Iterator<Item = &'a str>) -> String {
        let mut line = String::new();
        let cells = cells.chain(std::iter::repeat(""));
        for ((at, ((_, align), width)), cell) in self.head.iter().zip(widths).enumerate().zip(cells) {
            if at > 0 {
                line.push_str("  ");
            }
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            match align {
                Align::Left => line.extend([cell, &gap]),
                Align::Right => line.extend([gap.as_str(), cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let dashes: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let rule = self.line(&widths, dashes.iter().map(String::as_str));
        writeln!(f, "{}", self.line(&widths, self.head.iter().map(|(name, _)| name.as_str())))?;
        writeln!(f, "{rule}")?;
        for row in &self.rows {
            match row {
                Some(cells) => writeln!(f, "{}", self.line(&widths, cells.iter().map(String::as_str)))?,
                None => writeln!(f, "{rule}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_rows_are_filled_long_ones_cut_and_letters_counted() {
        let mut table = Table::new([("a", Align::Right), ("b", Align::Left), ("c", Align::Right)]);
        table.row(["äöü".into()]);
        table.row(["1".into(), "x".into(), "22".into(), "beyond".into()]);
        assert_eq!(table.to_string(), "  a  b   c\n---  -  --\näöü\n  1  x  22\n");
    }

    #[test]
    fn a_table_without_rows_is_its_head() {
        assert_eq!(Table::new([("a", Align::Left)]).to_string(), "a\n-\n");
        assert_eq!(Table::new([]).to_string(), "\n\n");
    }
}
