//! Shards behind real sockets: connections that break, certificates that do not fit, addresses that are taken.

use super::machine::{Machine, Script, State, Step, oracle};
use super::proxy::Proxy;
use super::rig::{LONG, link, options, shard_config, within};
use cachekv::kv::{KvStore, MemStore};
use cachekv::remote::{
    BlockOptions, Cluster, ClusterConfig, DialConfig, GrpcDialer, GrpcListener, How, ListenConfig, Shard, StartError,
    Tls, TransportError,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MACHINE: Machine = Machine { keys: 64 };
const LOOPBACK: &str = "127.0.0.1:0";

fn listener(tls: Option<Tls>) -> GrpcListener {
    let mut config = ListenConfig::default();
    config.tls = tls;
    GrpcListener::new(LOOPBACK, config).unwrap()
}

fn shard_at(listener: GrpcListener) -> (Shard, String) {
    let address = listener.address().to_string();
    (Shard::start(MACHINE, Arc::new(listener), shard_config(link(LONG), 1)).unwrap(), address)
}

fn cluster(addresses: &[String], tls: Option<Tls>) -> Cluster<Machine> {
    let mut dial = DialConfig::default();
    (dial.tls, dial.again) = (tls, (Duration::from_millis(5), Duration::from_millis(40)));
    let dialer = GrpcDialer::new(addresses, &dial).unwrap();
    let peers = dialer.peers();
    let mut config = ClusterConfig::default();
    (config.threads, config.link) = (1, link(LONG));
    Cluster::start(MACHINE, Arc::new(dialer), &peers, config).unwrap()
}

fn up(cluster: &Cluster<Machine>, shards: usize) {
    assert_eq!(cluster.handle().shards_up(shards, within(LONG)).len(), shards, "the shards do not come up");
}

/// Transactions that meet each other now and then.
fn block(len: u16) -> Vec<Script> {
    let script = |n: u16| Script(vec![Step::Get(n % 64), Step::Set((n * 7) % 64), Step::Get(60), Step::Scan(3, 6)]);
    (0..len).map(script).collect()
}

/// Executes a block, which must come to what it has to.
fn right(cluster: &mut Cluster<Machine>, len: u16) -> How {
    let state: State = (0..64).map(|key| (key, u64::from(key) * 3)).collect();
    let block = block(len);
    let due = oracle(&state, &block, 64);
    let snapshot = MemStore::from_iter(state.clone()).snapshot().unwrap();
    let again = BlockOptions { attempts: 10, ..options(LONG) };
    let done = cluster.execute(&snapshot, &block, &due.accesses, again).unwrap();
    assert_eq!(done.output.outputs, due.outputs);
    done.how
}

fn is_sharded(how: &How, over: usize) -> bool {
    matches!(how, How::Sharded { shards, .. } if *shards == over)
}

#[test]
fn blocks_over_sockets_are_equal_to_blocks_here() {
    let (shards, addresses): (Vec<_>, Vec<_>) = (0..2).map(|_| shard_at(listener(None))).unzip();
    let mut cluster = cluster(&addresses, None);
    up(&cluster, 2);
    for len in [1, 2, 40, 400] {
        let how = right(&mut cluster, len);
        assert!(is_sharded(&how, usize::from(len.min(2))), "{len}: {how:?}");
    }
    shards.iter().for_each(|shard| assert_eq!(shard.shutdown(within(LONG)), Ok(())));
    assert_eq!(cluster.handle().shutdown(within(LONG)), Ok(()));
}

/// A shard that is stopped and started again at its port takes part again, without anybody's doing.
#[test]
fn a_shard_that_restarts_takes_part_again() {
    let (first, address) = shard_at(listener(None));
    let (_second, other) = shard_at(listener(None));
    let mut cluster = cluster(&[address.clone(), other], None);
    up(&cluster, 2);
    right(&mut cluster, 40);
    assert_eq!(first.shutdown(within(LONG)), Ok(()));
    let again = GrpcListener::new(&address, ListenConfig::default()).unwrap();
    let (_again, _) = shard_at(again);
    let end = within(LONG);
    while cluster.handle().counts().downs == 0 {
        assert!(Instant::now() < end, "the restart is not noticed");
        std::thread::sleep(Duration::from_millis(2));
    }
    up(&cluster, 2);
    assert!(is_sharded(&right(&mut cluster, 40), 2));
}

/// Connections that break in the middle of blocks cost time and nothing else: what was lost with one is sent over the next.
#[test]
fn broken_connections_are_mended_in_the_middle_of_blocks() {
    let (_shard, address) = shard_at(listener(None));
    let (_other, direct) = shard_at(listener(None));
    let proxy = Proxy::to(address);
    let mut cluster = cluster(&[proxy.address.clone(), direct], None);
    up(&cluster, 2);
    proxy.cut_after(24 << 10);
    for _ in 0..5 {
        assert!(is_sharded(&right(&mut cluster, 300), 2));
    }
    assert!(proxy.cuts() >= 5, "{} cuts", proxy.cuts());
    assert_eq!(cluster.handle().counts().downs, 0, "the shard was there all the while");
    assert!(cluster.handle().counts().resent > 0, "nothing was lost");
}

fn tls(name: &str, authority: &str) -> Tls {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/remote/certificates");
    let file = |name: String| folder.join(name);
    Tls::read(&file(format!("{name}.pem")), &file(format!("{name}.key")), &file(format!("{authority}.pem"))).unwrap()
}

#[test]
fn both_sides_know_each_other_by_their_certificates() {
    let (shard, address) = shard_at(listener(Some(tls("shard", "authority"))));
    let mut cluster = cluster(&[address], Some(tls("coordinator", "authority")));
    up(&cluster, 1);
    assert!(is_sharded(&right(&mut cluster, 20), 1));
    assert!(shard.counts().begun > 0);
}

#[test]
fn nobody_else_gives_a_shard_work() {
    let (shard, address) = shard_at(listener(Some(tls("shard", "authority"))));
    let soon = || within(Duration::from_millis(300));
    let strangers = [None, Some(tls("stranger", "authority")), Some(tls("stranger", "stranger-authority"))];
    for stranger in strangers {
        let cluster = cluster(std::slice::from_ref(&address), stranger);
        assert_eq!(cluster.handle().shards_up(1, soon()), [0; 0]);
    }
    assert_eq!((shard.counts().packets, shard.counts().ups), (0, 0), "nothing of theirs has come as far as the shard");
    // And a coordinator gives no work to a shard that it does not know.
    let (false_shard, address) = shard_at(listener(Some(tls("stranger", "authority"))));
    let cluster = cluster(&[address], Some(tls("coordinator", "authority")));
    assert_eq!(cluster.handle().shards_up(1, soon()), [0; 0]);
    assert_eq!(false_shard.counts().packets, 0);
}

/// A coordinator whose blocks are for another machine is refused before it gives any work.
#[test]
fn another_machine_is_refused_when_it_calls() {
    let mut config = ListenConfig::default();
    config.machine = "counting/2".into();
    let (shard, address) = shard_at(GrpcListener::new(LOOPBACK, config).unwrap());
    let dial = |machine: &str| {
        let mut dial = DialConfig::default();
        (dial.machine, dial.again) = (machine.into(), (Duration::from_millis(5), Duration::from_millis(40)));
        let dialer = GrpcDialer::new(std::slice::from_ref(&address), &dial).unwrap();
        let mut config = ClusterConfig::default();
        (config.threads, config.link) = (1, link(LONG));
        Cluster::start(MACHINE, Arc::new(dialer), &[cachekv::remote::Peer(0)], config).unwrap()
    };
    for other in ["counting/1", ""] {
        assert_eq!(dial(other).handle().shards_up(1, within(Duration::from_millis(200))), [0; 0], "{other}");
    }
    assert_eq!(shard.counts().packets, 0);
    assert_eq!(dial("counting/2").handle().shards_up(1, within(LONG)), [0]);
}

/// A shard that is told to go ends what it has, whose outcome arrives, and is given no more; its health says so.
#[test]
fn a_shard_that_drains_is_given_no_more_blocks() {
    let (going, address) = shard_at(listener(None));
    let (_stays, other) = shard_at(listener(None));
    let mut cluster = cluster(&[address, other], None);
    up(&cluster, 2);
    assert!(is_sharded(&right(&mut cluster, 40), 2));
    assert!(going.drain(within(LONG)));
    // It is still there, and takes nothing: told or not told yet, the block comes to its end without it.
    for _ in 0..3 {
        assert!(is_sharded(&right(&mut cluster, 40), 1));
    }
    assert!(going.drain(within(LONG)), "once more is as good");
    assert_eq!(going.counts().begun, going.counts().done + going.counts().failed);
}

#[test]
fn a_start_that_fails_says_why() {
    let first = listener(None);
    let taken = GrpcListener::new(&first.address().to_string(), ListenConfig::default()).unwrap_err();
    assert!(matches!(&taken, TransportError::Listen { why, .. } if why.contains("in use")), "{taken}");
    for address in ["nowhere", "127.0.0.1", "127.0.0.1:99999", ""] {
        let wrong = GrpcListener::new(address, ListenConfig::default()).unwrap_err();
        assert!(matches!(&wrong, TransportError::Listen { address: at, .. } if at == address), "{address}: {wrong}");
        assert!(GrpcDialer::new(&[address.to_owned()], &DialConfig::default()).is_err(), "{address}");
    }
    let open = GrpcListener::new("0.0.0.0:0", ListenConfig::default()).unwrap_err();
    assert!(open.to_string().contains("TLS"), "{open}");
    let mut knowingly = ListenConfig::default();
    knowingly.plain_beyond_loopback = true;
    assert!(GrpcListener::new("0.0.0.0:0", knowingly).is_ok());
    let mut garbled = ListenConfig::default();
    garbled.tls = Some(Tls::new("no certificate", "no key", "nobody"));
    let wrong = GrpcListener::new(LOOPBACK, garbled).unwrap_err();
    assert!(matches!(wrong, TransportError::Tls(_)), "{wrong}");
    // Two shards on one listener: the second is told, and the first goes on.
    let shared = Arc::new(listener(None));
    let _first = Shard::start(MACHINE, shared.clone(), shard_config(link(LONG), 1)).unwrap();
    let second = Shard::start(MACHINE, shared, shard_config(link(LONG), 1));
    assert!(matches!(second, Err(StartError::Transport(TransportError::Config(_)))), "{second:?}");
}

#[test]
fn its_port_is_free_once_a_shard_has_stopped() {
    let (mut shard, address) = shard_at(listener(None));
    for _ in 0..20 {
        assert_eq!(shard.shutdown(within(LONG)), Ok(()));
        shard = shard_at(GrpcListener::new(&address, ListenConfig::default()).unwrap()).0;
    }
}

#[test]
fn the_standard_health_service_answers() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
    let (_shard, address) = shard_at(listener(None));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        let mut health = HealthClient::new(channel.connect().await.unwrap());
        for service in ["", "cachekv.remote.v1.Link"] {
            let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
            assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
        }
    });
}
