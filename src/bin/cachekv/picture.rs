//! The picture of an executed block: which block it is of, and the files it goes to.

use crate::failure::Failure;
use cachekv::executor::BlockStats;
use cachekv::kv::Key;
use cachekv::report::{BlockPicture, grouped};
use std::fs::{self, File};
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What may be asked for.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct PictureArgs {
    /// Write the slowest block to this file as a page: what each worker did and when, conflicts, waits
    ///
    /// It is one HTML file that needs nothing else. To record a block costs its workers a few per cent.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the same block to this file in the trace event format of Chrome and Perfetto
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// The number of the block that --report and --trace show [default: the slowest]
    #[arg(long, value_name = "N")]
    report_block: Option<u64>,
}

impl PictureArgs {
    /// Whether the block of this number is to be recorded.
    pub(crate) fn records(&self, number: u64) -> bool {
        self.asked() && self.report_block.is_none_or(|wanted| wanted == number)
    }

    fn asked(&self) -> bool {
        self.files().next().is_some()
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.report, &self.trace].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Refuses what is known beforehand to come to nothing, or to destroy another file.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let refuse = |words: String| Err(Failure::Usage(words));
        if self.report_block.is_some() && !self.asked() {
            return refuse("--report-block goes with --report FILE or --trace FILE".into());
        }
        for file in self.files() {
            let shown = file.display();
            if file.is_dir() || !place(file).parent().is_some_and(Path::is_dir) {
                return refuse(format!("{shown} cannot be written: name a file in a folder that is there"));
            }
            if is_anothers(file) {
                return refuse(format!("{shown} is there and is no such file: name another one"));
            }
        }
        match (&self.report, &self.trace) {
            (Some(report), Some(trace)) if place(report) == place(trace) => {
                refuse("--report and --trace name the same file".into())
            }
            _ => Ok(()),
        }
    }

    /// Refuses a block that is not among `numbers`, or any if there is none.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub(crate) fn check_among(&self, numbers: RangeInclusive<u64>) -> Result<(), Failure> {
        match self.report_block {
            _ if !self.asked() => Ok(()),
            _ if numbers.is_empty() => Err(Failure::Usage("no block is executed that could be shown".into())),
            Some(wanted) if !numbers.contains(&wanted) => {
                let (first, last) = (numbers.start(), numbers.end());
                Err(Failure::Usage(format!("block {wanted} is not among those executed, {first} to {last}")))
            }
            _ => Ok(()),
        }
    }
}

/// Whether there is a file with something in it that is not ours: a store, a block, a letter.
fn is_anothers(file: &Path) -> bool {
    if !file.is_file() {
        return false; // nothing, or a device or a pipe
    }
    let mut begin = Vec::new();
    let read = File::open(file).and_then(|file| file.take(BEGIN).read_to_end(&mut begin));
    read.is_err() || !(begin.is_empty() || OURS.iter().any(|ours| begin.starts_with(ours.as_bytes())))
}

/// What our files begin with.
const OURS: [&str; 2] = ["<!doctype html>", "{\"displayTimeUnit\":"];
const BEGIN: u64 = 32;

/// Where a file is or will be, whatever it is called.
fn place(file: &Path) -> PathBuf {
    let known = file.canonicalize().ok();
    known.unwrap_or_else(|| {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        file.file_name().map_or(folder.clone(), |name| folder.join(name))
    })
}

/// The slowest of the blocks recorded so far.
#[derive(Debug)]
pub(crate) struct Slowest<K> {
    block: Option<(u64, Duration, BlockStats<K>)>,
    blocks: u64,
}

impl<K> Default for Slowest<K> {
    fn default() -> Self {
        Self { block: None, blocks: 0 }
    }
}

impl<K: Key> Slowest<K> {
    /// Notes the execution of a block, if it was recorded.
    pub(crate) fn note(&mut self, number: u64, stats: BlockStats<K>) {
        self.blocks = self.blocks.saturating_add(1);
        let slower = self.block.as_ref().is_none_or(|(_, wall, _)| stats.wall > *wall);
        if stats.timeline.is_some() && slower {
            self.block = Some((number, stats.wall, stats));
        }
    }

    /// Writes what `args` ask for.
    ///
    /// # Errors
    /// If a file cannot be written, or the block that was asked for was not executed.
    pub(crate) fn write(self, args: &PictureArgs, of: &str, name_key: impl Fn(&K) -> String) -> Result<(), Failure> {
        if !args.asked() {
            return Ok(());
        }
        let Some((number, _, stats)) = self.block else {
            let wanted = args.report_block.map_or("no block".into(), |wanted| format!("block {wanted}"));
            return Err(Failure::Usage(format!("there is no picture: {wanted} was executed to its end")));
        };
        let slowest = if args.report_block.is_some() || self.blocks == 1 {
            String::new()
        } else {
            format!(", the slowest of {}", grouped(self.blocks))
        };
        let title = format!("{of}: block {number}{slowest}");
        let Some(picture) = BlockPicture::new(title, &stats, name_key) else { return Ok(()) };
        args.check()?; // again: what is there now may not be what was there before
        let write = |file: &Option<PathBuf>, text: &dyn Fn() -> String| match file {
            None => Ok(()),
            Some(file) => fs::write(file, text())
                .map_err(|error| Failure::System(format!("{} cannot be written: {error}", file.display()))),
        };
        write(&args.report, &|| picture.page())?;
        write(&args.trace, &|| picture.trace())
    }
}
