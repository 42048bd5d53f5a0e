//! Finding blocks, transactions and logs by what they are called.

use super::record::Block;
use alloy_primitives::{Address, B256};
use std::collections::BTreeMap;

/// Places of everything on the chain. Holds numbers only: about 60 bytes a transaction and 4 bytes
/// for each (block, contract, event) that occurs.
#[derive(Debug, Default)]
pub(crate) struct Index {
    blocks: BTreeMap<B256, u64>,
    txs: BTreeMap<B256, (u64, u32)>,
    /// Ascending numbers of the blocks in which a contract emitted an event.
    events: BTreeMap<(Address, B256), Vec<u64>>,
}

impl Index {
    pub(crate) fn insert(&mut self, block: &Block) {
        let number = block.header.number;
        self.blocks.insert(block.hash, number);
        for (place, executed) in (0u32..).zip(&block.txs) {
            self.txs.insert(*executed.tx.tx_hash(), (number, place));
            for log in &executed.outcome.logs {
                let topic = log.topics().first().copied().unwrap_or_default();
                let numbers = self.events.entry((log.address, topic)).or_default();
                if numbers.last() != Some(&number) {
                    numbers.push(number);
                }
            }
        }
    }

    pub(crate) fn block_number(&self, hash: B256) -> Option<u64> {
        self.blocks.get(&hash).copied()
    }

    pub(crate) fn tx_place(&self, hash: B256) -> Option<(u64, u32)> {
        self.txs.get(&hash).copied()
    }

    /// Ascending numbers of the blocks from `first` to `last` that may have a log of one of
    /// `addresses` with one of `topics` first; an empty list stands for any.
    pub(crate) fn blocks_with(&self, first: u64, last: u64, addresses: &[Address], topics: &[B256]) -> Vec<u64> {
        let mut found: Vec<u64> = self
            .events
            .iter()
            .filter(|((address, topic), _)| {
                (addresses.is_empty() || addresses.contains(address)) && (topics.is_empty() || topics.contains(topic))
            })
            .flat_map(|(_, numbers)| {
                let start = numbers.partition_point(|&number| number < first);
                numbers[start..].iter().copied().take_while(|&number| number <= last)
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}
