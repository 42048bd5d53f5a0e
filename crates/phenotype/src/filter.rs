//! What one order asks about a cohort: several selections, with one name.

use crate::{
    domain::{DST_AUTHENTICATED_FILTER, DST_FILTER, DST_SELECTION},
    predicate::{EvaluationPlan, Predicate, PredicateCost},
    schema::{AttributeSchema, SchemaDigest},
    selection::{Selection, SelectionRelease},
};
use locus_commitment::{Digest32, Sha3Writer, sha3_256};
use locus_sharing::{AuthenticatedVector, RingWord, SharedValues, SharedVector};
use std::collections::BTreeSet;

/// Most selections of a filter: more than people, 16 bits of a quantity and 32 of its square.
pub const FILTER_SELECTIONS_MAX: usize = 64;
/// Rounds that authentication adds: tags of the inputs, the combinations, the key, the difference.
const AUTHENTICATION_ROUNDS: u32 = 4;

/// Why selections are no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// None, or too many.
    #[error("a filter has 1 to {FILTER_SELECTIONS_MAX} selections, not {0}")]
    Count(usize),
    /// One occurs twice.
    #[error("selections {0} and {1} of the filter are the same: ask for each once")]
    Same(usize, usize),
    /// One is about other attributes.
    #[error("selection {0} is about the attributes of another schema")]
    OtherSchema(usize),
    /// One is not in canonical form.
    #[error("selection {0} is not in the canonical form of this schema")]
    Bytes(usize),
    /// A plane that the quantity does not have.
    #[error("selection {0} asks for a bit that its quantity does not have")]
    NoPlane(usize),
    /// A plane over people who are not selected themselves, so that nothing says whether they are enough.
    #[error("selection {0} is a bit of a quantity over people whom no other selection counts: count them too")]
    PlaneOfUncounted(usize),
    /// Some bits of a quantity without the others, so that its sums cannot be formed.
    #[error("selection {0} is a bit of a quantity whose other bits are not asked for: ask for all of them")]
    PlaneAlone(usize),
}

/// Selections of one cohort that are answered together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    schema: SchemaDigest,
    selections: Vec<Selection>,
    /// The different predicates, in the order of their first selection.
    predicates: Vec<Predicate>,
    /// Place of each selection's predicate.
    predicate_of: Vec<usize>,
    is_authenticated: bool,
}

/// What the evaluation of a filter takes of the keyholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluationCost {
    /// Rounds of messages, one after the other.
    pub rounds: u32,
    /// Bytes that each keyholder sends for each person.
    pub person_bytes: usize,
}

impl Filter {
    /// The filter of these selections, in this order, evaluated with plain shares.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn try_new(selections: Vec<Selection>, schema: &AttributeSchema) -> Result<Self, FilterError> {
        if selections.is_empty() || selections.len() > FILTER_SELECTIONS_MAX {
            return Err(FilterError::Count(selections.len()));
        }
        let (mut predicates, mut predicate_of) = (Vec::new(), Vec::new());
        for (place, selection) in selections.iter().enumerate() {
            if selection.people().schema() != schema.digest() {
                return Err(FilterError::OtherSchema(place));
            }
            if !matches!(selection, Selection::People(_)) && selection.plane_bit(schema).is_none() {
                return Err(FilterError::NoPlane(place));
            }
            if let Some(first) = selections[..place].iter().position(|earlier| earlier == selection) {
                return Err(FilterError::Same(first, place));
            }
            let known = predicates.iter().position(|predicate| predicate == selection.people());
            predicate_of.push(known.unwrap_or(predicates.len()));
            if known.is_none() {
                predicates.push(selection.people().clone());
            }
        }
        for (place, selection) in selections.iter().enumerate() {
            let planes = selection.planes_with(schema);
            if !planes.is_empty() && !selections.contains(&Selection::People(selection.people().clone())) {
                return Err(FilterError::PlaneOfUncounted(place));
            }
            if !planes.iter().all(|plane| selections.contains(plane)) {
                return Err(FilterError::PlaneAlone(place));
            }
        }
        Ok(Self { schema: schema.digest(), selections, predicates, predicate_of, is_authenticated: false })
    }

    /// The same selections, evaluated with authenticated shares or with plain ones.
    pub fn authenticated(self, is_authenticated: bool) -> Self {
        Self { is_authenticated, ..self }
    }

    /// Whether it is evaluated with authenticated shares, which no keyholder can falsify.
    pub fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// Reads the canonical bytes of selections, and how they are evaluated.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn from_bytes<B: AsRef<[u8]>>(
        selections: &[B],
        is_authenticated: bool,
        schema: &AttributeSchema,
    ) -> Result<Self, FilterError> {
        if selections.len() > FILTER_SELECTIONS_MAX {
            return Err(FilterError::Count(selections.len()));
        }
        let parse = |(place, bytes): (usize, &B)| {
            Selection::from_bytes(bytes.as_ref(), schema).ok_or(FilterError::Bytes(place))
        };
        let selections = selections.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::try_new(selections, schema)?.authenticated(is_authenticated))
    }

    /// Canonical bytes of each selection, in order.
    pub fn to_bytes(&self) -> Vec<Vec<u8>> {
        self.selections.iter().map(Selection::to_bytes).collect()
    }

    /// The name of the filter: what an order commits to (SPEC clause 19).
    pub fn digest(&self) -> Digest32 {
        filter_digest(&self.selection_digests(), self.is_authenticated)
    }

    /// The digest of each selection.
    pub fn selection_digests(&self) -> Vec<Digest32> {
        self.selections.iter().map(|selection| selection_digest(&selection.to_bytes())).collect()
    }

    /// What is released of each selection.
    pub fn releases(&self) -> Vec<SelectionRelease> {
        self.selections.iter().map(Selection::release).collect()
    }

    /// The selections of the other bits of the quantity of a plane, and of this one: their places, lowest bit
    /// first; empty for a selection of people, or a bit of a square.
    pub fn planes_of(&self, place: usize, schema: &AttributeSchema) -> Vec<usize> {
        let Some(Selection::TraitPlane { people, quantity, .. }) = self.selections.get(place) else {
            return Vec::new();
        };
        let planes = Selection::trait_planes(people, *quantity, schema);
        let place_of = |plane: &Selection| self.selections.iter().position(|selection| selection == plane);
        planes.iter().filter_map(place_of).collect()
    }

    /// The largest u of the quantity of a plane; 0 for a selection of people.
    pub fn largest_of(&self, place: usize, schema: &AttributeSchema) -> u16 {
        let bits = self.planes_of(place, schema).len();
        u16::try_from((1u64 << bits.min(16)) - 1).unwrap_or(u16::MAX)
    }

    /// The largest u of every quantity whose squares are summed.
    pub fn squared_quantities<'a>(&'a self, schema: &'a AttributeSchema) -> impl Iterator<Item = u16> + 'a {
        let squared = self.selections.iter().enumerate().filter(|(_, selection)| selection.release().total_count > 1);
        squared.map(|(place, _)| self.largest_of(place, schema))
    }

    /// The schema it is about.
    pub fn schema(&self) -> SchemaDigest {
        self.schema
    }

    /// The selections.
    pub fn selections(&self) -> &[Selection] {
        &self.selections
    }

    /// The different predicates, each evaluated once.
    pub fn predicates(&self) -> &[Predicate] {
        &self.predicates
    }

    /// Place in [`predicates`](Self::predicates) of each selection's predicate.
    pub fn predicate_of(&self) -> &[usize] {
        &self.predicate_of
    }

    /// The plan of each predicate.
    pub fn plans(&self, schema: &AttributeSchema) -> Vec<EvaluationPlan> {
        self.predicates.iter().map(|predicate| predicate.plan(schema)).collect()
    }

    /// The sums of bits that the evaluation starts from, by their bits.
    pub fn inputs(&self, schema: &AttributeSchema) -> BTreeSet<Vec<usize>> {
        let of_predicates = self.plans(schema).into_iter().flat_map(|plan| plan.inputs());
        let planes = self.selections.iter().filter_map(|selection| selection.plane_bit(schema));
        of_predicates.chain(planes.map(|bit| vec![bit])).collect()
    }

    /// Bytes that a keyholder sends for one product, value or value and tag.
    pub fn product_bytes(&self) -> usize {
        if self.is_authenticated { AuthenticatedVector::PRODUCT_BYTES } else { SharedVector::<u64>::PRODUCT_BYTES }
    }

    /// Bytes that a keyholder sends for each person before the first product: the tags of all inputs.
    pub fn tag_bytes(&self, schema: &AttributeSchema) -> usize {
        if self.is_authenticated { self.inputs(schema).len() * u128::BYTES } else { 0 }
    }

    /// What the evaluation of everything takes: all predicates in step, then one product for each bit of a
    /// quantity, together in one round, then one for the squares of each quantity.
    pub fn cost(&self, schema: &AttributeSchema) -> EvaluationCost {
        let costs: Vec<PredicateCost> = self.predicates.iter().map(|predicate| predicate.cost(schema)).collect();
        let planes = self.selections.iter().filter(|selection| selection.plane_bit(schema).is_some()).count();
        let squares = self.selections.iter().filter(|selection| selection.release().total_count > 1).count();
        let gates: usize = costs.iter().map(|cost| cost.gates as usize).sum();
        EvaluationCost {
            rounds: costs.iter().map(|cost| cost.rounds).max().unwrap_or(0)
                + u32::from(planes > 0)
                + u32::from(squares > 0)
                + if self.is_authenticated { AUTHENTICATION_ROUNDS } else { 0 },
            person_bytes: self.tag_bytes(schema) + (gates + planes + squares) * self.product_bytes(),
        }
    }
}

/// The name of a selection, from its canonical bytes (SPEC clause 19).
pub fn selection_digest(bytes: &[u8]) -> Digest32 {
    sha3_256(DST_SELECTION, &[bytes])
}

/// The name of a filter, from those of its selections and how they are evaluated.
pub fn filter_digest(selections: &[Digest32], is_authenticated: bool) -> Digest32 {
    let mut writer = Sha3Writer::new(if is_authenticated { DST_AUTHENTICATED_FILTER } else { DST_FILTER });
    for digest in selections {
        writer.part(&digest.0);
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{
        "name": "test", "version": "1",
        "attributes": [
            {"kind": "category", "name": "sex", "values": ["M", "F"]},
            {"kind": "flag", "name": "smoker"},
            {"kind": "quantity", "name": "bmi", "origin": "10", "step": "0.5", "bits": 4},
            {"kind": "quantity", "name": "ldl", "origin": "0", "step": "1", "bits": 3, "squares": true}
        ]
    }"#;

    fn schema() -> AttributeSchema {
        AttributeSchema::parse_json(SCHEMA).expect("a schema")
    }

    fn people(text: &str, schema: &AttributeSchema) -> Selection {
        Selection::People(Predicate::parse(text, schema).expect("a predicate"))
    }

    #[test]
    fn equal_predicates_are_evaluated_once_and_bytes_read_back() {
        let schema = schema();
        let women = people("sex = 'F'", &schema);
        let bmi = schema.find_named("bmi").expect("an attribute");
        let mut selections = vec![people("smoker and sex = 'F'", &schema), women.clone()];
        selections.extend(Selection::trait_planes(women.people(), bmi, &schema));
        let filter = Filter::try_new(selections.clone(), &schema).expect("a filter");
        assert_eq!((filter.predicates().len(), filter.predicate_of()), (2, &[0, 1, 1, 1, 1, 1][..]));
        assert_eq!(filter.cost(&schema), EvaluationCost { rounds: 3, person_bytes: (1 + 4 + 1) * 8 });
        let counts: Vec<u32> = filter.releases().iter().map(|release| release.total_count).collect();
        assert_eq!(counts, [1, 1, 2, 1, 1, 1]);
        assert!(filter.releases().iter().all(|release| !release.missing_only));
        assert_eq!((filter.planes_of(3, &schema), filter.planes_of(0, &schema)), (vec![2, 3, 4, 5], vec![]));
        assert_eq!((filter.largest_of(3, &schema), filter.largest_of(0, &schema)), (15, 0));
        assert_eq!(filter.squared_quantities(&schema).collect::<Vec<_>>(), [15]);
        assert_eq!(Filter::from_bytes(&filter.to_bytes(), false, &schema), Ok(filter.clone()));
        selections.swap(0, 1);
        let swapped = Filter::try_new(selections, &schema).expect("a filter");
        assert_ne!(swapped.digest(), filter.digest());
    }

    #[test]
    fn bits_of_squares_come_with_those_of_the_quantity_and_count_only_people_without_a_call() {
        let schema = schema();
        let women = people("sex = 'F'", &schema);
        let ldl = schema.find_named("ldl").expect("an attribute");
        let planes = Selection::trait_planes(women.people(), ldl, &schema);
        let squares = Selection::square_planes(women.people(), ldl, &schema);
        assert_eq!((planes.len(), squares.len()), (3, 6));
        let all = [vec![women.clone()], planes.clone(), squares.clone()].concat();
        let filter = Filter::try_new(all, &schema).expect("a filter");
        let (number, square) = schema.squared_bits_of(ldl).expect("squares");
        let bits: Vec<usize> = filter.selections().iter().filter_map(|plane| plane.plane_bit(&schema)).collect();
        assert_eq!(bits, number.chain(square).collect::<Vec<_>>());
        assert_eq!(bits.last(), Some(&(schema.bit_count() - 1)));
        assert_eq!(filter.planes_of(1, &schema), [1, 2, 3]);
        assert_eq!((filter.planes_of(5, &schema), filter.largest_of(1, &schema)), (vec![], 7));
        let missing_only: Vec<bool> = filter.releases().iter().map(|release| release.missing_only).collect();
        assert_eq!(missing_only, [vec![false; 4], vec![true; 6]].concat());
        // One round more for the sum of squares, as without the bits.
        assert_eq!(filter.cost(&schema), EvaluationCost { rounds: 2, person_bytes: (3 + 6 + 1) * 8 });
        assert_eq!(Filter::from_bytes(&filter.to_bytes(), false, &schema), Ok(filter));

        let without = |left_out: &Selection| {
            let all = [vec![women.clone()], planes.clone(), squares.clone()].concat();
            Filter::try_new(all.into_iter().filter(|selection| selection != left_out).collect(), &schema)
        };
        assert_eq!(without(&planes[1]), Err(FilterError::PlaneAlone(1)));
        assert_eq!(without(&squares[5]), Err(FilterError::PlaneAlone(4)));
        assert_eq!(without(&women), Err(FilterError::PlaneOfUncounted(0)));
        let bmi = schema.find_named("bmi").expect("an attribute");
        assert_eq!(Selection::square_planes(women.people(), bmi, &schema), []);
        let none = Selection::SquarePlane { people: women.people().clone(), quantity: bmi, plane: 0 };
        assert_eq!(Filter::try_new(vec![women, none], &schema), Err(FilterError::NoPlane(1)));
    }

    #[test]
    fn an_authenticated_filter_has_another_name_but_the_same_selections() {
        let schema = schema();
        let plain = Filter::try_new(vec![people("smoker and sex = 'F'", &schema)], &schema).expect("a filter");
        let authenticated = plain.clone().authenticated(true);
        assert!(authenticated.is_authenticated() && !plain.is_authenticated());
        // Its selections, by which noise is named, are the same: asked both ways, people get one noise.
        assert_eq!(authenticated.selection_digests(), plain.selection_digests());
        assert_eq!(authenticated.to_bytes(), plain.to_bytes());
        // What an order names and keyholders check is not.
        assert_ne!(authenticated.digest(), plain.digest());
        let read = Filter::from_bytes(&plain.to_bytes(), true, &schema);
        assert_eq!(read.as_ref().map(Filter::digest), Ok(authenticated.digest()));
        assert_eq!(read.map(|filter| filter.authenticated(false)), Ok(plain.clone()));
        // Tags of two sums of bits, and a value with its tag for the product.
        assert_eq!(plain.cost(&schema), EvaluationCost { rounds: 1, person_bytes: 8 });
        assert_eq!(authenticated.cost(&schema), EvaluationCost { rounds: 5, person_bytes: 2 * 16 + 32 });
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let schema = schema();
        let women = people("sex = 'F'", &schema);
        assert_eq!(Filter::try_new(Vec::new(), &schema), Err(FilterError::Count(0)));
        assert_eq!(Filter::try_new(vec![women.clone(), women.clone()], &schema), Err(FilterError::Same(0, 1)));
        assert_eq!(Filter::from_bytes(&[[0u8; 3]; 65], false, &schema), Err(FilterError::Count(65)));
        assert_eq!(Filter::from_bytes(&[[4u8; 40]], true, &schema), Err(FilterError::Bytes(0)));
        let other = AttributeSchema::parse_json(&SCHEMA.replace("\"1\"", "\"2\"")).expect("a schema");
        let bmi = schema.find_named("bmi").expect("an attribute");
        let planes = Selection::trait_planes(women.people(), bmi, &schema);
        assert_eq!(Filter::try_new(planes.clone(), &schema), Err(FilterError::PlaneOfUncounted(0)));
        let some = vec![women.clone(), planes[0].clone(), planes[2].clone()];
        assert_eq!(Filter::try_new(some, &schema), Err(FilterError::PlaneAlone(1)));
        assert_eq!(Filter::try_new(vec![women], &other), Err(FilterError::OtherSchema(0)));
    }
}
