//! Keys, values, changes and outputs as bytes, so that a block can be executed by shards.

use alloy_rlp::{Decodable, Encodable};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use revm::primitives::{Address, B256, Log, U256};

use super::receipts::TxOutput;
use super::state::{AccountRecord, Change, StateKey, StateValue};
use crate::remote::Coded;

/// What is left of some bytes.
struct Rest(Bytes);

impl Rest {
    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let number = self.0.first_chunk().copied()?;
        self.0.advance(N);
        Some(number)
    }

    fn u64(&mut self) -> Option<u64> {
        self.number().map(u64::from_be_bytes)
    }

    fn word(&mut self) -> Option<U256> {
        self.number().map(U256::from_be_bytes::<32>)
    }

    fn address(&mut self) -> Option<Address> {
        self.number::<20>().map(Address::from)
    }

    /// `thing`, if nothing is left.
    fn whole<T>(self, thing: T) -> Option<T> {
        self.0.is_empty().then_some(thing)
    }
}

/// Kind, address, and for a slot generation and slot.
impl Coded for StateKey {
    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(61);
        let (kind, address) = match self {
            Self::Account(address) => (0, address),
            Self::Contract(address) => (1, address),
            Self::Generation(address) => (2, address),
            Self::Slot(address, ..) => (3, address),
        };
        bytes.put_u8(kind);
        bytes.put_slice(address.as_slice());
        if let Self::Slot(_, generation, slot) = self {
            bytes.put_u64(*generation);
            bytes.put_slice(&slot.to_be_bytes::<32>());
        }
        bytes.freeze()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        let mut rest = Rest(bytes);
        let [kind] = rest.number()?;
        let address = rest.address()?;
        let key = match kind {
            0 => Self::Account(address),
            1 => Self::Contract(address),
            2 => Self::Generation(address),
            3 => Self::Slot(address, rest.u64()?, rest.word()?),
            _ => return None,
        };
        rest.whole(key)
    }
}

/// Kind, and what there is of it.
impl Coded for StateValue {
    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(81);
        match self {
            Self::Account(AccountRecord { balance, nonce, code_hash, generation }) => {
                bytes.put_u8(0);
                bytes.put_slice(&balance.to_be_bytes::<32>());
                bytes.put_u64(*nonce);
                bytes.put_slice(code_hash.as_slice());
                bytes.put_u64(*generation);
            }
            Self::Word(word) => {
                bytes.put_u8(1);
                bytes.put_slice(&word.to_be_bytes::<32>());
            }
            Self::Number(number) => {
                bytes.put_u8(2);
                bytes.put_u64(*number);
            }
        }
        bytes.freeze()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        let mut rest = Rest(bytes);
        let [kind] = rest.number()?;
        let value = match kind {
            0 => {
                let (balance, nonce) = (rest.word()?, rest.u64()?);
                let (code_hash, generation) = (B256::from(rest.number::<32>()?), rest.u64()?);
                Self::Account(AccountRecord { balance, nonce, code_hash, generation })
            }
            1 => Self::Word(rest.word()?),
            2 => Self::Number(rest.u64()?),
            _ => return None,
        };
        rest.whole(value)
    }
}

impl Coded for Change {
    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        match self {
            Self::Credit(amount) => {
                bytes.put_u8(0);
                bytes.put_slice(&amount.to_be_bytes::<32>());
            }
            Self::Receive(amount) => {
                bytes.put_u8(1);
                bytes.put_slice(&amount.to_be_bytes::<32>());
            }
            Self::Spend { nonce, amount, at_least } => {
                bytes.put_u8(2);
                bytes.put_u64(*nonce);
                bytes.put_slice(&amount.to_be_bytes::<32>());
                bytes.put_slice(&at_least.to_be_bytes::<32>());
            }
            Self::Shift { by, at_least } => {
                bytes.put_u8(3);
                bytes.put_slice(&by.to_be_bytes::<32>());
                bytes.put_slice(&at_least.to_be_bytes::<32>());
            }
        }
        bytes.freeze()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        let mut rest = Rest(bytes);
        let [kind] = rest.number()?;
        let change = match kind {
            0 => Self::Credit(rest.word()?),
            1 => Self::Receive(rest.word()?),
            2 => Self::Spend { nonce: rest.u64()?, amount: rest.word()?, at_least: rest.word()? },
            3 => Self::Shift { by: rest.word()?, at_least: rest.word()? },
            _ => return None,
        };
        rest.whole(change)
    }
}

/// Type, success, gas, and the logs in RLP.
impl Coded for TxOutput {
    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(self.tx_type);
        bytes.put_u8(self.success.into());
        bytes.put_u64(self.gas_used);
        self.logs.encode(&mut bytes);
        bytes.freeze()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        let mut rest = Rest(bytes);
        let [tx_type, success] = rest.number()?;
        let gas_used = rest.u64()?;
        let success = match success {
            0 => false,
            1 => true,
            _ => return None,
        };
        let mut logs: &[u8] = &rest.0;
        let decoded = Vec::<Log>::decode(&mut logs).ok()?;
        logs.is_empty().then_some(Self { tx_type, success, gas_used, logs: decoded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use revm::primitives::Bytes as Data;

    fn comes_back<T: Coded + PartialEq + std::fmt::Debug>(thing: T) {
        let bytes = thing.encode();
        assert_eq!(T::decode(bytes.clone()).as_ref(), Some(&thing));
        for len in 0..bytes.len() {
            assert_eq!(T::decode(bytes.slice(..len)), None, "{len} bytes of {thing:?}");
        }
        assert_eq!(T::decode([&bytes[..], b"x"].concat().into()), None);
    }

    #[test]
    fn keys_values_changes_and_outputs_come_back_and_nothing_else_is_one() {
        let address = Address::repeat_byte(7);
        comes_back(StateKey::Account(address));
        comes_back(StateKey::Contract(address));
        comes_back(StateKey::Generation(address));
        comes_back(StateKey::Slot(address, 3, U256::MAX));
        comes_back(Change::Credit(U256::MAX));
        comes_back(Change::Receive(U256::ONE));
        comes_back(Change::Spend { nonce: 7, amount: U256::from(8), at_least: U256::from(9) });
        comes_back(Change::Shift { by: U256::MAX, at_least: U256::from(9) });
        let code_hash = B256::repeat_byte(9);
        comes_back(StateValue::Account(AccountRecord { balance: U256::MAX, nonce: 1, code_hash, generation: 2 }));
        comes_back(StateValue::Word(U256::from(5)));
        comes_back(StateValue::Number(u64::MAX));
        let log = Log::new_unchecked(address, vec![code_hash, B256::ZERO], Data::from_static(b"data"));
        comes_back(TxOutput { tx_type: 2, success: true, gas_used: 21_000, logs: vec![log.clone(), log] });
        comes_back(TxOutput { tx_type: 0, success: false, gas_used: 0, logs: Vec::new() });
        assert_eq!(StateKey::decode(vec![4; 21].into()), None);
        assert_eq!(TxOutput::decode(vec![0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0].into()), None);
    }
}
