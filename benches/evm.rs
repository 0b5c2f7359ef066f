//! Real Ethereum blocks: plain revm over its own hash-map database is the baseline, then this crate's sequential
//! execution, then the executor on one thread and on two; each block by itself, and all of them one after the other.
//!
//! The blocks are read from `../shared/ethereum`, or from the folder that `CACHEKV_ETHEREUM` names.

use cachekv::evm::{Block, BlockFiles, BlockInput, Codes, StateKey, StateValue, store};
use cachekv::executor::{BlockExecutor, execute_sequentially};
use cachekv::kv::{KvStore, MemStore};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::{KECCAK_EMPTY, U256};
use revm::state::AccountInfo;
use revm::{Context, ExecuteCommitEvm, MainBuilder, MainContext};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

type Snapshot = <MemStore<StateKey, StateValue> as KvStore>::Snapshot;
type Plain = CacheDB<EmptyDB>;

/// A block, ready for each of the four.
struct Case {
    block: Block,
    before: Snapshot,
    plain: Plain,
}

/// The folder of blocks, if it is there.
fn folder() -> Option<PathBuf> {
    let given = std::env::var_os("CACHEKV_ETHEREUM").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/ethereum"));
    if folder.join("blocks").is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: no Ethereum blocks in {}; set CACHEKV_ETHEREUM to their folder", folder.display());
    None
}

fn read(folder: &Path) -> Result<Vec<Case>, Box<dyn Error>> {
    let codes = Codes::read(folder.join("codes.json.gz"))?;
    let mut folders = std::fs::read_dir(folder.join("blocks"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    folders.retain(|path| path.is_dir());
    let mut cases = Vec::new();
    for folder in folders {
        let input = BlockFiles::in_folder(folder).read_with(&codes)?;
        let (before, plain) = (store(&input.pre_state).snapshot()?, plain(&input)?);
        cases.push(Case { block: Block::new(input), before, plain });
    }
    cases.sort_by_key(|case| case.block.input().header.number);
    Ok(cases)
}

/// The state before the block in revm's own database, codes beside their accounts.
fn plain(input: &BlockInput) -> Result<Plain, Box<dyn Error>> {
    let mut database = Plain::default();
    for (address, account) in &input.pre_state {
        let code = input.codes.get(&account.code_hash).cloned();
        let code = if account.code_hash == KECCAK_EMPTY { Some(Default::default()) } else { code };
        let (balance, nonce, code_hash) = (account.balance, account.nonce, account.code_hash);
        database.insert_account_info(*address, AccountInfo { balance, nonce, code_hash, account_id: None, code });
        for (slot, value) in &account.storage {
            database.insert_account_storage(*address, *slot, *value)?;
        }
    }
    database.cache.block_hashes.extend(input.block_hashes.iter().map(|(number, hash)| (U256::from(*number), *hash)));
    Ok(database)
}

impl Case {
    /// Runs the block on one machine that is kept from the first transaction to the last.
    fn on_revm(&self, database: &mut Plain) -> usize {
        let input = self.block.input();
        let context = Context::mainnet().with_cfg(input.fork.cfg()).with_block(input.env.clone());
        let mut evm = context.with_db(database).build_mainnet();
        input.transactions.iter().filter(|tx| evm.transact_commit(tx.env.clone()).is_ok()).count()
    }

    fn sequentially(&self) -> usize {
        let done = execute_sequentially(&self.before, self.block.transactions(), &self.block, None);
        done.map_or(0, |done| done.outputs.len())
    }

    fn on(&self, executor: &BlockExecutor) -> usize {
        let done = executor.execute(&self.before, self.block.transactions(), &self.block);
        done.map_or(0, |done| done.outputs.len())
    }

    /// That all four get through the block, so that none is fast because it failed.
    fn check(&self, executors: &[BlockExecutor]) {
        let due = self.block.transactions().len();
        assert_eq!(self.on_revm(&mut self.plain.clone()), due);
        assert_eq!(self.sequentially(), due);
        executors.iter().for_each(|executor| assert_eq!(self.on(executor), due));
    }
}

/// The four over `cases`, in their order.
fn group(criterion: &mut Criterion, name: &str, cases: &[Case], executors: &[BlockExecutor]) {
    let mut group = criterion.benchmark_group(name);
    let gas = cases.iter().map(|case| case.block.input().header.gas_used).sum();
    group.throughput(Throughput::Elements(gas));
    group.bench_function("revm", |bencher| {
        let fresh = || cases.iter().map(|case| case.plain.clone()).collect::<Vec<_>>();
        let run = |databases: &mut Vec<Plain>| {
            cases.iter().zip(databases).map(|(case, database)| case.on_revm(database)).sum::<usize>()
        };
        bencher.iter_batched_ref(fresh, run, BatchSize::PerIteration);
    });
    group.bench_function("sequential", |bencher| {
        bencher.iter(|| cases.iter().map(Case::sequentially).sum::<usize>());
    });
    for executor in executors {
        group.bench_function(format!("{} threads", executor.threads()), |bencher| {
            bencher.iter(|| cases.iter().map(|case| case.on(executor)).sum::<usize>());
        });
    }
    group.finish();
}

fn evm(criterion: &mut Criterion) {
    let Some(folder) = folder() else { return };
    let cases = read(&folder).unwrap_or_else(|error| panic!("{error}"));
    let executors = [1, 2].map(|threads| BlockExecutor::new(threads).unwrap_or_else(|error| panic!("{error}")));
    for case in &cases {
        case.check(&executors);
        let name = format!("block {}", case.block.input().header.number);
        group(criterion, &name, std::slice::from_ref(case), &executors);
    }
    group(criterion, "all blocks", &cases, &executors);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    targets = evm
}
criterion_main!(benches);
