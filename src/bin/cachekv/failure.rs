//! What ends a command early: one line of words, and an exit status.

use cachekv::kv::{self, OpenCause};
use cachekv::restore;
use std::fmt;
use std::process::ExitCode;

/// What the statuses mean, for `--help`.
pub(crate) const EXIT_STATUS: &str = "\
Exit status:
  0  everything went well, and every check held
  1  parallel and sequential execution differ, or a state, a block, a proof or a snapshot is not as it must be
  2  the command line, or what it asks of an existing store or of a block's files, is not possible
  3  the store or the operating system failed";

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for cannot be done as asked.
    Usage(String),
    /// A store failed.
    Store(kv::Error),
    /// The operating system failed.
    System(String),
    /// Results differ, or a state is not as it must be.
    Wrong(String),
}

impl Failure {
    /// The exit status; `--help` lists them.
    pub(crate) fn status(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Wrong(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Store(_) | Failure::System(_) => 3,
        })
    }
}

impl From<kv::Error> for Failure {
    fn from(error: kv::Error) -> Self {
        Failure::Store(error)
    }
}

impl From<restore::Error> for Failure {
    fn from(error: restore::Error) -> Self {
        use restore::Error as E;
        let words = error.to_string();
        match error {
            E::Read(error) | E::Write { source: error, .. } => Failure::Store(error),
            E::Failed(cause) => Self::from(*cause),
            E::Io { .. } | E::WriterPanicked => Failure::System(words),
            E::NotEmpty | E::OtherRestore(_) => Failure::Usage(format!("{words}: name another file with --db")),
            E::NoTree => Failure::Usage(format!("{words}: `cachekv run --state-root` makes one")),
            E::Unfinished { .. } | E::NoVersion { .. } | E::NotAfter { .. } | E::Directory { .. } => {
                Failure::Usage(words)
            }
            _ => Failure::Wrong(words),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Failure::Usage(words) | Failure::System(words) | Failure::Wrong(words) => words.clone(),
            Failure::Store(error) => format!("{error}: {}", advice(error)),
        };
        // One line, whatever a path or an error of the system holds.
        f.write_str(&words.split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" "))
    }
}

/// What to do about a store's error.
fn advice(error: &kv::Error) -> &'static str {
    match error {
        kv::Error::Open { cause, .. } => match cause {
            OpenCause::Missing | OpenCause::Io(_) => "name a file that can be read and written with --db",
            OpenCause::Foreign(_) => "name another file with --db; this one was not changed",
            OpenCause::Locked => "wait for the other process to end, or name another file with --db",
            OpenCause::Corrupted(_) => "restore it from a copy, or name another file with --db",
            OpenCause::Format { .. } => "use the version that wrote it, or name another file with --db",
            _ => "name another file with --db",
        },
        _ => {
            "see to the disk and run the same command again: it goes on from the last durable block; or restore the file from a copy, if it is damaged"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::Usage("a\n  b\r\nc".into());
        assert_eq!(failure.to_string(), "a b  c");
    }
}
