//! `locus proofs`: keys of the circuits.

use crate::{cli::ProofsCommand, context::Context, error::CommandError, progress::Bars, proving::show};
use locus_proofs::{
    ProofsError, Statement,
    circom::{read_zkey, write_r1cs},
    keys::{CircuitKey, KeyOrigin, KeyStore},
};
use serde_json::{Value, json};
use std::{fs, path::Path, sync::Arc};

pub(super) async fn run(command: ProofsCommand, context: &Context) -> Result<(), CommandError> {
    let bars = Bars::new(context.output);
    let shown = bars.clone();
    let work = move || match command {
        ProofsCommand::Development { folder, circuit } => development(&folder, circuit.as_deref(), &shown),
        ProofsCommand::Export { folder } => export(&folder, &shown),
        ProofsCommand::Import { folder, circuit, zkey } => import(&folder, &circuit, &zkey),
        ProofsCommand::Show { folder } => list(&folder),
    };
    let lines = tokio::task::spawn_blocking(work).await.map_err(|_| CommandError::Interrupted)??;
    bars.clear();
    context.output.result(&json!(lines), || lines.iter().map(words).collect())
}

fn words(line: &Value) -> String {
    let fields = line.as_object().into_iter().flatten();
    let texts = fields.map(|(_, value)| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    texts.collect::<Vec<_>>().join("  ") + "\n"
}

fn describe(key: &CircuitKey) -> Value {
    let origin = match key.origin {
        KeyOrigin::Development => "development",
        KeyOrigin::Ceremony => "ceremony",
    };
    json!({ "circuit": key.circuit, "id": key.id().0.to_string(), "origin": origin })
}

fn named(circuit: &str) -> Result<Statement, CommandError> {
    let names = || Statement::ALL.map(Statement::circuit).join(", ");
    let unknown = || CommandError::Usage(format!("no circuit is called {circuit}: there are {}", names()));
    Statement::of_circuit(circuit).ok_or_else(unknown)
}

fn development(folder: &Path, circuit: Option<&str>, bars: &Arc<Bars>) -> Result<Vec<Value>, CommandError> {
    let statements = match circuit {
        Some(circuit) => vec![named(circuit)?],
        None => Statement::ALL.to_vec(),
    };
    let make = |statement: &Statement| {
        let key = KeyStore::new(folder).development_key(&statement.shape()?, |stage| show(bars, stage))?;
        Ok(describe(&key))
    };
    statements.iter().map(make).collect()
}

fn export(folder: &Path, bars: &Bars) -> Result<Vec<Value>, CommandError> {
    fs::create_dir_all(folder).map_err(CommandError::file(folder))?;
    let mut lines = Vec::new();
    for (done, statement) in (0..).zip(Statement::ALL) {
        bars.show("writing constraints", done, Statement::ALL.len() as u64);
        let shape = statement.shape()?;
        let path = folder.join(format!("{}.r1cs", shape.name));
        fs::write(&path, write_r1cs(&shape)).map_err(CommandError::file(&path))?;
        lines.push(json!({ "circuit": shape.name, "rows": shape.rows.len(), "powers_of_tau": shape.domain_size() }));
    }
    Ok(lines)
}

fn import(folder: &Path, circuit: &str, zkey: &Path) -> Result<Vec<Value>, CommandError> {
    let statement = named(circuit)?;
    let bytes = fs::read(zkey).map_err(CommandError::file(zkey))?;
    let key = KeyStore::new(folder).store(statement.circuit(), KeyOrigin::Ceremony, &read_zkey(&bytes)?)?;
    Ok(vec![describe(&key)])
}

/// The keys that are there; an unusable one is an error.
fn list(folder: &Path) -> Result<Vec<Value>, CommandError> {
    let mut lines = Vec::new();
    for statement in Statement::ALL {
        match KeyStore::new(folder).circuit_key(statement.circuit(), None) {
            Ok(key) => lines.push(describe(&key)),
            Err(ProofsError::Io { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(lines)
}
