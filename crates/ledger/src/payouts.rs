//! The cumulative payout tree: what every account has earned so far, under one root.
//!
//! The layout is that of OpenZeppelin's standard Merkle tree, so that the escrow contract and any
//! common tool can check a proof. See SPEC section 5.

use crate::amount::Amount;
use alloy_primitives::{Address as EvmAddress, B256, U256, keccak256};
use alloy_sol_types::SolValue as _;
use locus_commitment::{Address, Digest32};
use std::collections::BTreeMap;

/// Longest proof that is checked: a tree of 2^40 accounts.
const PATH_MAX: usize = 40;

/// Cumulative earnings of all accounts as a Merkle tree. Equal maps give equal trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutTree {
    earnings: BTreeMap<Address, Amount>,
    /// The tree in an array: children of `i` at `2i + 1` and `2i + 2`, leaves last in descending order.
    nodes: Vec<B256>,
    /// Place of each account's leaf in `nodes`.
    leaves: BTreeMap<Address, usize>,
}

/// Proof that an account has earned `cumulative` in all under a payout root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutProof {
    /// The account.
    pub account: Address,
    /// Everything it has ever earned, claimed or not.
    pub cumulative: Amount,
    /// Sibling hashes from the leaf upwards.
    pub path: Vec<Digest32>,
}

impl PayoutTree {
    /// The tree of these earnings. Accounts that earned nothing are left out.
    pub fn build(earnings: BTreeMap<Address, Amount>) -> Self {
        let mut sorted: Vec<(B256, Address)> = earnings
            .iter()
            .filter(|&(_, &cumulative)| cumulative > Amount::ZERO)
            .map(|(&account, &cumulative)| (leaf_hash(account, cumulative), account))
            .collect();
        sorted.sort_unstable();
        let node_count = (2 * sorted.len()).saturating_sub(1);
        let mut nodes = vec![B256::ZERO; node_count];
        let mut leaves = BTreeMap::new();
        for (rank, &(hash, account)) in sorted.iter().enumerate() {
            let place = node_count - 1 - rank;
            nodes[place] = hash;
            leaves.insert(account, place);
        }
        for place in (0..node_count - sorted.len()).rev() {
            nodes[place] = pair_hash(nodes[2 * place + 1], nodes[2 * place + 2]);
        }
        Self { earnings, nodes, leaves }
    }

    /// The root; zero for an empty tree, which no proof can match.
    pub fn root(&self) -> Digest32 {
        Digest32(self.nodes.first().copied().unwrap_or_default().0)
    }

    /// Sum of all earnings, or `None` past the largest amount.
    pub fn total(&self) -> Option<Amount> {
        self.earnings.values().try_fold(Amount::ZERO, |total, &cumulative| total.checked_add(cumulative))
    }

    /// What each account has earned in all.
    pub fn earnings(&self) -> &BTreeMap<Address, Amount> {
        &self.earnings
    }

    /// The proof for an account, or `None` when it has earned nothing.
    pub fn proof(&self, account: Address) -> Option<PayoutProof> {
        let cumulative = self.earnings.get(&account).copied()?;
        let mut place = self.leaves.get(&account).copied()?;
        let mut path = Vec::new();
        while place > 0 {
            let sibling = if place % 2 == 1 { place + 1 } else { place - 1 };
            path.push(Digest32(self.nodes[sibling].0));
            place = (place - 1) / 2;
        }
        Some(PayoutProof { account, cumulative, path })
    }
}

impl PayoutProof {
    /// Whether the proof leads to `root`.
    pub fn verify(&self, root: &Digest32) -> bool {
        let leaf = leaf_hash(self.account, self.cumulative);
        let top = self.path.iter().fold(leaf, |hash, sibling| pair_hash(hash, B256::from(sibling.0)));
        self.path.len() <= PATH_MAX && top.0 == root.0
    }
}

/// Hashed twice, so that no inner node, which is the hash of 64 bytes, can pass for a leaf.
fn leaf_hash(account: Address, cumulative: Amount) -> B256 {
    let encoded = (EvmAddress::from(account.0), U256::from(cumulative.0)).abi_encode();
    keccak256(keccak256(encoded))
}

/// Hash of two children in ascending order, so that a path needs no directions.
fn pair_hash(one: B256, other: B256) -> B256 {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    keccak256([low.0, high.0].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;
    use proptest::prelude::*;

    fn tree(count: u8) -> PayoutTree {
        PayoutTree::build(
            (1..=count).map(|account| (Address([account; 20]), Amount(u128::from(account) * 7))).collect(),
        )
    }

    /// The example in the documentation of OpenZeppelin's `merkle-tree` package.
    #[test]
    fn the_tree_agrees_with_the_published_example() {
        let earnings = [([0x11; 20], 5_000_000_000_000_000_000), ([0x22; 20], 2_500_000_000_000_000_000)];
        let tree = PayoutTree::build(earnings.map(|(account, base)| (Address(account), Amount(base))).into());
        assert_eq!(tree.root().0, hex!("d4dee0beab2d53f2cc83e567171bd2820e49898130a22622b10ead383e90bd77"));
        let proof = tree.proof(Address([0x11; 20])).unwrap();
        assert_eq!(proof.path, [Digest32(hex!("b92c48e9d7abe27fd8dfd6b5dfdbfb1c9a463f80c712b66f3a5180a090cccafc"))]);
    }

    #[test]
    fn an_empty_tree_proves_nothing_and_a_lone_leaf_is_its_own_root() {
        assert_eq!(tree(0).root(), Digest32([0; 32]));
        assert_eq!(tree(0).proof(Address([1; 20])), None);
        let proof = tree(1).proof(Address([1; 20])).unwrap();
        assert!(proof.path.is_empty() && proof.verify(&tree(1).root()));
    }

    #[test]
    fn an_account_that_earned_nothing_has_no_leaf() {
        let mut earnings = tree(3).earnings().clone();
        earnings.insert(Address([9; 20]), Amount::ZERO);
        let with_idle = PayoutTree::build(earnings);
        assert_eq!(with_idle.root(), tree(3).root());
        assert_eq!(with_idle.proof(Address([9; 20])), None);
    }

    #[test]
    fn an_inner_node_does_not_pass_for_a_leaf() {
        let tree = tree(4);
        // The two children of the root, read as the 64 bytes of an account and an amount.
        let inner = keccak256([tree.nodes[1].0, tree.nodes[2].0].concat());
        assert_eq!(inner.0.len(), 32);
        let account = Address(tree.nodes[1].0[12..].try_into().unwrap());
        let forged = PayoutProof { account, cumulative: Amount(u128::MAX), path: vec![] };
        assert!(!forged.verify(&tree.root()));
    }

    proptest! {
        #[test]
        fn every_account_proves_its_own_amount_and_no_other(count in 1u8..40, picked in 0u8..40) {
            let tree = tree(count);
            let picked = Address([1 + picked % count; 20]);
            let mut proof = tree.proof(picked).unwrap();
            prop_assert!(proof.verify(&tree.root()));
            proof.cumulative.0 += 1;
            prop_assert!(!proof.verify(&tree.root()));
            proof.cumulative.0 -= 1;
            proof.account = Address([200; 20]);
            prop_assert!(!proof.verify(&tree.root()));
        }
    }
}
