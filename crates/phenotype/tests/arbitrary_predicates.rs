//! Properties of arbitrary predicates, people, texts and bytes.

use crate::world::schema;
use locus_phenotype::*;
use proptest::prelude::*;

/// A predicate text with its meaning as a function of a person's values, in three-valued logic.
#[derive(Debug, Clone)]
enum Tree {
    /// Attribute name, text, value that makes it true.
    Leaf(&'static str, &'static str, &'static [usize]),
    Not(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Tree::Leaf(_, text, _) => (*text).to_owned(),
            Tree::Not(inner) => format!("not ({})", inner.text()),
            Tree::And(left, right) => format!("({}) and ({})", left.text(), right.text()),
            Tree::Or(left, right) => format!("({}) or ({})", left.text(), right.text()),
        }
    }

    /// Kleene's logic: `None` is unknown.
    fn meaning(&self, schema: &AttributeSchema, person: &PersonAttributes) -> Option<bool> {
        match self {
            Tree::Leaf(name, _, holds) => {
                let key = name.parse().map_or_else(|_| AttributeKey::Named((*name).to_owned()), AttributeKey::Term);
                let index = schema.find(&key).expect("it exists");
                let value = person.value(index).expect("it has one");
                person.is_known(schema, index).then(|| holds.contains(&value))
            }
            Tree::Not(inner) => inner.meaning(schema, person).map(|truth| !truth),
            Tree::And(left, right) => match (left.meaning(schema, person), right.meaning(schema, person)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Tree::Or(left, right) => match (left.meaning(schema, person), right.meaning(schema, person)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaves = prop::sample::select(vec![
        Tree::Leaf("sex", "sex = 'F'", &[0]),
        Tree::Leaf("ancestry", "ancestry in ('EUR', 'AFR')", &[0, 3]),
        Tree::Leaf("ancestry", "ancestry <> 'SAS'", &[0, 1, 2, 3]),
        Tree::Leaf("smoker", "smoker", &[1]),
        Tree::Leaf("age", "age >= 50", &[3, 4]),
        Tree::Leaf("age", "age between 18 and 69", &[1, 2, 3]),
        Tree::Leaf("ldl", "ldl > 4", &[2]),
        Tree::Leaf("HP:0000819", "HP:0000819", &[1]),
        Tree::Leaf("ICD10:E11", "icd10:E11 = false", &[0]),
    ]);
    leaves.prop_recursive(5, 24, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|tree| Tree::Not(Box::new(tree))),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| Tree::And(Box::new(left), Box::new(right))),
            (inner.clone(), inner).prop_map(|(left, right)| Tree::Or(Box::new(left), Box::new(right))),
        ]
    })
}

/// People by one number for each attribute.
fn people() -> impl Strategy<Value = Vec<PersonSeed>> {
    prop::collection::vec(prop::array::uniform10(0usize..64).prop_map(PersonSeed), 40)
}

#[derive(Debug, Clone)]
struct PersonSeed([usize; 10]);

fn person(schema: &AttributeSchema, seed: &PersonSeed) -> PersonAttributes {
    let mut person = PersonAttributes::unknown(schema);
    for ((index, attribute), number) in schema.attributes().zip(seed.0) {
        let value = number % attribute.value_count();
        if value == attribute.unknown() {
            continue;
        }
        match &attribute.kind {
            AttributeKind::Category { values } => {
                person.set_category(schema, index, &values[value]).expect("a value of it");
            }
            AttributeKind::Flag => person.set_flag(schema, index, value == 1).expect("a flag"),
            AttributeKind::Bands { edges, .. } => {
                let below = Decimal::whole(0).expect("small");
                let inside = |edge: &Edge| if edge.is_above { "4.5".parse().expect("a number") } else { edge.value };
                let number = value.checked_sub(1).map_or(below, |edge| inside(&edges[edge]));
                person.set_number(schema, index, number).expect("a number");
            }
            AttributeKind::Quantity { .. } => {
                person.set_number(schema, index, Decimal::whole(150).expect("small")).expect("a number");
            }
        }
    }
    person
}

/// What a plan computes on a person's bits.
fn evaluate(plan: &EvaluationPlan, bits: &[u64]) -> u64 {
    let sum = |places: &[usize]| places.iter().map(|place| bits[*place]).sum::<u64>();
    let mut values: Vec<u64> = Vec::new();
    for gate in plan.gates() {
        let products: u64 = gate.products.iter().map(|input| sum(&input.bits) * values[input.gate]).sum();
        values.push(sum(&gate.bits) + products);
    }
    *values.last().expect("a selection")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn predicates_mean_what_their_text_means(tree in trees(), seeds in people()) {
        let schema = schema();
        let Ok(predicate) = Predicate::parse(&tree.text(), &schema) else {
            // Nobody or everybody: no person may be told from another.
            let truths: Vec<bool> =
                seeds.iter().map(|seed| tree.meaning(&schema, &person(&schema, seed)) == Some(true)).collect();
            prop_assert!(truths.iter().all(|truth| *truth == truths[0]), "{}", tree.text());
            return Ok(());
        };
        let plan = predicate.plan(&schema);
        for seed in &seeds {
            let person = person(&schema, seed);
            let expected = tree.meaning(&schema, &person) == Some(true);
            prop_assert_eq!(predicate.selects(&person), expected, "{}", tree.text());
            prop_assert_eq!(evaluate(&plan, &person.to_bits(&schema)), u64::from(expected), "{}", tree.text());
        }
    }

    #[test]
    fn the_fixed_text_and_the_bytes_give_the_predicate_back(tree in trees()) {
        let schema = schema();
        if let Ok(predicate) = Predicate::parse(&tree.text(), &schema) {
            let text = predicate.to_text(&schema);
            if text.len() <= PREDICATE_TEXT_BYTES_MAX {
                prop_assert_eq!(Predicate::parse(&text, &schema).map_err(|error| TestCaseError::fail(error.to_string()))?, predicate.clone());
            }
            let bytes = predicate.to_bytes();
            prop_assert_eq!(Predicate::from_bytes(&bytes, &schema).ok(), Some(predicate));
        }
    }

    #[test]
    fn altered_bytes_are_refused_or_canonical(tree in trees(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let schema = schema();
        if let Ok(predicate) = Predicate::parse(&tree.text(), &schema) {
            let mut bytes = predicate.to_bytes();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            if let Ok(other) = Predicate::from_bytes(&bytes, &schema) {
                prop_assert_eq!(other.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[a-zA-Z0-9_:'\"()=<> .,+*%;|&!-]{0,60}") {
        let _ = Predicate::parse(&text, &schema()).map_err(|error| error.to_string());
    }

    #[test]
    fn arbitrary_letters_never_panic(text in "\\PC{0,40}") {
        let _ = Predicate::parse(&text, &schema()).map_err(|error| error.to_string());
    }

    #[test]
    fn pieces_of_predicates_never_panic(pieces in prop::collection::vec(prop::sample::select(vec![
        "sex", "=", "'F'", "and", "or", "not", "(", ")", "HP:0000819", "age", ">", "50", "is", "null", "unknown",
        "in", ",", "between", "-", ":", "icd10:", "E11", "1e9", "'4 mg/dL'", "ldl", "true",
    ]), 0..14)) {
        let _ = Predicate::parse(&pieces.join(" "), &schema()).map_err(|error| error.to_string());
        let _ = Predicate::parse(&pieces.concat(), &schema()).map_err(|error| error.to_string());
    }
}
