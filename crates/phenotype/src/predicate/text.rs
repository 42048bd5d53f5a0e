//! A text for every decision diagram.

use super::{
    decision::{DecisionDiagram, Link, Node},
    values::ValueSet,
};
use crate::schema::{Attribute, AttributeKind, AttributeSchema};
use std::collections::BTreeMap;

/// How tightly a text binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Atom,
}

struct Phrase {
    text: String,
    binding: Binding,
}

impl Phrase {
    fn atom(text: String) -> Self {
        Self { text, binding: Binding::Atom }
    }

    /// The text as part of something that binds like `outer`.
    fn within(&self, outer: Binding) -> String {
        if self.binding < outer { format!("({})", self.text) } else { self.text.clone() }
    }

    fn joined(phrases: &[Self], binding: Binding) -> Self {
        if let [single] = phrases {
            return Self { text: single.text.clone(), binding: single.binding };
        }
        let word = if binding == Binding::Or { " OR " } else { " AND " };
        let parts: Vec<String> = phrases.iter().map(|phrase| phrase.within(binding)).collect();
        Self { text: parts.join(word), binding }
    }
}

pub(super) fn render(diagram: &DecisionDiagram, schema: &AttributeSchema) -> String {
    render_link(diagram, schema, diagram.root()).text
}

fn render_link(diagram: &DecisionDiagram, schema: &AttributeSchema, link: Link) -> Phrase {
    let Link::Node(number) = link else {
        return Phrase::atom(if link == Link::Everybody { "TRUE" } else { "FALSE" }.to_owned());
    };
    let Some((node, attribute)) = diagram.node(number).and_then(|node| Some((node, schema.attribute(node.attribute)?)))
    else {
        return Phrase::atom("FALSE".to_owned());
    };
    let mut branches = Vec::new();
    let everybody = values_of(node, Link::Everybody);
    let mut targets: BTreeMap<Link, ValueSet> = BTreeMap::new();
    for target in node.links.iter().filter(|target| matches!(target, Link::Node(_))) {
        targets.entry(*target).or_insert_with(|| values_of(node, *target));
    }
    if everybody.count() > 0 {
        branches.push(render_values(attribute, &everybody));
    }
    for (target, values) in &targets {
        let rest = render_link(diagram, schema, *target);
        // Who is selected anyway may be asked again: that often makes the condition go away.
        let values = if targets.len() == 1 { values.union(&everybody) } else { values.clone() };
        if values.count() == values.len() {
            branches.push(rest);
        } else {
            branches.push(Phrase::joined(&[render_values(attribute, &values), rest], Binding::And));
        }
    }
    Phrase::joined(&branches, Binding::Or)
}

fn values_of(node: &Node, target: Link) -> ValueSet {
    ValueSet::of(node.links.len(), |value| node.links.get(value) == Some(&target))
}

/// The condition that an attribute has one of `values`, some but not all.
fn render_values(attribute: &Attribute, values: &ValueSet) -> Phrase {
    let name = attribute.key.to_string();
    let unknown = attribute.unknown();
    let mut phrases = Vec::new();
    let known = ValueSet::of(values.len(), |value| value != unknown && values.contains(value));
    if known.count() == unknown {
        phrases.push(Phrase::atom(format!("{name} IS NOT UNKNOWN")));
    } else if known.count() > 0 {
        phrases.push(render_known(attribute, &name, &known));
    }
    if values.contains(unknown) {
        phrases.push(Phrase::atom(format!("{name} IS UNKNOWN")));
    }
    Phrase::joined(&phrases, Binding::Or)
}

fn render_known(attribute: &Attribute, name: &str, known: &ValueSet) -> Phrase {
    match &attribute.kind {
        AttributeKind::Flag if known.contains(1) => Phrase::atom(name.to_owned()),
        AttributeKind::Flag => Phrase::atom(format!("NOT {name}")),
        AttributeKind::Category { values } => {
            let listed: Vec<String> =
                known.places().filter_map(|place| values.get(place)).map(|value| format!("'{value}'")).collect();
            let text = match &listed[..] {
                [single] => format!("{name} = {single}"),
                several => format!("{name} IN ({})", several.join(", ")),
            };
            Phrase::atom(text)
        }
        AttributeKind::Quantity { .. } => Phrase::atom(format!("{name} IS NOT UNKNOWN")),
        AttributeKind::Bands { edges, .. } => {
            let mut ranges = Vec::new();
            let mut place = 0;
            while place < known.len() {
                let end = (place..).find(|band| !known.contains(*band)).unwrap_or(place);
                if end > place {
                    let mut limits = Vec::new();
                    if let Some(edge) = place.checked_sub(1).and_then(|edge| edges.get(edge)) {
                        limits.push(Phrase::atom(format!(
                            "{name} {} {}",
                            if edge.is_above { ">" } else { ">=" },
                            edge.value
                        )));
                    }
                    if let Some(edge) = edges.get(end - 1) {
                        limits.push(Phrase::atom(format!(
                            "{name} {} {}",
                            if edge.is_above { "<=" } else { "<" },
                            edge.value
                        )));
                    }
                    ranges.push(Phrase::joined(&limits, Binding::And));
                }
                place = end + 1;
            }
            Phrase::joined(&ranges, Binding::Or)
        }
    }
}
