//! Finding the store, or making it, and where its chain goes on.

use crate::args::Run;
use crate::chain::Chain;
use crate::failure::Failure;
use crate::kind::Kind;
use crate::readers;
use crate::root::check_finished;
use crate::workload;
use cachekv::cachekv::Store;
use cachekv::kv::{KvStore, RedbStore};
use std::fs;
use std::path::{Path, PathBuf};

/// The directory of the stores that nobody named.
const DIRECTORY: &str = "cachekv-data";
/// What a new chain is made with where nobody says otherwise.
const SEED: u64 = 1;
const ACCOUNTS: u64 = 10_000;

/// A store, ready to go on.
pub(crate) struct Opened {
    pub(crate) store: Store<RedbStore>,
    pub(crate) chain: Chain,
    pub(crate) path: PathBuf,
}

/// Opens the store that `args` names, makes it if it is not there, and checks the state it has.
///
/// # Errors
/// If it cannot be opened or made, is no store of this program, was made with something else than what `args` asks for,
/// or its state is not as it must be.
pub(crate) fn open(args: &Run) -> Result<Opened, Failure> {
    let path = match &args.db {
        Some(path) => path.clone(),
        None => default_path(args.workload.unwrap_or(Kind::Transfers))?,
    };
    let file = RedbStore::create(&path)?;
    let state = file.snapshot()?;
    check_finished(&state)?;
    let chain = match Chain::of(&state)? {
        Some(chain) => {
            agrees(&chain, args, &path)?;
            readers::walk(&state)?
        }
        None => {
            let chain = new_chain(args);
            file.commit(workload::genesis(&chain))?;
            chain
        }
    };
    drop(state); // a snapshot held keeps pages of the file from being used again
    Ok(Opened { store: Store::new(file)?, chain, path })
}

fn default_path(workload: Kind) -> Result<PathBuf, Failure> {
    fs::create_dir_all(DIRECTORY).map_err(|error| {
        Failure::System(format!("cannot make the directory {DIRECTORY} ({error}): name a file with --db"))
    })?;
    Ok(Path::new(DIRECTORY).join(format!("{workload}.redb")))
}

fn new_chain(args: &Run) -> Chain {
    Chain {
        workload: args.workload.unwrap_or(Kind::Transfers),
        seed: args.seed.unwrap_or(SEED),
        accounts: args.accounts.unwrap_or(ACCOUNTS),
        height: 0,
        transactions: 0,
    }
}

/// Whether `chain` is what `args` asks for; what `args` leaves open is the chain's.
fn agrees(chain: &Chain, args: &Run, path: &Path) -> Result<(), Failure> {
    let differs = |name: &str, has: String, wanted: Option<String>| match wanted {
        Some(wanted) if wanted != has => Err(Failure::Usage(format!(
            "{} was made with {name} {has}, not {wanted}: leave {name} out to go on, or name another file with --db",
            path.display()
        ))),
        _ => Ok(()),
    };
    differs("--workload", chain.workload.to_string(), args.workload.map(|kind| kind.to_string()))?;
    differs("--seed", chain.seed.to_string(), args.seed.map(|seed| seed.to_string()))?;
    differs("--accounts", chain.accounts.to_string(), args.accounts.map(|accounts| accounts.to_string()))
}
