//! Results as a Parquet file.

use crate::{
    association::{AssociationRow, AssociationTable, EffectKind},
    error::ReportError,
};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt8Array, UInt32Array};
use parquet::{
    arrow::ArrowWriter,
    file::{metadata::KeyValue, properties::WriterProperties},
};
use std::{io::Write, sync::Arc};

/// Writes one row group with the columns of [`AssociationRow`]; what cannot be computed is null. The
/// file's metadata name the test and what effects are.
///
/// # Errors
/// [`ReportError::Columns`], [`ReportError::Parquet`].
pub fn write_parquet(table: &AssociationTable, out: impl Write + Send) -> Result<(), ReportError> {
    let floats = |field: fn(&AssociationRow) -> Option<f64>| -> ArrayRef {
        Arc::new(table.rows.iter().map(field).collect::<Float64Array>())
    };
    let texts = |field: fn(&AssociationRow) -> &str| -> ArrayRef {
        Arc::new(table.rows.iter().map(|row| Some(field(row))).collect::<StringArray>())
    };
    let columns: [(&str, ArrayRef); 14] = [
        ("chrom", Arc::new(table.rows.iter().map(|row| Some(row.chrom)).collect::<UInt8Array>())),
        ("position", Arc::new(table.rows.iter().map(|row| Some(row.position)).collect::<UInt32Array>())),
        ("ref_allele", texts(|row| &row.ref_allele)),
        ("alt_allele", texts(|row| &row.alt_allele)),
        ("called", floats(|row| Some(row.called))),
        ("allele_frequency", floats(|row| row.frequency)),
        ("case_frequency", floats(|row| row.group_frequencies.map(|both| both.0))),
        ("control_frequency", floats(|row| row.group_frequencies.map(|both| both.1))),
        ("effect", floats(|row| row.effect.map(|effect| effect.estimate))),
        ("standard_error", floats(|row| row.effect.map(|effect| effect.standard_error))),
        ("ci_lower", floats(|row| row.effect.map(|effect| effect.interval.0))),
        ("ci_upper", floats(|row| row.effect.map(|effect| effect.interval.1))),
        ("statistic", floats(|row| row.statistic)),
        ("p_value", floats(|row| row.p_value)),
    ];
    let batch = RecordBatch::try_from_iter(columns)?;
    let effect = match table.effect_kind {
        EffectKind::OddsRatio => "odds_ratio",
        EffectKind::Beta => "beta",
    };
    let metadata = [("locus.test", table.method.code()), ("locus.effect", effect)]
        .map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()));
    let properties = WriterProperties::builder().set_key_value_metadata(Some(metadata.to_vec())).build();
    let mut writer = ArrowWriter::try_new(out, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
