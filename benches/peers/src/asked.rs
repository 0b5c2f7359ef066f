//! An executor in a process of its own, asked for one run at a time.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Peer {
    name: String,
    process: Child,
    /// `None` once it is to end.
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `program` and waits until it has read the blocks.
    pub fn start(program: &Path, arguments: &[&str]) -> Result<Self, Box<dyn Error>> {
        let command = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = command.map_err(|error| format!("{}: {error}", program.display()))?;
        let (questions, answers) = (process.stdin.take(), process.stdout.take().ok_or("no output")?);
        let mut peer = Self { name: String::new(), process, questions, answers: BufReader::new(answers) };
        let line = peer.line()?;
        let name = line.strip_prefix("ready ").ok_or_else(|| format!("{}: said {line:?}", program.display()))?;
        peer.name = name.to_owned();
        Ok(peer)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The nanoseconds that it took for `block` on `threads` threads; `None` if it could not.
    pub fn run(&mut self, block: u64, threads: usize) -> Option<f64> {
        writeln!(self.questions.as_mut()?, "{block} {threads}").ok()?;
        let line = self.line().ok()?;
        line.parse().map_err(|_| eprintln!("{}, block {block}, {threads} threads: {line}", self.name)).ok()
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.questions = None; // the end of its input is its end
        drop(self.process.wait());
    }
}
