//! Valid documents of small blocks, and what can be done to them.

use arbitrary::{Result, Unstructured};
use revm::primitives::keccak256;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The block, the state before it, the hashes of earlier blocks, the codes.
pub type Documents = [Value; 4];

const SENDER: &str = "0x1111111111111111111111111111111111111111";
const CONTRACT: &str = "0x2222222222222222222222222222222222222222";
const ASKING: &str = "0x3333333333333333333333333333333333333333";
const HASH: &str = "0xabababababababababababababababababababababababababababababababab";
/// Stores one at slot zero.
const CODE: &str = "0x6001600055";
/// Stores the hash of the block ten before this one: `number - 10` is `BLOCKHASH`'s operand.
const ASKS: &str = "0x600a430340600055";
static ASKS_HASH: LazyLock<String> =
    LazyLock::new(|| keccak256([0x60, 0x0a, 0x43, 0x03, 0x40, 0x60, 0x00, 0x55]).to_string());

fn transaction(tx_type: u8, nonce: u64, to: &str) -> Value {
    let mut tx = json!({
        "hash": HASH, "type": format!("{tx_type:#x}"), "from": SENDER, "to": to, "nonce": format!("{nonce:#x}"),
        "gas": "0x13880", "value": "0x1", "input": "0x", "chainId": "0x1",
    });
    let more = match tx_type {
        0 => json!({"gasPrice": "0x77359400"}),
        1 => json!({"gasPrice": "0x77359400", "accessList": [{"address": CONTRACT, "storageKeys": [HASH]}]}),
        _ => json!({"maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x1", "accessList": []}),
    };
    let lists = match tx_type {
        3 => json!({"maxFeePerBlobGas": "0x5", "blobVersionedHashes": [HASH.replace("0xab", "0x01")]}),
        4 => json!({"authorizationList": [
            {"chainId": "0x1", "address": CONTRACT, "nonce": "0x0", "yParity": "0x1", "r": HASH, "s": "0x2"},
        ]}),
        _ => json!({}),
    };
    for (field, value) in more.as_object().into_iter().chain(lists.as_object()).flatten() {
        tx[field] = value.clone();
    }
    tx
}

fn block(number: u64, timestamp: u64, transactions: Vec<Value>) -> Value {
    json!({
        "number": format!("{number:#x}"), "timestamp": timestamp, "hash": HASH, "parentHash": HASH, "gasUsed": "0x0",
        "logsBloom": format!("0x{}", "00".repeat(256)), "receiptsRoot": HASH, "miner": ASKING, "gasLimit": "0x1c9c380",
        "difficulty": "0x0", "mixHash": HASH, "baseFeePerGas": "0x7", "excessBlobGas": "0x0",
        "transactions": transactions,
    })
}

/// Blocks of several forks, and both shapes of a state.
pub static VALID: LazyLock<Vec<Documents>> = LazyLock::new(|| {
    let state = json!({
        SENDER: {"balance": "0xde0b6b3a7640000", "nonce": 5},
        CONTRACT: {"balance": "12", "nonce": "0x1", "code": CODE, "storage": {"0x1": "0x2", "0x3": "0x0"}},
        ASKING: {"balance": "0x0", "code": ASKS},
    });
    let traced = json!({"jsonrpc": "2.0", "id": 1, "result": [
        {"txHash": HASH, "result": {SENDER: {"balance": "0xde0b6b3a7640000", "nonce": 5}}},
        {"txHash": HASH, "result": {SENDER: {"balance": "0x1", "nonce": 6}, CONTRACT: {"code": CODE}}},
    ]});
    let hashed = json!({SENDER: {"balance": "0xde0b6b3a7640000", "nonce": "0x5"}, ASKING: {"code_hash": *ASKS_HASH}});
    let hashes = json!({"2499990": HASH, "0x1": HASH});
    let codes = json!({ASKS_HASH.as_str(): ASKS});
    let newest = (0..5).map(|tx_type| transaction(tx_type, 5 + u64::from(tx_type), CONTRACT)).collect();
    let creation = {
        let mut tx = transaction(0, 5, CONTRACT);
        (tx["to"], tx["input"], tx["gas"]) = (Value::Null, json!("0x600160005560016000f3"), json!("0x30000"));
        tx
    };
    let asking = vec![transaction(0, 5, ASKING)];
    vec![
        [block(23_000_000, 1_750_000_000, newest), state.clone(), hashes.clone(), codes.clone()],
        [json!({"jsonrpc": "2.0", "result": block(5_000_000, 0, vec![creation])}), traced, json!({}), json!({})],
        [block(2_500_000, 0, asking.clone()), state.clone(), hashes.clone(), codes.clone()],
        [block(13_000_000, 0, asking), state, json!({}), codes.clone()],
        [block(10_000_000, 0, vec![transaction(0, 5, ASKING)]), hashed, hashes, codes],
    ]
});

/// What a field can be replaced by.
fn odd(input: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match input.int_in_range(0..=19u8)? {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(1.5),
        4 => json!(input.arbitrary::<u64>()? >> input.choose(&[0u8, 32, 60])?),
        5 => json!(""),
        6 => json!("0x"),
        7 => json!("0x0"),
        8 => json!(format!("0x{}", "f".repeat(input.int_in_range(1..=66)?))),
        9 => json!(format!("{:#x}", input.arbitrary::<u64>()? >> input.int_in_range(0..=63)?)),
        10 => json!("9".repeat(input.int_in_range(1..=80)?)),
        11 => json!(format!("0x{}", "ef0100".repeat(input.int_in_range(1..=8)?))),
        12 => json!([]),
        13 => json!({}),
        14 => (0..input.int_in_range(1..=140)?).fold(json!(0), |inner, _| json!([inner])),
        15 => json!({"error": {"message": "no such block"}, "result": null}),
        16 => json!("0x\u{ff10}"),
        17 => json!("é".repeat(input.int_in_range(1..=50)?)),
        18 => json!(input.choose(&[SENDER, CONTRACT, ASKING, HASH, CODE, ASKS_HASH.as_str()])?),
        _ => json!(String::from_utf8_lossy(input.bytes(8)?)),
    })
}

/// A place within `value`, as deep as the input goes.
fn place<'a>(value: &'a mut Value, input: &mut Unstructured<'_>) -> Result<&'a mut Value> {
    let len = match value {
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    };
    if len == 0 || input.ratio(1, 5)? {
        return Ok(value);
    }
    let at = input.choose_index(len)?;
    let inner = match value {
        Value::Array(list) => list.get_mut(at),
        Value::Object(map) => map.values_mut().nth(at),
        _ => None,
    };
    place(inner.unwrap(), input)
}

/// One change to the documents, somewhere.
pub fn mutate(documents: &mut Documents, input: &mut Unstructured<'_>) -> Result<()> {
    let copied = {
        let from = input.choose_index(documents.len())?;
        if input.ratio(1, 4)? { Some(place(&mut documents[from], input)?.clone()) } else { None }
    };
    let which = *input.choose(&[0usize, 0, 0, 1, 1, 1, 2, 3])?;
    let value = place(&mut documents[which], input)?;
    let put = copied.map_or_else(|| odd(input), Ok)?;
    match (input.int_in_range(0..=7u8)?, value) {
        (0, Value::Object(map)) => {
            remove(map, input)?;
        }
        (1, Value::Object(map)) => {
            if let Some(inner) = remove(map, input)? {
                map.insert(put.as_str().map_or_else(|| put.to_string(), str::to_owned), inner);
            }
        }
        (2, Value::Object(map)) => {
            map.insert(put.as_str().map_or_else(|| put.to_string(), str::to_owned), put);
        }
        (0, Value::Array(list)) => drop(list.pop()),
        (1, Value::Array(list)) => list.push(put),
        (2, Value::Array(list)) => {
            let twice = list.first().cloned();
            list.extend(twice);
        }
        (3, Value::String(text)) => drop(text.pop()),
        (4, Value::String(text)) => text.push(input.arbitrary()?),
        (5, Value::String(text)) => *text = text.to_uppercase(),
        (_, value) => *value = put,
    }
    Ok(())
}

fn remove(map: &mut Map<String, Value>, input: &mut Unstructured<'_>) -> Result<Option<Value>> {
    if map.is_empty() {
        return Ok(None);
    }
    let at = input.choose_index(map.len())?;
    let key = map.keys().nth(at).cloned().unwrap_or_default();
    Ok(map.remove(&key))
}
