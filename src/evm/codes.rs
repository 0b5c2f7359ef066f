//! Contract codes by their hash: an archive that several blocks share.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use revm::bytecode::Bytecode;
use revm::primitives::map::B256Map;
use revm::primitives::{B256, Bytes, hex, keccak256};
use serde_json::Value;

use super::error::{Error, Place, WhereLooked};
use super::json::{self, Item};

/// The most that is read out of one file: a small compressed file can hold more than there is memory.
const MAX_FILE: u64 = 1 << 30;

/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Codes by their hash, as a file holds them: a JSON object of hash to code in hex, compressed with gzip or not.
///
/// Codes are kept as text and decoded when a block asks for them: decoding takes about 15 microseconds a code, and a
/// block needs few of an archive's thousands. Reading the archive once for many blocks is worth it.
#[derive(Clone, Debug, Default)]
pub struct Codes {
    file: Option<PathBuf>,
    texts: B256Map<String>,
}

impl Codes {
    /// An archive without codes, for blocks whose state holds its codes itself.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the archive in `file`.
    ///
    /// # Errors
    /// [`Error::MissingFile`], [`Error::Io`], [`Error::Truncated`], [`Error::Json`], and [`Error::WrongField`] for a key
    /// that is not a hash.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, Error> {
        let file = file.as_ref();
        Self::parse(file, &contents(file)?)
    }

    /// Reads the archive in `bytes`, calling it `file` in errors.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), but for the missing file.
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let plain = uncompressed(file, bytes)?;
        let Value::Object(map) = json::parse(file, plain.as_deref().unwrap_or(bytes))? else {
            return Err(Error::WrongField {
                place: Box::new(Place::new(file)),
                found: "the file".into(),
                expected: "an object of code hash to code",
            });
        };
        let mut texts = B256Map::default();
        for (key, value) in map {
            let place = Place::new(file).field(&key);
            let hash = json::fixed(&key).map(B256::from);
            let hash = hash.ok_or_else(|| json::wrong_key(&place, &key, "a code hash of 32 bytes in hex"))?;
            let Value::String(text) = value else {
                return Err(Item { value: &value, place }.wrong("a code in hex"));
            };
            texts.insert(hash, text);
        }
        Ok(Self { file: Some(file.to_path_buf()), texts })
    }

    /// The number of codes.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is no code.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The code whose hash is `hash`, decoded, for the account whose code hash stands at `asked_by`.
    pub(super) fn decode(&self, hash: B256, asked_by: &Place) -> Result<Bytecode, Error> {
        let Some((file, text)) = self.file.as_ref().zip(self.texts.get(&hash)) else {
            let where_looked = self.file.clone().map_or(WhereLooked::NoArchive, WhereLooked::In);
            return Err(Error::MissingCode { place: Box::new(asked_by.clone()), hash, where_looked });
        };
        let place = Place::new(file).field(&hash.to_string());
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let bytes = hex::decode(digits)
            .map_err(|cause| Error::WrongCode { place: Box::new(place.clone()), cause: cause.to_string() });
        decoded(Bytes::from(bytes?), Some(hash), place).map(|(_, code)| code)
    }
}

/// Decodes a code that stands at `place`, and checks that its hash is `expected`; gives its hash too.
pub(super) fn decoded(bytes: Bytes, expected: Option<B256>, place: Place) -> Result<(B256, Bytecode), Error> {
    let hash = keccak256(&bytes);
    if let Some(expected) = expected.filter(|expected| *expected != hash) {
        return Err(Error::WrongCode { place: Box::new(place), cause: format!("its hash is {hash}, not {expected}") });
    }
    let code = Bytecode::new_raw_checked(bytes);
    code.map(|code| (hash, code)).map_err(|cause| Error::WrongCode { place: Box::new(place), cause: cause.to_string() })
}

/// The bytes of `file`.
pub(super) fn contents(file: &Path) -> Result<Vec<u8>, Error> {
    let bytes = File::open(file).and_then(limited);
    bytes.map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::MissingFile { file: file.to_path_buf() },
        _ => Error::Io { file: file.to_path_buf(), source: Arc::new(source) },
    })
}

/// What `bytes` hold, if they are compressed.
fn uncompressed(file: &Path, bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    if !bytes.starts_with(&GZIP) {
        return Ok(None);
    }
    let plain = limited(MultiGzDecoder::new(bytes));
    plain.map(Some).map_err(|source| Error::Io { file: file.to_path_buf(), source: Arc::new(source) })
}

/// All that `source` gives, unless that is too much.
fn limited(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it holds more than a gibibyte"));
    }
    Ok(bytes)
}
