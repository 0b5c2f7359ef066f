//! What a block executes: scripts, some of which fail, panic or loop once they have run.

use crate::script::{Bounded, Interpreter, Key, Output, Script, Value};
use cachekv::executor::Vm;
use cachekv::multiversion::{TxView, ViewError};

/// What a transaction does when its script is over. Whether it fails depends on all that it saw, so that a stale run fails
/// where a real one does not.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    Nothing,
    /// Fails if the output has this remainder.
    Fail(Output),
    /// Panics if it has.
    Panic(Output),
    /// Asks whether it is still wanted, until it is not.
    Loop,
}

/// Of how many remainders one fails.
const REMAINDERS: Output = 3;

impl Then {
    /// A failure or panic that some outputs bring about.
    pub fn failing(drawn: u64) -> Self {
        let remainder = drawn / 2 % REMAINDERS;
        if drawn.is_multiple_of(2) { Then::Fail(remainder) } else { Then::Panic(remainder) }
    }

    /// Whether a transaction with this output gets no further.
    pub fn ends(self, output: Output) -> bool {
        match self {
            Then::Nothing => false,
            Then::Fail(remainder) | Then::Panic(remainder) => output % REMAINDERS == remainder,
            Then::Loop => true,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Deed {
    pub script: Script,
    pub then: Then,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    View(String),
    /// As it was dealt.
    Own,
}

impl From<ViewError> for Fault {
    fn from(error: ViewError) -> Self {
        Fault::View(error.to_string())
    }
}

/// The words of a panic that was dealt.
pub const PANIC: &str = "as dealt";

pub struct Machine(pub Interpreter);

impl Vm for Machine {
    type Key = Key;
    type Value = Value;
    type Merge = Bounded;
    type Transaction = Deed;
    type Output = Output;
    type Error = Fault;

    fn execute(&self, deed: &Deed, view: &TxView<'_, Key, Value, Bounded>) -> Result<Output, Fault> {
        let output = self.0.execute(&deed.script, view)?;
        match deed.then {
            then if !then.ends(output) => Ok(output),
            // Past the hook that prints it: it is nothing to be told about.
            Then::Panic(_) => std::panic::resume_unwind(Box::new(PANIC)),
            Then::Loop => loop {
                view.check()?;
                std::thread::yield_now();
            },
            _ => Err(Fault::Own),
        }
    }
}
