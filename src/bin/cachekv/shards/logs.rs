//! Structured logs, to stderr.

use crate::failure::Failure;
use std::io;
use tracing_subscriber::EnvFilter;

/// What is logged.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// What to log to stderr: off, error, warn, info, debug, trace, or filters such as cachekv::remote=debug
    #[arg(long, value_name = "FILTER", env = "CACHEKV_LOG")]
    pub(crate) log: Option<String>,
    /// Log JSON, a line an event
    #[arg(long)]
    pub(crate) log_json: bool,
}

impl LogArgs {
    /// Begins to log, `otherwise` where nothing is asked for.
    ///
    /// # Errors
    /// If the filter is none.
    pub(crate) fn begin(&self, otherwise: &str) -> Result<(), Failure> {
        let filter = self.log.as_deref().unwrap_or(otherwise);
        let filter = EnvFilter::try_new(filter).map_err(|error| Failure::Usage(format!("--log {filter}: {error}")))?;
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        // Whoever has begun before goes on.
        drop(if self.log_json { lines.json().try_init() } else { lines.with_ansi(false).try_init() });
        Ok(())
    }
}
