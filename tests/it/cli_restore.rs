//! The program on authenticated state: roots, proofs, snapshots; restores that are killed, and disks that are full.

use cachekv::kv::{KvRead, KvStore, RedbStore};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn command(dir: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachekv"));
    command.current_dir(dir).args(args.split_whitespace());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(dir: &Path, args: &str) -> Output {
    command(dir, args).output().unwrap()
}

fn good(dir: &Path, args: &str) -> String {
    let output = run(dir, args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{args}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(dir: &Path, args: &str) -> serde_json::Value {
    serde_json::from_str(&good(dir, &format!("{args} --json"))).unwrap()
}

/// Runs what must fail with `status`; returns what it said, in one line.
fn refused(dir: &Path, args: &str, status: i32) -> String {
    let output = run(dir, args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{args}: {said}");
    assert!(output.stdout.is_empty() && said.starts_with("cachekv: ") && said.lines().count() == 1, "{args}: {said}");
    said
}

/// What `cachekv verify` answers to `proof`.
fn verify(dir: &Path, root: &str, proof: impl AsRef<[u8]>) -> Output {
    let mut child = command(dir, &format!("verify --root {root}")).spawn().unwrap();
    child.stdin.take().unwrap().write_all(proof.as_ref()).unwrap();
    child.wait_with_output().unwrap()
}

/// Everything in a store.
fn contents(path: &Path) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    RedbStore::open(path).unwrap().snapshot().unwrap().range(..).map(Result::unwrap).collect()
}

/// A store of three blocks with a tree; the newest root.
fn made(dir: &Path, args: &str) -> String {
    let run = json(dir, &format!("run --db it --state-root --blocks 3 --work 0 --readers 0 {args}"));
    run["state_roots"][2]["root"].as_str().unwrap().to_owned()
}

#[test]
fn a_root_for_every_block_that_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let roots = json(dir.path(), "run --db it --state-root --blocks 5 --txns 50 --accounts 40 --work 0 --keep 3");
    let roots = roots["state_roots"].as_array().unwrap();
    assert_eq!(roots.len(), 5);
    for (block, root) in (1..).zip(roots) {
        assert_eq!(root["block"], block);
        if block > 2 {
            let told = json(dir.path(), &format!("root --db it --at {block}"));
            assert_eq!((&told["root"], &told["entries"]), (&root["root"], &41.into()));
        } else {
            let said = refused(dir.path(), &format!("root --db it --at {block}"), 2);
            assert!(said.contains("keeps blocks 3 to 5"), "{said}");
        }
    }
    assert_eq!(json(dir.path(), "root --db it")["root"], roots[4]["root"]);
    // The tree goes on unasked, or it would be of another state than the values beside it.
    let text = good(dir.path(), "run --db it --blocks 1 --txns 50 --work 0");
    let root = json(dir.path(), "root --db it");
    assert!(text.contains(&format!("block 6  root {}", root["root"].as_str().unwrap())), "{text}");
    // Another machine's, made at once: the root depends on the state alone.
    good(dir.path(), "run --db late --blocks 5 --txns 50 --accounts 40 --work 0");
    assert!(refused(dir.path(), "root --db late", 2).contains("no state tree"));
    good(dir.path(), "run --db late --state-root --blocks 1 --txns 50 --work 0 --threads 1");
    assert_eq!(json(dir.path(), "root --db late")["root"], root["root"]);
}

#[test]
fn proofs_of_what_is_and_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = made(dir.path(), "--accounts 30 --txns 20");
    for (key, exists) in [("0x610000000000000007", true), ("nobody", false)] {
        let text = good(dir.path(), &format!("prove {key} --db it"));
        let document = json(dir.path(), &format!("prove {key} --db it"));
        assert_eq!((document["exists"].as_bool(), document["root"].as_str()), (Some(exists), Some(root.as_str())));
        for proof in [text.clone(), document.to_string(), document["proof"].as_str().unwrap().to_owned()] {
            let output = verify(dir.path(), &root, &proof);
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(0));
            assert!(said.starts_with("proved: ") && said.contains("does not exist") != exists, "{said}");
            assert_eq!(verify(dir.path(), &"0".repeat(64), &proof).status.code(), Some(1));
        }
        let digits = document["proof"].as_str().unwrap();
        let spoilt = format!("{}{}", &digits[..digits.len() - 1], if digits.ends_with('0') { '1' } else { '0' });
        assert_eq!(verify(dir.path(), &root, &spoilt).status.code(), Some(1));
    }
    assert_eq!(verify(dir.path(), &root, "nonsense").status.code(), Some(1));
    assert_eq!(verify(dir.path(), &root, [0xff, 0xfe, 0]).status.code(), Some(1));
    assert_eq!(refused(dir.path(), "prove 0x123 --db it", 2), "cachekv: 0x123 is not hexadecimal\n");
    assert!(refused(dir.path(), "verify --root 12", 2).contains("64 hexadecimal digits"));
}

#[test]
fn a_snapshot_is_restored_and_run_on() {
    let dir = tempfile::tempdir().unwrap();
    let root = made(dir.path(), "--accounts 400 --txns 100 --workload mixed");
    let exported = json(dir.path(), "snapshot export --db it --out snap --chunk-bytes 3000");
    assert_eq!((exported["root"].as_str(), exported["block"].as_u64()), (Some(root.as_str()), Some(3)));
    assert!(refused(dir.path(), "snapshot export --db it --out snap", 2).contains("holds a whole snapshot"));
    let restored = json(dir.path(), &format!("snapshot restore --from snap --db copy --root {root}"));
    assert_eq!(restored["entries"], exported["entries"]);
    assert_eq!(json(dir.path(), "root --db copy")["root"], root.as_str());
    for db in ["it", "copy"] {
        good(dir.path(), &format!("run --db {db} --state-root --blocks 2 --txns 100 --work 0"));
    }
    assert_eq!(json(dir.path(), "root --db copy")["root"], json(dir.path(), "root --db it")["root"]);
    // Older blocks, from the same store.
    let two = json(dir.path(), "root --db it --at 2");
    good(dir.path(), "snapshot export --db it --out two --at 2");
    let two = two["root"].as_str().unwrap();
    good(dir.path(), &format!("snapshot restore --from two --db two.redb --root {two}"));
    good(dir.path(), "run --db two.redb --state-root --blocks 3 --txns 100 --work 0");
    assert_eq!(json(dir.path(), "root --db two.redb")["root"], json(dir.path(), "root --db it")["root"]);
}

#[test]
fn parts_of_a_state_and_two_stores() {
    let dir = tempfile::tempdir().unwrap();
    let root = made(dir.path(), "--accounts 200 --txns 50");
    good(dir.path(), "snapshot export --db it --out snap --chunk-bytes 2000");
    good(dir.path(), &format!("snapshot restore --from snap --db values --tree-db tree --root {root}"));
    good(dir.path(), &format!("snapshot restore --from snap --db v --only values --root {root}"));
    good(dir.path(), &format!("snapshot restore --from snap --db t --only tree --root {root}"));
    for tree in ["tree", "t"] {
        assert_eq!(json(dir.path(), &format!("root --db {tree}"))["root"], root.as_str());
        good(dir.path(), &format!("snapshot export --db {tree} --out from-{tree} --chunk-bytes 2000"));
        let file = |from: &str| fs::read(dir.path().join(from).join("manifest")).unwrap();
        assert_eq!(file(&format!("from-{tree}")), file("snap"));
    }
    for values in ["values", "v"] {
        good(dir.path(), &format!("run --db {values} --state-root --blocks 1 --txns 50 --work 0"));
    }
    good(dir.path(), "run --db it --blocks 1 --txns 50 --work 0");
    assert_eq!(json(dir.path(), "root --db v")["root"], json(dir.path(), "root --db it")["root"]);
    refused(dir.path(), &format!("snapshot restore --from snap --db v --only tree --tree-db x --root {root}"), 2);
}

/// A part of a state is used by nobody; the reason is given; and what it lacks can still come.
#[test]
fn an_unfinished_restore_is_refused_by_every_other_command() {
    let dir = tempfile::tempdir().unwrap();
    let root = made(dir.path(), "--accounts 300 --txns 50");
    good(dir.path(), "snapshot export --db it --out snap --chunk-bytes 2000");
    let lost = dir.path().join("snap/chunk-00000003");
    let bytes = fs::read(&lost).unwrap();
    fs::remove_file(&lost).unwrap();
    let restore = format!("snapshot restore --from snap --db part --root {root}");
    assert!(refused(dir.path(), &restore, 1).contains("chunk 3 is refused: it is missing"));
    for command in [
        "run --db part",
        "run --db part --state-root",
        "root --db part",
        "prove k --db part",
        "snapshot export --db part --out no",
    ] {
        let said = refused(dir.path(), command, 2);
        assert!(said.contains("unfinished restore") && said.contains(&root) && said.contains("3 chunks"), "{said}");
    }
    assert!(!dir.path().join("no").exists());
    let mut wrong = bytes.clone();
    wrong[30] ^= 1;
    fs::write(&lost, wrong).unwrap();
    assert!(refused(dir.path(), &restore, 1).contains("chunk 3 is refused: its digest"));
    fs::write(&lost, bytes).unwrap();
    assert_eq!(json(dir.path(), &restore)["resumed_at"], 3);
    assert_eq!(json(dir.path(), "root --db part")["root"], root.as_str());
}

/// No root proves the block that a snapshot says it is of; the state does, and a store that is of another never counts as whole.
#[test]
fn a_snapshot_that_lies_about_its_block_is_not_finished() {
    let dir = tempfile::tempdir().unwrap();
    let root = made(dir.path(), "--accounts 100 --txns 50");
    good(dir.path(), "snapshot export --db it --out snap --chunk-bytes 2000");
    let snap = dir.path().join("snap");
    let honest = cachekv::restore::read_manifest(&snap).unwrap();
    for block in [2, 1_000] {
        let mut lying = honest.clone();
        lying.version = block;
        fs::write(snap.join("manifest"), lying.encode()).unwrap();
        let said = refused(dir.path(), &format!("snapshot restore --from snap --db at{block} --root {root}"), 1);
        assert!(said.contains("is that of block 3") && said.contains(&format!("says block {block}")), "{said}");
        let said = refused(dir.path(), &format!("root --db at{block}"), 2);
        assert!(said.contains("unfinished restore"), "{said}");
    }
}

#[test]
fn what_cannot_be_restored_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = made(dir.path(), "--accounts 100 --txns 50");
    let before = contents(&dir.path().join("it"));
    good(dir.path(), "snapshot export --db it --out snap --chunk-bytes 2000");
    let said = refused(dir.path(), &format!("snapshot restore --from snap --db it --root {root}"), 2);
    assert!(said.contains("not empty"), "{said}");
    assert_eq!(contents(&dir.path().join("it")), before);
    let other = "1".repeat(64);
    assert!(refused(dir.path(), &format!("snapshot restore --from snap --db x --root {other}"), 1).contains(&other));
    assert!(!dir.path().join("x").exists(), "a file is left of it");
    refused(dir.path(), &format!("snapshot restore --from snap --db x --tree-db x --root {root}"), 2);
    assert!(refused(dir.path(), "snapshot export --db it --out snap", 2).contains("another directory"));
    fs::remove_file(dir.path().join("snap/manifest")).unwrap();
    let said = refused(dir.path(), &format!("snapshot restore --from snap --db x --root {root}"), 2);
    assert!(said.contains("no manifest"), "{said}");
    let said = refused(dir.path(), &format!("snapshot restore --from nowhere --db x --root {root}"), 2);
    assert!(said.contains("nowhere: there is no such directory"), "{said}");
    refused(dir.path(), "snapshot export --db nowhere --out x", 3);
}

/// A store that has gone on is another state, whether its tree noticed or there is none: a restore says so, and does not
/// call it restored.
#[test]
fn a_store_that_went_on_is_not_restored_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = made(dir.path(), "--accounts 100 --txns 50");
    let exported = good(dir.path(), "snapshot export --db it --out snap");
    assert!(exported.contains(" in 1 chunk, verified"), "{exported}");
    for (place, why) in [("--db one", "has changed since"), ("--db values --only values", "at block 4 by now")] {
        let restore = format!("snapshot restore --from snap --root 0x{root} {place}");
        good(dir.path(), &restore);
        assert!(good(dir.path(), &restore).contains("all of them before"));
        good(
            dir.path(),
            &format!("run --blocks 1 --txns 50 --work 0 --readers 0 {}", place.replace(" --only values", "")),
        );
        let said = refused(dir.path(), &restore, 2);
        assert!(said.contains(why), "{said}");
    }
}

/// Killed at any moment, a restore goes on and ends with what an undisturbed one ends with, byte for byte.
/// `CACHEKV_KILLS` says how often.
#[test]
fn a_killed_restore_goes_on() {
    let kills = std::env::var("CACHEKV_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(8);
    let dir = tempfile::tempdir().unwrap();
    let root = made(dir.path(), "--accounts 2500 --txns 50");
    good(dir.path(), "snapshot export --db it --out snap --chunk-bytes 1200");
    let whole = format!("snapshot restore --from snap --root {root} --db whole --tree-db whole-tree");
    good(dir.path(), &whole);
    let due = ["whole", "whole-tree"].map(|db| contents(&dir.path().join(db)));
    good(dir.path(), &format!("snapshot restore --from snap --root {root} --db one"));
    let due_one = contents(&dir.path().join("one"));
    let (mut killed, mut inside, mut attempt) = (0, 0, 0u64);
    while killed < kills {
        let (values, tree) = (format!("v{attempt}"), format!("t{attempt}"));
        let two = attempt % 2 == 0;
        let place = if two { format!("--db {values} --tree-db {tree}") } else { format!("--db {values}") };
        let restore = format!("snapshot restore --from snap --root {root} {place}");
        for kill in 0.. {
            let mut child = command(dir.path(), &restore).spawn().unwrap();
            // Where it is cut is left to chance, and what must hold then is not.
            std::thread::sleep(Duration::from_millis((attempt * 7 + kill * 13) % 41 * 2));
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            if output.status.success() {
                break;
            }
            assert_eq!(output.status.code(), None, "{}", String::from_utf8_lossy(&output.stderr));
            killed += 1;
            let looked = run(dir.path(), &format!("root --db {values}"));
            let said = String::from_utf8(looked.stderr).unwrap();
            let whole = looked.status.success() || (two && said.contains("no state tree"));
            assert!(
                whole || ["unfinished restore", "no state tree", "no such file"].iter().any(|why| said.contains(why)),
                "{said}"
            );
            inside += u64::from(said.contains("unfinished restore"));
            if killed >= kills || kill > 12 {
                break;
            }
        }
        good(dir.path(), &restore);
        let found = contents(&dir.path().join(&values));
        if two {
            assert!([found, contents(&dir.path().join(&tree))] == due, "attempt {attempt}");
        } else {
            assert!(found == due_one, "attempt {attempt}");
        }
        drop([values, tree].map(|db| fs::remove_file(dir.path().join(db))));
        attempt += 1;
    }
    println!("{killed} kills, {inside} of them in the middle of a restore, {attempt} restores");
}

/// A disk that is full at any point: the error is told, the store is unfinished, and the restore goes on once there is room.
#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_the_restore_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let root = made(dir.path(), "--accounts 2000 --txns 50");
    good(dir.path(), "snapshot export --db it --out snap --chunk-bytes 4000");
    good(dir.path(), &format!("snapshot restore --from snap --root {root} --db whole"));
    let due = contents(&dir.path().join("whole"));
    let restore = format!("snapshot restore --from snap --root {root} --db part");
    let mut full = 0;
    for blocks in (100..4000).step_by(300) {
        // No file may grow beyond so many blocks of 512 bytes; the write that would is an error and no signal.
        let program = env!("CARGO_BIN_EXE_cachekv");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {program} {restore}");
        let output = Command::new("sh").current_dir(dir.path()).args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("panicked"), "{said}");
        if output.status.success() {
            break;
        }
        assert_eq!(output.status.code(), Some(3), "{blocks}: {said}");
        full += 1;
    }
    assert!(full > 0, "it fits");
    good(dir.path(), &restore);
    assert!(contents(&dir.path().join("part")) == due);
}
