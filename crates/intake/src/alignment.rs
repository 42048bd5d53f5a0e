//! Putting calls in their place on the panel.

use crate::{
    error::{FileContext, FileProblem, IntakeError},
    limits::CONTRADICTIONS_MIN,
    report::{FileReport, IntakeReport, RefusalReason},
    sample::SampleId,
    spool::GenotypeSpool,
};
use locus_genomics::{Genotype, GenotypeCounts, PackedGenotypes, Panel, VariantIndex};
use std::{ops::Range, path::Path};

/// What is known of a panel variant so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No record.
    Absent,
    /// A reference block gave calls to some people.
    Covered,
    /// A record of its own gave calls.
    Matched,
    /// A record at its position cannot be used; never taken as reference.
    Blocked,
    /// A record of its own cannot be used; missing in everybody, whatever comes later.
    Refused,
}

/// A cohort being read: the spool, and what became of each panel variant.
pub(crate) struct Alignment<'p> {
    pub(crate) panel: &'p Panel,
    spool: GenotypeSpool,
    states: Vec<State>,
    /// The report of the file being read.
    pub(crate) file: FileReport,
    files: Vec<FileReport>,
    /// Records at the position of a panel variant of the same kind (one base for one base).
    compared: u64,
    /// Those whose alleles are not the panel's.
    contradicting: u64,
    scratch: Vec<u8>,
}

impl<'p> Alignment<'p> {
    pub(crate) fn new(panel: &'p Panel, people: u32, spool_dir: &Path) -> Result<Self, IntakeError> {
        let spool = GenotypeSpool::create(people, panel.variant_count(), spool_dir)?;
        let states = vec![State::Absent; panel.variant_count() as usize];
        let file = FileReport::default();
        Ok(Self { panel, spool, states, file, files: Vec::new(), compared: 0, contradicting: 0, scratch: Vec::new() })
    }

    /// Starts the report of a file.
    pub(crate) fn begin_file(&mut self, path: &Path, format: &str) {
        self.file = FileReport { file: path.display().to_string(), format: format.to_owned(), ..FileReport::default() };
        (self.compared, self.contradicting) = (0, 0);
    }

    /// Ends a file.
    ///
    /// # Errors
    /// [`FileProblem::NoRecords`], and [`FileProblem::Contradicting`] when most of what it says
    /// about the panel's positions is not what the panel says.
    pub(crate) fn end_file(&mut self, context: &FileContext) -> Result<(), IntakeError> {
        if self.file.records == 0 {
            return Err(context.file(FileProblem::NoRecords));
        }
        let (contradicting, compared) = (self.contradicting, self.compared);
        if contradicting >= CONTRADICTIONS_MIN && contradicting > compared / 2 {
            return Err(context.file(FileProblem::Contradicting { contradicting, compared }));
        }
        self.files.push(std::mem::take(&mut self.file));
        Ok(())
    }

    /// Notes whether a record agrees with the panel at its position.
    pub(crate) fn compare(&mut self, agrees: bool) {
        self.compared += 1;
        self.contradicting += u64::from(!agrees);
    }

    /// A row in which every call is missing.
    pub(crate) fn missing_row(&self) -> Vec<u8> {
        PackedGenotypes::filled(self.spool.people() as usize, Genotype::Missing).as_bytes().to_vec()
    }

    /// Places the calls of a record.
    pub(crate) fn place(
        &mut self,
        variant: VariantIndex,
        row: &[u8],
        example: impl FnOnce() -> String,
    ) -> Result<(), IntakeError> {
        let state = &mut self.states[variant.0 as usize];
        match state {
            State::Absent | State::Covered | State::Blocked => {
                *state = State::Matched;
                self.file.matched += 1;
                self.spool.write_rows(variant, row)
            }
            State::Matched => {
                self.scratch.resize(row.len(), 0);
                self.spool.read_rows(variant.0..variant.0 + 1, 0, &mut self.scratch)?;
                if self.scratch == row {
                    self.file.repeated += 1;
                    return Ok(());
                }
                self.refuse_variant(variant, RefusalReason::Duplicate, example)
            }
            State::Refused => {
                self.file.refuse(RefusalReason::Duplicate, example);
                Ok(())
            }
        }
    }

    /// Refuses a record of a panel variant: the variant is missing in everybody from now on.
    pub(crate) fn refuse_variant(
        &mut self,
        variant: VariantIndex,
        reason: RefusalReason,
        example: impl FnOnce() -> String,
    ) -> Result<(), IntakeError> {
        self.file.refuse(reason, example);
        let missing = self.missing_row();
        self.states[variant.0 as usize] = State::Refused;
        self.spool.write_rows(variant, &missing)
    }

    /// Refuses a record that speaks of a panel position in a way that cannot be used: panel
    /// variants there that have no calls of their own are never taken as reference.
    pub(crate) fn refuse_position(
        &mut self,
        variants: Range<u32>,
        reason: RefusalReason,
        example: impl FnOnce() -> String,
    ) {
        self.file.refuse(reason, example);
        for state in &mut self.states[variants.start as usize..variants.end as usize] {
            if *state == State::Absent {
                *state = State::Blocked;
            }
        }
    }

    /// Whether a reference block may still add calls to this variant.
    pub(crate) fn is_coverable(&self, variant: VariantIndex) -> bool {
        matches!(self.states[variant.0 as usize], State::Absent | State::Covered)
    }

    /// Adds the homozygous reference calls of `row` where a variant has no call yet.
    pub(crate) fn cover(&mut self, variant: VariantIndex, row: &[u8]) -> Result<(), IntakeError> {
        self.scratch.resize(row.len(), 0);
        self.spool.read_rows(variant.0..variant.0 + 1, 0, &mut self.scratch)?;
        for (known, added) in self.scratch.iter_mut().zip(row) {
            // Missing is 3 and homozygous reference 0: keep a call unless it is missing.
            let missing = *known & (*known >> 1) & 0b0101_0101;
            let missing = missing | missing << 1;
            *known = (*known & !missing) | (*added & missing);
        }
        self.states[variant.0 as usize] = State::Covered;
        self.spool.write_rows(variant, &self.scratch)
    }

    /// Ends the cohort: fills absent variants if that was asked for, counts, and reports.
    ///
    /// # Errors
    /// [`FileProblem::NothingMatched`], and [`FileProblem::MissingCalls`] on a panel that declares
    /// complete calls.
    pub(crate) fn finish(
        mut self,
        context: &FileContext,
        samples: &[SampleId],
        assume_hom_ref: bool,
    ) -> Result<(GenotypeSpool, IntakeReport), IntakeError> {
        let count = |wanted: State, states: &[State]| states.iter().filter(|state| **state == wanted).count() as u64;
        let matched = count(State::Matched, &self.states);
        let covered = count(State::Covered, &self.states);
        if matched + covered == 0 {
            let records = self.files.iter().map(|file| file.records).sum();
            return Err(context.file(FileProblem::NothingMatched { records }));
        }
        if assume_hom_ref {
            self.fill_absent()?;
        }
        let missing_calls = self.count_missing(context)?;
        let report = IntakeReport {
            panel: self.panel.name().to_owned(),
            panel_digest: self.panel.digest().to_string(),
            assembly: self.panel.assembly(),
            samples: samples.len() as u64,
            panel_variants: u64::from(self.panel.variant_count()),
            variants_matched: matched,
            variants_covered: covered,
            variants_refused: count(State::Refused, &self.states) + count(State::Blocked, &self.states),
            variants_absent: count(State::Absent, &self.states),
            absent_taken_as_reference: assume_hom_ref,
            missing_calls,
            files: self.files,
        };
        Ok((self.spool, report))
    }

    fn fill_absent(&mut self) -> Result<(), IntakeError> {
        let hom_ref = PackedGenotypes::filled(self.spool.people() as usize, Genotype::HomRef);
        for (index, state) in (0..).zip(&self.states) {
            if *state == State::Absent {
                self.spool.write_rows(VariantIndex(index), hom_ref.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Counts missing calls, several rows at a time.
    fn count_missing(&mut self, context: &FileContext) -> Result<u64, IntakeError> {
        const CHUNK_BYTES: usize = 1 << 20;
        let row_bytes = self.spool.row_bytes();
        let rows_per_chunk = u32::try_from((CHUNK_BYTES / row_bytes).max(1)).unwrap_or(1);
        let mut missing = 0;
        let mut first_missing = None;
        for start in (0..self.panel.variant_count()).step_by(rows_per_chunk as usize) {
            let rows = start..start.saturating_add(rows_per_chunk).min(self.panel.variant_count());
            self.scratch.resize(rows.len() * row_bytes, 0);
            self.spool.read_rows(rows.clone(), 0, &mut self.scratch)?;
            for (index, row) in rows.zip(self.scratch.chunks_exact(row_bytes)) {
                let missing_here = GenotypeCounts::of_packed(row, self.spool.people() as usize).missing();
                missing += missing_here;
                if missing_here > 0 && first_missing.is_none() {
                    first_missing = self.panel.variant(VariantIndex(index));
                }
            }
        }
        match first_missing.filter(|_| self.panel.complete_calls()) {
            Some(variant) => Err(context.file(FileProblem::MissingCalls { missing, variant: variant.to_string() })),
            None => Ok(missing),
        }
    }
}
