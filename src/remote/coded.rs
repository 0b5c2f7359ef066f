//! What can be sent: keys, values, operands, transactions and outputs as bytes.

use bytes::Bytes;
use std::convert::Infallible;

/// A value that has a form in bytes.
///
/// `decode(encode(x))` must be `x`, and different values must have different bytes: shards and coordinator tell keys apart by
/// theirs. Neither may panic, whatever the bytes: they come from a peer.
///
/// ```
/// use cachekv::remote::Coded;
/// assert_eq!(u32::decode(7u32.encode()), Some(7));
/// assert_eq!(u32::decode(vec![1, 2].into()), None);
/// ```
pub trait Coded: Sized {
    /// Its bytes.
    fn encode(&self) -> Bytes;
    /// What has these bytes, `None` if nothing has.
    fn decode(bytes: Bytes) -> Option<Self>;
}

impl Coded for Bytes {
    fn encode(&self) -> Bytes {
        self.clone()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        Some(bytes)
    }
}

impl Coded for () {
    fn encode(&self) -> Bytes {
        Bytes::new()
    }
    fn decode(bytes: Bytes) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

/// There is nothing to be sent: the operands of [`NoMerge`](crate::multiversion::NoMerge).
impl Coded for Infallible {
    fn encode(&self) -> Bytes {
        match *self {}
    }
    fn decode(_: Bytes) -> Option<Self> {
        None
    }
}

/// Numbers are big-endian, of fixed width.
macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Coded for $number {
            fn encode(&self) -> Bytes {
                Bytes::copy_from_slice(&self.to_be_bytes())
            }
            fn decode(bytes: Bytes) -> Option<Self> {
                bytes.as_ref().try_into().ok().map(Self::from_be_bytes)
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);
