//! Real Ethereum blocks on the executor: gas, bloom and receipts root as in the header, and the state of plain
//! sequential execution, at 1, 2 and 4 threads, again and again.

use crate::evm_oracle::{self, FinalState};
use cachekv::evm::{
    Block, BlockFiles, BlockInput, Codes, StateKey, StateValue, TxOutput, accounts, receipts, store, verify,
};
use cachekv::executor::{BlockOutput, Options, execute_sequentially};
use cachekv::kv::KvStore;
use std::path::Path;

type Output = BlockOutput<StateKey, StateValue, TxOutput>;

/// How often each block is executed with each number of threads.
const ROUNDS: usize = 3;

fn state_after(block: &Block, output: &Output) -> FinalState {
    accounts(&store(&block.input().pre_state).commit(output.batch.clone()).unwrap()).unwrap()
}

fn assert_right(block: &Block, expected: &FinalState, output: Output, who: &str) {
    let number = block.input().header.number;
    let state = state_after(block, &output);
    for (address, account) in expected {
        assert_eq!(state.get(address), Some(account), "block {number}, {who}: account {address}");
    }
    assert_eq!(state.len(), expected.len(), "block {number}, {who}: accounts that should not be");
    let receipts = receipts(output.outputs);
    verify(&block.input().header, &block.input().fork, &receipts).unwrap_or_else(|error| panic!("{who}: {error}"));
}

fn read(folder: &Path, codes: &mut Option<Codes>) -> BlockInput {
    let files = BlockFiles::in_folder(folder);
    let codes = codes.get_or_insert_with(|| Codes::read(files.codes.as_ref().unwrap()).unwrap());
    files.read_with(codes).unwrap()
}

#[test]
fn the_blocks_execute_as_their_headers_say() {
    let Some(folder) = evm_oracle::folder() else { return };
    let executors = [1, 2, 4].map(crate::acts::sharing);
    let (mut codes, mut executed) = (None, 0);
    let folders = evm_oracle::blocks(&folder);
    for folder in &folders {
        let block = Block::new(read(folder, &mut codes));
        let (_, expected) = evm_oracle::execute(block.input());
        let before = store(&block.input().pre_state).snapshot().unwrap();
        let sequential = execute_sequentially(&before, block.transactions(), &block, None);
        assert_right(&block, &expected, sequential.map_err(|error| error.cause.to_string()).unwrap(), "sequential");
        for executor in &executors {
            for round in 0..ROUNDS {
                let hints = (round % 2 == 0).then(|| block.hints());
                let options = Options { hints, ..Options::default() };
                let done = executor.execute_with(&before, block.transactions(), &block, options);
                let done = done.map_err(|error| error.cause.to_string()).unwrap();
                assert_right(&block, &expected, done, &format!("{} threads", executor.threads()));
            }
        }
        executed += 1;
    }
    println!("executed {executed} of {} Ethereum blocks", folders.len());
    assert_eq!(executed, folders.len());
}
