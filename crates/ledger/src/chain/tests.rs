//! The embedded chain and its journal.

use super::*;
use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{TxKind, hex};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

const CHAIN_ID: u64 = 7;
/// Deploys a contract that adds one to its only slot at every call and emits a log with the sum.
const COUNTER: [u8; 26] = hex!("60118060095f395ff35f54600101805f555f52602a60205fa100");

pub(crate) struct TestClock(pub(crate) AtomicU64);

impl Clock for TestClock {
    fn unix_s(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) fn clock(unix_s: u64) -> Arc<TestClock> {
    Arc::new(TestClock(AtomicU64::new(unix_s)))
}

pub(crate) fn signer() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(5)).unwrap()
}

pub(crate) fn signed(change: impl FnOnce(&mut TxEip1559)) -> Bytes {
    let mut tx = TxEip1559 { chain_id: CHAIN_ID, gas_limit: 200_000, ..Default::default() };
    change(&mut tx);
    let signature = signer().sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}

pub(crate) fn deploy_counter() -> Bytes {
    signed(|tx| tx.input = COUNTER.into())
}

pub(crate) fn count(nonce: u64) -> Bytes {
    signed(|tx| (tx.nonce, tx.to) = (nonce, TxKind::Call(counter())))
}

pub(crate) fn counter() -> EvmAddress {
    signer().address().create(0)
}

/// The counter's value.
fn value(chain: &EmbeddedChain) -> U256 {
    chain.read().unwrap().storage(counter(), U256::ZERO)
}

fn open(path: &Path) -> Result<EmbeddedChain, ChainError> {
    EmbeddedChain::open(path, &ChainConfig::new(CHAIN_ID), clock(1_000))
}

/// A journal with a deployment and `counts` calls; returns where each record ends.
fn journal(path: &Path, counts: u64) -> Vec<u64> {
    let chain = open(path).unwrap();
    let mut ends = vec![std::fs::metadata(path).unwrap().len()];
    for nonce in 0..=counts {
        let raw = if nonce == 0 { deploy_counter() } else { count(nonce) };
        chain.mine(&[raw]).unwrap();
        ends.push(std::fs::metadata(path).unwrap().len());
    }
    ends
}

#[test]
fn a_reopened_chain_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain");
    journal(&path, 3);
    let before = open(&path).unwrap().read().unwrap().head();
    let chain = open(&path).unwrap();
    assert_eq!((chain.head_number(), value(&chain)), (4, U256::from(3)));
    assert_eq!(chain.read().unwrap().head().hash, before.hash);
    chain.mine(&[count(4)]).unwrap();
    drop(chain);
    assert_eq!(value(&open(&path).unwrap()), U256::from(4));
}

#[test]
fn a_journal_cut_at_any_byte_opens_with_every_whole_block() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain");
    let ends = journal(&path, 2);
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        let torn = folder.path().join("torn");
        std::fs::write(&torn, &whole[..cut]).unwrap();
        let kept = ends.iter().filter(|end| **end <= cut as u64).count().saturating_sub(1) as u64;
        let chain = open(&torn).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(chain.head_number(), kept, "cut at {cut}");
        assert_eq!(value(&chain), U256::from(kept.saturating_sub(1)), "cut at {cut}");
        // The chain goes on behind the cut, and the journal is whole again.
        let next = if kept == 0 { deploy_counter() } else { count(kept) };
        chain.mine(&[next]).unwrap();
        drop(chain);
        assert_eq!(open(&torn).unwrap().head_number(), kept + 1, "cut at {cut}");
    }
}

#[test]
fn a_record_padded_with_zeros_is_unfinished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain");
    let ends = journal(&path, 1);
    let whole = std::fs::read(&path).unwrap();
    let last = usize::try_from(ends[1]).unwrap();
    for cut in last..whole.len() - 8 {
        let mut padded = whole[..cut].to_vec();
        padded.resize(whole.len() + 4096, 0);
        let torn = folder.path().join("torn");
        std::fs::write(&torn, &padded).unwrap();
        assert_eq!(open(&torn).unwrap().head_number(), 1, "zeros from {cut}");
        assert_eq!(std::fs::metadata(&torn).unwrap().len(), ends[1], "the padding is gone");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused_and_the_file_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain");
    journal(&path, 2);
    let whole = std::fs::read(&path).unwrap();
    for place in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        let damaged = folder.path().join("damaged");
        std::fs::write(&damaged, &flipped).unwrap();
        let error = open(&damaged).expect_err("damage is noticed");
        let expected =
            matches!(error, ChainError::Corrupt { .. } | ChainError::NotAJournal | ChainError::Diverged { .. });
        assert!(expected, "byte {place}: {error}");
        assert_eq!(std::fs::read(&damaged).unwrap(), flipped, "byte {place}");
    }
}

#[test]
fn a_block_that_does_not_follow_is_refused_although_its_checksum_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("chain"), folder.path().join("other"));
    let ends = journal(&path, 2);
    let whole = std::fs::read(&path).unwrap();
    let at = |index: usize| usize::try_from(ends[index]).unwrap();
    // The second call moved in front of the first: a whole record, but not the next block.
    let swapped = [&whole[..at(1)], &whole[at(2)..], &whole[at(1)..at(2)]].concat();
    std::fs::write(&other, swapped).unwrap();
    assert!(matches!(open(&other), Err(ChainError::Corrupt { number: 2 })));
    // The deployment left out and the numbers put right would still not give the same blocks.
    std::fs::write(&other, [&whole[..at(0)], &whole[at(1)..]].concat()).unwrap();
    assert!(matches!(open(&other), Err(ChainError::Corrupt { number: 1 })));
}

#[test]
fn one_process_at_a_time_has_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain");
    let first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(ChainError::Locked { .. })));
    let second_handle = first.clone();
    drop(first);
    assert!(matches!(open(&path), Err(ChainError::Locked { .. })));
    drop(second_handle);
    open(&path).unwrap();
}

#[test]
fn a_journal_of_another_chain_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain");
    journal(&path, 1);
    let open_as = |config: &ChainConfig| EmbeddedChain::open(&path, config, clock(0));
    assert!(matches!(open_as(&ChainConfig::new(CHAIN_ID + 1)), Err(ChainError::OtherChain)));
    let mut rich = ChainConfig::new(CHAIN_ID);
    rich.balances_wei.insert(Address([1; 20]), 5);
    assert!(matches!(open_as(&rich), Err(ChainError::OtherChain)));
    std::fs::write(&path, vec![b'x'; 4096]).unwrap();
    assert!(matches!(open(&path), Err(ChainError::NotAJournal)));
}

#[test]
fn a_transaction_that_cannot_be_included_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain");
    journal(&path, 1);
    let chain = open(&path).unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    let mut cut = count(2).to_vec();
    cut.pop();
    let bad: [(&str, Vec<Bytes>); 8] = [
        ("a used nonce", vec![count(1)]),
        ("a future nonce", vec![count(3)]),
        ("one bad after one good", vec![count(2), count(2)]),
        ("another chain", vec![signed(|tx| (tx.nonce, tx.chain_id) = (2, CHAIN_ID + 1))]),
        ("more gas than a block", vec![signed(|tx| (tx.nonce, tx.gas_limit) = (2, BLOCK_GAS_MAX + 1))]),
        ("money that is not there", vec![signed(|tx| (tx.nonce, tx.value) = (2, U256::ONE))]),
        ("cut short", vec![cut.into()]),
        ("too long", vec![vec![2; 9 << 20].into()]),
    ];
    for (what, raw) in bad {
        chain.mine(&raw).expect_err(what);
        assert_eq!((chain.head_number(), value(&chain)), (2, U256::ONE), "{what}");
    }
    assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
    chain.mine(&[count(2), count(3)]).unwrap();
    assert_eq!((chain.head_number(), value(&chain)), (3, U256::from(3)));
}

#[test]
fn block_times_never_run_backwards() {
    let time = clock(500);
    let chain = EmbeddedChain::in_memory(&ChainConfig::new(CHAIN_ID), time.clone());
    let mut times = Vec::new();
    for (nonce, now) in [(0, 500), (1, 700), (2, 600), (3, 0), (4, 701)] {
        time.0.store(now, Ordering::SeqCst);
        let raw = if nonce == 0 { deploy_counter() } else { count(nonce) };
        times.push(chain.mine(&[raw]).unwrap().header.timestamp);
    }
    assert_eq!(times, [500, 700, 700, 700, 701]);
}

#[test]
fn blocks_are_linked_by_hash_and_read_back_as_they_were_made() {
    let folder = tempfile::tempdir().unwrap();
    let chain = open(&folder.path().join("chain")).unwrap();
    let mut made = vec![chain.mine(&[deploy_counter()]).unwrap()];
    // More than are kept decoded, so that the first are read from the file.
    for nonce in 1..=2 * RECENT_BLOCKS_MAX as u64 {
        made.push(chain.mine(&[count(nonce)]).unwrap());
    }
    let chain = chain.read().unwrap();
    let mut parent = chain.block(0).unwrap().unwrap().hash;
    for expected in &made {
        let block = chain.block(expected.header.number).unwrap().unwrap();
        assert_eq!(block.encode(), expected.encode());
        assert_eq!((block.hash, block.header.parent_hash), (expected.hash, parent));
        parent = block.hash;
    }
    assert!(chain.block(made.len() as u64 + 1).unwrap().is_none());
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(bytes: Vec<u8>, number in 0u64..3) {
        let _ = execute::SignedTx::parse(&bytes, CHAIN_ID);
        let _ = Block::decode(&bytes, B256::ZERO, number);
    }

    #[test]
    fn no_change_of_a_transaction_makes_the_parser_panic(place in 0usize..200, byte: u8) {
        let mut raw = count(1).to_vec();
        let place = place % raw.len();
        raw[place] = byte;
        let _ = execute::SignedTx::parse(&raw, CHAIN_ID);
    }
}
