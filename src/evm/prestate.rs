//! The state before a block: the accounts and slots that it touches, as they were.
//!
//! Two shapes are read. One object of address to account; or what a node's `debug_traceBlockByNumber` gives with the
//! `prestateTracer`: a list with one such object a transaction, each as that transaction found it. Merging that list
//! keeps what was seen first. Ask the tracer for `includeEmpty`: without it, an account that did not exist before the
//! block is left out where it was first seen, and is taken for older than it is where it is seen again.

use std::collections::BTreeMap;
use std::path::Path;

use revm::bytecode::Bytecode;
use revm::primitives::map::B256Map;
use revm::primitives::{Address, B256, Bytes, KECCAK_EMPTY, U256};
use serde_json::Value;

use super::codes::{Codes, decoded};
use super::error::{Error, Place};
use super::json::{self, Fields, Item};

/// An account: all of its state but its code, which is known by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its balance, in wei.
    pub balance: U256,
    /// Its nonce.
    pub nonce: u64,
    /// The hash of its code; [`KECCAK_EMPTY`] if it has none.
    pub code_hash: B256,
    /// The slots of its storage that are known and not zero.
    pub storage: BTreeMap<U256, U256>,
}

impl Default for Account {
    fn default() -> Self {
        Self { balance: U256::ZERO, nonce: 0, code_hash: KECCAK_EMPTY, storage: BTreeMap::new() }
    }
}

impl Account {
    /// Whether the account has no balance, no nonce and no code: since Spurious Dragon, as good as no account.
    pub fn is_empty(&self) -> bool {
        self.balance.is_zero() && self.nonce == 0 && self.code_hash == KECCAK_EMPTY
    }
}

/// The accounts of a state, by address.
pub type Accounts = BTreeMap<Address, Account>;

/// Reads the state in `bytes`, called `file` in errors, and decodes each of its codes once.
pub(super) fn pre_state(file: &Path, bytes: &[u8], archive: &Codes) -> Result<(Accounts, B256Map<Bytecode>), Error> {
    let value = json::parse(file, bytes)?;
    let mut reading = Reading { archive, accounts: Accounts::new(), codes: B256Map::default() };
    match json::answer(file, &value)? {
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                // The tracer says what belongs to which transaction; other lists are of bare objects.
                let value = json::answer(file, value)?;
                reading.merge(Item { value, place: Place::new(file).transaction(index) })?;
            }
        }
        value => reading.merge(Item { value, place: Place::new(file) })?,
    }
    for account in reading.accounts.values_mut() {
        account.storage.retain(|_, value| !value.is_zero()); // a slot of value zero and no slot are the same
    }
    Ok((reading.accounts, reading.codes))
}

/// A state being read.
struct Reading<'a> {
    archive: &'a Codes,
    accounts: Accounts,
    codes: B256Map<Bytecode>,
}

impl Reading<'_> {
    /// Adds the accounts and slots of `item` that were not seen before.
    fn merge(&mut self, item: Item<'_>) -> Result<(), Error> {
        let place = item.place.clone();
        for (key, value) in item.object()?.map {
            let address = json::fixed(key).map(Address::from);
            let address = address.ok_or_else(|| json::wrong_key(&place, key, "an address of 20 bytes in hex"))?;
            let fields = Item { value, place: place.clone().account(address) }.object()?;
            let mut account = self.account(&fields)?;
            let slots = slots(&fields)?;
            match self.accounts.get_mut(&address) {
                Some(seen) => slots.put_into(&mut seen.storage),
                None => {
                    slots.put_into(&mut account.storage);
                    self.accounts.insert(address, account);
                }
            }
        }
        Ok(())
    }

    /// The account in `fields`, without its slots.
    fn account(&mut self, fields: &Fields<'_>) -> Result<Account, Error> {
        // A tracer leaves out a nonce or balance of zero.
        let balance = fields.optional("balance").map_or(Ok(U256::ZERO), Item::u256)?;
        let nonce = fields.optional("nonce").map_or(Ok(0), Item::u64)?;
        Ok(Account { balance, nonce, code_hash: self.code(fields)?, storage: BTreeMap::new() })
    }

    /// The hash of the account's code, which is then among the codes.
    fn code(&mut self, fields: &Fields<'_>) -> Result<B256, Error> {
        let named = fields.optional("code_hash").or_else(|| fields.optional("codeHash"));
        let asked_by = named.as_ref().map(|item| item.place.clone());
        let hash = named.map(Item::hash).transpose()?.filter(|hash| !hash.is_zero());
        let inline = fields.optional("code");
        let place = inline.as_ref().map(|item| item.place.clone());
        let inline = inline.map(Item::bytes).transpose()?.filter(|code| !code.is_empty());
        match (inline, hash) {
            (Some(code), hash) => self.keep(code, hash, place.unwrap_or_else(|| fields.place.clone())),
            (None, Some(hash)) if hash != KECCAK_EMPTY => {
                if !self.codes.contains_key(&hash) {
                    let asked_by = asked_by.unwrap_or_else(|| fields.place.clone());
                    self.codes.insert(hash, self.archive.decode(hash, &asked_by)?);
                }
                Ok(hash)
            }
            (None, _) => Ok(KECCAK_EMPTY),
        }
    }

    /// Keeps a code that the state itself holds.
    fn keep(&mut self, code: Bytes, expected: Option<B256>, place: Place) -> Result<B256, Error> {
        let (hash, code) = decoded(code, expected, place)?;
        self.codes.entry(hash).or_insert(code);
        Ok(hash)
    }
}

/// Slots as one object gives them.
struct Slots(Vec<(U256, U256)>);

impl Slots {
    /// Puts into `storage` those that it does not have.
    fn put_into(self, storage: &mut BTreeMap<U256, U256>) {
        for (slot, value) in self.0 {
            storage.entry(slot).or_insert(value);
        }
    }
}

/// The slots of the account in `fields`.
fn slots(fields: &Fields<'_>) -> Result<Slots, Error> {
    let Some(storage) = fields.optional("storage") else { return Ok(Slots(Vec::new())) };
    let storage = storage.object()?;
    let slots = storage.map.iter().map(|(key, value)| {
        let slot = json::number(key);
        let slot = slot.ok_or_else(|| json::wrong_key(&storage.place, key, "a slot of 32 bytes in hex"))?;
        let value = Item { value, place: storage.place.clone().field(key) }.u256()?;
        Ok((slot, value))
    });
    slots.collect::<Result<_, Error>>().map(Slots)
}
