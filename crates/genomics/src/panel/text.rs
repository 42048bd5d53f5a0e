//! The text file format of panels.

use super::{Panel, PanelBuilder, PanelError, check_order};
use crate::{
    assembly::{Assembly, AssemblyError},
    variant::{Variant, VariantError},
};
use std::fmt::Write as _;

const FORMAT_LINE: &str = "##locus-panel=1";
const COLUMNS_LINE: &str = "#chrom\tpos\tref\talt";

/// Returned when a text is not a panel file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PanelTextError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: PanelTextProblem,
}

/// What is wrong with a line of a panel file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PanelTextProblem {
    /// A header line is not the one that belongs here.
    #[error("expected {0:?}: is this a panel file?")]
    Header(&'static str),
    /// The assembly header names none.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// A header value that is neither `true` nor `false`, or no number.
    #[error("{0:?} is not a value of this header")]
    HeaderValue(String),
    /// A variant line without exactly four columns.
    #[error("expected 4 tab-separated columns (chrom, pos, ref, alt), found {0}")]
    Columns(usize),
    /// The position is no number.
    #[error("{0:?} is not a position")]
    Position(String),
    /// The variant is not one.
    #[error(transparent)]
    Variant(#[from] VariantError),
    /// The chromosome has a prefix, which the canonical form leaves out.
    #[error("write the chromosome as {0}")]
    ChromForm(String),
    /// The variants do not make a panel.
    #[error(transparent)]
    Panel(#[from] PanelError),
    /// The file has fewer or more variants than its header says.
    #[error("the header announces {announced} variants, the file has {found}: is it complete?")]
    VariantCount {
        /// Variants announced.
        announced: u32,
        /// Variants found.
        found: u32,
    },
}

impl Panel {
    /// The panel as a text file: five header lines, the column names, then one tab-separated line
    /// a variant. The format is clause 5 of this crate's specification.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{FORMAT_LINE}\n##name={}\n##assembly={}\n##complete_calls={}\n##variants={}\n{COLUMNS_LINE}\n",
            self.name,
            self.assembly,
            self.complete_calls,
            self.variant_count(),
        );
        for variant in self.variants() {
            let (chrom, position) = (variant.chrom(), variant.position());
            let (ref_allele, alt_allele) = (variant.ref_allele(), variant.alt_allele());
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{chrom}\t{position}\t{ref_allele}\t{alt_allele}");
        }
        text
    }

    /// Parses a panel file. Exactly one text is accepted for each panel, except that lines may end
    /// in CR LF.
    ///
    /// # Errors
    /// [`PanelTextError`] with the line.
    pub fn parse_text(text: &str) -> Result<Self, PanelTextError> {
        let mut lines = (1..).zip(text.lines());
        let at = |line: u64| move |problem: PanelTextProblem| PanelTextError { line, problem };
        header(&mut lines, FORMAT_LINE)?;
        let (name_line, name) = header(&mut lines, "##name=")?;
        let (assembly_line, assembly) = header(&mut lines, "##assembly=")?;
        let (complete_line, complete) = header(&mut lines, "##complete_calls=")?;
        let (count_line, count) = header(&mut lines, "##variants=")?;
        header(&mut lines, COLUMNS_LINE)?;
        let bad_value = |text: &str| PanelTextProblem::HeaderValue(text.to_owned());
        let named: Assembly = assembly.parse().map_err(|error: AssemblyError| at(assembly_line)(error.into()))?;
        if named.to_string() != assembly {
            return Err(at(assembly_line)(bad_value(assembly)));
        }
        let complete_calls: bool = complete.parse().map_err(|_| at(complete_line)(bad_value(complete)))?;
        let announced: u32 = count.parse().map_err(|_| at(count_line)(bad_value(count)))?;

        let mut builder = PanelBuilder::try_new(name, named).map_err(|error| at(name_line)(error.into()))?;
        let mut previous: Option<Variant> = None;
        let mut last_line = count_line + 1;
        for (line, row) in lines {
            let variant = parse_row(row).map_err(at(line))?;
            if let Some(previous) = &previous {
                check_order(previous.as_ref(), variant.as_ref()).map_err(|error| at(line)(error.into()))?;
            }
            builder.push(variant.as_ref()).map_err(|error| at(line)(error.into()))?;
            previous = Some(variant);
            last_line = line;
        }
        let found = builder.variant_count();
        if found != announced {
            return Err(at(last_line)(PanelTextProblem::VariantCount { announced, found }));
        }
        builder.build(complete_calls).map_err(|error| at(last_line)(error.into()))
    }
}

/// The next line, which must begin with `prefix`; returns its number and the rest.
fn header<'a>(
    lines: &mut impl Iterator<Item = (u64, &'a str)>,
    prefix: &'static str,
) -> Result<(u64, &'a str), PanelTextError> {
    let (line, text) = lines.next().unwrap_or((1, ""));
    let value = text.strip_prefix(prefix).filter(|rest| prefix.ends_with('=') || rest.is_empty());
    value.map(|value| (line, value)).ok_or(PanelTextError { line, problem: PanelTextProblem::Header(prefix) })
}

fn parse_row(row: &str) -> Result<Variant, PanelTextProblem> {
    let mut columns = row.split('\t');
    let (Some(chrom_text), Some(position_text), Some(ref_allele), Some(alt_allele), None) =
        (columns.next(), columns.next(), columns.next(), columns.next(), columns.next())
    else {
        return Err(PanelTextProblem::Columns(row.split('\t').count()));
    };
    let chrom = chrom_text.parse().map_err(VariantError::Chrom)?;
    let variant_position: u32 =
        position_text.parse().map_err(|_| PanelTextProblem::Position(position_text.to_owned()))?;
    if variant_position.to_string() != position_text {
        return Err(PanelTextProblem::Position(position_text.to_owned()));
    }
    let variant = Variant::try_new(chrom, variant_position, ref_allele, alt_allele)?;
    if chrom.to_string() == chrom_text { Ok(variant) } else { Err(PanelTextProblem::ChromForm(chrom.to_string())) }
}
