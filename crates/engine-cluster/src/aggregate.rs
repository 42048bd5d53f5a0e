//! The sum of ciphertext bodies as an aggregate function: `locus_cohort_sum(body, row, part, selection)`.

use crate::selection::{Selection, Selections};
use datafusion::{
    arrow::{
        array::{Array as _, ArrayRef, AsArray as _, BooleanArray, FixedSizeBinaryArray},
        buffer::Buffer,
        datatypes::{DataType, UInt32Type},
    },
    error::{DataFusionError, Result},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
        function::AccumulatorArgs,
    },
};
use locus_engine::Kernel;
use locus_store::{BODY_BYTES, BodyBytes, BodySum, SUM_BYTES};
use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

/// Name of the function in plans.
pub(crate) const COHORT_SUM: &str = "locus_cohort_sum";
/// The type of a body.
pub(crate) const BODY: DataType = DataType::FixedSizeBinary(fixed_size(BODY_BYTES));
/// The type of a sum, finished or not.
const SUM: DataType = DataType::FixedSizeBinary(fixed_size(SUM_BYTES));

/// A length as Arrow counts it.
const fn fixed_size(bytes: usize) -> i32 {
    assert!(bytes <= i32::MAX as usize);
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    let bytes = bytes as i32;
    bytes
}

/// Sums the selected bodies exactly. Grouped queries only; a group without selected rows has the sum zero.
#[derive(Debug)]
pub(crate) struct CohortSum {
    signature: Signature,
    /// Where executors find selections; planners need none.
    selections: Option<Arc<Selections>>,
}

impl CohortSum {
    pub(crate) fn udaf(selections: Option<Arc<Selections>>) -> AggregateUDF {
        let arguments = vec![BODY, DataType::UInt32, DataType::UInt32, DataType::Utf8];
        AggregateUDF::new_from_impl(Self { signature: Signature::exact(arguments, Volatility::Immutable), selections })
    }
}

/// All instances are the same function.
impl PartialEq for CohortSum {
    fn eq(&self, other: &Self) -> bool {
        self.signature == other.signature
    }
}

impl Eq for CohortSum {}

impl Hash for CohortSum {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.signature.hash(state);
    }
}

impl AggregateUDFImpl for CohortSum {
    fn name(&self) -> &str {
        COHORT_SUM
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(SUM)
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Err(DataFusionError::NotImplemented(format!("{COHORT_SUM} without GROUP BY")))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Sums::new(self.selections.clone())))
    }
}

/// One sum for each group.
struct Sums {
    kernel: Kernel,
    selections: Option<Arc<Selections>>,
    /// The question's selection, from the first rows on.
    selection: Option<Arc<Selection>>,
    sums: Vec<GroupSum>,
}

/// The sum of one group.
struct GroupSum {
    added: Box<BodySum>,
    /// The sum of what is subtracted, if there is any.
    taken: Option<Box<BodySum>>,
}

impl GroupSum {
    fn zero() -> Self {
        Self { added: BodySum::zero(), taken: None }
    }

    fn finish(mut self) -> Box<BodySum> {
        if let Some(taken) = &self.taken {
            self.added.subtract(taken);
        }
        self.added
    }
}

/// Rows next to each other that go the same way.
struct Run {
    first: usize,
    group: usize,
    subtracted: bool,
}

impl Sums {
    fn new(selections: Option<Arc<Selections>>) -> Self {
        let kernel = Kernel::detect();
        Self { kernel, selections, selection: None, sums: Vec::new() }
    }

    fn selection(&mut self, names: &ArrayRef) -> Result<Arc<Selection>> {
        if let Some(selection) = &self.selection {
            return Ok(selection.clone());
        }
        let name = names.as_string_opt::<i32>().filter(|names| !names.is_empty() && names.null_count() == 0);
        let name = name.ok_or_else(|| unexpected("no selection is named"))?.value(0);
        let selections = self.selections.as_ref().ok_or_else(|| unexpected("a planner does not sum"))?;
        let selection = selections.get(name)?;
        self.selection = Some(selection.clone());
        Ok(selection)
    }

    fn grow(&mut self, groups: usize) {
        self.sums.resize_with(groups, GroupSum::zero);
    }

    fn add_rows(&mut self, values: &[ArrayRef], group_of: impl Fn(usize) -> usize) -> Result<()> {
        let [bodies, rows, parts, names] = values else { return Err(unexpected("four arguments are needed")) };
        let count = bodies.len();
        if count == 0 {
            return Ok(());
        }
        let selection = self.selection(names)?;
        let bodies = body_slice(bodies)?;
        let rows = rows.as_primitive_opt::<UInt32Type>().ok_or_else(|| unexpected("rows are no UInt32"))?;
        let parts = parts.as_primitive_opt::<UInt32Type>().ok_or_else(|| unexpected("parts are no UInt32"))?;
        if bodies.len() != count || rows.null_count() > 0 || parts.null_count() > 0 {
            return Err(unexpected("there are rows without a value"));
        }
        let mut run: Option<Run> = None;
        for (at, (&row, &part)) in rows.values().iter().zip(parts.values()).enumerate() {
            let next = selection.subtracts(part, row).map(|subtracted| (group_of(at), subtracted));
            let goes_on = matches!((&run, next), (Some(run), Some(next)) if (run.group, run.subtracted) == next);
            if !goes_on {
                self.add_run(bodies, run.take(), at);
                run = next.map(|(group, subtracted)| Run { first: at, group, subtracted });
            }
        }
        self.add_run(bodies, run, count);
        Ok(())
    }

    fn add_run(&mut self, bodies: &[BodyBytes], run: Option<Run>, end: usize) {
        let Some(Run { first, group, subtracted }) = run else { return };
        let GroupSum { added, taken } = &mut self.sums[group];
        let sum = if subtracted { taken.get_or_insert_with(BodySum::zero) } else { added };
        self.kernel.add(sum, &bodies[first..end]);
    }

    fn emit(&mut self, emit_to: EmitTo) -> ArrayRef {
        let sums = emit_to.take_needed(&mut self.sums).into_iter().map(GroupSum::finish);
        let bytes: Vec<u8> = sums.flat_map(|sum| sum.to_bytes()).collect();
        Arc::new(FixedSizeBinaryArray::new(fixed_size(SUM_BYTES), Buffer::from_vec(bytes), None))
    }
}

fn unexpected(what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("{COHORT_SUM}: {what}"))
}

/// The bodies of an array without nulls, next to each other in memory.
fn body_slice(bodies: &ArrayRef) -> Result<&[BodyBytes]> {
    let array = bodies.as_fixed_size_binary_opt().filter(|array| array.null_count() == 0);
    let array = array.ok_or_else(|| unexpected("bodies are of another type"))?;
    Ok(array.value_data().as_chunks::<BODY_BYTES>().0)
}

fn refuse_filter(filter: Option<&BooleanArray>) -> Result<()> {
    match filter {
        Some(_) => Err(DataFusionError::NotImplemented(format!("{COHORT_SUM} with FILTER"))),
        None => Ok(()),
    }
}

impl GroupsAccumulator for Sums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        refuse_filter(filter)?;
        self.grow(total);
        self.add_rows(values, |at| groups[at])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        let states = values.first().and_then(|values| values.as_fixed_size_binary_opt());
        let states = states.ok_or_else(|| unexpected("partial sums are of another type"))?;
        for (state, &group) in states.iter().zip(groups) {
            let sum = state.and_then(BodySum::parse).ok_or_else(|| unexpected("a partial sum has another length"))?;
            self.sums[group].added.add(&sum);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.emit(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        refuse_filter(filter)?;
        let rows = values.first().map_or(0, |bodies| bodies.len());
        let mut each = Self::new(self.selections.clone());
        each.grow(rows);
        each.add_rows(values, |at| at)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.sums.iter().map(|sum| if sum.taken.is_some() { 2 * SUM_BYTES } else { SUM_BYTES }).sum()
    }
}
