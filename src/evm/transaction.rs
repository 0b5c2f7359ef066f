//! One transaction of a block, from the fields a node gives to what the virtual machine takes.

use revm::context::TxEnv;
use revm::context_interface::either::Either;
use revm::context_interface::transaction::{
    AccessList, AccessListItem, Authorization, RecoveredAuthorization, SignedAuthorization,
};
use revm::primitives::{B256, Bytes, TxKind};

use super::error::Error;
use super::fork::MAINNET;
use super::json::{Fields, Item};

const ACCESS_LIST: u8 = 1;
const FEE_MARKET: u8 = 2;
const BLOB: u8 = 3;
const SET_CODE: u8 = 4;

/// A transaction of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its hash.
    pub hash: B256,
    /// What the virtual machine takes. A reference to it is a transaction too, so that it need not be cloned to be run.
    pub env: TxEnv,
}

/// Reads one element of the block's `transactions`.
pub(super) fn transaction(item: Item<'_>) -> Result<Transaction, Error> {
    if item.value.is_string() {
        return Err(item.wrong("a full transaction: ask eth_getBlockByNumber with `true`"));
    }
    let tx = item.object()?;
    let tx_type = tx_type(&tx)?;
    let gas_limit = tx.required("gas")?.u64()?;
    let env = TxEnv {
        tx_type,
        caller: tx.required("from")?.address()?,
        gas_limit,
        gas_price: gas_price(&tx, tx_type, gas_limit)?,
        kind: kind(&tx, tx_type)?,
        value: tx.required("value")?.u256()?,
        data: data(&tx)?,
        nonce: tx.required("nonce")?.u64()?,
        chain_id: chain_id(&tx, tx_type)?,
        access_list: if tx_type >= ACCESS_LIST { access_list(&tx)? } else { AccessList::default() },
        gas_priority_fee: match tx_type {
            FEE_MARKET.. => Some(tx.required("maxPriorityFeePerGas")?.u128()?),
            _ => None,
        },
        blob_hashes: if tx_type == BLOB { hashes(tx.required("blobVersionedHashes")?)? } else { Vec::new() },
        max_fee_per_blob_gas: if tx_type == BLOB { tx.required("maxFeePerBlobGas")?.u128()? } else { 0 },
        authorization_list: if tx_type == SET_CODE { authorizations(&tx)? } else { Vec::new() },
    };
    Ok(Transaction { hash: tx.required("hash")?.hash()?, env })
}

/// The type; blocks from before there were types may lack the field.
fn tx_type(tx: &Fields<'_>) -> Result<u8, Error> {
    let Some(item) = tx.optional("type") else { return Ok(0) };
    let place = item.place.clone();
    let found = item.u64()?;
    let known = u8::try_from(found).ok().filter(|tx_type| *tx_type <= SET_CODE);
    known.ok_or(Error::UnknownTransactionType { place: Box::new(place), found })
}

/// The most that is paid for a unit of gas.
fn gas_price(tx: &Fields<'_>, tx_type: u8, gas_limit: u64) -> Result<u128, Error> {
    // Of a mined fee market transaction, nodes give as `gasPrice` what was paid, not what was offered.
    let item = tx.required(if tx_type >= FEE_MARKET { "maxFeePerGas" } else { "gasPrice" })?;
    let wrong = item.wrong("a gas price that some balance can pay for the gas limit");
    let price = item.u128()?;
    // The virtual machine multiplies the two in 128 bits.
    if price.checked_mul(u128::from(gas_limit)).is_none() { Err(wrong) } else { Ok(price) }
}

/// Whom the transaction calls; no one if it creates a contract, which newer types cannot.
fn kind(tx: &Fields<'_>, tx_type: u8) -> Result<TxKind, Error> {
    match tx.optional("to") {
        Some(to) => to.address().map(TxKind::Call),
        None if tx_type >= BLOB => tx.required("to").map(|_| TxKind::Create),
        None => Ok(TxKind::Create),
    }
}

/// The call data, under either of its names.
fn data(tx: &Fields<'_>) -> Result<Bytes, Error> {
    match tx.optional("input").or_else(|| tx.optional("data")) {
        Some(data) => data.bytes(),
        None => tx.required("input")?.bytes(),
    }
}

/// The chain the transaction was made for, which must be mainnet; the first transactions did not say.
fn chain_id(tx: &Fields<'_>, tx_type: u8) -> Result<Option<u64>, Error> {
    let item = match tx.optional("chainId") {
        Some(item) => item,
        None if tx_type == 0 => return Ok(None),
        None => tx.required("chainId")?,
    };
    let place = item.place.clone();
    match item.u64()? {
        MAINNET => Ok(Some(MAINNET)),
        found => Err(Error::WrongChain { place: Box::new(place), found }),
    }
}

/// The addresses and slots that the transaction announces.
fn access_list(tx: &Fields<'_>) -> Result<AccessList, Error> {
    let Some(list) = tx.optional("accessList") else { return Ok(AccessList::default()) };
    let items = list.list()?.map(|item| {
        let item = item.object()?;
        let address = item.required("address")?.address()?;
        Ok(AccessListItem { address, storage_keys: hashes(item.required("storageKeys")?)? })
    });
    items.collect::<Result<Vec<_>, Error>>().map(AccessList)
}

/// A list of hashes.
fn hashes(list: Item<'_>) -> Result<Vec<B256>, Error> {
    list.list()?.map(Item::hash).collect()
}

/// The authorizations of a set code transaction, with their signers found once, here.
///
/// One that nobody signed is no error: the transaction is valid and passes over it.
fn authorizations(tx: &Fields<'_>) -> Result<Vec<Either<SignedAuthorization, RecoveredAuthorization>>, Error> {
    let items = tx.required("authorizationList")?.list()?.map(|item| {
        let item = item.object()?;
        let authorization = Authorization {
            chain_id: item.required("chainId")?.u256()?,
            address: item.required("address")?.address()?,
            nonce: item.required("nonce")?.u64()?,
        };
        let parity = item.optional("yParity").map_or_else(|| item.required("v"), Ok)?;
        let wrong = parity.wrong("a parity, 0 or 1");
        let parity = u8::try_from(parity.u64()?).map_err(|_| wrong)?;
        let (r, s) = (item.required("r")?.u256()?, item.required("s")?.u256()?);
        let signed = SignedAuthorization::new_unchecked(authorization, parity, r, s);
        Ok(Either::Right(signed.into_recovered()))
    });
    items.collect()
}
