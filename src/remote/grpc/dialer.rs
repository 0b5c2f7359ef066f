//! The coordinator's side: calls each shard, and calls again.

use super::listener::words;
use super::runtime::Runtime;
use super::tls::Tls;
use super::wire::Packet;
use super::wire::link_client::LinkClient;
use super::{CALLER, KEEP_ALIVE, KEEP_ALIVE_ANSWER, MACHINE, PACKET_BYTES, PROTOCOL, QUEUE};
use crate::remote::crew::StillRunning;
use crate::remote::packet::VERSION;
use crate::remote::transport::{Peer, Receiver, Transport, TransportError};
use crate::sync::Mutex;
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

/// How a coordinator calls.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DialConfig {
    /// Certificates; without them there is neither encryption nor authentication.
    pub tls: Option<Tls>,
    /// The name that the shards' certificates have to bear; that of their address if none is given.
    pub server_name: Option<String>,
    /// The name and version of the machine that blocks are executed with: a shard that has another one refuses the call.
    pub machine: String,
    /// How long a connection may take to come about, until the shard has answered the call.
    pub connect: Duration,
    /// How long it waits before it calls again: at first, and at most.
    pub again: (Duration, Duration),
}

impl Default for DialConfig {
    fn default() -> Self {
        let again = (Duration::from_millis(50), Duration::from_secs(2));
        Self { tls: None, server_name: None, machine: String::new(), connect: Duration::from_secs(2), again }
    }
}

/// A [`Transport`] that calls shards: the n-th of them is `Peer(n)`.
#[derive(Debug)]
pub struct GrpcDialer {
    /// A shard, the sender of its queue, and its other end, which `open` takes.
    lines: Vec<Line>,
    manners: Manners,
    runtime: Runtime,
}

/// How a call is made.
#[derive(Clone, Debug)]
struct Manners {
    caller: u64,
    machine: AsciiMetadataValue,
    connect: Duration,
    again: (Duration, Duration),
}

#[derive(Debug)]
struct Line {
    endpoint: Endpoint,
    /// `None` once it is closed.
    outgoing: Mutex<Option<mpsc::Sender<Bytes>>>,
    queue: Mutex<Option<mpsc::Receiver<Bytes>>>,
}

impl GrpcDialer {
    /// Calls the shards at `addresses` (host and port), once it is [opened](Transport::open).
    ///
    /// # Errors
    /// [`TransportError`]: not an address, wrong certificates. A shard that is not there is no error.
    pub fn new(addresses: &[String], config: &DialConfig) -> Result<Self, TransportError> {
        let line = |address: &String| {
            let (outgoing, queue) = mpsc::channel(QUEUE);
            let endpoint = endpoint(address, config)?;
            Ok(Line { endpoint, outgoing: Mutex::new(Some(outgoing)), queue: Mutex::new(Some(queue)) })
        };
        let lines = addresses.iter().map(line).collect::<Result<_, TransportError>>()?;
        let machine = AsciiMetadataValue::try_from(config.machine.as_str());
        let machine = machine.map_err(|_| TransportError::Config("the machine's name is not plain text".into()))?;
        let caller = RandomState::new().hash_one(Instant::now());
        let manners = Manners { caller, machine, connect: config.connect, again: config.again };
        Ok(Self { lines, manners, runtime: Runtime::new("cachekv-dial")? })
    }

    /// The shards, for [`Cluster::start`](crate::remote::Cluster::start).
    pub fn peers(&self) -> Vec<Peer> {
        (0..).map(Peer).take(self.lines.len()).collect()
    }
}

fn endpoint(address: &str, config: &DialConfig) -> Result<Endpoint, TransportError> {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let wrong = |why: String| TransportError::Config(format!("{address} is not the address of a shard: {why}"));
    if !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
        return Err(wrong("it is not a host and a port".into()));
    }
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(|error| wrong(words(&error)))?;
    let endpoint = endpoint
        .connect_timeout(config.connect)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER)
        .keep_alive_while_idle(true);
    let Some(tls) = &config.tls else { return Ok(endpoint) };
    let mut tls = tls.client()?;
    if let Some(name) = &config.server_name {
        tls = tls.domain_name(name);
    }
    endpoint.tls_config(tls).map_err(|error| TransportError::Tls(words(&error)))
}

impl Transport for GrpcDialer {
    fn open(&self, receiver: Receiver) -> Result<(), TransportError> {
        for (peer, line) in (0..).map(Peer).zip(&self.lines) {
            let Some(queue) = line.queue.lock().take() else {
                return Err(TransportError::Config("it has been opened or closed before".into()));
            };
            let call = Call { peer, endpoint: line.endpoint.clone(), manners: self.manners.clone() };
            self.runtime.spawn(call.for_ever(queue, receiver.clone()));
        }
        Ok(())
    }

    fn send(&self, peer: Peer, packet: Bytes) {
        let line = usize::try_from(peer.0).ok().and_then(|peer| self.lines.get(peer));
        if let Some(outgoing) = line.and_then(|line| line.outgoing.lock().clone()) {
            drop(outgoing.try_send(packet)); // where there is no room, the link sends it again
        }
    }

    fn close(&self, deadline: Instant) -> Result<(), StillRunning> {
        for line in &self.lines {
            drop(line.outgoing.lock().take());
            drop(line.queue.lock().take());
        }
        self.runtime.close(deadline);
        Ok(())
    }
}

impl Drop for GrpcDialer {
    fn drop(&mut self) {
        drop(self.close(Instant::now()));
    }
}

/// The calls of one shard.
struct Call {
    peer: Peer,
    endpoint: Endpoint,
    manners: Manners,
}

enum Ended {
    ByUs,
    ByPeer,
}

impl Call {
    /// Calls the shard, carries packets while the connection lives, and calls again.
    async fn for_ever(self, mut queue: mpsc::Receiver<Bytes>, receiver: Receiver) {
        let (first, most) = self.manners.again;
        let pauses =
            ExponentialBuilder::new().with_jitter().with_min_delay(first).with_max_delay(most).without_max_times();
        let mut pause = pauses.build();
        let shard = self.peer.0;
        loop {
            let began = Instant::now();
            match timeout(self.manners.connect, self.begin()).await {
                Ok(Ok((outgoing, incoming))) => {
                    tracing::info!(shard, "connected");
                    match carry(self.peer, &mut queue, outgoing, incoming, &receiver).await {
                        Ok(Ended::ByUs) => return,
                        Ok(Ended::ByPeer) => tracing::info!(shard, "the connection has ended"),
                        Err(status) => tracing::warn!(shard, why = words(&status), "the connection has broken"),
                    }
                }
                Ok(Err(why)) => tracing::warn!(shard, why, "the shard cannot be called"),
                Err(_) => tracing::warn!(shard, "the shard does not answer the call"),
            }
            if began.elapsed() > most {
                pause = pauses.build(); // it had been there
            }
            tokio::time::sleep(pause.next().unwrap_or(most)).await;
        }
    }

    /// Connects, and opens the stream.
    async fn begin(&self) -> Result<(mpsc::Sender<Packet>, Streaming<Packet>), String> {
        let channel = self.endpoint.connect().await.map_err(|error| words(&error))?;
        let (outgoing, stream) = mpsc::channel(QUEUE);
        let mut request = Request::new(ReceiverStream::new(stream));
        let said = request.metadata_mut();
        said.insert(CALLER, AsciiMetadataValue::from(self.manners.caller));
        said.insert(PROTOCOL, AsciiMetadataValue::from(u32::from(VERSION)));
        said.insert(MACHINE, self.manners.machine.clone());
        let mut client = LinkClient::new(channel).max_decoding_message_size(PACKET_BYTES);
        let incoming = client.carry(request).await.map_err(|status| status.message().to_owned())?;
        Ok((outgoing, incoming.into_inner()))
    }
}

/// Carries packets both ways until the connection ends.
async fn carry(
    peer: Peer,
    queue: &mut mpsc::Receiver<Bytes>,
    outgoing: mpsc::Sender<Packet>,
    mut incoming: Streaming<Packet>,
    receiver: &Receiver,
) -> Result<Ended, tonic::Status> {
    loop {
        tokio::select! {
            packet = queue.recv() => match packet {
                Some(bytes) => drop(outgoing.try_send(Packet { bytes })), // no room: the link sends it again
                None => return Ok(Ended::ByUs),
            },
            packet = incoming.message() => match packet? {
                Some(packet) => receiver(peer, packet.bytes),
                None => return Ok(Ended::ByPeer),
            },
        }
    }
}
