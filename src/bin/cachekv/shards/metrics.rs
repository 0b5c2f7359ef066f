//! Figures and health over HTTP: `/metrics` in the text format of Prometheus, `/health` as a status.

use crate::failure::Failure;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use cachekv::remote::Counts;
use std::fmt::Write;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// A service with a name, looked at when somebody asks.
pub(crate) struct Subject {
    /// Part of the name of each figure.
    pub(crate) name: &'static str,
    pub(crate) counts: Box<dyn Fn() -> Counts + Send + Sync>,
    /// Figures that go up and down: name, meaning, value.
    pub(crate) gauges: Box<dyn Fn() -> Vec<(&'static str, &'static str, u64)> + Send + Sync>,
    /// Whether it takes work.
    pub(crate) serving: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Subject {
    /// All figures as text.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut figure = |name: &str, kind: &str, help: &str, value: u64| {
            let name = format!("cachekv_{}_{name}", self.name);
            _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"); // writing into memory does not fail
        };
        for (name, help, value) in (self.counts)().named() {
            figure(&format!("{name}_total"), "counter", help, value);
        }
        for (name, help, value) in (self.gauges)() {
            figure(name, "gauge", help, value);
        }
        text
    }
}

/// A server of figures. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Metrics {
    runtime: Option<Runtime>,
    pub(crate) address: SocketAddr,
}

impl Metrics {
    /// Serves the figures of `subject` at `address`; what is not loopback has to be meant.
    ///
    /// # Errors
    /// If it cannot listen there.
    pub(crate) fn serve(address: &str, plain_beyond_loopback: bool, subject: Subject) -> Result<Self, Failure> {
        let failed = |why: String| Failure::System(format!("cannot serve metrics at {address}: {why}"));
        let addresses: Vec<_> = address.to_socket_addrs().map_err(|error| failed(error.to_string()))?.collect();
        if !plain_beyond_loopback && !addresses.iter().all(|at| at.ip().is_loopback()) {
            return Err(Failure::Usage(format!(
                "{address} is no loopback address: --plain-beyond-loopback serves metrics there for whoever reaches it"
            )));
        }
        let socket = TcpListener::bind(addresses.as_slice()).map_err(|error| failed(error.to_string()))?;
        socket.set_nonblocking(true).map_err(|error| failed(error.to_string()))?;
        let address = socket.local_addr().map_err(|error| failed(error.to_string()))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("cachekv-metrics").enable_all().build();
        let runtime = runtime.map_err(|error| failed(error.to_string()))?;
        let subject = Arc::new(subject);
        let asked = Arc::clone(&subject);
        let text = move || async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], asked.text()) };
        let health = move || async move {
            if (subject.serving)() {
                (StatusCode::OK, "serving\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "not serving\n")
            }
        };
        let router = Router::new().route("/metrics", get(text)).route("/health", get(health));
        runtime.spawn(async move {
            let Ok(socket) = tokio::net::TcpListener::from_std(socket) else { return };
            drop(axum::serve(socket, router).await); // until the runtime ends
        });
        Ok(Self { runtime: Some(runtime), address })
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_the_text_format() {
        let subject = Subject {
            name: "shard",
            counts: Box::new(Counts::default),
            gauges: Box::new(|| vec![("blocks", "Blocks at hand.", 3)]),
            serving: Box::new(|| true),
        };
        let text = subject.text();
        assert!(text.contains("# HELP cachekv_shard_packets_total Packets that came.\n# TYPE cachekv_shard_packets_total counter\ncachekv_shard_packets_total 0\n"), "{text}");
        assert!(text.ends_with(
            "# HELP cachekv_shard_blocks Blocks at hand.\n# TYPE cachekv_shard_blocks gauge\ncachekv_shard_blocks 3\n"
        ));
        assert!(text.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2), "{text}");
    }
}
