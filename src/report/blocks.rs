//! Summaries as a table: a row each, their total, and who was in whose way.

use super::number::{grouped, grouped_decimal, milliseconds};
use super::summary::Summary;
use super::table::{Align, Table};
use crate::executor::Aborts;
use crate::kv::Key;
use std::fmt;

/// Executed blocks as text: a row for each summary, a total if there are several, the conflicts by cause, and the most
/// conflicted keys. Columns of what was measured nowhere are left out.
///
/// ```
/// use cachekv::{executor::BlockStats, report::{BlockTable, Summary}};
/// let mut summary = Summary::default();
/// summary.add_block(&BlockStats::<u64>::default());
/// let mut table = BlockTable::new("block", |account: &u64| format!("account {account}"));
/// table.row("1", summary);
/// assert!(table.to_string().starts_with("block  transactions  executions  conflicts"));
/// ```
pub struct BlockTable<K> {
    first_column: String,
    name_key: Box<dyn Fn(&K) -> String>,
    rows: Vec<(String, Summary<K>)>,
}

/// How many of the most conflicted keys are shown.
const KEYS_SHOWN: usize = 5;

impl<K: Key> BlockTable<K> {
    /// A table without rows. `first_column` says what its rows are, `name_key` how a key is shown.
    pub fn new(first_column: impl Into<String>, name_key: impl Fn(&K) -> String + 'static) -> Self {
        Self { first_column: first_column.into(), name_key: Box::new(name_key), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, label: impl Into<String>, summary: Summary<K>) {
        self.rows.push((label.into(), summary));
    }

    /// All rows added up.
    pub fn total(&self) -> Summary<K> {
        let mut total = Summary::default();
        self.rows.iter().for_each(|(_, summary)| total.add(summary));
        total
    }

    fn table(&self, total: &Summary<K>) -> Table {
        let figure = |name| (name, Align::Right);
        let mut head = vec![(self.first_column.as_str(), Align::Left)];
        head.extend(["transactions", "executions", "conflicts", "parallel (ms)"].map(figure));
        if total.sequential.is_some() {
            head.extend(["sequential (ms)", "speed-up (x)"].map(figure));
        }
        head.push(figure("rate (tx/s)"));
        if total.flush.is_some() {
            head.push(figure("flush (ms)"));
        }
        let mut table = Table::new(head);
        let cells = |label: &str, summary: &Summary<K>| cells(label, summary, total);
        self.rows.iter().for_each(|(label, summary)| table.row(cells(label, summary)));
        if self.rows.len() > 1 {
            table.rule();
            table.row(cells("total", total));
        }
        table
    }
}

/// A row; it has the columns that `total` has something for.
fn cells<K: Key>(label: &str, summary: &Summary<K>, total: &Summary<K>) -> Vec<String> {
    let or_dash = |figure: Option<String>| figure.unwrap_or_else(|| "-".into());
    let mut cells = vec![label.to_owned()];
    cells.extend([summary.transactions, summary.executions, summary.aborts.total()].map(grouped));
    cells.push(milliseconds(summary.parallel));
    if total.sequential.is_some() {
        cells.push(or_dash(summary.sequential.map(milliseconds)));
        cells.push(or_dash(summary.speed_up().map(|ratio| grouped_decimal(ratio, 2))));
    }
    cells.push(or_dash(summary.per_second().map(|rate| grouped_decimal(rate, 0))));
    if total.flush.is_some() {
        cells.push(or_dash(summary.flush.map(milliseconds)));
    }
    cells
}

/// The causes in words, and how often each occurred.
pub(super) fn causes(aborts: &Aborts) -> [(&'static str, u64); 6] {
    [
        ("a value read had changed", aborts.read),
        ("a range walked had changed", aborts.range),
        ("met a value about to be written", aborts.blocked),
        ("saw by itself that it was lost", aborts.lost),
        ("merged what is refused", aborts.refused),
        ("failed on what was not final", aborts.failed),
    ]
}

/// The causes that occurred.
fn occurred(aborts: &Aborts) -> String {
    let occurred = causes(aborts).into_iter().filter(|(_, times)| *times > 0);
    occurred.map(|(cause, times)| format!("{cause} {}", grouped(times))).collect::<Vec<_>>().join(", ")
}

impl<K: Key> fmt::Display for BlockTable<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        self.table(&total).fmt(f)?;
        if total.aborts.total() > 0 {
            writeln!(f, "\nconflicts: {}", occurred(&total.aborts))?;
        }
        let keys = total.most_conflicted(KEYS_SHOWN);
        if !keys.is_empty() {
            let shown = keys.iter().map(|(key, times)| format!("{} ({})", (self.name_key)(key), grouped(*times)));
            writeln!(f, "most conflicted keys: {}", shown.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

impl<K: Key> fmt::Debug for BlockTable<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockTable").field("rows", &self.rows).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::BlockStats;
    use std::time::Duration;

    fn summary(executions: u64, conflicts: Vec<(u64, u64)>) -> Summary<u64> {
        let aborts = Aborts { read: executions - 1000, ..Aborts::default() };
        let wall = Duration::from_millis(500);
        let stats = BlockStats { transactions: 1000, executions, aborts, conflicts, wall, ..BlockStats::default() };
        let mut summary = Summary::default();
        summary.add_block(&stats);
        summary
    }

    #[test]
    fn a_full_table() {
        let mut table = BlockTable::new("blocks", |key: &u64| format!("key {key}"));
        for (label, executions) in [("1-2", 1000), ("3", 1234)] {
            let mut row = summary(executions, vec![(7, executions - 1000)]);
            row.add_sequential(Duration::from_millis(900));
            row.add_flush(Duration::from_micros(1250));
            table.row(label, row);
        }
        let due = "\
blocks  transactions  executions  conflicts  parallel (ms)  sequential (ms)  speed-up (x)  rate (tx/s)  flush (ms)
------  ------------  ----------  ---------  -------------  ---------------  ------------  -----------  ----------
1-2            1,000       1,000          0          500.0            900.0          1.80        2,000         1.2
3              1,000       1,234        234          500.0            900.0          1.80        2,000         1.2
------  ------------  ----------  ---------  -------------  ---------------  ------------  -----------  ----------
total          2,000       2,234        234        1,000.0          1,800.0          1.80        2,000         2.5

conflicts: a value read had changed 234
most conflicted keys: key 7 (234)
";
        assert_eq!(table.to_string(), due);
    }

    #[test]
    fn what_was_not_measured_has_no_column() {
        let mut table = BlockTable::new("block", u64::to_string);
        table.row("1", summary(1000, vec![]));
        let due = "\
block  transactions  executions  conflicts  parallel (ms)  rate (tx/s)
-----  ------------  ----------  ---------  -------------  -----------
1             1,000       1,000          0          500.0        2,000
";
        assert_eq!(table.to_string(), due);
    }

    #[test]
    fn nothing_executed_is_no_division_by_zero() {
        let mut table = BlockTable::new("block", u64::to_string);
        table.row("0", Summary::default());
        assert!(table.to_string().lines().last().unwrap().trim_end().ends_with("0.0            -"));
    }
}
