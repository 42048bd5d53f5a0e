//! What happened in the demo, stage by stage.

use crate::{error::CommandError, output::Output};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Map, Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Width of the table of stages.
const TABLE_COLUMNS: u16 = 110;

/// A stage that is over.
struct Stage {
    name: &'static str,
    found: String,
    took: Duration,
}

/// The stages so far and the figures for programs.
pub(super) struct Report {
    pub(super) output: Output,
    started: Instant,
    stages: Vec<Stage>,
    figures: Map<String, Value>,
    statement: String,
}

impl Report {
    pub(super) fn new(output: Output) -> Self {
        Self { output, started: Instant::now(), stages: Vec::new(), figures: Map::new(), statement: String::new() }
    }

    /// Ends a stage that began at `began`.
    pub(super) fn stage(&mut self, name: &'static str, began: Instant, found: String) {
        let took = began.elapsed();
        self.output.note(&format!("{:>7.2} s  {name}: {found}", took.as_secs_f64()));
        self.stages.push(Stage { name, found, took });
    }

    /// Adds a figure for programs.
    pub(super) fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// Adds a statement for people.
    pub(super) fn statement(&mut self, words: String) {
        self.statement = words;
    }

    /// Prints everything.
    pub(super) fn print(&self, kept: Option<&Path>) -> Result<(), CommandError> {
        let took = self.started.elapsed();
        let stages: Vec<Value> = self
            .stages
            .iter()
            .map(|stage| json!({ "stage": stage.name, "seconds": stage.took.as_secs_f64(), "found": stage.found }))
            .collect();
        let value = json!({
            "ok": true,
            "seconds": took.as_secs_f64(),
            "stages": stages,
            "figures": self.figures,
            "kept_in": kept,
        });
        self.output.result(&value, || {
            let mut table = table(&["stage", "what happened", "seconds"]);
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(TABLE_COLUMNS);
            for stage in &self.stages {
                let seconds = format!("{:.2}", stage.took.as_secs_f64());
                table.add_row(vec![stage.name.to_owned(), stage.found.clone(), seconds]);
            }
            table.add_row(vec![
                "all".to_owned(),
                "everything was as it must be".to_owned(),
                format!("{:.2}", took.as_secs_f64()),
            ]);
            if let Some(column) = table.column_mut(2) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            let mut text =
                format!("\nThe statement of the person who enrolled alone:\n\n{}\n{table}\n", self.statement);
            if let Some(folder) = kept {
                text += &format!("Everything is kept in {}.\n", folder.display());
            }
            text
        })
    }
}

/// An empty table with these column names, as wide as its content.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(columns);
    table
}

/// A claim of the demo; the demo ends when it does not hold.
pub(super) fn check(holds: bool, claim: impl FnOnce() -> String) -> Result<(), CommandError> {
    if holds { Ok(()) } else { Err(CommandError::Demo(claim())) }
}
