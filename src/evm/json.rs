//! Fields of a JSON file, read one by one, so that an error can say which one is wrong.
//!
//! Parsing into a tree first costs a few milliseconds a block, and is paid once, before the block is run.

use std::path::Path;

use revm::primitives::{Address, B256, Bytes, U256, hex};
use serde_json::{Map, Value};

use super::error::{Error, Place};

/// How much of a wrong value an error shows.
const SHOWN: usize = 40;

/// Parses the bytes of `file`.
pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|cause| {
        let file = file.to_path_buf();
        if cause.is_eof() {
            Error::Truncated { file, line: cause.line(), column: cause.column() }
        } else {
            Error::Json { file, cause: cause.to_string() }
        }
    })
}

/// What a node answered: the `result` of an envelope, or the value itself where there is no envelope.
pub(super) fn answer<'a>(file: &Path, value: &'a Value) -> Result<&'a Value, Error> {
    let Some(map) = value.as_object() else { return Ok(value) };
    match (map.get("result"), map.get("error")) {
        (Some(Value::Null) | None, Some(error)) if !error.is_null() => {
            let message = error.get("message").unwrap_or(error);
            Err(Error::Answer { file: file.to_path_buf(), message: shown(message) })
        }
        (Some(Value::Null), _) => Err(Error::MissingField { place: Box::new(Place::new(file).field("result")) }),
        (Some(result), _) => Ok(result),
        (None, _) if map.contains_key("jsonrpc") => {
            Err(Error::MissingField { place: Box::new(Place::new(file).field("result")) })
        }
        (None, _) => Ok(value),
    }
}

/// A value and where it stands.
pub(super) struct Item<'a> {
    pub(super) value: &'a Value,
    pub(super) place: Place,
}

impl<'a> Item<'a> {
    /// The value as an object with fields.
    pub(super) fn object(self) -> Result<Fields<'a>, Error> {
        match self.value.as_object() {
            Some(map) => Ok(Fields { map, place: self.place }),
            None => Err(self.wrong("an object")),
        }
    }

    /// The value as a list of values.
    pub(super) fn list(self) -> Result<impl Iterator<Item = Item<'a>>, Error> {
        let Some(list) = self.value.as_array() else { return Err(self.wrong("a list")) };
        let place = self.place;
        Ok(list.iter().enumerate().map(move |(index, value)| Item { value, place: place.clone().element(index) }))
    }

    /// A number of up to 256 bits: `"0x1f"`, `"31"` or `31`.
    pub(super) fn u256(self) -> Result<U256, Error> {
        quantity(self.value).ok_or_else(|| self.wrong("a number of at most 256 bits, in hex or decimal"))
    }

    /// A number of up to 128 bits.
    pub(super) fn u128(self) -> Result<u128, Error> {
        let number = quantity(self.value).and_then(|number| u128::try_from(number).ok());
        number.ok_or_else(|| self.wrong("a number of at most 128 bits, in hex or decimal"))
    }

    /// A number of up to 64 bits.
    pub(super) fn u64(self) -> Result<u64, Error> {
        let number = quantity(self.value).and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| self.wrong("a number of at most 64 bits, in hex or decimal"))
    }

    /// Bytes in hex.
    pub(super) fn bytes(self) -> Result<Bytes, Error> {
        let bytes = self.value.as_str().and_then(digits).and_then(|digits| hex::decode(digits).ok());
        bytes.map(Bytes::from).ok_or_else(|| self.wrong("bytes in hex"))
    }

    /// Exactly `N` bytes in hex.
    pub(super) fn fixed<const N: usize>(self, expected: &'static str) -> Result<[u8; N], Error> {
        let bytes = self.value.as_str().and_then(fixed);
        bytes.ok_or_else(|| self.wrong(expected))
    }

    /// An address.
    pub(super) fn address(self) -> Result<Address, Error> {
        self.fixed("an address of 20 bytes in hex").map(Address::from)
    }

    /// A hash.
    pub(super) fn hash(self) -> Result<B256, Error> {
        self.fixed("a hash of 32 bytes in hex").map(B256::from)
    }

    /// The error that this value is not `expected`.
    pub(super) fn wrong(&self, expected: &'static str) -> Error {
        Error::WrongField { place: Box::new(self.place.clone()), found: shown(self.value), expected }
    }
}

/// The fields of an object.
pub(super) struct Fields<'a> {
    pub(super) map: &'a Map<String, Value>,
    pub(super) place: Place,
}

impl<'a> Fields<'a> {
    /// The field `name`; an absent field and `null` are the same.
    pub(super) fn optional(&self, name: &str) -> Option<Item<'a>> {
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        Some(Item { value, place: self.place.clone().field(name) })
    }

    /// The field `name`, which must be there.
    pub(super) fn required(&self, name: &str) -> Result<Item<'a>, Error> {
        self.optional(name).ok_or_else(|| Error::MissingField { place: Box::new(self.place.clone().field(name)) })
    }
}

/// `N` bytes in hex, with their prefix.
pub(super) fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits(text)?, &mut bytes).ok()?;
    Some(bytes)
}

/// The digits after the hex prefix, which bytes must have and may have once.
fn digits(text: &str) -> Option<&str> {
    text.strip_prefix("0x").filter(|digits| !digits.starts_with("0x"))
}

/// A number, as nodes and people write it.
pub(super) fn quantity(value: &Value) -> Option<U256> {
    match value {
        Value::Number(number) => number.as_u64().map(U256::from),
        Value::String(text) => number(text),
        _ => None,
    }
}

/// A number in hex with its prefix, or in decimal.
pub(super) fn number(text: &str) -> Option<U256> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    // The big integer's own parser also takes signs, underscores and other alphabets.
    let plain = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    if plain { U256::from_str_radix(digits, u64::from(radix)).ok() } else { None }
}

/// The beginning of `value`, for an error.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain("...".chars()).collect() }
}

/// The error that the key `key` of the object at `place` is not `expected`.
pub(super) fn wrong_key(place: &Place, key: &str, expected: &'static str) -> Error {
    Error::WrongField {
        place: Box::new(place.clone()),
        found: format!("the key {}", shown(&Value::from(key))),
        expected,
    }
}
