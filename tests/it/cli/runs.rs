//! What a run does and says: every workload, any number of threads, again on the same store.

use super::twin::Twin;
use super::{command, good, height, json, state};
use std::path::Path;

const SMALL: &str = "--blocks 4 --txns 200 --accounts 150 --work 1";
const WORKLOADS: [&str; 4] = ["transfers", "orderbook", "hotkey", "mixed"];

#[test]
fn every_workload_runs_and_prints_a_table() {
    let dir = tempfile::tempdir().unwrap();
    for workload in WORKLOADS {
        let said = good(dir.path(), &format!("{SMALL} --workload {workload}"));
        assert!(said.starts_with(&format!("{workload}: 4 blocks of 200 transactions")), "{said}");
        let path = format!("cachekv-data/{workload}.redb");
        assert!(said.contains(&format!("height 4 with 800 transactions is durable in {path}")), "{said}");
        let total = said.lines().find(|line| line.starts_with("total ")).unwrap();
        assert_eq!(total.split_whitespace().nth(1), Some("800"), "{said}");
        assert_eq!(height(&state(&dir.path().join(path))), 4);
    }
}

#[test]
fn without_a_workload_it_is_transfers() {
    let dir = tempfile::tempdir().unwrap();
    good(dir.path(), SMALL);
    let mut twin = Twin::new(1, 150);
    twin.advance(4, 200);
    assert_eq!(state(&dir.path().join("cachekv-data/transfers.redb")), twin.state);
}

#[test]
fn the_document_is_consistent() {
    let dir = tempfile::tempdir().unwrap();
    for workload in WORKLOADS {
        let document = json(dir.path(), &format!("{SMALL} --blocks 23 --readers 2 --threads 3 --workload {workload}"));
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        let (rows, total) = (document["rows"].as_array().unwrap(), &document["total"]);
        for figure in ["blocks", "transactions", "executions", "conflicts"] {
            assert_eq!(rows.iter().map(|row| number(&row[figure])).sum::<u64>(), number(&total[figure]), "{figure}");
        }
        for row in rows.iter().chain([total]) {
            let causes = row["conflicts_by_cause"].as_object().unwrap();
            assert_eq!(causes.values().map(number).sum::<u64>(), number(&row["conflicts"]));
            assert!(number(&row["executions"]) >= number(&row["transactions"]));
            let ratio = number(&row["sequential_us"]) as f64 / number(&row["parallel_us"]) as f64;
            assert!((row["speed_up"].as_f64().unwrap() / ratio - 1.0).abs() < 0.05, "{row}");
        }
        let ends = |row: &serde_json::Value| (number(&row["first_block"]), number(&row["last_block"]));
        assert_eq!((ends(&rows[0]).0, ends(&rows[rows.len() - 1]).1), (1, 23));
        assert!(rows.windows(2).all(|pair| ends(&pair[0]).1 + 1 == ends(&pair[1]).0));
        assert_eq!((number(&total["blocks"]), number(&total["transactions"])), (23, 23 * 200));
        assert_eq!((number(&document["from_height"]), number(&document["height"])), (0, 23));
        assert_eq!((number(&document["threads"]), number(&document["readers"]["threads"])), (3, 2));
        assert!(number(&document["readers"]["walks"]) >= 2, "each reader walks at least once");
        assert_eq!(document["workload"], workload);
    }
}

#[test]
fn a_run_goes_on_where_the_last_one_ended() {
    for workload in WORKLOADS {
        let dir = tempfile::tempdir().unwrap();
        good(dir.path(), &format!("{SMALL} --workload {workload} --seed 7 --db parts"));
        let part = json(dir.path(), "--db parts --blocks 3 --txns 200 --work 0"); // the store knows the rest
        assert_eq!((part["from_height"].as_u64(), part["height"].as_u64()), (Some(4), Some(7)));
        assert_eq!((part["seed"].as_u64(), part["workload"].as_str()), (Some(7), Some(workload)));
        good(dir.path(), &format!("{SMALL} --workload {workload} --seed 7 --db whole --blocks 7"));
        assert_eq!(state(&dir.path().join("parts")), state(&dir.path().join("whole")), "{workload}");
    }
}

#[test]
fn the_state_is_the_same_on_any_number_of_threads() {
    for workload in WORKLOADS {
        let dir = tempfile::tempdir().unwrap();
        // Few accounts and little work: conflicts wherever threads can have them.
        for threads in [1, 2, 4, 8] {
            let args = "--blocks 5 --txns 300 --accounts 12 --work 2 --readers 2 --rest 0";
            good(dir.path(), &format!("{args} --workload {workload} --threads {threads} --db {threads}"));
        }
        let of = |threads: u32| state(&dir.path().join(threads.to_string()));
        assert!([2, 4, 8].into_iter().all(|threads| of(threads) == of(1)), "{workload}");
        if workload == "transfers" {
            let mut twin = Twin::new(1, 12);
            twin.advance(5, 300);
            assert_eq!(of(8), twin.state);
        }
    }
}

#[test]
fn nothing_to_do_is_ordinary() {
    let dir = tempfile::tempdir().unwrap();
    let cases = ["--blocks 0", "--txns 0 --blocks 2", "--txns 1 --blocks 1", "--txns 5 --blocks 2 --accounts 1"];
    for (case, args) in cases.into_iter().enumerate() {
        for workload in WORKLOADS {
            let args = format!("{args} --work 0 --readers 0 --threads 9 --workload {workload} --db {workload}{case}");
            let said = good(dir.path(), &args);
            assert!(said.contains(" is durable in "), "{said}");
        }
    }
}

/// `cachekv run | head -0`.
#[test]
fn a_reader_of_the_output_may_go_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path(), SMALL).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}

#[test]
fn help_says_how_and_what_the_status_means() {
    let help = good(Path::new("."), "--help");
    for words in ["Examples:", "Exit status:", "--workload", "--work <MICROSECONDS>", "cachekv-data/", "  3  "] {
        assert!(help.contains(words), "{words} is not in\n{help}");
    }
}
