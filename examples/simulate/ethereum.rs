//! Ethereum blocks as the simulation sees them: what each transaction reads and writes, and what it costs.
//!
//! Each is executed by itself, on the state after those before it, in advance of a place executed elsewhere: so it runs as in
//! a parallel block, where what is merged is not read. Whatever it reads it then reads from the state, which notes it.

use crate::block::Tx;
use crate::record::costs;
use cachekv::evm::{
    Block, BlockFiles, Change, Changes, Codes, Error, StateKey, StateValue, Transaction, TxOutput, store,
};
use cachekv::executor::{BlockExecutor, Config, Effect, Elsewhere, Options, Vm};
use cachekv::kv::{self, KeyRange, KvRead, KvStore, MemSnapshot};
use cachekv::multiversion::TxView;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The blocks in `folder`, in order.
pub fn read(folder: &Path) -> Result<Vec<Block>, Box<dyn std::error::Error>> {
    let codes = Codes::read(folder.join("codes.json.gz"))?;
    let mut blocks = Vec::new();
    for entry in std::fs::read_dir(folder.join("blocks"))? {
        let path = entry?.path();
        if path.is_dir() {
            blocks.push(Block::new(BlockFiles::in_folder(path).read_with(&codes)?));
        }
    }
    blocks.sort_by_key(|block| block.input().header.number);
    Ok(blocks)
}

/// A state that notes what is read while it is told to.
#[derive(Clone)]
struct Noting {
    state: MemSnapshot<StateKey, StateValue>,
    noted: Arc<Mutex<(bool, Vec<StateKey>)>>,
}

impl KvRead for Noting {
    type Key = StateKey;
    type Value = StateValue;
    type Iter = <MemSnapshot<StateKey, StateValue> as KvRead>::Iter;
    type Root = Self;

    fn get(&self, key: &StateKey) -> Result<Option<StateValue>, kv::Error> {
        let mut noted = self.noted.lock();
        if noted.0 {
            noted.1.push(*key);
        }
        self.state.get(key)
    }

    fn scan(&self, range: KeyRange<StateKey>) -> Self::Iter {
        self.state.scan(range)
    }

    fn root(&self) -> &Self {
        self
    }
}

/// Executes one transaction, notes what it reads, and then lets the place before it arrive.
struct Recorder<'b> {
    block: &'b Block,
    noted: Arc<Mutex<(bool, Vec<StateKey>)>>,
    elsewhere: Elsewhere<StateKey, StateValue, Change>,
    nobody: StateKey,
}

impl Vm for Recorder<'_> {
    type Key = StateKey;
    type Value = StateValue;
    type Merge = Changes;
    type Transaction = Transaction;
    type Output = TxOutput;
    type Error = Error;

    fn execute(&self, tx: &Transaction, view: &TxView<'_, StateKey, StateValue, Changes>) -> Result<TxOutput, Error> {
        let note = |on| self.noted.lock().0 = on;
        note(true);
        let done = self.block.execute(tx, view);
        note(false);
        let _ = self.elsewhere.resolve(0, &self.nobody, Effect::NotWritten); // told before, if this is a second run
        done
    }
}

/// `block` as the simulation sees it.
pub fn record(block: &Block) -> Result<Vec<Tx>, Box<dyn std::error::Error>> {
    let before = store(&block.input().pre_state);
    let costs = costs(&before.snapshot()?, block.transactions(), block);
    let mut config = Config::default();
    (config.threads, config.run_ahead) = (1, block.transactions().len() + 1); // from the place that waits to the last
    let executor = BlockExecutor::with_config(config)?;
    let nobody = StateKey::Generation(Default::default());
    let mut keys = HashMap::new();
    let mut txs = Vec::new();
    for (index, (tx, cost)) in block.transactions().iter().zip(costs).enumerate() {
        let noted = Arc::default();
        // The transaction keeps its place; the first of those before it owes a key, and so this one runs in advance.
        let places = (0..=index as u32).map(|place| (place, if place == 0 { vec![nobody] } else { Vec::new() }));
        let elsewhere = Elsewhere::new(places.filter(|(place, _)| index == 0 || *place < index as u32));
        let vm = Recorder { block, noted: Arc::clone(&noted), elsewhere: elsewhere.clone(), nobody };
        let state = Noting { state: before.snapshot()?, noted: Arc::clone(&noted) };
        let options =
            if index == 0 { Options::default() } else { Options { elsewhere: Some(elsewhere), ..Options::default() } };
        let done = executor.execute_with(&state, std::slice::from_ref(tx), &vm, options);
        let done = done.map_err(|error| error.cause.to_string())?;
        let mut number = |key: StateKey| {
            let next = keys.len() as u32;
            *keys.entry(key).or_insert(next)
        };
        let read = std::mem::take(&mut noted.lock().1);
        let mut reads: Vec<u32> = Vec::new();
        for key in read {
            let key = number(key);
            if !reads.contains(&key) {
                reads.push(key);
            }
        }
        let writes = done.batch.iter().map(|(key, _)| number(*key)).collect();
        before.commit(done.batch)?;
        let left = block.is_long(index as u32, tx) == Some(false);
        txs.push(Tx { cost, reads, writes, reads_first: false, left });
    }
    Ok(txs)
}
