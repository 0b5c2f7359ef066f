//! `cachekv evm`: what it prints, and what it says when a block is wrong or cannot be read.

use crate::evm_oracle;
use cachekv::evm::{BlockInput, block_bloom, gas_used, receipts_root};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const SENDER: &str = "0x1111111111111111111111111111111111111111";
const OTHER: &str = "0x3333333333333333333333333333333333333333";
const CONTRACT: &str = "0x2222222222222222222222222222222222222222";
/// Logs what it was called with as its one topic.
const CODE: &str = "0x60003560006000a1";

/// A London block of payments and logs, without what a run of it arrives at.
fn block(number: u64) -> Value {
    let hash = format!("0x{}", "ab".repeat(32));
    let tx = |nonce: u64| {
        let to = if nonce.is_multiple_of(2) { OTHER } else { CONTRACT };
        json!({
            "hash": format!("0x{nonce:064x}"), "type": "0x0", "from": SENDER, "to": to, "nonce": format!("{nonce:#x}"),
            "gas": "0xc350", "gasPrice": "0x77359400", "value": "0x5", "input": format!("0x{nonce:064x}"),
        })
    };
    json!({
        "number": format!("{number:#x}"), "timestamp": "0x61000000", "hash": hash, "parentHash": hash, "gasUsed": "0x0",
        "logsBloom": format!("0x{}", "00".repeat(256)), "receiptsRoot": hash, "miner": OTHER,
        "gasLimit": "0x1c9c380", "difficulty": "0x1", "mixHash": hash, "baseFeePerGas": "0x7",
        "transactions": (0..20).map(tx).collect::<Vec<_>>(),
    })
}

/// Writes the block to `folder`, with the header that it has to have.
fn write(folder: &Path, number: u64) -> Value {
    fs::create_dir_all(folder).unwrap();
    let mut block = block(number);
    let state = json!({ SENDER: {"balance": "0xde0b6b3a7640000"}, CONTRACT: {"nonce": 1, "code": CODE} });
    fs::write(folder.join("block.json"), block.to_string()).unwrap();
    fs::write(folder.join("pre_state.json"), state.to_string()).unwrap();
    let input = BlockInput::read(folder).unwrap();
    let (receipts, _) = evm_oracle::execute(&input);
    block["gasUsed"] = json!(format!("{:#x}", gas_used(&receipts)));
    block["logsBloom"] = json!(block_bloom(&receipts).to_string());
    block["receiptsRoot"] = json!(receipts_root(&input.fork, &receipts).unwrap().to_string());
    fs::write(folder.join("block.json"), block.to_string()).unwrap();
    block
}

fn run(args: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cachekv")).current_dir(dir).arg("evm").args(args).output().unwrap()
}

/// Status, stdout and stderr.
fn said(args: &[&str], dir: &Path) -> (i32, String, String) {
    let output = run(args, dir);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What stderr says, which must be one line of a refusal.
fn refusal(args: &[&str], dir: &Path) -> String {
    let (status, out, err) = said(args, dir);
    assert_eq!((status, out.as_str(), err.lines().count()), (2, "", 1), "{err}");
    err.trim_end().strip_prefix("cachekv: ").unwrap().to_owned()
}

#[test]
fn a_block_is_a_row() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("one"), 13_000_000);
    let (status, out, err) = said(&["one", "--threads", "2", "--rounds", "2"], dir.path());
    assert_eq!((status, err.as_str()), (0, ""));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 5, "{out}");
    assert_eq!(lines[0], "threads: 2, best of 2");
    assert!(lines[2].starts_with("block     fork    transactions      gas  sequential (ms)"), "{out}");
    assert!(lines[4].starts_with("13000000  LONDON            20  "), "{out}");
    assert!(lines[4].ends_with("  yes"), "{out}");
}

#[test]
fn folders_of_blocks_have_a_total() {
    let dir = tempfile::tempdir().unwrap();
    for number in [13_000_002, 13_000_001] {
        write(&dir.path().join(format!("blocks/{number}")), number);
    }
    fs::create_dir(dir.path().join("blocks/other")).unwrap(); // holds no block, and is none
    let (status, out, err) = said(&["blocks", "--rounds", "1"], dir.path());
    assert_eq!((status, err.as_str()), (0, ""));
    let rows: Vec<_> = out.lines().skip(4).map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(rows, ["13000001", "13000002", "--------", "total"], "{out}");

    let (status, out, err) = said(&["blocks/13000001", "blocks/13000002", "--json"], dir.path());
    assert_eq!((status, err.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["blocks"][1]["number"], 13_000_002);
    assert_eq!((&document["blocks"][0]["fork"], &document["blocks"][0]["wrong"]), (&json!("LONDON"), &Value::Null));
    assert_eq!((&document["total"]["transactions"], &document["rounds"]), (&json!(40), &json!(3)));
    assert!(document["total"]["speed_up"].as_f64().unwrap() > 0.0);
}

#[test]
fn an_altered_block_is_wrong_and_the_others_are_still_shown() {
    for (field, altered, words) in [
        ("gasUsed", json!("0x1234"), "the header says 4660"),
        ("logsBloom", json!(format!("0x{}", "10".repeat(256))), "the logs bloom is 0x"),
        ("receiptsRoot", json!(format!("0x{}", "cd".repeat(32))), "the header says 0xcdcd"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("1"), 13_000_001);
        let mut block = write(&dir.path().join("2"), 13_000_002);
        block[field] = altered;
        fs::write(dir.path().join("2/block.json"), block.to_string()).unwrap();
        let (status, out, err) = said(&["."], dir.path());
        assert_eq!((status, err.lines().count()), (1, 1), "{err}");
        assert!(err.starts_with("cachekv: sequential execution: block 13000002: ") && err.contains(words), "{err}");
        let verified: Vec<_> = out.lines().skip(4).map(|line| line.split(' ').next_back().unwrap()).collect();
        assert_eq!(verified, ["yes", "NO", "--------", "NO"], "{out}");
    }
}

#[test]
fn a_block_that_cannot_be_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut block = write(&dir.path().join("1"), 13_000_001);
    block["transactions"][7]["nonce"] = json!("0x9");
    fs::write(dir.path().join("1/block.json"), block.to_string()).unwrap();
    let (status, out, err) = said(&["1", "--json"], dir.path());
    let due = format!("block 13000001: transaction 7 (0x{:064x}) is invalid: ", 7);
    assert!(status == 1 && err.contains(&due) && err.lines().count() == 1, "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert!(document["blocks"][0]["wrong"].as_str().unwrap().contains("nonce 9 too high, expected 7"), "{out}");
    assert_eq!(document["blocks"][0]["parallel_us"], Value::Null);
}

#[test]
fn what_cannot_be_read_is_named_in_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut block = write(&dir.path().join("1"), 13_000_001);
    let path = dir.path();
    assert!(refusal(&["nowhere"], path).starts_with("nowhere: "));
    assert!(refusal(&["1/block.json"], path).starts_with("1/block.json: "));
    assert!(refusal(&[], path).ends_with("see `cachekv evm --help`"));
    assert!(refusal(&["1", "--rounds", "0"], path).ends_with("see `cachekv evm --help`"));
    assert_eq!(refusal(&["1", "--codes", "none.gz"], path), "none.gz: there is no such file");
    assert_eq!(refusal(&["1", "--block-hashes", "none.json"], path), "none.json: there is no such file");

    let text = block.to_string();
    fs::write(path.join("1/block.json"), &text[..text.len() / 2]).unwrap();
    assert!(refusal(&["1"], path).starts_with("1/block.json: ends too early, at line 1 column "));
    block["transactions"][3]["gasPrice"] = json!("cheap");
    fs::write(path.join("1/block.json"), block.to_string()).unwrap();
    let said = refusal(&["."], path);
    assert!(said.starts_with("./1/block.json: transaction 3: gasPrice: \"cheap\" is not "), "{said}");

    fs::write(path.join("1/block.json"), text).unwrap();
    fs::write(path.join("1/pre_state.json"), json!({ SENDER: {"balance": "0x1", "code_hash": 5} }).to_string())
        .unwrap();
    let said = refusal(&["1"], path);
    assert!(said.starts_with(&format!("1/pre_state.json: account {SENDER}: code_hash: 5 is not ")), "{said}");
    fs::remove_file(path.join("1/pre_state.json")).unwrap();
    assert_eq!(refusal(&["1"], path), "1/pre_state.json: there is no such file");
}

#[test]
fn real_blocks_are_verified() {
    let Some(folder) = evm_oracle::folder() else { return };
    let (status, out, err) = said(&[folder.join("blocks").to_str().unwrap(), "--rounds", "1"], &folder);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(out.lines().last().unwrap().ends_with("yes"), "{out}");
}
