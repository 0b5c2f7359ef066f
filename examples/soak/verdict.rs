//! A block, executed in parallel, sequentially, and by the oracle; and whether the three agree.

use crate::deal::{Dealt, End};
use crate::machine::{Deed, Fault, Machine, PANIC, Then};
use crate::oracle::{self, State};
use crate::script::{Interpreter, Key, Output, Value};
use cachekv::executor::{
    BlockExecutor, BlockOutput, BlockResult, CancelToken, Cause, Commit, Options, execute_sequentially,
};
use cachekv::kv::{KvRead, Op, WriteBatch};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// What came of a block on which all agree.
pub struct Agreed {
    /// What the committed transactions wrote, and the state that it makes.
    pub batch: WriteBatch<Key, Value>,
    pub state: State,
    pub transactions: u64,
    pub executions: u64,
    /// Whether it ended before its last transaction.
    pub early: bool,
}

type Told = (Option<Cause<Fault>>, BlockOutput<Key, Value, Output>);

fn told(done: BlockResult<Machine>) -> Told {
    match done {
        Ok(output) => (None, output),
        Err(error) => (Some(error.cause), error.committed),
    }
}

/// Executes `dealt` over `snapshot`, which shows `state`.
///
/// # Errors
/// Where two of the three differ.
pub fn judge(
    executor: &BlockExecutor,
    snapshot: &impl KvRead<Key = Key, Value = Value>,
    state: &State,
    dealt: &Dealt,
) -> Result<Agreed, String> {
    let machine = Machine(Interpreter { keys: dealt.keys });
    let mut hooked = Hooked { state: state.clone(), outputs: Vec::new(), after: Vec::new() };
    let (cause, done) = told(in_parallel(executor, snapshot, dealt, &machine, &mut hooked));

    let scripts: Vec<_> = dealt.block.iter().map(|deed| deed.script.clone()).collect();
    let expected = oracle::execute(state, &scripts, dealt.keys);
    let own = own_end(&dealt.block, &expected.outputs, dealt.end);
    agree_on_end(cause.as_ref(), done.committed, dealt, &own)?;
    let len = done.committed as usize;
    let end = len.checked_sub(1).map_or(state, |last| &expected.after[last]);
    if let Some(at) = (0..len).find(|at| done.outputs.get(*at) != expected.outputs.get(*at)) {
        let (is, due) = (done.outputs.get(at), expected.outputs.get(at));
        return Err(format!("output {at} of {len} is {is:?} and not {due:?}"));
    }
    let saw = hooked.outputs == done.outputs && hooked.after.iter().eq(expected.after[..len].iter());
    if done.outputs.len() != len || dealt.is_watched() && !saw {
        return Err("the hook saw something else".into());
    }
    let mut made = state.clone();
    apply(&mut made, done.batch.iter());
    if made != *end {
        return Err("the writes make another state".into());
    }

    // As far as it got. One that fails is included where it is what ended the block.
    let tried = if own.cause.is_some() && cause == own.cause { len + 1 } else { len };
    let (plain_cause, plain) = told(execute_sequentially(snapshot, &dealt.block[..tried], &machine, None));
    if plain_cause != cause.clone().filter(|_| tried > len) {
        return Err(format!("sequentially it ends with {plain_cause:?}, in parallel with {cause:?}"));
    }
    if (&plain.outputs, &plain.batch) != (&done.outputs, &done.batch) {
        return Err("sequentially its outputs or writes are others".into());
    }
    Ok(Agreed {
        batch: done.batch,
        state: made,
        transactions: done.stats.transactions,
        executions: done.stats.executions,
        early: len < dealt.block.len(),
    })
}

/// What the hook saw.
struct Hooked {
    state: State,
    outputs: Vec<Output>,
    after: Vec<State>,
}

fn apply<'a>(state: &mut State, writes: impl IntoIterator<Item = (&'a Key, &'a Op<Value>)>) {
    for (key, op) in writes {
        match op {
            Op::Put(value) => state.insert(*key, *value),
            Op::Delete => state.remove(key),
        };
    }
}

fn in_parallel(
    executor: &BlockExecutor,
    snapshot: &impl KvRead<Key = Key, Value = Value>,
    dealt: &Dealt,
    machine: &Machine,
    hooked: &mut Hooked,
) -> BlockResult<Machine> {
    let cancel = CancelToken::new();
    let mut hook = |commit: Commit<'_, Key, Value, Output>| {
        apply(&mut hooked.state, commit.writes.iter().map(|(key, op)| (key, op)));
        hooked.outputs.push(*commit.output);
        hooked.after.push(hooked.state.clone());
        match dealt.end {
            End::Stopped(at) if at == commit.index => return ControlFlow::Break(()),
            End::CancelledAt(at) if at == commit.index => cancel.cancel(),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    let deadline = match dealt.end {
        End::Deadline(after) => Some(Instant::now() + after),
        _ => None,
    };
    let options = Options {
        on_commit: if dealt.is_watched() { Some(&mut hook) } else { None },
        hints: dealt.hints.as_deref(),
        cancel: Some(cancel.clone()),
        deadline,
        elsewhere: None,
        record: false,
    };
    std::thread::scope(|scope| {
        if let End::CancelledAfter(after) = dealt.end {
            let cancel = cancel.clone();
            scope.spawn(move || {
                std::thread::sleep(after);
                cancel.cancel();
            });
        }
        executor.execute_with(snapshot, &dealt.block, machine, options)
    })
}

/// How a block ends if nobody calls it off.
struct OwnEnd {
    committed: u32,
    cause: Option<Cause<Fault>>,
    /// It does not: a transaction loops.
    never: bool,
}

fn own_end(block: &[Deed], outputs: &[Output], end: End) -> OwnEnd {
    let len = match end {
        End::Stopped(at) => block.len().min(at as usize + 1),
        _ => block.len(),
    };
    let mut within = block.iter().zip(outputs).take(len);
    let Some(at) = within.position(|(deed, output)| deed.then.ends(*output)) else {
        return OwnEnd { committed: len as u32, cause: None, never: false };
    };
    let index = at as u32;
    let (cause, never) = match block[at].then {
        Then::Loop => (None, true),
        Then::Panic(_) => (Some(Cause::Panicked { index, message: PANIC.into() }), false),
        _ => (Some(Cause::Transaction { index, error: Fault::Own }), false),
    };
    OwnEnd { committed: index, cause, never }
}

/// Whether `cause` can have ended the block after so many transactions.
fn agree_on_end(cause: Option<&Cause<Fault>>, committed: u32, dealt: &Dealt, own: &OwnEnd) -> Result<(), String> {
    let by_itself = !own.never && committed == own.committed && cause == own.cause.as_ref();
    let called_off = committed <= own.committed
        && match (dealt.end, cause) {
            (End::CancelledAt(at), Some(Cause::Cancelled)) => committed > at,
            (End::CancelledAfter(_), Some(Cause::Cancelled)) => true,
            (End::Deadline(_), Some(Cause::Deadline { waiting_for: None })) => true,
            _ => false,
        };
    if by_itself || called_off {
        return Ok(());
    }
    let due = (own.committed, &own.cause);
    Err(format!("it ended after {committed} transactions with {cause:?}, where {:?} and {due:?} were due", dealt.end))
}

/// Long enough for any block here; one that takes longer hangs.
pub const HANG: Duration = Duration::from_secs(300);
