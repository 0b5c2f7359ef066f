//! Wrong input of every kind: the answer is an error that names file, transaction and field.

#![cfg(feature = "evm")]

use std::fs;
use std::path::Path;

use cachekv::evm::{BlockFiles, BlockInput, Codes, Error};
use revm::primitives::{Address, KECCAK_EMPTY, U256, keccak256};
use serde_json::{Value, json};

const SENDER: &str = "0x1111111111111111111111111111111111111111";
const CONTRACT: &str = "0x2222222222222222222222222222222222222222";
const CODE: &str = "0x6001600055";

/// A folder with one small block in it, which can be spoiled before it is read.
struct Folder {
    dir: tempfile::TempDir,
    block: Value,
    pre_state: Value,
}

impl Folder {
    /// A Cancun block with one legacy and one fee market transaction.
    fn new() -> Self {
        let hash = format!("0x{}", "ab".repeat(32));
        let legacy = json!({
            "hash": hash, "type": "0x0", "from": SENDER, "to": CONTRACT, "nonce": "0x5", "gas": "0xc350",
            "gasPrice": "0x77359400", "value": "0x0", "input": "0x", "chainId": "0x1",
        });
        let fee_market = json!({
            "hash": hash, "type": "0x2", "from": SENDER, "to": null, "nonce": "0x6", "gas": "0xc350",
            "maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x1", "value": "0x1", "input": "0x00",
            "chainId": "0x1", "accessList": [{"address": CONTRACT, "storageKeys": [hash]}],
        });
        let block = json!({
            "number": "0x1300000", "timestamp": "0x664d852f", "hash": hash, "parentHash": hash, "gasUsed": "0x0",
            "logsBloom": format!("0x{}", "00".repeat(256)), "receiptsRoot": hash, "miner": SENDER,
            "gasLimit": "0x1c9c380", "difficulty": "0x0", "mixHash": hash, "baseFeePerGas": "0x7",
            "excessBlobGas": "0x0", "transactions": [legacy, fee_market],
        });
        let pre_state = json!({
            SENDER: {"balance": "0xde0b6b3a7640000", "nonce": 5},
            CONTRACT: {"balance": "12", "nonce": "0x1", "code": CODE, "storage": {"0x1": "0x2", "0x3": "0x0"}},
        });
        Self { dir: tempfile::tempdir().unwrap(), block, pre_state }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn read(&self) -> Result<BlockInput, Error> {
        fs::write(self.path().join("block.json"), self.block.to_string()).unwrap();
        fs::write(self.path().join("pre_state.json"), self.pre_state.to_string()).unwrap();
        BlockInput::read(self.path())
    }

    /// What reading the folder says once it is spoiled.
    fn says(spoil: impl FnOnce(&mut Self)) -> String {
        let mut folder = Self::new();
        spoil(&mut folder);
        let said = folder.read().unwrap_err().to_string();
        said.replace(&format!("{}/", folder.path().display()), "")
    }

    fn tx(&mut self, index: usize) -> &mut Value {
        &mut self.block["transactions"][index]
    }
}

#[test]
fn a_good_block_is_read() {
    let input = Folder::new().read().unwrap();
    assert_eq!(input.transactions.len(), 2);
    assert_eq!(input.block_hash(0x1300000 - 1).unwrap(), input.header.parent_hash);
    let contract = &input.pre_state[&CONTRACT.parse::<Address>().unwrap()];
    assert_eq!((contract.balance, contract.nonce), (U256::from(12), 1));
    assert_eq!(contract.storage.len(), 1, "a slot of value zero is no slot");
    assert_eq!(input.codes[&contract.code_hash].original_byte_slice(), [0x60, 0x01, 0x60, 0x00, 0x55]);
    assert_eq!(input.pre_state[&SENDER.parse::<Address>().unwrap()].code_hash, KECCAK_EMPTY);
}

#[test]
fn an_envelope_around_the_block_and_the_state_is_opened() {
    let mut folder = Folder::new();
    folder.block = json!({"jsonrpc": "2.0", "id": 1, "result": folder.block});
    folder.pre_state = json!({"jsonrpc": "2.0", "id": 1, "result": [{"txHash": "0x", "result": folder.pre_state}]});
    assert_eq!(folder.read().unwrap().pre_state, Folder::new().read().unwrap().pre_state);
}

#[test]
fn traces_merge_to_what_was_seen_first() {
    let mut folder = Folder::new();
    folder.pre_state = json!([
        {"result": {SENDER: {"balance": "0x9", "nonce": 5}, CONTRACT: {"code": CODE, "storage": {"0x1": "0x0"}}}},
        {"result": {SENDER: {"balance": "0x1", "nonce": 6}, CONTRACT: {"storage": {"0x1": "0x7", "0x2": "0x8"}}}},
    ]);
    let input = folder.read().unwrap();
    let sender = &input.pre_state[&SENDER.parse::<Address>().unwrap()];
    assert_eq!((sender.balance, sender.nonce), (U256::from(9), 5));
    let contract = &input.pre_state[&CONTRACT.parse::<Address>().unwrap()];
    assert_eq!(contract.storage.iter().collect::<Vec<_>>(), [(&U256::from(2), &U256::from(8))]);
    assert_eq!(contract.code_hash, keccak256([0x60, 0x01, 0x60, 0x00, 0x55]));
}

#[test]
fn a_missing_file_is_named() {
    let folder = Folder::new();
    fs::write(folder.path().join("block.json"), folder.block.to_string()).unwrap();
    let error = BlockInput::read(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::MissingFile { file } if file.ends_with("pre_state.json")), "{error}");
    let files = BlockFiles { codes: Some("no/codes.json".into()), ..BlockFiles::in_folder(folder.path()) };
    assert_eq!(files.read().unwrap_err().to_string(), "no/codes.json: there is no such file");
}

#[test]
fn truncated_files_are_truncated_and_others_not_json() {
    let files = BlockFiles { block: "b.json".into(), ..BlockFiles::in_folder("nowhere") };
    let whole = Folder::new().block.to_string();
    for length in 0..whole.len() {
        let error = BlockInput::parse(&files, &whole.as_bytes()[..length], b"{}", None, &Codes::none()).unwrap_err();
        assert!(matches!(&error, Error::Truncated { file, .. } if file == Path::new("b.json")), "{length}: {error}");
    }
    let error = BlockInput::parse(&files, b"<html>", b"{}", None, &Codes::none()).unwrap_err();
    assert_eq!(error.to_string(), "b.json: not JSON: expected value at line 1 column 1");
}

#[test]
fn a_nodes_own_error_is_told() {
    let answer = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "missing trie node"}});
    let said = Folder::says(|folder| folder.block = answer.clone());
    assert_eq!(said, "block.json: the node answered with an error: \"missing trie node\"");
    let said = Folder::says(|folder| folder.pre_state = json!([{"result": {}}, answer]));
    assert_eq!(said, "pre_state.json: the node answered with an error: \"missing trie node\"");
    assert_eq!(Folder::says(|folder| folder.block = json!({"result": null})), "block.json: result: is missing");
}

#[test]
fn wrong_fields_of_the_header_are_named() {
    for (field, value, said) in [
        (
            "gasUsed",
            json!("0xzz"),
            "block.json: gasUsed: \"0xzz\" is not a number of at most 64 bits, in hex or decimal",
        ),
        (
            "number",
            json!("0x10000000000000000"),
            "block.json: number: \"0x10000000000000000\" is not a number of at most 64 bits, in hex or decimal",
        ),
        ("timestamp", json!(-1), "block.json: timestamp: -1 is not a number of at most 64 bits, in hex or decimal"),
        ("hash", json!("0xab"), "block.json: hash: \"0xab\" is not a hash of 32 bytes in hex"),
        ("logsBloom", json!([]), "block.json: logsBloom: [] is not a bloom filter of 256 bytes in hex"),
        ("miner", json!(null), "block.json: miner: is missing"),
        ("mixHash", json!(null), "block.json: mixHash: is missing"),
        ("baseFeePerGas", json!(null), "block.json: baseFeePerGas: is missing"),
        ("excessBlobGas", json!(null), "block.json: excessBlobGas: is missing"),
        (
            "excessBlobGas",
            json!("0xffffffffffffffff"),
            "block.json: excessBlobGas: \"0xffffffffffffffff\" is not the excess blob gas of a block whose blobs can be paid",
        ),
        ("transactions", json!("0x"), "block.json: transactions: \"0x\" is not a list"),
        (
            "transactions",
            json!(["0xab"]),
            "block.json: transaction 0: \"0xab\" is not a full transaction: ask eth_getBlockByNumber with `true`",
        ),
    ] {
        assert_eq!(Folder::says(|folder| folder.block[field] = value), said);
    }
}

#[test]
fn wrong_fields_of_a_transaction_are_named_with_its_index() {
    for (index, field, value, said) in [
        (0, "from", json!(null), "from: is missing"),
        (0, "from", json!("0x11"), "from: \"0x11\" is not an address of 20 bytes in hex"),
        (0, "input", json!("0x0"), "input: \"0x0\" is not bytes in hex"),
        (0, "input", json!(null), "input: is missing"),
        (0, "gasPrice", json!(null), "gasPrice: is missing"),
        (
            1,
            "maxFeePerGas",
            json!("0xffffffffffffffffffffffffffffffff"),
            "maxFeePerGas: \"0xffffffffffffffffffffffffffffffff\" is not a gas price that some balance can pay for the gas limit",
        ),
        (1, "maxPriorityFeePerGas", json!(null), "maxPriorityFeePerGas: is missing"),
        (1, "chainId", json!(null), "chainId: is missing"),
        (1, "chainId", json!("0x89"), "chainId: the transaction is for chain 137, the only chain known is mainnet, 1"),
        (1, "type", json!("0x7e"), "type: 0x7e is not a known transaction type (0 to 4)"),
        (1, "type", json!("0x3"), "to: is missing"),
        (
            1,
            "accessList",
            json!([{"address": CONTRACT, "storageKeys": ["0x1"]}]),
            "accessList[0].storageKeys[0]: \"0x1\" is not a hash of 32 bytes in hex",
        ),
        (1, "value", json!("0x1_0"), "value: \"0x1_0\" is not a number of at most 256 bits, in hex or decimal"),
    ] {
        let expected = format!("block.json: transaction {index}: {said}");
        assert_eq!(Folder::says(|folder| folder.tx(index)[field] = value), expected);
    }
}

#[test]
fn blob_and_set_code_transactions_need_their_lists() {
    let typed = |tx_type: &str, more: Value| {
        Folder::says(|folder| {
            let tx = folder.tx(1).as_object_mut().unwrap();
            tx.insert("type".into(), tx_type.into());
            tx.insert("to".into(), CONTRACT.into());
            tx.extend(more.as_object().unwrap().clone());
        })
    };
    assert_eq!(typed("0x3", json!({})), "block.json: transaction 1: blobVersionedHashes: is missing");
    let said = typed("0x3", json!({"blobVersionedHashes": []}));
    assert_eq!(said, "block.json: transaction 1: maxFeePerBlobGas: is missing");
    assert_eq!(typed("0x4", json!({})), "block.json: transaction 1: authorizationList: is missing");
    let said = typed("0x4", json!({"authorizationList": [{"chainId": "0x1", "address": CONTRACT, "nonce": "0x0"}]}));
    assert_eq!(said, "block.json: transaction 1: authorizationList[0].v: is missing");
}

#[test]
fn wrong_fields_of_the_state_are_named_with_their_account() {
    let contract = CONTRACT.parse::<Address>().unwrap();
    for (field, value, said) in [
        ("balance", json!("lots"), "balance: \"lots\" is not a number of at most 256 bits, in hex or decimal"),
        ("nonce", json!(1.5), "nonce: 1.5 is not a number of at most 64 bits, in hex or decimal"),
        ("storage", json!({"0xg": "0x0"}), "storage: the key \"0xg\" is not a slot of 32 bytes in hex"),
        ("storage", json!({"0x1": true}), "storage.0x1: true is not a number of at most 256 bits, in hex or decimal"),
        ("code", json!("0x600"), "code: \"0x600\" is not bytes in hex"),
        ("code", json!("0xef0100"), "code: Bytecode is not 23 bytes long"),
    ] {
        let said = format!("pre_state.json: account {contract}: {said}");
        let spoilt = Folder::says(|folder| folder.pre_state[CONTRACT][field] = value);
        if field == "code" && spoilt != said {
            assert!(spoilt.starts_with(&format!("pre_state.json: account {contract}: code: ")), "{spoilt}");
        } else {
            assert_eq!(spoilt, said);
        }
    }
    let said = Folder::says(|folder| folder.pre_state["alice"] = json!({}));
    assert_eq!(said, "pre_state.json: the key \"alice\" is not an address of 20 bytes in hex");
}

/// A key of an object may have any length: told whole, it made the error as long.
#[test]
fn a_long_name_is_told_in_part() {
    let long = "k".repeat(1 << 20);
    let said = Folder::says(|folder| folder.pre_state[CONTRACT]["storage"] = json!({ format!("0x{long}"): "0x0" }));
    assert!(said.len() < 400, "{} bytes", said.len());
    let codes = json!({ long.as_str(): 7 }).to_string();
    let said = Codes::parse(Path::new("codes.json"), codes.as_bytes()).unwrap_err().to_string();
    assert!(said.len() < 400 && said.starts_with("codes.json: kkkk"), "{} bytes", said.len());
}

#[test]
fn a_sender_that_must_have_existed_is_missed() {
    let said = Folder::says(|folder| {
        folder.pre_state.as_object_mut().unwrap().remove(SENDER);
    });
    let expected = "pre_state.json: account 0x1111111111111111111111111111111111111111 is missing, \
                    and transaction 0 cannot have been sent without it";
    assert_eq!(said, expected);
    let mut fresh = Folder::new();
    fresh.pre_state.as_object_mut().unwrap().remove(SENDER);
    fresh.tx(0)["nonce"] = json!("0x0");
    assert!(fresh.read().is_ok(), "an account may be new in the block");
}

#[test]
fn a_code_is_found_beside_or_above_or_missed() {
    let hash = keccak256([0x60, 0x01, 0x60, 0x00, 0x55]);
    let mut folder = Folder::new();
    folder.pre_state[CONTRACT] = json!({"balance": "0x0", "nonce": 1, "code_hash": hash});
    let error = folder.read().unwrap_err();
    let Error::MissingCode { place, hash: missing, .. } = &error else { panic!("{error}") };
    assert_eq!((*missing, place.field.as_str()), (hash, "code_hash"));

    let deep = folder.path().join("blocks/2024/1");
    fs::create_dir_all(&deep).unwrap();
    fs::rename(folder.path().join("block.json"), deep.join("block.json")).unwrap();
    fs::rename(folder.path().join("pre_state.json"), deep.join("pre_state.json")).unwrap();
    fs::write(folder.path().join("codes.json"), json!({hash.to_string(): CODE}).to_string()).unwrap();
    assert!(BlockInput::read(&deep).unwrap().codes.contains_key(&hash));

    fs::write(folder.path().join("codes.json"), json!({hash.to_string(): "0x00"}).to_string()).unwrap();
    let error = BlockInput::read(&deep).unwrap_err();
    assert!(matches!(&error, Error::WrongCode { place, .. } if place.file.ends_with("codes.json")), "{error}");

    fs::write(folder.path().join("codes.json.gz"), [0x1f, 0x8b, 0x08]).unwrap();
    let error = BlockInput::read(&deep).unwrap_err();
    assert!(matches!(&error, Error::Io { file, .. } if file.ends_with("codes.json.gz")), "{error}");
}

#[test]
fn block_hashes_are_read_and_checked() {
    let folder = Folder::new();
    let hash = format!("0x{}", "cd".repeat(32));
    fs::write(folder.path().join("block_hashes.json"), json!({"7": hash, "0x8": hash}).to_string()).unwrap();
    let input = folder.read().unwrap();
    assert!(input.block_hash(7).is_ok() && input.block_hash(8).is_ok());
    assert!(matches!(input.block_hash(9), Err(Error::MissingBlockHash { number: 9 })));

    fs::write(folder.path().join("block_hashes.json"), json!({"seven": hash}).to_string()).unwrap();
    let said = folder.read().unwrap_err().to_string();
    assert!(said.ends_with("block_hashes.json: the key \"seven\" is not a block number"), "{said}");
}
