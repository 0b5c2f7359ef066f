//! The shard's side: listens, and carries packets on every stream that a coordinator opens.

use super::runtime::Runtime;
use super::tls::Tls;
use super::wire::Packet;
use super::wire::link_server::{Link, LinkServer};
use super::{CALLER, KEEP_ALIVE, KEEP_ALIVE_ANSWER, MACHINE, PACKET_BYTES, PROTOCOL, QUEUE, STREAMS};
use crate::remote::crew::StillRunning;
use crate::remote::packet::VERSION;
use crate::remote::transport::{Peer, Receiver, Transport, TransportError};
use crate::sync::{Arc, Mutex};
use bytes::Bytes;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Instant;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::ServingStatus;

/// How a shard listens.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListenConfig {
    /// Certificates; without them there is neither encryption nor authentication.
    pub tls: Option<Tls>,
    /// Listens on an address that other machines reach although there is no TLS: whoever reaches it can give it work.
    pub plain_beyond_loopback: bool,
    /// The addresses from which work is taken; empty for all.
    pub callers: Vec<IpAddr>,
    /// The name and version of the machine that blocks are executed with: a coordinator that has another one is refused.
    pub machine: String,
}

/// A [`Transport`] that listens for coordinators.
#[derive(Debug)]
pub struct GrpcListener {
    config: ListenConfig,
    address: SocketAddr,
    /// Taken by `open`.
    socket: Mutex<Option<TcpListener>>,
    runtime: Runtime,
    connections: Arc<Connections>,
    stopping: watch::Sender<bool>,
    /// Whether it is to say that it takes no more work.
    leaving: watch::Sender<bool>,
}

type Outgoing = mpsc::Sender<Result<Packet, Status>>;

/// The newest stream of each caller.
#[derive(Debug, Default)]
struct Connections {
    streams: Mutex<HashMap<Peer, Outgoing>>,
    names: RandomState,
}

/// The most callers at once.
const CALLERS: usize = 64;

impl GrpcListener {
    /// Listens on `address` (host and port; port 0 takes a free one). It is the shard's [`open`](Transport::open) that
    /// serves.
    ///
    /// # Errors
    /// [`TransportError`]: not an address, taken, not to be used without TLS, wrong certificates.
    pub fn new(address: &str, config: ListenConfig) -> Result<Self, TransportError> {
        let listen = |why: String| TransportError::Listen { address: address.into(), why };
        let addresses: Vec<_> = address.to_socket_addrs().map_err(|error| listen(error.to_string()))?.collect();
        if config.tls.is_none() && !config.plain_beyond_loopback && !addresses.iter().all(|at| at.ip().is_loopback()) {
            let why = "it is no loopback address, and without TLS whoever reaches it could give work";
            return Err(listen(why.into()));
        }
        if let Some(tls) = &config.tls {
            server(tls).map(drop)?;
        }
        let socket = TcpListener::bind(addresses.as_slice()).map_err(|error| listen(error.to_string()))?;
        socket.set_nonblocking(true).map_err(|error| listen(error.to_string()))?;
        let address = socket.local_addr().map_err(|error| listen(error.to_string()))?;
        Ok(Self {
            config,
            address,
            socket: Mutex::new(Some(socket)),
            runtime: Runtime::new("cachekv-listen")?,
            connections: Arc::new(Connections::default()),
            stopping: watch::channel(false).0,
            leaving: watch::channel(false).0,
        })
    }

    /// From now on its health is that of a service that takes no more work. It carries on as before.
    pub fn not_serving(&self) {
        self.leaving.send_replace(true);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A server with these certificates; making it looks at them.
fn server(tls: &Tls) -> Result<Server, TransportError> {
    Server::builder().tls_config(tls.server()?).map_err(|error| TransportError::Tls(words(&error)))
}

/// An error with all that is behind it.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words
}

impl Transport for GrpcListener {
    fn open(&self, receiver: Receiver) -> Result<(), TransportError> {
        let closed = || TransportError::Config("it has been opened or closed before".into());
        let socket = self.socket.lock().take().ok_or_else(closed)?;
        let server = match &self.config.tls {
            Some(tls) => server(tls)?,
            None => Server::builder(),
        };
        let mut server = server
            .tcp_nodelay(true)
            .max_concurrent_streams(STREAMS)
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_ANSWER));
        let listen = |why: String| TransportError::Listen { address: self.address.to_string(), why };
        let socket = self.runtime.enter(|| tokio::net::TcpListener::from_std(socket)).ok_or_else(closed)?;
        let socket = TcpIncoming::from(socket.map_err(|error| listen(error.to_string()))?).with_nodelay(Some(true));
        let carrier = Carrier { receiver, connections: Arc::clone(&self.connections), config: self.config.clone() };
        let mut stopping = self.stopping.subscribe();
        let (health, health_service) = tonic_health::server::health_reporter();
        let mut leaving = self.leaving.subscribe();
        self.runtime.spawn(async move {
            health.set_serving::<LinkServer<Carrier>>().await;
            drop(leaving.wait_for(|leaving| *leaving).await);
            for service in ["", <LinkServer<Carrier> as NamedService>::NAME] {
                health.set_service_status(service, ServingStatus::NotServing).await;
            }
        });
        self.runtime.spawn(async move {
            let link = LinkServer::new(carrier).max_decoding_message_size(PACKET_BYTES);
            let stopped = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
            let serving = server.add_service(health_service).add_service(link);
            if let Err(error) = serving.serve_with_incoming_shutdown(socket, stopped).await {
                tracing::error!(error = words(&error), "the listener has ended");
            }
        });
        tracing::info!(address = %self.address, tls = self.config.tls.is_some(), "listening");
        Ok(())
    }

    fn send(&self, peer: Peer, packet: Bytes) {
        let stream = self.connections.streams.lock().get(&peer).cloned();
        if let Some(stream) = stream {
            drop(stream.try_send(Ok(Packet { bytes: packet }))); // where there is no room, the link sends it again
        }
    }

    fn close(&self, deadline: Instant) -> Result<(), StillRunning> {
        drop(self.socket.lock().take());
        self.stopping.send_replace(true);
        self.connections.streams.lock().clear();
        self.runtime.close(deadline);
        Ok(())
    }
}

impl Drop for GrpcListener {
    fn drop(&mut self) {
        drop(self.close(Instant::now()));
    }
}

/// The service: one stream a call.
struct Carrier {
    receiver: Receiver,
    connections: Arc<Connections>,
    config: ListenConfig,
}

#[tonic::async_trait]
impl Link for Carrier {
    type CarryStream = ReceiverStream<Result<Packet, Status>>;

    async fn carry(&self, request: Request<Streaming<Packet>>) -> Result<Response<Self::CarryStream>, Status> {
        let from = request.remote_addr();
        let caller = self.admit(from, request.metadata()).inspect_err(|refused| {
            tracing::warn!(?from, why = refused.message(), "a caller was refused");
        })?;
        // A caller has the certificate it has: nobody takes over the stream of somebody else's.
        let certificate = request.peer_certs().and_then(|certificates| Some(certificates.first()?.to_vec()));
        let peer = Peer(self.connections.names.hash_one((caller, certificate)));
        let (outgoing, stream) = mpsc::channel(QUEUE);
        if !self.connections.add(peer, outgoing.clone()) {
            return Err(Status::resource_exhausted("there are too many callers"));
        }
        tracing::info!(?from, peer = peer.0, "a coordinator has called");
        let (receiver, connections) = (Arc::clone(&self.receiver), Arc::clone(&self.connections));
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(packet)) = incoming.message().await {
                receiver(peer, packet.bytes);
            }
            connections.remove(peer, &outgoing);
            tracing::info!(peer = peer.0, "a coordinator's connection has ended");
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Carrier {
    /// The caller's number, if it may call.
    fn admit(&self, from: Option<SocketAddr>, said: &MetadataMap) -> Result<u64, Status> {
        let ListenConfig { callers, machine, .. } = &self.config;
        let said = |name| said.get(name).and_then(|value| value.to_str().ok());
        if !callers.is_empty() && !from.is_some_and(|from| callers.contains(&from.ip().to_canonical())) {
            return Err(Status::permission_denied("work is not taken from this address"));
        }
        let version = said(PROTOCOL).unwrap_or("none");
        if version != VERSION.to_string() {
            return Err(Status::failed_precondition(format!("protocol {version} is called, {VERSION} is spoken here")));
        }
        let wanted = said(MACHINE).unwrap_or_default();
        if wanted != machine {
            let words = format!("blocks are executed with \"{machine}\" here, not with \"{wanted}\"");
            return Err(Status::failed_precondition(words));
        }
        let caller = said(CALLER).and_then(|caller| caller.parse().ok());
        caller.ok_or_else(|| Status::invalid_argument("the caller does not say who it is"))
    }
}

impl Connections {
    /// Makes `stream` the peer's; the one before ends. False if there are too many.
    fn add(&self, peer: Peer, stream: Outgoing) -> bool {
        let mut streams = self.streams.lock();
        if streams.len() >= CALLERS && !streams.contains_key(&peer) {
            return false;
        }
        streams.insert(peer, stream);
        true
    }

    /// Lets go of `stream`, unless another has taken its place.
    fn remove(&self, peer: Peer, stream: &Outgoing) {
        let mut streams = self.streams.lock();
        if streams.get(&peer).is_some_and(|newest| newest.same_channel(stream)) {
            streams.remove(&peer);
        }
    }
}
