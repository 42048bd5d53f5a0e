//! Reduced ordered decision diagrams over attributes with several values.
//!
//! For a fixed order of the attributes every function of them has exactly one such diagram
//! [[Bryant 1986]], extended to several values as in [[Srinivasan 1990]].
//!
//! [Bryant 1986]: https://doi.org/10.1109/TC.1986.1676819
//! [Srinivasan 1990]: https://doi.org/10.1109/ICCAD.1990.129849

use super::{PREDICATE_ATTRIBUTES_MAX, PREDICATE_NODES_MAX, values::ValueSet};
use crate::schema::{AttributeIndex, AttributeSchema};
use std::collections::{BTreeMap, BTreeSet};

/// Where a value leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Link {
    Nobody,
    Everybody,
    Node(u16),
}

/// A question about one attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) attribute: AttributeIndex,
    /// One for each value.
    pub(super) links: Vec<Link>,
}

/// A finished diagram: nodes in the order in which they are first finished from the root, values in
/// order, so children stand before parents and the root is last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DecisionDiagram {
    nodes: Vec<Node>,
    root: Link,
}

/// The diagram would be too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

/// The two ways to combine diagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Combination {
    And,
    Or,
}

/// Builds diagrams that share nodes.
#[derive(Default)]
pub(super) struct DiagramBuilder {
    nodes: Vec<Node>,
    known: BTreeMap<Node, u16>,
    combined: BTreeMap<(Combination, Link, Link), Link>,
}

/// Nodes under construction: some of what is built is left out of the result.
const BUILDER_NODES_MAX: usize = 16 * PREDICATE_NODES_MAX;

impl DiagramBuilder {
    /// Everybody whose value of `attribute` is in `values`.
    pub(super) fn leaf(&mut self, attribute: AttributeIndex, values: &ValueSet) -> Result<Link, TooLarge> {
        let link = |value| if values.contains(value) { Link::Everybody } else { Link::Nobody };
        self.node(Node { attribute, links: (0..values.len()).map(link).collect() })
    }

    pub(super) fn combine(&mut self, how: Combination, left: Link, right: Link) -> Result<Link, TooLarge> {
        let (absorbing, neutral) = match how {
            Combination::And => (Link::Nobody, Link::Everybody),
            Combination::Or => (Link::Everybody, Link::Nobody),
        };
        if left == absorbing || right == absorbing {
            return Ok(absorbing);
        }
        if left == neutral || left == right {
            return Ok(right);
        }
        if right == neutral {
            return Ok(left);
        }
        let key = (how, left.min(right), left.max(right));
        if let Some(link) = self.combined.get(&key) {
            return Ok(*link);
        }
        let (Some(first), Some(second)) = (self.get(left), self.get(right)) else { return Err(TooLarge) };
        let attribute = first.attribute.min(second.attribute);
        let count = if first.attribute == attribute { first.links.len() } else { second.links.len() };
        let follow = |node: &Node, link: Link| -> Vec<Link> {
            if node.attribute == attribute { node.links.clone() } else { vec![link; count] }
        };
        let (left_links, right_links) = (follow(first, left), follow(second, right));
        let mut links = Vec::with_capacity(count);
        for (left_link, right_link) in left_links.into_iter().zip(right_links) {
            links.push(self.combine(how, left_link, right_link)?);
        }
        let link = self.node(Node { attribute, links })?;
        self.combined.insert(key, link);
        Ok(link)
    }

    /// The diagram of what `root` selects.
    pub(super) fn finish(&self, root: Link) -> Result<DecisionDiagram, TooLarge> {
        let mut numbers = BTreeMap::new();
        let mut nodes = Vec::new();
        let root = self.renumber(root, &mut numbers, &mut nodes);
        if nodes.len() > PREDICATE_NODES_MAX { Err(TooLarge) } else { Ok(DecisionDiagram { nodes, root }) }
    }

    /// Depth is at most the number of attributes.
    fn renumber(&self, link: Link, numbers: &mut BTreeMap<Link, Link>, nodes: &mut Vec<Node>) -> Link {
        let Some(node) = self.get(link) else { return link };
        if let Some(number) = numbers.get(&link) {
            return *number;
        }
        let links = node.links.iter().map(|child| self.renumber(*child, numbers, nodes)).collect();
        let number = Link::Node(u16::try_from(nodes.len()).unwrap_or(u16::MAX));
        nodes.push(Node { attribute: node.attribute, links });
        numbers.insert(link, number);
        number
    }

    fn node(&mut self, node: Node) -> Result<Link, TooLarge> {
        if let Some(first) = node.links.first().filter(|first| node.links.iter().all(|link| link == *first)) {
            return Ok(*first);
        }
        if let Some(number) = self.known.get(&node) {
            return Ok(Link::Node(*number));
        }
        let number = u16::try_from(self.nodes.len()).map_err(|_| TooLarge)?;
        if self.nodes.len() >= BUILDER_NODES_MAX {
            return Err(TooLarge);
        }
        self.nodes.push(node.clone());
        self.known.insert(node, number);
        Ok(Link::Node(number))
    }

    fn get(&self, link: Link) -> Option<&Node> {
        match link {
            Link::Node(number) => self.nodes.get(usize::from(number)),
            Link::Nobody | Link::Everybody => None,
        }
    }
}

impl DecisionDiagram {
    pub(super) fn root(&self) -> Link {
        self.root
    }

    pub(super) fn node(&self, number: u16) -> Option<&Node> {
        self.nodes.get(usize::from(number))
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn attributes(&self) -> Vec<AttributeIndex> {
        let attributes: BTreeSet<AttributeIndex> = self.nodes.iter().map(|node| node.attribute).collect();
        attributes.into_iter().collect()
    }

    /// Nodes as in [`super::Predicate::to_bytes`].
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut words = vec![length(self.nodes.len())];
        for node in &self.nodes {
            words.extend([node.attribute.0, length(node.links.len())]);
            words.extend(node.links.iter().map(|link| match link {
                Link::Nobody => 0,
                Link::Everybody => 1,
                Link::Node(number) => number + 2,
            }));
        }
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote: builds the nodes anew, and takes the result
    /// only if it has the same bytes.
    pub(super) fn from_bytes(bytes: &[u8], schema: &AttributeSchema) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() {
            return None;
        }
        let mut words = words.iter().map(|word| u16::from_le_bytes(*word));
        let count = words.next().filter(|count| usize::from(*count) <= PREDICATE_NODES_MAX)?;
        let mut builder = DiagramBuilder::default();
        let mut numbers: Vec<(AttributeIndex, Link)> = Vec::new();
        for _ in 0..count {
            let attribute = AttributeIndex(words.next()?);
            let values = usize::from(words.next()?);
            if schema.attribute(attribute)?.value_count() != values {
                return None;
            }
            let mut links = Vec::with_capacity(values);
            for _ in 0..values {
                links.push(match words.next()? {
                    0 => Link::Nobody,
                    1 => Link::Everybody,
                    number => {
                        let (below, link) = *numbers.get(usize::from(number) - 2)?;
                        Some(link).filter(|_| below > attribute)?
                    }
                });
            }
            numbers.push((attribute, builder.node(Node { attribute, links }).ok()?));
        }
        let root = numbers.last()?.1;
        let diagram = builder.finish(root).ok()?;
        let fits = diagram.attributes().len() <= PREDICATE_ATTRIBUTES_MAX;
        (fits && diagram.to_bytes() == bytes).then_some(diagram)
    }
}

/// Bounded by the limits on nodes and values.
fn length(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

const _: () = assert!(BUILDER_NODES_MAX < u16::MAX as usize - 2);
