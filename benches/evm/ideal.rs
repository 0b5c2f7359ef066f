//! How parallel a block can be: what each transaction reads and writes, and the shortest time in which workers that know
//! that beforehand, and pay nothing for it, could execute the block.
//!
//! A transaction waits for those below it that wrote what it reads. Plain transfers, the fees, and what contracts are paid and
//! pay, only add to balances, which reads nothing; whoever reads such a balance waits for all who have added to it.

use cachekv::evm::{Block, Machine, StateKey, StateValue, Transfer};
use cachekv::executor::{Commit, execute_sequentially};
use cachekv::kv::KvRead;
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::{Address, B256, KECCAK_EMPTY, U256};
use revm::state::{Account, AccountInfo, Bytecode, EvmState};
use revm::{Database, DatabaseCommit};
use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;

/// What can be read or written by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Account(Address),
    /// An account with code, but for its balance.
    Contract(Address),
    Code(Address),
    Slot(Address, U256),
}

/// How many times as fast as sequential execution a block can be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ideal {
    /// On two workers.
    pub(crate) two: f64,
    /// On as many as there are transactions.
    pub(crate) unbounded: f64,
}

/// A database that notes what is read.
struct Noting<'a> {
    state: &'a mut CacheDB<EmptyDB>,
    read: Vec<Place>,
}

type Failed = <CacheDB<EmptyDB> as Database>::Error;

impl Database for &mut Noting<'_> {
    type Error = Failed;
    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Failed> {
        let account = self.state.basic(address)?;
        let coded = account.as_ref().is_some_and(|account| account.code_hash != KECCAK_EMPTY);
        self.read.push(if coded { Place::Contract(address) } else { Place::Account(address) });
        Ok(account)
    }
    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Failed> {
        self.state.code_by_hash(hash)
    }
    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Failed> {
        self.read.push(Place::Slot(address, slot));
        self.state.storage(address, slot)
    }
    fn block_hash(&mut self, number: u64) -> Result<B256, Failed> {
        self.state.block_hash(number)
    }
}

/// The ideal of `block` over `before`.
pub(crate) fn ideal(
    block: &Block,
    before: &impl KvRead<Key = StateKey, Value = StateValue>,
    plain: &CacheDB<EmptyDB>,
) -> Result<Ideal, Box<dyn Error>> {
    let (below, times) = (dependencies(block, &mut plain.clone())?, times(block, before));
    let sequential: f64 = times.iter().sum();
    Ok(Ideal {
        two: sequential / makespan(&below, &times, 2),
        unbounded: sequential / makespan(&below, &times, times.len()),
    })
}

/// What each transaction takes in sequential execution: the least of several runs.
fn times(block: &Block, before: &impl KvRead<Key = StateKey, Value = StateValue>) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; block.transactions().len()];
    for _ in 0..7 {
        let mut last = Instant::now();
        let mut note = |commit: Commit<'_, _, _, _>| {
            let now = Instant::now();
            let time = &mut least[commit.index as usize];
            *time = time.min((now - last).as_nanos() as f64);
            last = Instant::now();
            ControlFlow::Continue(())
        };
        drop(execute_sequentially(before, block.transactions(), block, Some(&mut note)));
    }
    least
}

/// For each transaction, those that it waits for.
fn dependencies(block: &Block, state: &mut CacheDB<EmptyDB>) -> Result<Vec<Vec<usize>>, Box<dyn Error>> {
    let (input, mut machine) = (block.input(), Machine::default());
    let cfg = input.fork.cfg();
    // Who has written a place last: one who put a value there, and those who have since added to it.
    let mut writers: HashMap<Place, Vec<usize>> = HashMap::new();
    let mut all = Vec::new();
    for (index, tx) in input.transactions.iter().enumerate() {
        let mut noting = Noting { state, read: Vec::new() };
        let done = machine.run(&cfg, &input.env, &tx.env, &mut noting)?;
        let mut read = noting.read;
        read.extend(used(&done.state));
        let mut written = written(&done.state);
        let transfer = Transfer::candidate(&tx.env, &input.env, &cfg).filter(|transfer| !transfer.value.is_zero());
        if let Some(transfer) = transfer.filter(|transfer| no_code(&done.state, transfer)) {
            read = vec![Place::Code(transfer.sender), Place::Code(transfer.recipient)];
            written.iter_mut().for_each(|(_, adds)| *adds = true);
        }
        let mut below: Vec<_> = read.iter().filter_map(|place| writers.get(place)).flatten().copied().collect();
        below.sort_unstable();
        below.dedup();
        all.push(below);
        if !done.reward.is_zero() {
            written.push((Place::Account(input.env.beneficiary), true));
        }
        for (place, adds) in written {
            let writers = writers.entry(place).or_default();
            if !adds {
                writers.clear();
            }
            writers.push(index);
        }
        state.commit(done.state);
        let mut paid = state.basic(input.env.beneficiary)?.unwrap_or_default();
        paid.balance = paid.balance.saturating_add(done.reward);
        state.insert_account_info(input.env.beneficiary, paid);
    }
    Ok(all)
}

fn no_code(state: &EvmState, transfer: &Transfer) -> bool {
    let bare = |address| state.get(address).is_none_or(|account| account.info.code_hash == KECCAK_EMPTY);
    bare(&transfer.sender) && bare(&transfer.recipient)
}

/// Contracts whose balance a run used: of those whose account it changed, this is certain; that it only looked is not seen here.
fn used(state: &EvmState) -> impl Iterator<Item = Place> {
    let used = state.iter().filter(|(_, account)| account.original_info().balance != account.info.balance);
    used.filter(|(_, account)| !only_paid(account)).map(|(address, _)| Place::Account(*address))
}

/// Whether an account with code has been paid, or has paid, and nothing else.
fn only_paid(account: &Account) -> bool {
    let (before, after) = (account.original_info(), &account.info);
    let coded = before.code_hash != KECCAK_EMPTY && before.code_hash == after.code_hash;
    coded && before.nonce == after.nonce && !account.is_created() && !account.is_selfdestructed()
}

/// What a run changed, and whether by adding.
fn written(state: &EvmState) -> Vec<(Place, bool)> {
    let mut written = Vec::new();
    for (address, account) in state.iter().filter(|(_, account)| account.is_touched()) {
        let (before, after) = (account.original_info(), &account.info);
        let renewed = account.is_created() || account.is_selfdestructed();
        if renewed || (before.balance, before.nonce) != (after.balance, after.nonce) {
            written.push((Place::Account(*address), only_paid(account)));
        }
        if renewed || before.code_hash != after.code_hash {
            written.push((Place::Code(*address), false));
        }
        if renewed || (before.code_hash, before.nonce) != (after.code_hash, after.nonce) {
            written.push((Place::Contract(*address), false));
        }
        let changed = account.storage.iter().filter(|(_, slot)| slot.is_changed());
        written.extend(changed.map(|(slot, _)| (Place::Slot(*address, *slot), false)));
    }
    written
}

/// How long `workers` take, each of which always begins the lowest transaction that need not wait.
fn makespan(below: &[Vec<usize>], times: &[f64], workers: usize) -> f64 {
    let mut above = vec![Vec::new(); below.len()];
    let mut owing: Vec<usize> = below.iter().map(Vec::len).collect();
    for (index, below) in below.iter().enumerate() {
        below.iter().for_each(|lower| above[*lower].push(index));
    }
    let mut ready: BTreeSet<usize> = (0..below.len()).filter(|index| owing[*index] == 0).collect();
    // Those under way by the time at which they end, in picoseconds so that they can be keys.
    let mut running: BTreeSet<(u64, usize)> = BTreeSet::new();
    let mut now = 0;
    loop {
        while running.len() < workers
            && let Some(next) = ready.pop_first()
        {
            running.insert((now + (times[next] * 1e3) as u64, next));
        }
        let Some((end, done)) = running.pop_first() else { return now as f64 / 1e3 };
        now = end;
        for index in &above[done] {
            owing[*index] -= 1;
            if owing[*index] == 0 {
                ready.insert(*index);
            }
        }
    }
}
