//! Association studies: which selections one asks for, and what their counts say.
//!
//! The order of the selections says what the study is, so that an answer can be read again from its record:
//! cases, controls; or cases and controls of one stratum after the other; or the people with a known trait, then
//! the bits of the trait among them, lowest first, and where they are asked for those of its square.

use crate::research::{AskedFilter, OpenedAnswer, SelectionCounts, VariantCounts};
use locus_genomics::{Panel, VariantIndex};
use locus_phenotype::{
    Attribute, AttributeIndex, AttributeKind, AttributeSchema, Decimal, FilterError, Predicate, PredicateError,
    PredicateErrorKind, Selection,
};
use locus_privacy::report::sigma;
use locus_report::{AssociationTable, Method, ReportError, case_control_table, stratified_table, trait_table};
use locus_statistics::{
    CaseControl, ClassCounts, CountNoise, StatisticsError, TraitNoise, TraitScale, TraitSums, TraitTotals,
};
use std::sync::Arc;

/// Fewest strata.
const STRATA_MIN: usize = 2;

/// Why a study cannot be asked for or computed.
#[derive(Debug, thiserror::Error)]
pub enum AssociationError {
    /// A group or stratum cannot be expressed.
    #[error(transparent)]
    Predicate(#[from] PredicateError),
    /// The groups are no filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Groups that are not apart.
    #[error("somebody can be a case and a control: exclude the cases from the controls, for example with AND NOT")]
    Overlap,
    /// An attribute without strata.
    #[error("{0} is kept for regression and has no strata: use a category, a flag, a term or bands")]
    NoStrata(String),
    /// One stratum is none.
    #[error("only {strata} values of {attribute} can occur among both cases and controls: leave the strata out")]
    TooFewStrata {
        /// The attribute.
        attribute: String,
        /// Values that can occur.
        strata: usize,
    },
    /// An attribute that is no trait.
    #[error("{0} is no quantity: a trait is an attribute of the kind quantity")]
    NoTrait(String),
    /// Selections that are no study.
    #[error("the answer's selections are no association study: they are neither cases and controls nor a trait")]
    NoStudy,
    /// Counts that contradict each other.
    #[error("the counts cannot be of people ({0}): a keyholder has altered them, report it to the market's operators")]
    Counts(#[from] StatisticsError),
    /// The result cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// What a filter's selections are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StudyKind {
    /// Cases, then controls.
    CaseControl,
    /// Cases and controls of one stratum after the other.
    Stratified,
    /// People with a known trait, then its bits, and perhaps those of its square.
    Trait {
        /// The quantity.
        quantity: AttributeIndex,
        /// Its bits.
        bits: usize,
    },
}

impl StudyKind {
    /// The study that the order of the selections makes; `None` when they make none.
    pub fn of(asked: &AskedFilter) -> Option<Self> {
        let selections = asked.filter().selections();
        if let [Selection::People(people), Selection::TraitPlane { quantity, .. }, ..] = selections {
            let mut planes = Selection::trait_planes(people, *quantity, asked.schema());
            let bits = planes.len();
            if selections.len() > 1 + bits {
                planes.extend(Selection::square_planes(people, *quantity, asked.schema()));
            }
            return (selections[1..] == planes[..]).then_some(Self::Trait { quantity: *quantity, bits });
        }
        let are_groups = selections.iter().all(|selection| matches!(selection, Selection::People(_)));
        match selections.len() {
            2 if are_groups => Some(Self::CaseControl),
            groups if are_groups && groups >= 2 * STRATA_MIN && groups.is_multiple_of(2) => Some(Self::Stratified),
            _ => None,
        }
    }

    /// How many of the first selections are people with something in common; `None` for all.
    pub fn group_count(self) -> Option<usize> {
        match self {
            Self::Trait { bits, .. } => Some(1 + bits),
            Self::CaseControl | Self::Stratified => None,
        }
    }

    /// What a selection is called in this study.
    pub fn name_of(self, place: usize) -> String {
        let group = ["cases", "controls"][place % 2];
        match self {
            Self::CaseControl => group.to_owned(),
            Self::Stratified => format!("{group}, stratum {}", place / 2 + 1),
            Self::Trait { .. } if place == 0 => "people".to_owned(),
            Self::Trait { bits, .. } if place <= bits => format!("bit {} of the trait", place - 1),
            Self::Trait { bits, .. } => format!("bit {} of the trait's square", place - 1 - bits),
        }
    }
}

/// The filter that compares cases with controls, within strata of an attribute if one is given. Values of
/// it that cannot occur in both groups make no stratum, and unknown is none.
///
/// # Errors
/// [`AssociationError`] when the groups overlap, or cannot be expressed.
pub fn case_control_filter(
    cases: &Predicate,
    controls: &Predicate,
    strata: Option<AttributeIndex>,
    schema: Arc<AttributeSchema>,
) -> Result<AskedFilter, AssociationError> {
    let (case_text, control_text) = (cases.to_text(&schema), controls.to_text(&schema));
    if both(&case_text, &control_text, &schema)?.is_some() {
        return Err(AssociationError::Overlap);
    }
    let Some(index) = strata else {
        let groups = vec![Selection::People(cases.clone()), Selection::People(controls.clone())];
        return Ok(AskedFilter::try_new(groups, schema)?);
    };
    let attribute = attribute_at(index, &schema)?;
    let mut selections = Vec::new();
    for stratum in strata_of(attribute)? {
        let groups = (both(&case_text, &stratum, &schema)?, both(&control_text, &stratum, &schema)?);
        if let (Some(cases), Some(controls)) = groups {
            selections.extend([Selection::People(cases), Selection::People(controls)]);
        }
    }
    let strata = selections.len() / 2;
    if strata < STRATA_MIN {
        return Err(AssociationError::TooFewStrata { attribute: attribute.key.to_string(), strata });
    }
    Ok(AskedFilter::try_new(selections, schema)?)
}

/// The filter that regresses a quantity on genotypes among the people of a predicate, or everybody. With
/// `missing_calls`, also of the bits of the quantity's square where the schema keeps them, so that standard errors
/// are exact where calls are missing: for exact counts on a panel that has missing calls.
///
/// # Errors
/// [`AssociationError`] when the attribute is no quantity, or the people cannot be expressed.
pub fn trait_filter(
    quantity: AttributeIndex,
    people: Option<&Predicate>,
    schema: Arc<AttributeSchema>,
    missing_calls: bool,
) -> Result<AskedFilter, AssociationError> {
    let attribute = attribute_at(quantity, &schema)?;
    let known = format!("{} IS NOT UNKNOWN", attribute.key);
    let text = match people {
        Some(people) => format!("{known} AND ({})", people.to_text(&schema)),
        None => known,
    };
    let people = Predicate::parse(&text, &schema)?;
    let planes = Selection::trait_planes(&people, quantity, &schema);
    if planes.is_empty() {
        return Err(AssociationError::NoTrait(attribute.key.to_string()));
    }
    let squares = if missing_calls { Selection::square_planes(&people, quantity, &schema) } else { Vec::new() };
    let mut selections = vec![Selection::People(people)];
    selections.extend(planes);
    selections.extend(squares);
    Ok(AskedFilter::try_new(selections, schema)?)
}

/// Who satisfies both texts; `None` when nobody can.
fn both(one: &str, other: &str, schema: &AttributeSchema) -> Result<Option<Predicate>, PredicateError> {
    match Predicate::parse(&format!("({one}) AND ({other})"), schema) {
        Ok(predicate) => Ok(Some(predicate)),
        Err(error) if *error.kind() == PredicateErrorKind::Nobody => Ok(None),
        Err(error) => Err(error),
    }
}

fn attribute_at(index: AttributeIndex, schema: &AttributeSchema) -> Result<&Attribute, AssociationError> {
    schema.attribute(index).ok_or(AssociationError::NoStudy)
}

/// A condition for each known value of an attribute.
fn strata_of(attribute: &Attribute) -> Result<Vec<String>, AssociationError> {
    let name = attribute.key.to_string();
    Ok(match &attribute.kind {
        AttributeKind::Category { values } => values.iter().map(|value| format!("{name} = '{value}'")).collect(),
        AttributeKind::Flag => vec![format!("NOT {name}"), name],
        AttributeKind::Bands { edges, .. } => {
            let above = |place: usize| {
                let edge = &edges[place];
                format!("{name} {} {}", if edge.is_above { ">" } else { ">=" }, edge.value)
            };
            let below = |place: usize| {
                let edge = &edges[place];
                format!("{name} {} {}", if edge.is_above { "<=" } else { "<" }, edge.value)
            };
            let inner = (1..edges.len()).map(|place| format!("{} AND {}", above(place - 1), below(place)));
            let first = std::iter::once(below(0));
            first.chain(inner).chain(std::iter::once(above(edges.len() - 1))).collect()
        }
        AttributeKind::Quantity { .. } => return Err(AssociationError::NoStrata(name)),
    })
}

/// The results of a study, variant by variant. With strata the test is that of Cochran, Mantel and Haenszel, and
/// of a trait linear regression, whatever `method` says. Noise enters all errors and p-values.
///
/// # Errors
/// [`AssociationError`] when the answer is of no such study, or counts contradict each other.
pub fn association_table(
    opened: &OpenedAnswer,
    asked: &AskedFilter,
    panel: &Panel,
    method: Method,
) -> Result<AssociationTable, AssociationError> {
    let kind = StudyKind::of(asked).ok_or(AssociationError::NoStudy)?;
    if let StudyKind::Trait { quantity, bits } = kind {
        return trait_association(opened, asked, panel, (quantity, bits));
    }
    let noise = NoiseOfCounts::of(opened, panel)?;
    let variants = variants_of(opened.selections())?;
    let strata = opened.selections().chunks_exact(2);
    let groups_at = |place: usize| -> Result<Vec<CaseControl>, AssociationError> {
        let of_stratum = |groups: &[SelectionCounts]| {
            Ok(CaseControl {
                cases: noise.class_counts(&groups[0].rows[place])?,
                controls: noise.class_counts(&groups[1].rows[place])?,
            })
        };
        strata.clone().map(of_stratum).collect()
    };
    let counts = (0..variants.len()).map(groups_at).collect::<Result<Vec<_>, _>>()?;
    Ok(match kind {
        StudyKind::Stratified => stratified_table(panel, &variants, &counts)?,
        _ => case_control_table(panel, &variants, &counts.concat(), method)?,
    })
}

/// The regression of a trait.
fn trait_association(
    opened: &OpenedAnswer,
    asked: &AskedFilter,
    panel: &Panel,
    (quantity, bits): (AttributeIndex, usize),
) -> Result<AssociationTable, AssociationError> {
    let scale = scale_of(attribute_at(quantity, asked.schema())?)?;
    let noise = NoiseOfCounts::of(opened, panel)?;
    let variants = variants_of(opened.selections())?;
    let [people, planes @ ..] = opened.selections() else { return Err(AssociationError::NoStudy) };
    let (planes, squares) = planes.split_at_checked(bits).ok_or(AssociationError::NoStudy)?;
    let square_sum = planes.first().and_then(|plane| plane.square_sum).ok_or(AssociationError::NoStudy)?;
    let sums_at = |place: usize| -> Result<TraitSums, AssociationError> {
        let of_planes = |count: &dyn Fn(&SelectionCounts, &VariantCounts) -> i64| {
            let counts: Vec<i64> = planes.iter().map(|plane| count(plane, &plane.rows[place])).collect();
            scale.sum_of_planes(&counts).map(|sum| sum as f64)
        };
        let classes = noise.class_counts(&people.rows[place])?;
        let of_everybody = TraitTotals {
            people: people.matched as f64,
            sum: of_planes(&|plane, _| plane.matched)?,
            square_sum: square_sum as f64,
        };
        let sum = of_planes(&|plane, row| plane.matched - row.missing)?;
        let uncalled: Vec<i64> = squares.iter().map(|plane| plane.rows[place].missing).collect();
        let square_sum = match uncalled.as_slice() {
            [] => of_everybody.squares_of_called(classes.called(), sum),
            uncalled => of_everybody.square_sum - scale.square_sum_of_planes(uncalled)? as f64,
        };
        Ok(TraitSums {
            square_sum,
            classes,
            sum,
            het_sum: of_planes(&|_, row| row.het)?,
            hom_alt_sum: of_planes(&|_, row| row.hom_alt)?,
            noise: TraitNoise::try_new(scale.plane_noise(noise.counter), scale.plane_noise(noise.called()))?,
        })
    };
    let sums = (0..variants.len()).map(sums_at).collect::<Result<Vec<_>, _>>()?;
    Ok(trait_table(panel, &variants, &sums, Some(scale))?)
}

fn scale_of(attribute: &Attribute) -> Result<TraitScale, AssociationError> {
    let AttributeKind::Quantity { origin, step, bits, .. } = &attribute.kind else {
        return Err(AssociationError::NoTrait(attribute.key.to_string()));
    };
    let number = |decimal: &Decimal| decimal.nanos() as f64 / 1e9;
    Ok(TraitScale::try_new(number(origin), number(step), u32::from(*bits))?)
}

/// The variants of all selections, which are the same in each.
fn variants_of(selections: &[SelectionCounts]) -> Result<Vec<VariantIndex>, AssociationError> {
    let indices = |counts: &SelectionCounts| counts.rows.iter().map(|row| row.index).collect::<Vec<_>>();
    let first = selections.first().map(indices).ok_or(AssociationError::NoStudy)?;
    if selections.iter().all(|counts| indices(counts) == first) { Ok(first) } else { Err(AssociationError::NoStudy) }
}

/// Variances of the noise in the numbers of an answer.
struct NoiseOfCounts {
    /// In every counter and matched number.
    counter: f64,
    /// In the people missing: none on panels with complete calls.
    missing: f64,
    all: CountNoise,
}

impl NoiseOfCounts {
    fn of(opened: &OpenedAnswer, panel: &Panel) -> Result<Self, StatisticsError> {
        let counter = opened.dp_total().map_or(0.0, |total| sigma(total).powi(2));
        let missing = if panel.complete_calls() { 0.0 } else { counter };
        Ok(Self { counter, missing, all: CountNoise::try_new(counter, missing, counter)? })
    }

    /// In the number of people selected that have a call.
    fn called(&self) -> f64 {
        self.counter + self.missing
    }

    fn class_counts(&self, row: &VariantCounts) -> Result<ClassCounts, StatisticsError> {
        let VariantCounts { individuals, het, hom_alt, missing, .. } = *row;
        if !self.all.is_none() {
            return Ok(ClassCounts::noisy(individuals, het, hom_alt, missing, self.all));
        }
        // Exact counts are not negative; one that is cannot be within the people.
        let [individuals, het, hom_alt, missing] =
            [individuals, het, hom_alt, missing].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        if individuals == u64::MAX {
            return Err(StatisticsError::Counts { individuals: 0, het, hom_alt, missing });
        }
        ClassCounts::exact(individuals, het, hom_alt, missing)
    }
}

#[cfg(test)]
mod tests;
