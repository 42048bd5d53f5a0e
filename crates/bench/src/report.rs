//! Printing the table.

use crate::{machine::Machine, row::RowResult};
use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use std::io::Write as _;

/// Prints all rows.
pub(crate) fn print(rows: &[RowResult], json: bool) -> Result<()> {
    let machine = Machine::describe();
    let mut out = std::io::stdout().lock();
    if json {
        let document = serde_json::json!({ "machine": machine, "rows": rows });
        writeln!(out, "{}", serde_json::to_string_pretty(&document)?)?;
        return Ok(());
    }
    writeln!(out, "{machine}")?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["row", "value", "unit", "peer", "ratio", "goal", "met", "note"]);
    for row in rows {
        let peer = match (&row.peer, row.peer_value) {
            (Some(peer), Some(value)) => format!("{} {peer}", figure(value)),
            (Some(peer), None) => peer.clone(),
            _ => String::new(),
        };
        let met = row.met.map_or("-", |met| if met { "yes" } else { "no" });
        let (value, ratio) = (row.value.map(figure).unwrap_or_default(), row.ratio.map(figure).unwrap_or_default());
        table.add_row([row.id, &value, row.unit, &peer, &ratio, &row.goal, met, &row.note]);
    }
    writeln!(out, "{table}")?;
    Ok(())
}

/// Three digits that count.
pub(crate) fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.4}"),
    }
}
