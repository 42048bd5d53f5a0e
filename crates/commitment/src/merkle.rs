//! A sparse Merkle tree of arity 16 over Poseidon.

use crate::{domain::DST_TREE_NODE, field::Fr, field::domain_tag, poseidon};
use ark_ff::AdditiveGroup;
use imbl::OrdMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

pub mod r1cs;

/// Children of a node.
pub const ARITY: usize = 16;
/// Bits of a place that one level takes.
pub const LEVEL_BITS: usize = 4;

/// The domain of nodes.
pub(crate) fn node_tag() -> Fr {
    static TAG: OnceLock<Fr> = OnceLock::new();
    *TAG.get_or_init(|| domain_tag(DST_TREE_NODE))
}

/// Hash of 16 children.
pub fn node(children: &[Fr; ARITY]) -> Fr {
    poseidon::hash_list(node_tag(), children)
}

/// The nodes above one leaf: all children of each, from the lowest level up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerklePath {
    /// Children on each level, the leaf or lower node among them.
    pub levels: Vec<[Fr; ARITY]>,
}

impl MerklePath {
    /// The root that the path leads to from `leaf` at `place`; `None` when the path does not contain
    /// the leaf or a node on the way.
    pub fn root(&self, place: u32, leaf: Fr) -> Option<Fr> {
        let mut current = leaf;
        for (level, children) in self.levels.iter().enumerate() {
            if children[digit(place, level)] != current {
                return None;
            }
            current = node(children);
        }
        Some(current)
    }
}

/// A tree of `depth` levels, 16^depth leaves; leaves that were never set are zero. A clone shares what
/// neither changes afterwards, so keeping a past tree costs the nodes that changed since.
#[derive(Clone)]
pub struct MerkleTree {
    depth: usize,
    /// Nodes that differ from the empty tree, by level (0: leaves) and place.
    levels: Vec<OrdMap<u32, Fr>>,
    /// The node of an empty subtree, by level.
    empty: Vec<Fr>,
}

impl MerkleTree {
    /// Most levels: places have 32 bits.
    pub const DEPTH_MAX: usize = 8;

    /// The tree without leaves; `depth` is at most [`DEPTH_MAX`](Self::DEPTH_MAX).
    pub fn new(depth: usize) -> Self {
        let depth = depth.min(Self::DEPTH_MAX);
        let mut empty = vec![Fr::ZERO];
        for level in 0..depth {
            empty.push(node(&[empty[level]; ARITY]));
        }
        Self { depth, levels: vec![OrdMap::new(); depth + 1], empty }
    }

    /// Levels between a leaf and the root.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The root.
    pub fn root(&self) -> Fr {
        self.at(self.depth, 0)
    }

    /// The node at a place of a level; level 0 are the leaves.
    pub fn at(&self, level: usize, place: u32) -> Fr {
        self.levels[level].get(&place).copied().unwrap_or(self.empty[level])
    }

    /// Sets a leaf. A place beyond the tree is ignored and reported as `false`.
    pub fn set(&mut self, place: u32, leaf: Fr) -> bool {
        self.set_all(&BTreeMap::from([(place, leaf)]))
    }

    /// Sets several leaves and hashes every node above them once. When a place is beyond the tree, nothing is set
    /// and that is reported as `false`.
    pub fn set_all(&mut self, leaves: &BTreeMap<u32, Fr>) -> bool {
        if leaves.keys().any(|place| u64::from(*place) >> (LEVEL_BITS * self.depth) != 0) {
            return false;
        }
        for (place, leaf) in leaves {
            self.levels[0].insert(*place, *leaf);
        }
        let mut changed: BTreeSet<u32> = leaves.keys().copied().collect();
        for level in 0..self.depth {
            changed = changed.into_iter().map(|place| place >> LEVEL_BITS).collect();
            for parent in &changed {
                let value = node(&self.children(level, *parent));
                self.levels[level + 1].insert(*parent, value);
            }
        }
        true
    }

    /// The path from a node at `level` to the root.
    pub fn path(&self, level: usize, place: u32) -> MerklePath {
        let parents = (level..self.depth).scan(place, |current, level| {
            *current >>= LEVEL_BITS;
            Some((level, *current))
        });
        MerklePath { levels: parents.map(|(level, parent)| self.children(level, parent)).collect() }
    }

    fn children(&self, level: usize, parent: u32) -> [Fr; ARITY] {
        let mut children = [Fr::ZERO; ARITY];
        for (child, place) in children.iter_mut().zip(parent << LEVEL_BITS..) {
            *child = self.at(level, place);
        }
        children
    }
}

/// The place of a node among its siblings.
fn digit(place: u32, level: usize) -> usize {
    (place >> (LEVEL_BITS * level)) as usize % ARITY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_every_leaf_to_the_root_and_from_no_other_value() {
        let mut tree = MerkleTree::new(3);
        for place in [0, 1, 17, 255, 256, 4095] {
            assert!(tree.set(place, Fr::from(u64::from(place) + 1)));
        }
        assert!(!tree.set(4096, Fr::from(1u64)));
        for place in [0, 1, 17, 255, 256, 4095, 1000] {
            let path = tree.path(0, place);
            let leaf = tree.at(0, place);
            assert_eq!(path.root(place, leaf), Some(tree.root()));
            assert_eq!(path.root(place, leaf + Fr::from(1u64)), None);
            assert_eq!(path.root(place ^ 5, leaf) == Some(tree.root()), tree.at(0, place ^ 5) == leaf);
        }
        let shard = tree.path(2, 15);
        assert_eq!(shard.root(15, tree.at(2, 15)), Some(tree.root()));
    }

    #[test]
    fn the_order_of_insertion_does_not_matter_and_the_value_of_every_leaf_does() {
        let mut forward = MerkleTree::new(2);
        let mut backward = MerkleTree::new(2);
        let mut at_once = MerkleTree::new(2);
        assert!(at_once.set_all(&(0..40).map(|place| (place, Fr::from(u64::from(place)))).collect()));
        for place in 0..40 {
            forward.set(place, Fr::from(u64::from(place)));
            backward.set(39 - place, Fr::from(u64::from(39 - place)));
        }
        assert_eq!(forward.root(), backward.root());
        assert_eq!(forward.root(), at_once.root());
        assert!(!at_once.set_all(&BTreeMap::from([(0, Fr::from(9u64)), (256, Fr::from(9u64))])));
        assert_eq!(forward.root(), at_once.root());
        backward.set(33, Fr::from(1u64));
        assert_ne!(forward.root(), backward.root());
    }

    #[test]
    fn a_clone_stays_as_it_was() {
        let mut tree = MerkleTree::new(2);
        (0..40).for_each(|place| assert!(tree.set(place, Fr::from(u64::from(place)))));
        let (before, root) = (tree.clone(), tree.root());
        tree.set(7, Fr::from(1u64));
        assert_ne!(tree.root(), root);
        assert_eq!((before.root(), before.at(0, 7)), (root, Fr::from(7u64)));
    }
}
