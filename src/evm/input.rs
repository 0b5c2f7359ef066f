//! A block as it is handed to us: a folder of files in, one typed value out.
//!
//! A folder holds `block.json`, the answer of `eth_getBlockByNumber` with full transactions, and `pre_state.json`, the
//! accounts and slots that the block touches. Codes (`codes.json.gz` or `codes.json`) and the hashes of earlier blocks
//! (`block_hashes.json`) may be shared by many blocks: they are looked for in the folder and up to three levels above.
//!
//! Nothing but the block's transactions can be run from this: not the reward of its miner, its withdrawals, or the
//! calls the protocol itself makes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use revm::bytecode::Bytecode;
use revm::context::BlockEnv;
use revm::primitives::B256;
use revm::primitives::hardfork::SpecId;
use revm::primitives::map::B256Map;

use super::codes::{Codes, contents};
use super::error::{Error, Place};
use super::fork::Fork;
use super::header::{Header, environment, header};
use super::json::{self, Item};
use super::prestate::{Accounts, pre_state};
use super::transaction::{Transaction, transaction};

/// How many folders above the block's own are searched for what blocks share.
const LEVELS_ABOVE: usize = 3;

/// The type of transaction that can change the nonce of others than its sender.
const SET_CODE: u8 = 4;

/// The files of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFiles {
    /// The block.
    pub block: PathBuf,
    /// The state before it.
    pub pre_state: PathBuf,
    /// Codes by hash; without it, the state must hold its codes itself.
    pub codes: Option<PathBuf>,
    /// The hashes of earlier blocks; without it, only the parent's is known.
    pub block_hashes: Option<PathBuf>,
}

impl BlockFiles {
    /// The files of the block in `folder`.
    pub fn in_folder(folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref();
        let find = |names: &[&str]| {
            let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
            let files = folder.ancestors().take(LEVELS_ABOVE + 1).flat_map(|above| names.iter().map(|n| above.join(n)));
            files.into_iter().find(|file| file.is_file())
        };
        Self {
            block: folder.join("block.json"),
            pre_state: folder.join("pre_state.json"),
            codes: find(&["codes.json.gz", "codes.json"]),
            block_hashes: find(&["block_hashes.json"]),
        }
    }

    /// Reads the block and all that belongs to it.
    ///
    /// # Errors
    /// Any but [`Error::MissingBlockHash`] and [`Error::Mismatch`], which come from running the block.
    pub fn read(&self) -> Result<BlockInput, Error> {
        let codes = self.codes.as_ref().map_or_else(|| Ok(Codes::none()), Codes::read)?;
        self.read_with(&codes)
    }

    /// Reads the block with codes that are read already, as when many blocks share them.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn read_with(&self, codes: &Codes) -> Result<BlockInput, Error> {
        let block_hashes = self.block_hashes.as_deref().map(contents).transpose()?;
        BlockInput::parse(self, &contents(&self.block)?, &contents(&self.pre_state)?, block_hashes.as_deref(), codes)
    }
}

/// A block of Ethereum mainnet with all that is needed to run its transactions.
#[derive(Clone, Debug)]
pub struct BlockInput {
    /// What names the block, and what a run must arrive at.
    pub header: Header,
    /// The rules that hold in it.
    pub fork: Fork,
    /// The environment its transactions run in.
    pub env: BlockEnv,
    /// Its transactions, in their order.
    pub transactions: Vec<Transaction>,
    /// The accounts and slots it touches, as they were before it.
    pub pre_state: Accounts,
    /// The codes of those accounts, decoded.
    pub codes: B256Map<Bytecode>,
    /// The hashes of earlier blocks that its contracts ask for; the parent's is always here.
    pub block_hashes: BTreeMap<u64, B256>,
}

impl BlockInput {
    /// Reads the block in `folder`.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), cachekv::evm::Error> {
    /// let input = cachekv::evm::BlockInput::read("blocks/12459406")?;
    /// println!("{:?}: {} transactions", input.fork.spec, input.transactions.len());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`BlockFiles::read`].
    pub fn read(folder: impl AsRef<Path>) -> Result<Self, Error> {
        BlockFiles::in_folder(folder).read()
    }

    /// Reads a block from the contents of its files, which errors call by the names in `files`.
    ///
    /// # Errors
    /// Those of [`BlockFiles::read`], but for those of the file system.
    pub fn parse(
        files: &BlockFiles,
        block: &[u8],
        pre_state_bytes: &[u8],
        block_hashes: Option<&[u8]>,
        codes: &Codes,
    ) -> Result<Self, Error> {
        let value = json::parse(&files.block, block)?;
        let place = Place::new(&files.block);
        let block = Item { value: json::answer(&files.block, &value)?, place: place.clone() }.object()?;
        let header = header(&block)?;
        let fork = Fork::mainnet(header.number, header.timestamp);
        let env = environment(&block, &header, &fork)?;
        let transactions = block.required("transactions")?.list()?.enumerate();
        let transactions = transactions
            .map(|(index, item)| transaction(Item { value: item.value, place: place.clone().transaction(index) }))
            .collect::<Result<Vec<_>, _>>()?;

        let (mut accounts, codes) = pre_state(&files.pre_state, pre_state_bytes, codes)?;
        if fork.has(SpecId::SPURIOUS_DRAGON) {
            accounts.retain(|_, account| !account.is_empty() || !account.storage.is_empty());
        }
        senders_exist(&files.pre_state, &accounts, &transactions)?;

        let hashes_file = files.block_hashes.as_deref().unwrap_or(Path::new("block_hashes.json"));
        let mut block_hashes =
            block_hashes.map_or_else(|| Ok(BTreeMap::new()), |bytes| numbered(hashes_file, bytes))?;
        if let Some(parent) = header.number.checked_sub(1) {
            block_hashes.insert(parent, header.parent_hash);
        }
        Ok(Self { header, fork, env, transactions, pre_state: accounts, codes, block_hashes })
    }

    /// The hash of the earlier block `number`.
    ///
    /// # Errors
    /// [`Error::MissingBlockHash`] if it was not given.
    pub fn block_hash(&self, number: u64) -> Result<B256, Error> {
        self.block_hashes.get(&number).copied().ok_or(Error::MissingBlockHash { number })
    }
}

/// Checks that each account that has sent transactions in earlier blocks is in the state.
///
/// A sender may be new in this block, but then its first transaction has the nonce zero, unless an authorization that
/// it signed was used before.
fn senders_exist(file: &Path, accounts: &Accounts, transactions: &[Transaction]) -> Result<(), Error> {
    let mut sent = BTreeSet::new();
    for (transaction, tx) in transactions.iter().enumerate() {
        if tx.env.tx_type == SET_CODE {
            return Ok(());
        }
        let address = tx.env.caller;
        if sent.insert(address) && tx.env.nonce > 0 && !accounts.contains_key(&address) {
            return Err(Error::MissingAccount { file: file.to_path_buf(), address, transaction });
        }
    }
    Ok(())
}

/// Reads an object of block number to block hash.
fn numbered(file: &Path, bytes: &[u8]) -> Result<BTreeMap<u64, B256>, Error> {
    let value = json::parse(file, bytes)?;
    let hashes = Item { value: &value, place: Place::new(file) }.object()?;
    let entries = hashes.map.iter().map(|(key, value)| {
        let number = json::number(key).and_then(|number| u64::try_from(number).ok());
        let number = number.ok_or_else(|| json::wrong_key(&hashes.place, key, "a block number"))?;
        Ok((number, Item { value, place: hashes.place.clone().field(key) }.hash()?))
    });
    entries.collect()
}
