//! One person's attributes, in the clear: only at the contributor's.

use crate::{
    curie::Curie,
    decimal::Decimal,
    error::PhenotypeError,
    schema::{Attribute, AttributeIndex, AttributeKind, AttributeSchema},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What is known about one person, attribute by attribute; unknown until set. Erased when dropped,
/// and neither printed nor compared.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PersonAttributes {
    /// Value of each attribute.
    values: Vec<usize>,
    /// u of each quantity.
    quantities: Vec<u16>,
}

impl PersonAttributes {
    /// Somebody of whom nothing is known.
    pub fn unknown(schema: &AttributeSchema) -> Self {
        Self {
            values: schema.attributes().map(|(_, attribute)| attribute.unknown()).collect(),
            quantities: vec![0; schema.attribute_count()],
        }
    }

    /// Sets a category.
    ///
    /// # Errors
    /// [`PhenotypeError::NoValue`], [`PhenotypeError::Kind`] for other attributes, and
    /// [`PhenotypeError::Contradiction`] when it is set to something else already.
    pub fn set_category(
        &mut self,
        schema: &AttributeSchema,
        index: AttributeIndex,
        value: &str,
    ) -> Result<(), PhenotypeError> {
        let attribute = attribute_of(schema, index)?;
        let AttributeKind::Category { values } = &attribute.kind else {
            return Err(kind_error(attribute));
        };
        match values.iter().position(|known| known == value) {
            Some(place) => self.set(schema, index, place),
            None => Err(PhenotypeError::NoValue {
                attribute: attribute.key.to_string(),
                value: value.to_owned(),
                known: values.clone(),
            }),
        }
    }

    /// Sets a flag.
    ///
    /// # Errors
    /// [`PhenotypeError::Kind`] and [`PhenotypeError::Contradiction`].
    pub fn set_flag(
        &mut self,
        schema: &AttributeSchema,
        index: AttributeIndex,
        value: bool,
    ) -> Result<(), PhenotypeError> {
        let attribute = attribute_of(schema, index)?;
        if attribute.kind != AttributeKind::Flag {
            return Err(kind_error(attribute));
        }
        self.set(schema, index, usize::from(value))
    }

    /// Sets a banded number or a quantity, in the schema's unit. A quantity beyond its scale goes to
    /// the scale's end; the result tells whether it did.
    ///
    /// # Errors
    /// [`PhenotypeError::Kind`] and [`PhenotypeError::Contradiction`].
    pub fn set_number(
        &mut self,
        schema: &AttributeSchema,
        index: AttributeIndex,
        value: Decimal,
    ) -> Result<bool, PhenotypeError> {
        let attribute = attribute_of(schema, index)?;
        match &attribute.kind {
            AttributeKind::Bands { edges, is_whole, .. } => {
                let value = if *is_whole { value.floor() } else { value };
                let reached =
                    |edge: &&crate::schema::Edge| edge.value < value || (edge.value == value && !edge.is_above);
                let band = edges.iter().take_while(reached).count();
                self.set(schema, index, band).map(|()| false)
            }
            AttributeKind::Quantity { origin, step, bits, .. } => {
                let largest = (1i64 << bits) - 1;
                let steps = value.steps_from(*origin, *step);
                let clamped = u16::try_from(steps.clamp(0, largest)).unwrap_or(u16::MAX);
                let place = index.position();
                if self.values[place] == 0 && self.quantities[place] != clamped {
                    return Err(PhenotypeError::Contradiction { attribute: attribute.key.to_string() });
                }
                self.quantities[place] = clamped;
                self.values[place] = 0;
                Ok(!(0..=largest).contains(&steps))
            }
            AttributeKind::Category { .. } | AttributeKind::Flag => Err(kind_error(attribute)),
        }
    }

    /// States that the person has, or has not, what a term names. Having it means having everything
    /// it is a kind of; not having it means having none of its kinds. Returns how many attributes of
    /// the schema that says something about.
    ///
    /// # Errors
    /// [`PhenotypeError::Contradiction`] when the opposite is known.
    pub fn observe(
        &mut self,
        schema: &AttributeSchema,
        term: &Curie,
        is_present: bool,
    ) -> Result<usize, PhenotypeError> {
        let mut terms =
            if is_present { schema.ontology().ancestors(term) } else { schema.ontology().descendants(term) };
        terms.insert(term.clone());
        let concerned: Vec<_> = terms.iter().filter_map(|term| schema.find_term(term)).collect();
        // All or nothing: a contradiction further on must not leave half of it stated.
        let opposite = usize::from(!is_present);
        if let Some(index) = concerned.iter().find(|index| self.value(**index) == Some(opposite)) {
            return Err(PhenotypeError::Contradiction { attribute: attribute_of(schema, *index)?.key.to_string() });
        }
        for index in &concerned {
            self.set_flag(schema, *index, is_present)?;
        }
        Ok(concerned.len())
    }

    /// The value of an attribute: its place among the attribute's values, unknown being the last.
    pub fn value(&self, index: AttributeIndex) -> Option<usize> {
        self.values.get(index.position()).copied()
    }

    /// Whether the attribute is known.
    pub fn is_known(&self, schema: &AttributeSchema, index: AttributeIndex) -> bool {
        schema.attribute(index).is_some_and(|attribute| self.value(index) != Some(attribute.unknown()))
    }

    /// The person's bits, each 0 or 1, in the schema's layout: what is shared among keyholders.
    pub fn to_bits(&self, schema: &AttributeSchema) -> zeroize::Zeroizing<Vec<u64>> {
        let mut bits = zeroize::Zeroizing::new(vec![0; schema.bit_count()]);
        for (index, attribute) in schema.attributes() {
            let place = index.position();
            let start = schema.bits_of(index).start;
            bits[start + self.values[place]] = 1;
            let number = u64::from(self.quantities[place]);
            let numbers = [(number, attribute.number_bits()), (number * number, attribute.square_bits())];
            let planes = numbers.iter().flat_map(|(number, count)| (0..*count).map(move |plane| number >> plane & 1));
            bits[start + attribute.value_count()..].iter_mut().zip(planes).for_each(|(bit, plane)| *bit = plane);
        }
        bits
    }

    fn set(&mut self, schema: &AttributeSchema, index: AttributeIndex, value: usize) -> Result<(), PhenotypeError> {
        let attribute = attribute_of(schema, index)?;
        let current = &mut self.values[index.position()];
        if *current != attribute.unknown() && *current != value {
            return Err(PhenotypeError::Contradiction { attribute: attribute.key.to_string() });
        }
        *current = value;
        Ok(())
    }
}

fn attribute_of(schema: &AttributeSchema, index: AttributeIndex) -> Result<&Attribute, PhenotypeError> {
    schema.attribute(index).ok_or_else(|| PhenotypeError::NoAttribute(format!("number {}", index.0)))
}

fn kind_error(attribute: &Attribute) -> PhenotypeError {
    let expected = match attribute.kind {
        AttributeKind::Category { .. } => "one of its values",
        AttributeKind::Flag => "yes or no",
        AttributeKind::Bands { .. } | AttributeKind::Quantity { .. } => "a number",
    };
    PhenotypeError::Kind { attribute: attribute.key.to_string(), expected }
}
