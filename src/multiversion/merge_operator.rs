//! Merge operators: commutative updates that are writes and no reads.

use std::fmt::Debug;

/// How an operand changes a value.
///
/// A transaction that only adds to a counter need not read it: it leaves an operand, and whoever reads the key resolves
/// the operands below it. Two such transactions do not conflict.
///
/// The functions must be pure and total; a panic in one ends the block, unless the run it happened in is discarded.
/// `merge` never makes a key absent, so that a key with operands exists whatever lies below it.
///
/// ```
/// use cachekv::multiversion::MergeOperator;
///
/// /// Balances: an operand is added, and refused where it would take the balance below zero.
/// struct Balance;
/// impl<K> MergeOperator<K, u64> for Balance {
///     type Operand = i64;
///     fn merge(_: &K, base: Option<&u64>, operand: &i64) -> u64 {
///         base.copied().unwrap_or(0).saturating_add_signed(*operand)
///     }
///     fn admits(_: &K, base: Option<&u64>, operand: &i64) -> bool {
///         base.copied().unwrap_or(0).checked_add_signed(*operand).is_some()
///     }
/// }
/// assert_eq!(<Balance as MergeOperator<(), u64>>::merge(&(), Some(&7), &-3), 4);
/// assert!(!<Balance as MergeOperator<(), u64>>::admits(&(), None, &-1));
/// ```
pub trait MergeOperator<K, V>: Send + Sync + 'static {
    /// What a transaction leaves behind.
    type Operand: Clone + PartialEq + Debug + Send + Sync + 'static;

    /// The value that `operand` makes of `base` (`None`: the key does not exist).
    fn merge(key: &K, base: Option<&V>, operand: &Self::Operand) -> V;

    /// Whether `operand` may be applied to `base`: a predicate such as *the balance covers the cost*.
    ///
    /// A run that left an operand which turns out not to be admitted is executed again at the commit frontier, where
    /// [`TxView::merge`](super::TxView::merge) answers [`Refused`](super::ViewError::Refused), as it does in
    /// sequential execution: the refusal is that transaction's, and no neighbour's.
    fn admits(key: &K, base: Option<&V>, operand: &Self::Operand) -> bool {
        let _ = (key, base, operand);
        true
    }

    /// One operand that does what `earlier` and then `later` do, and is admitted exactly where both are; `None` keeps
    /// them apart. It keeps short what a transaction that merges into one key many times leaves there.
    fn combine(key: &K, earlier: &Self::Operand, later: &Self::Operand) -> Option<Self::Operand> {
        let _ = (key, earlier, later);
        None
    }
}

/// The operator of a state without merges: it has no operands.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMerge;

impl<K, V> MergeOperator<K, V> for NoMerge {
    type Operand = std::convert::Infallible;
    fn merge(_: &K, _: Option<&V>, operand: &Self::Operand) -> V {
        match *operand {}
    }
}
