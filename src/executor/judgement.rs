//! The judgement of what has been executed at the frontier, whether it counts: everything below is committed, so this is final.

use super::error::{BaseError, Cause, panic_message};
use super::job::{Job, Run};
use super::stats::Tally;
use super::status::Verdict;
use super::vm::Vm;
use crate::multiversion::{Settlement, TxIndex, Unsettled, Version, validate};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Whether the run at the frontier counts.
pub(super) fn judge<V: Vm>(
    job: &Job<'_, '_, V>,
    settlement: &mut Settlement<V::Value>,
    index: TxIndex,
    run: &mut Run<V>,
    tally: &mut Tally<V::Key>,
) -> Result<Verdict, Cause<V::Error>> {
    let version = Version { tx: index, incarnation: run.incarnation };
    tally.judges(Some(version));
    let checked = catch_unwind(AssertUnwindSafe(|| {
        if !run.at_frontier {
            tally.stats.validations += 1;
            if let Err(conflict) = validate(&job.store, index, &run.reads) {
                tally.conflict(version, conflict);
                return Ok(Verdict::Abort);
            }
        }
        match job.store.settle(index, &run.written, &run.obligations, settlement) {
            Ok(()) => Ok(Verdict::Commit),
            Err(Unsettled::Refused(key)) => {
                tally.refused(version, key);
                Ok(Verdict::Abort)
            }
            Err(Unsettled::Base(error)) => Err(Cause::Base { index, error: BaseError(error) }),
        }
    }));
    let failed = match checked.unwrap_or_else(|payload| Err(Cause::Panicked { index, message: panic_message(payload) }))
    {
        Ok(Verdict::Commit) => match run.outcome.take() {
            Some(Err(cause)) => Some(cause),
            outcome => {
                run.outcome = outcome;
                return Ok(Verdict::Commit);
            }
        },
        Ok(Verdict::Abort | Verdict::Stop) => None,
        Err(cause) => Some(cause),
    };
    // What fails need not be in the read set: a base value that could not be read, and that somebody below has written
    // since; an operand taken to be admitted. So a failure counts if a run at the frontier meets it.
    match failed {
        Some(cause) if run.at_frontier => return Err(cause),
        Some(_) => tally.failed(version),
        None => {}
    }
    job.store.estimate(index, &run.written);
    Ok(Verdict::Abort)
}

/// Resolves the operands that a transaction executed elsewhere has left: it is about to commit.
pub(super) fn settle_elsewhere<V: Vm>(
    job: &Job<'_, '_, V>,
    settlement: &mut Settlement<V::Value>,
    index: TxIndex,
) -> Result<(), Cause<V::Error>> {
    let Some(elsewhere) = &job.elsewhere else { return Ok(()) };
    let settled = catch_unwind(AssertUnwindSafe(|| {
        let merged = elsewhere.take_merged(index);
        if merged.is_empty() { Ok(()) } else { job.store.settle_elsewhere(index, merged, settlement) }
    }));
    match settled {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Unsettled::Refused(_))) => Err(Cause::Elsewhere { index }),
        Ok(Err(Unsettled::Base(error))) => Err(Cause::Base { index, error: BaseError(error) }),
        Err(payload) => Err(Cause::Panicked { index, message: panic_message(payload) }),
    }
}
