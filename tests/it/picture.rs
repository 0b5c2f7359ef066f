//! The picture of a block: the page stands by itself and is drawn by a real browser, the trace is what its readers expect, and
//! a key may be called whatever it likes.

use crate::acts::*;
use cachekv::executor::{Activity, BlockExecutor, BlockStats, Config, Options, Outcome, RunAhead};
use cachekv::report::BlockPicture;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names of keys that would like to be something else.
const HOSTILE: [&str; 5] = [
    "</script><script>document.documentElement.dataset.taken='1'</script>",
    "<!--<script>",
    "\"}]};alert(1)//\\",
    "@@ \u{2028}\u{2029}\u{0}\n\t",
    "<img src=x onerror=\"document.documentElement.dataset.taken='2'\">",
];

fn name(key: &Key) -> String {
    HOSTILE[*key as usize % HOSTILE.len()].into()
}

/// A writer, and an observer after it who observes `key` before it is written.
fn conflict(key: Key) -> [Act; 2] {
    let observed = Signal::default();
    let seen = observed.clone();
    let writer = act(move |view| {
        seen.wait();
        view.set(key, 1);
        Ok(vec![])
    });
    let observer = act(move |view| {
        let _raised = observed.raised_at_the_end();
        Ok(vec![of(view.get(&key)?)])
    });
    [writer, observer]
}

/// A recorded block of two workers in which every key has a conflict, and so many transactions at least.
fn block(len: u32) -> BlockStats<Key> {
    let mut config = Config::default();
    config.shared_from = std::time::Duration::ZERO;
    (config.threads, config.window) = (2, RunAhead::Fixed); // while one is in a writer, the other claims on
    let executor = BlockExecutor::with_config(config).unwrap();
    let mut block: Vec<Act> = (0..HOSTILE.len() as Key).flat_map(conflict).collect();
    block.extend((block.len() as Key..len).map(|key| {
        act(move |view| {
            view.set(key, 1);
            Ok(vec![])
        })
    }));
    let options = Options { record: true, ..Options::default() };
    let stats = executor.execute_with(&base(&[]), &block, &Acts, options).unwrap().stats;
    assert_eq!(stats.conflicts.len(), HOSTILE.len());
    stats
}

fn picture(stats: &BlockStats<Key>) -> BlockPicture<'_, Key> {
    BlockPicture::new(HOSTILE[0], stats, name).unwrap()
}

#[test]
fn the_trace_has_every_event_once_and_none_of_a_worker_overlap() {
    let stats = block(500);
    let trace: Json = serde_json::from_str(&picture(&stats).trace()).unwrap();
    assert_eq!(trace["otherData"]["title"], HOSTILE[0]);
    let events = trace["traceEvents"].as_array().unwrap();
    let timeline = stats.timeline.as_ref().unwrap();
    let mut worker = 0;
    let mut free = 0; // nanoseconds: until then the worker is busy
    let mut left = timeline.workers.iter().flatten();
    for event in events {
        let phase = event["ph"].as_str().unwrap();
        if phase == "M" {
            if event["name"] == "thread_name" {
                (worker, free) = (worker + 1, 0);
            }
            continue;
        }
        let due = left.next().expect("no more than there were");
        assert_eq!((event["pid"].as_u64(), event["tid"].as_u64()), (Some(1), Some(worker)));
        let nanos = |at: &Json| (at.as_f64().unwrap() * 1e3).round() as u128;
        assert_eq!(nanos(&event["ts"]), due.began.as_nanos());
        assert!(free <= nanos(&event["ts"]), "{event} overlaps");
        let (category, args) = (event["cat"].as_str().unwrap(), &event["args"]);
        let is_instant = matches!(due.activity, Activity::Abort { .. });
        assert_eq!((phase, event["s"].as_str()), if is_instant { ("i", Some("t")) } else { ("X", None) });
        if !is_instant {
            assert_eq!(nanos(&event["dur"]), (due.ended - due.began).as_nanos());
            free = due.ended.as_nanos();
        }
        match &due.activity {
            Activity::Execution { version, at_frontier, outcome } => {
                assert!(category.starts_with("execution,"), "{event}");
                assert_eq!(
                    (&args["tx"], &args["incarnation"]),
                    (&Json::from(version.tx), &Json::from(version.incarnation))
                );
                assert_eq!(
                    (&args["at_frontier"], args["outcome"] == "executed"),
                    (&Json::from(*at_frontier), *outcome == Outcome::Executed)
                );
            }
            Activity::Abort { version, .. } => {
                assert_eq!((category, &args["tx"]), ("abort", &Json::from(version.tx)));
                assert!(HOSTILE.contains(&args["key"].as_str().unwrap()), "{event}");
            }
            Activity::Commit { tx, .. } => assert_eq!((category, &args["tx"]), ("commit", &Json::from(*tx))),
            _ => assert_eq!(category, "parked"),
        }
    }
    assert!(left.next().is_none(), "all are there");
    assert_eq!(worker, 2);
}

/// What the page gives its script.
fn data(page: &str) -> Json {
    let (_, rest) = page.split_once("<script id=\"data\" type=\"application/json\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn the_page_stands_by_itself_and_no_name_gets_out_of_its_string() {
    let stats = block(200);
    let page = picture(&stats).page();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    let own = page.replace("src=x onerror", ""); // one of the names
    for word in ["http:", "https:", "src=", "href=", "url(", "@import", "import(", "fetch(", "XMLHttpRequest"] {
        assert!(!own.contains(word), "{word} reaches out");
    }
    assert_eq!(page.matches("<script").count(), 2, "the data and the script");
    assert_eq!(page.matches("</script").count(), 2);
    assert!(!page.contains("<!--") && !page.contains("<img"));
    let data = data(&page);
    assert_eq!(data["title"], HOSTILE[0]);
    let mut keys: Vec<_> = data["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    keys.sort_unstable();
    let mut due = HOSTILE;
    due.sort_unstable();
    assert_eq!(keys, due);
    let figures: BTreeMap<_, _> =
        data["figures"].as_array().unwrap().iter().map(|row| (row[0].as_str().unwrap(), &row[1])).collect();
    assert_eq!(figures["transactions"], "200");
    let count = |kind: u64| {
        let rows = data["workers"].as_array().unwrap().iter().flat_map(|events| events.as_array().unwrap());
        rows.filter(|row| row[0].as_u64() == Some(kind)).count() as u64
    };
    assert_eq!([count(0), count(1), count(2)], [stats.executions, stats.aborts.read, 200]);
}

/// A browser without a window, if there is one: its program and what it has to be told.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell"];
    let folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|file| file.is_file())
}

/// The document after its script has run, as the browser sees it.
fn opened(browser: &Path, page: &Path) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--window-size=1400,900", "--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_browser_draws_all_of_it() {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no chromium or chrome is on PATH; the page was not opened in a browser");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let draw = |len: u32, file: &str| {
        let stats = block(len);
        let path = folder.path().join(file);
        std::fs::write(&path, picture(&stats).page()).unwrap();
        let events: usize = stats.timeline.as_ref().unwrap().workers.iter().map(Vec::len).sum();
        (opened(&browser, &path), events)
    };
    for (len, file) in [(60, "small.html"), (10_000, "large.html")] {
        let (dom, events) = draw(len, file);
        assert!(!dom.is_empty(), "the browser gave no document");
        assert!(dom.contains(&format!("data-drawn=\"{events}\"")), "{events} events: {}", &dom[..dom.len().min(400)]);
        assert!(!dom.contains("data-taken"), "a name became a script");
        // As text, in the heading and in the table of keys.
        assert!(dom.contains("<h1 id=\"title\">&lt;/script&gt;&lt;script&gt;document"), "the title is not shown");
        assert!(dom.contains("<td>&lt;img src=x onerror="), "the keys are not shown");
    }
}
