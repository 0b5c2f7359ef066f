//! The proof that a key has a value in a state of a known root, or that it has none.

use super::codec::{Malformed, Reader, Writer};
use super::error::Error;
use super::hash::Hash;
use borsh::BorshDeserialize;
use bytes::Bytes;
use jmt::proof::SparseMerkleProof;
use jmt::{KeyHash, RootHash};
use sha2::Sha256;

/// What the encoding begins with; the last byte is the format.
const MARK: &[u8] = b"ckvproof\x01";

/// What a state says of one key, with the proof of it: a `jmt` proof over SHA-256.
///
/// The proof carries no root. [`verify`](Self::verify) holds it against one that the caller trusts.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    pub(super) version: u64,
    pub(super) key: Bytes,
    pub(super) value: Option<Bytes>,
    pub(super) proof: SparseMerkleProof<Sha256>,
}

impl Proof {
    /// The key it is about.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// The value it says the key has; `None` if it says that the key does not exist.
    pub fn value(&self) -> Option<&Bytes> {
        self.value.as_ref()
    }

    /// The block whose state it is about. This is a note, which nothing proves.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Checks that the state with this root says of the key what the proof does.
    ///
    /// # Errors
    /// [`Error::Proof`] if it does not follow.
    pub fn verify(&self, root: &Hash) -> Result<(), Error> {
        let (trusted, key) = (RootHash(*root.bytes()), KeyHash(*Hash::of(&self.key).bytes()));
        let wrong = |_| Error::Proof(format!("what it says of its key does not lead to the root {root}"));
        self.proof.verify(trusted, key, self.value.as_ref()).map_err(wrong)
    }

    /// The proof as `jmt` has it.
    pub fn as_jmt(&self) -> &SparseMerkleProof<Sha256> {
        &self.proof
    }

    /// The proof as bytes, in the form that `docs/snapshot-format.md` gives.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Writer::default();
        bytes.bytes(MARK).u64(self.version).sized(&self.key).u8(u8::from(self.value.is_some()));
        if let Some(value) = &self.value {
            bytes.sized(value);
        }
        bytes.bytes(&borsh::to_vec(&self.proof).unwrap_or_default()); // writing to memory does not fail
        bytes.done()
    }

    /// Reads what [`encode`](Self::encode) gave, without verifying it.
    ///
    /// # Errors
    /// [`Error::Proof`] if it is no proof.
    pub fn decode(bytes: Bytes) -> Result<Self, Error> {
        let no_proof = || Error::Proof("it is no proof, or was cut short".into());
        let fields = || -> Result<_, Malformed> {
            let mut fields = Reader::new(bytes);
            if fields.bytes(MARK.len())? != MARK {
                return Err(Malformed);
            }
            let (version, key) = (fields.u64()?, fields.sized()?);
            let value = match fields.u8()? {
                0 => None,
                1 => Some(fields.sized()?),
                _ => return Err(Malformed),
            };
            Ok((version, key, value, fields.rest()))
        };
        let (version, key, value, rest) = fields().map_err(|_| no_proof())?;
        let proof = SparseMerkleProof::try_from_slice(&rest).map_err(|_| no_proof())?;
        Ok(Self { version, key, value, proof })
    }
}
