//! Paths in circuits.

use super::{ARITY, LEVEL_BITS, MerklePath, node_tag};
use crate::{
    poseidon::r1cs::hash_list,
    r1cs::{Builder, Linear},
};

/// Hash of 16 children.
pub fn node(builder: &mut Builder, children: &[Linear]) -> Linear {
    hash_list(builder, node_tag(), children)
}

/// Sixteen bits of which the one at the number given by `bits` (lowest first) is set, in 18 rows.
fn one_hot(builder: &mut Builder, bits: &[Linear]) -> Vec<Linear> {
    let [low, high] = [[&bits[0], &bits[1]], [&bits[2], &bits[3]]].map(|[first, second]| {
        let both = builder.multiply(first, second);
        let neither = first.plus(second).minus(&both).not();
        [neither, first.minus(&both), second.minus(&both), both]
    });
    let mut all = Vec::with_capacity(ARITY);
    for high_part in &high {
        for low_part in &low {
            all.push(builder.multiply(high_part, low_part));
        }
    }
    all
}

/// The root that a path leads to from `leaf` at the place given by `place_bits` (lowest first).
/// Enforces that every node on the way is among its parent's children.
pub fn root(builder: &mut Builder, path: &MerklePath, place_bits: &[Linear], leaf: &Linear) -> Linear {
    let mut current = leaf.clone();
    for (children, bits) in path.levels.iter().zip(place_bits.chunks(LEVEL_BITS)) {
        let (children, _) = open(builder, children, bits, &current);
        current = node(builder, &children);
    }
    current
}

/// The roots before and after the leaf at a place changes from `old` to `new`.
pub fn update(
    builder: &mut Builder,
    path: &MerklePath,
    place_bits: &[Linear],
    old: &Linear,
    new: &Linear,
) -> (Linear, Linear) {
    let (mut before, mut after) = (old.clone(), new.clone());
    for (children, bits) in path.levels.iter().zip(place_bits.chunks(LEVEL_BITS)) {
        let (children, selectors) = open(builder, children, bits, &before);
        let change = after.minus(&before);
        let replaced: Vec<Linear> = children
            .iter()
            .zip(&selectors)
            .map(|(child, selector)| child.plus(&builder.multiply(selector, &change)))
            .collect();
        before = node(builder, &children);
        after = node(builder, &replaced);
    }
    (before, after)
}

/// The children of a node as witnesses, with `current` enforced to be the one at the place.
fn open(
    builder: &mut Builder,
    children: &[crate::field::Fr; ARITY],
    bits: &[Linear],
    current: &Linear,
) -> (Vec<Linear>, Vec<Linear>) {
    let children: Vec<Linear> = children.iter().map(|child| builder.witness(*child)).collect();
    let selectors = one_hot(builder, bits);
    let chosen: Vec<Linear> =
        children.iter().zip(&selectors).map(|(child, selector)| builder.multiply(selector, child)).collect();
    builder.enforce_equal(&Linear::sum(&chosen), current);
    (children, selectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        field::Fr,
        merkle::MerkleTree,
        r1cs::{Mode, Unsatisfied},
    };

    fn tree() -> MerkleTree {
        let mut tree = MerkleTree::new(2);
        (0..200).for_each(|place| assert!(tree.set(place, Fr::from(u64::from(place) + 7))));
        tree
    }

    fn root_of(place: u32, claimed: u32, leaf: Fr) -> (Fr, Option<Unsatisfied>) {
        let tree = tree();
        let (mut builder, _) = Builder::new(Mode::Assign, &[]);
        let (bits, _) = builder.bits(u64::from(claimed), 8);
        let leaf = builder.witness(leaf);
        let result = root(&mut builder, &tree.path(0, place), &bits, &leaf).value();
        (result, builder.into_assignment().unsatisfied)
    }

    #[test]
    fn the_circuit_reaches_the_root_only_from_the_right_leaf_at_the_right_place() {
        for place in [0, 1, 15, 16, 199, 255] {
            let leaf = tree().at(0, place);
            assert_eq!(root_of(place, place, leaf), (tree().root(), None));
            assert!(root_of(place, place, leaf + Fr::from(1u64)).1.is_some());
            assert!(root_of(place, place ^ 1, leaf).1.is_some() || tree().at(0, place ^ 1) == leaf);
        }
    }

    #[test]
    fn an_update_gives_the_roots_before_and_after() {
        let mut tree = tree();
        let before = tree.root();
        let path = tree.path(0, 33);
        let (mut builder, _) = Builder::new(Mode::Assign, &[]);
        let (bits, _) = builder.bits(33, 8);
        let (old, new) = (builder.witness(Fr::from(40u64)), builder.witness(Fr::from(1u64)));
        let (from, to) = update(&mut builder, &path, &bits, &old, &new);
        tree.set(33, Fr::from(1u64));
        assert_eq!((from.value(), to.value()), (before, tree.root()));
        assert_eq!(builder.into_assignment().unsatisfied, None);
    }
}
