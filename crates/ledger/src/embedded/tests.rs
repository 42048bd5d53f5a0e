//! The JSON-RPC methods, called as a client would.

use super::*;
use crate::chain::{
    ChainConfig,
    tests::{clock, count, counter, deploy_counter, signed, signer},
};
use alloy_primitives::{TxKind, U256, hex};
use proptest::prelude::*;
use serde_json::json;
use std::sync::{Arc, atomic::Ordering};

/// All but the one that only makes a block.
const METHODS: [&str; 20] = [
    "eth_chainId",
    "net_version",
    "web3_clientVersion",
    "eth_syncing",
    "eth_blockNumber",
    "eth_gasPrice",
    "eth_feeHistory",
    "eth_getTransactionCount",
    "eth_getBalance",
    "eth_getCode",
    "eth_getStorageAt",
    "eth_call",
    "eth_estimateGas",
    "eth_sendRawTransaction",
    "eth_sendRawTransactionSync",
    "eth_getTransactionReceipt",
    "eth_getTransactionByHash",
    "eth_getBlockByNumber",
    "eth_getBlockByHash",
    "eth_getLogs",
];

/// A chain with the counter deployed and called `counts` times.
fn chain(counts: u64) -> EmbeddedChain {
    let chain = EmbeddedChain::in_memory(&ChainConfig::new(7), clock(1_000));
    chain.mine(&[deploy_counter()]).unwrap();
    for nonce in 1..=counts {
        chain.mine(&[count(nonce)]).unwrap();
    }
    chain
}

fn ask(chain: &EmbeddedChain, method: &str, params: Value) -> Result<Value, ErrorPayload> {
    let params = to_raw_value(&params).unwrap();
    call(chain, method, Some(&params)).map(|answer| serde_json::from_str(answer.get()).unwrap())
}

fn answer(chain: &EmbeddedChain, method: &str, params: Value) -> Value {
    ask(chain, method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
}

fn logs(chain: &EmbeddedChain, filter: Value) -> Vec<u64> {
    let found = answer(chain, "eth_getLogs", json!([filter]));
    let number = |log: &Value| u64::from_str_radix(&log["blockNumber"].as_str().unwrap()[2..], 16).unwrap();
    found.as_array().unwrap().iter().map(number).collect()
}

#[test]
fn the_head_is_safe_and_final_and_the_first_block_is_the_earliest() {
    let chain = chain(2);
    let head = answer(&chain, "eth_getBlockByNumber", json!(["latest", false]));
    assert_eq!(head["number"], json!("0x3"));
    for tag in ["finalized", "safe", "pending", "0x3"] {
        assert_eq!(answer(&chain, "eth_getBlockByNumber", json!([tag, false])), head, "{tag}");
    }
    assert_eq!(answer(&chain, "eth_getBlockByHash", json!([head["hash"], false])), head);
    let first = answer(&chain, "eth_getBlockByNumber", json!(["earliest"]));
    assert_eq!(first["number"], json!("0x0"));
    assert_eq!(answer(&chain, "eth_getBlockByNumber", json!(["0x4", false])), Value::Null);
    assert_eq!(answer(&chain, "eth_blockNumber", json!([])), json!("0x3"));
}

#[test]
fn logs_are_found_by_block_address_and_topic() {
    let chain = chain(5);
    let (address, other) = (counter(), signer().address());
    let topic = format!("{:#066x}", 0x2a);
    let everything = json!({"fromBlock": "earliest", "toBlock": "latest"});
    assert_eq!(logs(&chain, everything), [2, 3, 4, 5, 6]);
    assert_eq!(logs(&chain, json!({"fromBlock": "0x3", "toBlock": "0x4", "address": address})), [3, 4]);
    assert_eq!(logs(&chain, json!({"fromBlock": "0x3", "toBlock": "0xff"})), [3, 4, 5, 6]);
    assert_eq!(logs(&chain, json!({"address": address, "topics": [topic]})), [6], "no range is the head alone");
    assert_eq!(logs(&chain, json!({"fromBlock": "0x0", "address": [other, address], "topics": [[topic]]})).len(), 5);
    assert!(logs(&chain, json!({"fromBlock": "0x0", "address": other})).is_empty());
    assert!(logs(&chain, json!({"fromBlock": "0x0", "topics": [format!("{:#066x}", 1)]})).is_empty());
    assert!(logs(&chain, json!({"fromBlock": "0x0", "topics": [null, topic]})).is_empty(), "there is no second topic");
    assert!(logs(&chain, json!({"fromBlock": "0x5", "toBlock": "0x2"})).is_empty());
    let hash = answer(&chain, "eth_getBlockByNumber", json!(["0x4", false]))["hash"].clone();
    assert_eq!(logs(&chain, json!({"blockHash": hash})), [4]);
    ask(&chain, "eth_getLogs", json!([{"blockHash": format!("{:#066x}", 9)}])).expect_err("unknown block");
}

#[test]
fn a_transaction_is_answered_with_its_receipt_and_known_afterwards() {
    let chain = chain(0);
    let receipt = answer(&chain, "eth_sendRawTransactionSync", json!([count(1)]));
    assert_eq!((&receipt["status"], &receipt["blockNumber"]), (&json!("0x1"), &json!("0x2")));
    assert_eq!(receipt["logs"][0]["data"], json!(format!("{:#066x}", 1)));
    let hash = receipt["transactionHash"].clone();
    assert_eq!(answer(&chain, "eth_getTransactionReceipt", json!([hash])), receipt);
    let transaction = answer(&chain, "eth_getTransactionByHash", json!([hash]));
    assert_eq!(transaction["from"], json!(signer().address()));
    let block = answer(&chain, "eth_getBlockByNumber", json!(["latest", true]));
    assert_eq!(block["transactions"][0], transaction);
    let again = ask(&chain, "eth_sendRawTransaction", json!([count(1)])).expect_err("it ran already");
    assert_eq!(again.message, "already known");
    assert_eq!(answer(&chain, "eth_sendRawTransaction", json!([count(2)])).as_str().unwrap().len(), 66);
    assert_eq!(answer(&chain, "eth_getTransactionReceipt", json!([format!("{:#066x}", 9)])), Value::Null);
    assert_eq!(answer(&chain, "eth_getTransactionCount", json!([signer().address(), "pending"])), json!("0x3"));
    let nonce = ask(&chain, "eth_sendRawTransaction", json!([count(9)])).expect_err("from the future");
    assert!(nonce.message.contains("nonce"), "{}", nonce.message);
}

#[test]
fn the_state_is_that_of_the_head_and_no_other() {
    let chain = chain(3);
    let slot = json!([counter(), "0x0", "latest"]);
    assert_eq!(answer(&chain, "eth_getStorageAt", slot), json!(format!("{:#066x}", 3)));
    let code = answer(&chain, "eth_getCode", json!([counter(), "latest"]));
    assert_eq!(code, json!("0x5f54600101805f555f52602a60205fa100"));
    assert_eq!(answer(&chain, "eth_getCode", json!([signer().address()])), json!("0x"));
    assert_eq!(answer(&chain, "eth_getBalance", json!([counter(), "0x4"])), json!("0x0"));
    for (method, params) in [
        ("eth_getBalance", json!([counter(), "0x3"])),
        ("eth_getCode", json!([counter(), "0x1"])),
        ("eth_getCode", json!([counter(), "0x9"])),
        ("eth_call", json!([{"to": counter()}, "earliest"])),
    ] {
        let error = ask(&chain, method, params).expect_err("this state is not kept");
        assert!(error.message.contains("not kept"), "{}", error.message);
    }
}

#[test]
fn a_call_runs_at_the_present_time_and_leaves_nothing() {
    let time = clock(1_000);
    let chain = EmbeddedChain::in_memory(&ChainConfig::new(7), time.clone());
    // Returns the block's time: TIMESTAMP PUSH0 MSTORE PUSH1 32 PUSH0 RETURN.
    let code: Vec<u8> = hex!("6007 80 6009 5f 39 5f f3 425f5260205ff3").into();
    chain.mine(&[signed(|tx| tx.input = code.into())]).unwrap();
    time.0.store(5_000, Ordering::SeqCst);
    let now = answer(&chain, "eth_call", json!([{"to": counter()}, "latest"]));
    assert_eq!(now, json!(format!("{:#066x}", 5_000)));
    assert_eq!(chain.head_number(), 1);
}

#[test]
fn an_estimate_suffices_and_wastes_little() {
    let chain = chain(1);
    let request = json!([{"from": signer().address(), "to": counter()}]);
    let estimate = answer(&chain, "eth_estimateGas", request);
    let limit = u64::from_str_radix(&estimate.as_str().unwrap()[2..], 16).unwrap();
    let tight = signed(|tx| (tx.nonce, tx.to, tx.gas_limit) = (2, TxKind::Call(counter()), limit));
    let block = chain.mine(&[tight]).unwrap();
    assert!(block.txs[0].outcome.success);
    assert!(limit <= block.txs[0].outcome.gas_used * 17 / 16 + 1, "{limit}");
    // INVALID uses up all gas whatever the limit.
    let error = ask(&chain, "eth_estimateGas", json!([{"data": "0xfe"}])).expect_err("it never succeeds");
    assert!(error.message.contains("halted"), "{}", error.message);
}

#[test]
fn a_revert_carries_its_data() {
    let chain = chain(0);
    // Stores 0x2a and reverts with it: PUSH1 42 PUSH0 MSTORE PUSH1 32 PUSH0 REVERT.
    let error = ask(&chain, "eth_call", json!([{"data": "0x602a5f5260205ffd"}])).expect_err("it reverts");
    assert_eq!((error.code, error.message.as_ref()), (3, "execution reverted"));
    assert_eq!(error.data.unwrap().get(), format!("\"{:#066x}\"", 42));
}

#[test]
fn an_empty_block_is_made_on_request_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("chain.journal");
    let config = ChainConfig::new(7);
    let open = || EmbeddedChain::open(&journal, &config, clock(1_000)).unwrap();
    let chain = open();
    chain.mine(&[deploy_counter()]).unwrap();
    assert_eq!(answer(&chain, "evm_mine", json!([])), json!("0x2"));
    chain.mine(&[count(1)]).unwrap();
    let head = answer(&chain, "eth_getBlockByNumber", json!(["latest", true]));
    drop(chain);
    assert_eq!(answer(&open(), "eth_getBlockByNumber", json!(["latest", true])), head);
    assert_eq!(answer(&open(), "eth_getBlockByNumber", json!(["0x2", true]))["transactions"], json!([]));
}

#[test]
fn others_are_answered_as_by_a_node() {
    let chain = chain(0);
    assert_eq!(chain.answer("eth_chainId", vec![]), Ok(json!("0x7")));
    for strange in ["", "eth_chainid", "evm_revert"] {
        assert_eq!(chain.answer(strange, vec![]).unwrap_err()["code"], json!(-32601), "{strange}");
    }
    assert_eq!(chain.answer("eth_getBalance", vec![json!(7)]).unwrap_err()["code"], json!(-32602));
}

#[test]
fn a_batch_is_answered_in_order_up_to_a_limit() {
    let chain = chain(0);
    let request = |id: u64| {
        let request = alloy_json_rpc::Request::new("eth_chainId", alloy_json_rpc::Id::Number(id), ());
        request.serialize().unwrap()
    };
    let batch = |count: u64| {
        let packet = RequestPacket::Batch((0..count).map(request).collect());
        let ResponsePacket::Batch(responses) = answer_packet(&chain, packet) else { panic!("a batch") };
        responses
    };
    let few = batch(3);
    assert!(few.iter().all(|response| response.payload.is_success()));
    assert!((0..3).zip(&few).all(|(id, response)| response.id == alloy_json_rpc::Id::Number(id)));
    assert!(batch(257).iter().all(|response| response.payload.is_error()));
}

#[test]
fn concurrent_senders_lose_nothing() {
    let chain = Arc::new(chain(0));
    let done: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let chain = chain.clone();
                scope.spawn(move || (1..=20).filter(|nonce| chain.mine(&[count(*nonce)]).is_ok()).count() as u64)
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let value = chain.read().unwrap().storage(counter(), U256::ZERO);
    assert_eq!((value, chain.head_number()), (U256::from(done), done + 1));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(0x)?[0-9a-f]{0,70}".prop_map(Value::from),
        any::<u64>().prop_map(|number| Value::from(format!("{number:#x}"))),
        prop_oneof![Just("latest"), Just("earliest"), Just("pending"), Just("finalized")].prop_map(Value::from),
        Just(json!(counter())),
    ];
    let key = prop_oneof![
        Just("fromBlock"),
        Just("toBlock"),
        Just("blockHash"),
        Just("address"),
        Just("topics"),
        Just("to"),
        Just("from"),
        Just("data"),
        Just("value"),
        Just("gas"),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_request_makes_the_chain_panic_or_changes_it(method in 0..METHODS.len(), params in any_json()) {
        let chain = chain(1);
        let _ = ask(&chain, METHODS[method], params);
        prop_assert_eq!(chain.head_number(), 2);
    }

    #[test]
    fn no_list_of_parameters_makes_the_chain_panic(
        method in 0..METHODS.len(),
        params in proptest::collection::vec(any_json(), 0..4),
    ) {
        let chain = chain(1);
        let _ = ask(&chain, METHODS[method], Value::from(params));
        prop_assert_eq!(chain.head_number(), 2);
    }
}
