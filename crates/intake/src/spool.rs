//! The temporary store between reading a file and encrypting it.

use crate::{
    error::IntakeError,
    limits::{SPOOL_MEMORY_BYTES_MAX, STRIP_PEOPLE_MAX},
};
use locus_genomics::{
    Genotype, GenotypeCounts, PackedGenotypes, Panel, PanelBlockIndex, VARIANTS_PER_PANEL_BLOCK, VariantIndex,
};
use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

mod transpose;

/// Bytes of one person's packed genotypes in one panel block.
pub const BLOCK_GENOTYPE_BYTES: usize = (VARIANTS_PER_PANEL_BLOCK / 4) as usize;

const _: () = assert!(VARIANTS_PER_PANEL_BLOCK.is_multiple_of(4), "packed blocks join without shifting");

/// Genotypes of a cohort on a panel: one row of packed genotypes a variant, in panel order, one
/// column a person, in file order.
///
/// Up to [`SPOOL_MEMORY_BYTES_MAX`] the rows stay in memory; above, they lie in an unnamed
/// temporary file that the system removes when the spool is dropped or the process dies. Memory
/// beyond that does not grow with the cohort.
pub struct GenotypeSpool {
    people: u32,
    variant_count: u32,
    row_bytes: usize,
    rows: Rows,
    dir: PathBuf,
}

enum Rows {
    Memory(Vec<u8>),
    File(Mutex<File>),
}

impl GenotypeSpool {
    /// A spool in which every call is missing.
    pub(crate) fn create(people: u32, variant_count: u32, dir: &Path) -> Result<Self, IntakeError> {
        let row_bytes = PackedGenotypes::bytes_for(people as usize);
        let bytes = row_bytes as u64 * u64::from(variant_count);
        let failed = |source| IntakeError::Spool { dir: dir.to_owned(), source };
        let missing_row = PackedGenotypes::filled(people as usize, Genotype::Missing);
        let rows = match usize::try_from(bytes) {
            Ok(len) if bytes <= SPOOL_MEMORY_BYTES_MAX => {
                let mut memory = Vec::with_capacity(len);
                (0..variant_count).for_each(|_| memory.extend_from_slice(missing_row.as_bytes()));
                Rows::Memory(memory)
            }
            _ => {
                let mut writer = io::BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(dir).map_err(failed)?);
                for _ in 0..variant_count {
                    writer.write_all(missing_row.as_bytes()).map_err(failed)?;
                }
                let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
                Rows::File(Mutex::new(file))
            }
        };
        Ok(Self { people, variant_count, row_bytes, rows, dir: dir.to_owned() })
    }

    /// Number of people.
    pub fn people(&self) -> u32 {
        self.people
    }

    /// Number of variants: the panel's.
    pub fn variant_count(&self) -> u32 {
        self.variant_count
    }

    /// Number of panel blocks.
    pub fn block_count(&self) -> u32 {
        self.variant_count.div_ceil(VARIANTS_PER_PANEL_BLOCK)
    }

    /// Whether this spool belongs to a panel of this size.
    pub fn fits(&self, panel: &Panel) -> bool {
        self.variant_count == panel.variant_count()
    }

    /// The genotypes of everybody at one variant.
    ///
    /// # Errors
    /// [`IntakeError::SpoolRange`] past the last variant, [`IntakeError::Spool`] when reading fails.
    pub fn row(&self, variant: VariantIndex) -> Result<PackedGenotypes, IntakeError> {
        let mut bytes = vec![0; self.row_bytes];
        self.read_rows(variant.0..variant.0.saturating_add(1), 0, &mut bytes)?;
        PackedGenotypes::try_from_bytes(bytes, self.people as usize).map_err(|_| IntakeError::SpoolRange)
    }

    /// Genotype counts at one variant over everybody.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    pub fn counts(&self, variant: VariantIndex) -> Result<GenotypeCounts, IntakeError> {
        Ok(self.row(variant)?.counts())
    }

    /// Ranges of people that [`read_strip`](Self::read_strip) takes, covering everybody in order.
    pub fn strips(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let starts = (0..self.people).step_by(STRIP_PEOPLE_MAX as usize);
        starts.map(|start| start..start.saturating_add(STRIP_PEOPLE_MAX).min(self.people))
    }

    /// The genotypes of `people` in one panel block, person by person. Takes 2 bits for each of
    /// 4,080 variants and person, twice.
    ///
    /// # Errors
    /// [`IntakeError::SpoolRange`] when the block or a person does not exist, when `people` is
    /// empty, has more than [`STRIP_PEOPLE_MAX`], or does not start at a multiple of four;
    /// [`IntakeError::Spool`] when reading fails.
    pub fn read_strip(&self, block: PanelBlockIndex, people: Range<u32>) -> Result<BlockStrip, IntakeError> {
        let first = block.0.checked_mul(VARIANTS_PER_PANEL_BLOCK).ok_or(IntakeError::SpoolRange)?;
        let last = first.saturating_add(VARIANTS_PER_PANEL_BLOCK).min(self.variant_count);
        let aligned = people.start.is_multiple_of(4) && !people.is_empty() && people.end <= self.people;
        if first >= last || !aligned || people.end - people.start > STRIP_PEOPLE_MAX {
            return Err(IntakeError::SpoolRange);
        }
        let width = people.end - people.start;
        let column_bytes = PackedGenotypes::bytes_for(width as usize);
        let mut rows = vec![0; column_bytes * (last - first) as usize];
        self.read_rows(first..last, (people.start / 4) as usize, &mut rows)?;
        let genotypes = transpose::to_people(&rows, column_bytes, width as usize);
        Ok(BlockStrip { first_person: people.start, variant_count: last - first, genotypes })
    }

    /// All genotypes of one person, in panel order. Reads a sliver of every row: meant for small
    /// cohorts; take strips for large ones.
    ///
    /// # Errors
    /// As [`read_strip`](Self::read_strip).
    pub fn person(&self, person: u32) -> Result<PackedGenotypes, IntakeError> {
        if person >= self.people {
            return Err(IntakeError::SpoolRange);
        }
        let strip_start = person - person % 4;
        let strip = strip_start..strip_start.saturating_add(4).min(self.people);
        let variant_count = self.variant_count as usize;
        let mut bytes = Vec::with_capacity(PackedGenotypes::bytes_for(variant_count));
        for block in 0..self.block_count() {
            let genotypes = self.read_strip(PanelBlockIndex(block), strip.clone())?;
            bytes.extend_from_slice(genotypes.person(person).ok_or(IntakeError::SpoolRange)?);
        }
        bytes.truncate(PackedGenotypes::bytes_for(variant_count));
        PackedGenotypes::try_from_bytes(bytes, variant_count).map_err(|_| IntakeError::SpoolRange)
    }

    /// Bytes of one row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Replaces neighbouring rows, starting at `first`.
    pub(crate) fn write_rows(&mut self, first: VariantIndex, bytes: &[u8]) -> Result<(), IntakeError> {
        let start = first.0 as usize * self.row_bytes;
        let failed = |source| IntakeError::Spool { dir: self.dir.clone(), source };
        match &mut self.rows {
            Rows::Memory(memory) => {
                let place = memory.get_mut(start..start + bytes.len()).ok_or(IntakeError::SpoolRange)?;
                place.copy_from_slice(bytes);
            }
            Rows::File(file) => {
                let file = file.get_mut().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(start as u64)).map_err(failed)?;
                file.write_all(bytes).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Reads the bytes `column..` of neighbouring rows into `out`, an equal share for each row.
    pub(crate) fn read_rows(&self, rows: Range<u32>, column: usize, out: &mut [u8]) -> Result<(), IntakeError> {
        let row_count = rows.len();
        if row_count == 0 || rows.end > self.variant_count || !out.len().is_multiple_of(row_count) {
            return Err(IntakeError::SpoolRange);
        }
        let width = out.len() / row_count;
        if column + width > self.row_bytes {
            return Err(IntakeError::SpoolRange);
        }
        let start = rows.start as usize * self.row_bytes + column;
        let failed = |source| IntakeError::Spool { dir: self.dir.clone(), source };
        match &self.rows {
            Rows::Memory(memory) => {
                let from = memory[start..].chunks(self.row_bytes);
                out.chunks_exact_mut(width).zip(from).for_each(|(out, row)| out.copy_from_slice(&row[..width]));
            }
            Rows::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let step = if width == self.row_bytes { out.len() } else { width };
                let starts = (start as u64..).step_by(self.row_bytes);
                for (place, part) in starts.zip(out.chunks_exact_mut(step)) {
                    file.seek(SeekFrom::Start(place)).map_err(failed)?;
                    file.read_exact(part).map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

/// Shows sizes only: genotypes do not belong in logs.
impl fmt::Debug for GenotypeSpool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GenotypeSpool({} people, {} variants)", self.people, self.variant_count)
    }
}

/// Genotypes of some people in one panel block.
#[derive(Clone)]
pub struct BlockStrip {
    first_person: u32,
    variant_count: u32,
    genotypes: Vec<u8>,
}

impl BlockStrip {
    /// Numbers of the people, as in the spool.
    pub fn people(&self) -> Range<u32> {
        let count = u32::try_from(self.genotypes.len() / BLOCK_GENOTYPE_BYTES).unwrap_or(u32::MAX);
        self.first_person..self.first_person + count
    }

    /// Number of variants in the block; 4,080 except in the last.
    pub fn variant_count(&self) -> u32 {
        self.variant_count
    }

    /// One person's packed genotypes: [`BLOCK_GENOTYPE_BYTES`] bytes, zero past the last variant.
    /// The first `ceil(variant_count / 4)` bytes of all blocks, joined, are the packed genotypes
    /// of the whole panel. `None` for a person outside the strip.
    pub fn person(&self, person: u32) -> Option<&[u8; BLOCK_GENOTYPE_BYTES]> {
        let place = usize::try_from(person.checked_sub(self.first_person)?).ok()?;
        self.genotypes.as_chunks::<BLOCK_GENOTYPE_BYTES>().0.get(place)
    }
}

/// Shows sizes only.
impl fmt::Debug for BlockStrip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockStrip(people {:?}, {} variants)", self.people(), self.variant_count)
    }
}

#[cfg(test)]
mod tests;
