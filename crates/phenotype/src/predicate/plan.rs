//! What to compute on shared bits, and what it costs.

use super::decision::{DecisionDiagram, Link};
use crate::schema::AttributeSchema;
use std::collections::{BTreeMap, BTreeSet};

/// How to compute a predicate on shared bits. Gates stand in order; the last one is the selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationPlan {
    gates: Vec<Gate>,
}

/// One step for everybody at once: the sum of some bits, plus the sum of products of a sum of bits
/// and an earlier gate. All products of a gate together take one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The round after which the gate is known; 0 when it needs no message.
    pub level: u32,
    /// Bits of the schema whose sum is added.
    pub bits: Vec<usize>,
    /// Products that are added.
    pub products: Vec<GateInput>,
}

/// One product of a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateInput {
    /// Bits of the schema whose sum is one factor: at most one of them is set in anybody.
    pub bits: Vec<usize>,
    /// The earlier gate that is the other.
    pub gate: usize,
}

/// What an evaluation takes of the keyholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PredicateCost {
    /// Gates that need a message.
    pub gates: u32,
    /// Rounds of messages, one after the other.
    pub rounds: u32,
}

impl EvaluationPlan {
    pub(super) fn new(diagram: &DecisionDiagram, schema: &AttributeSchema) -> Self {
        let mut gates: Vec<Gate> = Vec::new();
        for node in diagram.nodes() {
            let start = schema.bits_of(node.attribute).start;
            let mut bits = Vec::new();
            let mut products: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (value, link) in node.links.iter().enumerate() {
                match link {
                    Link::Nobody => {}
                    Link::Everybody => bits.push(start + value),
                    Link::Node(gate) => products.entry(usize::from(*gate)).or_default().push(start + value),
                }
            }
            let products: Vec<GateInput> = products.into_iter().map(|(gate, bits)| GateInput { bits, gate }).collect();
            let below = products.iter().filter_map(|input| gates.get(input.gate)).map(|gate| gate.level + 1).max();
            gates.push(Gate { level: below.unwrap_or(0), bits, products });
        }
        Self { gates }
    }

    /// The gates, in order.
    pub fn gates(&self) -> &[Gate] {
        &self.gates
    }

    /// The gates of one round, in order.
    pub fn level(&self, level: u32) -> impl Iterator<Item = usize> {
        self.gates.iter().enumerate().filter(move |(_, gate)| gate.level == level).map(|(number, _)| number)
    }

    /// The sums of bits that it starts from, by their bits.
    pub fn inputs(&self) -> BTreeSet<Vec<usize>> {
        let of_gate = |gate: &Gate| {
            let factors = gate.products.iter().map(|input| input.bits.clone()).collect::<Vec<_>>();
            factors.into_iter().chain([gate.bits.clone()])
        };
        self.gates.iter().flat_map(of_gate).filter(|bits| !bits.is_empty()).collect()
    }

    /// What it takes.
    pub fn cost(&self) -> PredicateCost {
        let gates = self.gates.iter().filter(|gate| !gate.products.is_empty()).count();
        PredicateCost {
            gates: u32::try_from(gates).unwrap_or(u32::MAX),
            rounds: self.gates.iter().map(|gate| gate.level).max().unwrap_or(0),
        }
    }
}
