//! Questions as they travel: from an aggregator to the cluster, and within it.

use crate::{error::ClusterError, selection::PARTS_MAX, table::BodiesTable};
use locus_engine::{PartRows, RowBits, SumJob};
use locus_genomics::{PanelBlockIndex, PanelDigest, Plane};
use locus_store::{Column, Origin, PANEL_BLOCKS_MAX, PartName, Store};
use locus_wire::pb::engine::{self as pb, BodyColumn, SumBodiesRequest};
use prost::Message as _;
use std::collections::BTreeSet;

/// Most columns of a question: all of the largest panel.
const COLUMNS_MAX: usize = 2 * PANEL_BLOCKS_MAX as usize;

/// Reads an aggregator's question.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_job(request: &SumBodiesRequest) -> Result<SumJob, ClusterError> {
    let (panel, columns, names) = parse_objects(request)?;
    let rows = |part: &pb::PartRows, (name, object_bytes)| {
        let rows = part.rows.as_ref().try_into().map_err(|_| malformed("parts: rows must have 128 bytes"))?;
        Ok(PartRows { name, object_bytes, rows: RowBits(rows), subtracted: part.subtracted })
    };
    let parts = request.parts.iter().zip(names).map(|(part, name)| rows(part, name));
    Ok(SumJob { panel, columns, parts: parts.collect::<Result<_, ClusterError>>()? })
}

/// A table as the scheduler gets it: without rows.
pub(crate) fn table_message(table: &BodiesTable) -> SumBodiesRequest {
    let column = |column: &Column| BodyColumn { block: column.block.0, plane: u32::from(column.plane.code()) };
    let part = |(name, object_bytes): &(PartName, u64)| pb::PartRows {
        origin: String::from(name.origin),
        part: name.part,
        object_bytes: *object_bytes,
        ..pb::PartRows::default()
    };
    SumBodiesRequest {
        panel_digest: table.panel.0.to_vec().into(),
        columns: table.columns.iter().map(column).collect(),
        parts: table.parts.iter().map(part).collect(),
    }
}

/// Reads a table, whose objects are in `store`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_table(store: &Store, bytes: &[u8]) -> Result<BodiesTable, ClusterError> {
    let message = SumBodiesRequest::decode(bytes).map_err(|error| malformed(&error.to_string()))?;
    let (panel, columns, parts) = parse_objects(&message)?;
    Ok(BodiesTable::new(store, panel, columns, parts))
}

/// The panel, the columns, and the parts with the sizes of their objects.
type Objects = (PanelDigest, Vec<Column>, Vec<(PartName, u64)>);

fn parse_objects(request: &SumBodiesRequest) -> Result<Objects, ClusterError> {
    let panel = request.panel_digest.as_ref().try_into();
    let panel = PanelDigest(panel.map_err(|_| malformed("panel_digest must have 32 bytes"))?);
    let counts = [("columns", request.columns.len(), COLUMNS_MAX), ("parts", request.parts.len(), PARTS_MAX)];
    for (name, count, max) in counts {
        if count == 0 || count > max {
            return Err(malformed(&format!("{name}: {count} given, but 1 to {max} are possible")));
        }
    }
    let columns = request.columns.iter().map(parse_column).collect::<Result<Vec<_>, _>>()?;
    let parts = request.parts.iter().map(parse_part).collect::<Result<Vec<_>, _>>()?;
    if columns.iter().collect::<BTreeSet<_>>().len() != columns.len() {
        return Err(malformed("columns: one is given twice"));
    }
    if parts.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len() != parts.len() {
        return Err(malformed("parts: one is given twice"));
    }
    Ok((panel, columns, parts))
}

fn parse_column(column: &BodyColumn) -> Result<Column, ClusterError> {
    let plane = u8::try_from(column.plane).ok().and_then(Plane::from_code);
    let block = Some(column.block).filter(|&block| block < PANEL_BLOCKS_MAX);
    match (block, plane) {
        (Some(block), Some(plane)) => Ok(Column { block: PanelBlockIndex(block), plane }),
        _ => Err(malformed(&format!("columns: there is no block {} plane {}", column.block, column.plane))),
    }
}

fn parse_part(part: &pb::PartRows) -> Result<(PartName, u64), ClusterError> {
    let origin = Origin::try_from(part.origin.clone());
    let origin = origin.map_err(|reason| malformed(&format!("parts: origin is {reason}")))?;
    Ok((PartName { origin, part: part.part }, part.object_bytes))
}

fn malformed(what: &str) -> ClusterError {
    ClusterError::Request(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> SumBodiesRequest {
        let part = |origin: &str| pb::PartRows {
            origin: origin.to_owned(),
            part: 0,
            object_bytes: 32 << 20,
            rows: vec![1; 128].into(),
            subtracted: true,
        };
        SumBodiesRequest {
            panel_digest: vec![7; 32].into(),
            columns: vec![BodyColumn { block: 0, plane: 0 }, BodyColumn { block: 0, plane: 1 }],
            parts: vec![part("shard=00003/gen=2"), part(&format!("batch={}", "0a".repeat(32)))],
        }
    }

    #[test]
    fn a_question_is_read_as_it_was_put() {
        let job = parse_job(&request()).expect("it is well formed");
        assert_eq!((job.panel, job.columns.len(), job.parts.len()), (PanelDigest([7; 32]), 2, 2));
        assert_eq!(job.parts[0].name.origin, Origin::Shard { shard: 3, generation: 2 });
        assert!(job.parts[1].subtracted && job.parts[1].rows.contains(8) && !job.parts[1].rows.contains(9));
        let names = job.parts.iter().map(|part| (part.name, part.object_bytes)).collect();
        let store = Store::memory();
        let table = BodiesTable::new(&store, job.panel, job.columns.clone(), names);
        let read = parse_table(&store, &table_message(&table).encode_to_vec()).expect("it is well formed");
        assert_eq!((read.panel, read.columns, read.parts), (table.panel, table.columns, table.parts));
    }

    #[test]
    fn malformed_questions_are_refused_with_what_is_wrong() {
        let changes: [(&str, fn(&mut SumBodiesRequest)); 8] = [
            ("panel_digest", |request| request.panel_digest = vec![7; 31].into()),
            ("columns: 0 given", |request| request.columns.clear()),
            ("columns: one is given twice", |request| request.columns[1].plane = 0),
            ("there is no block 0 plane 2", |request| request.columns[1].plane = 2),
            ("there is no block 1024", |request| request.columns[1].block = 1024),
            ("parts: one is given twice", |request| request.parts[1].origin = request.parts[0].origin.clone()),
            ("origin is not the name", |request| request.parts[1].origin = "shard=3/gen=2/../..".to_owned()),
            ("rows must have 128 bytes", |request| request.parts[0].rows = vec![1; 127].into()),
        ];
        for (expected, change) in changes {
            let mut request = request();
            change(&mut request);
            let error = parse_job(&request).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
