//! Reading everything a manifest names, and checking all of it.

use crate::{
    backend::blocking,
    error::StoreError,
    manifest::Manifest,
    object::layout::{Footer, footer_digest},
    panel_store::PanelStore,
    part::reader::{PartReader, check_digest, read_windows},
    shape::{Column, PAGE_ROWS},
    sum::BodySum,
};
use locus_commitment::BodyDigest;
use std::ops::Range;

/// Most faults that are reported one by one.
const FAULTS_MAX: usize = 100;

/// What an audit found.
#[derive(Debug, Default)]
pub struct AuditReport {
    /// Bodies whose bytes were read and hashed.
    pub bodies: u64,
    /// Stored sums that were computed again.
    pub totals: u64,
    /// What is wrong, at most 100 entries; the store is sound when there are none.
    pub faults: Vec<StoreError>,
}

impl PanelStore {
    /// Reads every object that `manifest` names, checks every body against its digest, computes
    /// every stored sum again from the checked bodies, and checks that every object is the Parquet
    /// file it should be.
    ///
    /// # Errors
    /// Only when the runtime shuts down; whatever is wrong with the store is in the report.
    pub async fn audit(&self, manifest: &Manifest) -> Result<AuditReport, StoreError> {
        let mut report = AuditReport::default();
        for part in manifest.parts() {
            match self.open(part).await {
                Ok(reader) => audit_part(&reader, &mut report).await,
                Err(error) => report.fault(error),
            }
        }
        Ok(report)
    }
}

impl AuditReport {
    fn fault(&mut self, error: StoreError) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(error);
        }
    }
}

async fn audit_part(reader: &PartReader, report: &mut AuditReport) {
    let columns: Vec<Column> = reader.shape().columns().collect();
    for column in columns {
        if let Err(error) = audit_bodies(reader, column, report).await {
            report.fault(error);
        }
        if let Err(error) = audit_file(reader, column).await {
            report.fault(error);
        }
    }
}

/// Checks all bodies of a column, and the stored sum against theirs.
async fn audit_bodies(reader: &PartReader, column: Column, report: &mut AuditReport) -> Result<(), StoreError> {
    let digests = reader.digests(&[column], &[]).await?;
    let digests: Vec<BodyDigest> = digests.column(column).unwrap_or_default().to_vec();
    let positions: Vec<u32> = (0..reader.row_count()).collect();
    let mut total = BodySum::zero();
    for window in read_windows(&positions) {
        let runs = reader.read(column, &window).await?;
        let digests = digests.clone();
        total = blocking(move || -> Result<Box<BodySum>, StoreError> {
            for run in runs {
                run.visit_checked(&digests, 1, |bodies| bodies.iter().for_each(|body| total.add_body(body)))?;
            }
            Ok(total)
        })
        .await??;
        report.bodies += u64::from(window.row_count());
    }
    let stored = reader.total(column).await?;
    report.totals += 1;
    if stored != total {
        let name = reader.names().total(reader.part().name, column);
        return Err(StoreError::malformed(&name, "stored sum is not the sum of the stored bodies"));
    }
    Ok(())
}

/// Checks the Parquet file around the bodies: its footer, and its row number and digest columns.
async fn audit_file(reader: &PartReader, column: Column) -> Result<(), StoreError> {
    let name = reader.names().bodies(reader.part().name, column);
    let layout = reader.index().layout.clone();
    if reader.store().head(&name).await?.size != layout.object_bytes {
        return Err(StoreError::malformed(&name, "object does not have the length its index says"));
    }
    let footer = reader.store().read_range(&name, layout.footer_range()).await?;
    check_digest(&name, layout.footer_digest.into(), footer_digest(&footer))?;
    let rows = reader.row_count() as usize;
    let parsed = Footer::parse(&name, footer, layout.object_bytes, rows)?;
    if parsed.pages[2] != layout.body_pages {
        return Err(StoreError::malformed(&name, "bodies are not where the index says"));
    }
    let digests = reader.digests(&[column], &[]).await?;
    let digests = digests.column(column).unwrap_or_default().iter().flat_map(|digest| digest.0.0).collect::<Vec<u8>>();
    let row_ids: Vec<u8> = reader.index().row_ids().iter().flat_map(|row| row.to_le_bytes()).collect();
    for (pages, values, rule) in [
        (&parsed.pages[0], row_ids, "row numbers of the object differ from its index"),
        (&parsed.pages[1], digests, "digests of the object differ from its index"),
    ] {
        let ranges = value_ranges(pages, values.len() as u64, rows as u64);
        if reader.store().read_ranges(&name, &ranges).await?.concat() != values {
            return Err(StoreError::malformed(&name, rule));
        }
    }
    Ok(())
}

/// Where the values of a column are, given the offset of the first of every page.
fn value_ranges(pages: &[u64], bytes: u64, rows: u64) -> Vec<Range<u64>> {
    let value_bytes = bytes / rows.max(1);
    let mut left = rows;
    let range = |&start: &u64| {
        let page_rows = left.min(u64::from(PAGE_ROWS));
        left -= page_rows;
        start..start + page_rows * value_bytes
    };
    pages.iter().map(range).collect()
}
