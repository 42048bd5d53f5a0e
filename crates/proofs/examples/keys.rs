//! Makes, exports and imports keys of the circuits in use.
//!
//! - `keys development FOLDER`: development keys of all circuits, where the folder lacks them;
//! - `keys export FOLDER`: the constraints as `.r1cs` files, to start a ceremony with;
//! - `keys import FOLDER CIRCUIT FILE.zkey`: the key that a ceremony made.

use locus_proofs::{
    Statement,
    circom::{read_zkey, write_r1cs},
    keys::{CircuitKey, KeyOrigin, KeyStage, KeyStore},
};
use std::{error::Error, fs, path::Path};

fn describe(key: &CircuitKey) {
    println!("{} {} {:?}", key.circuit, key.id().0, key.origin);
}

fn development(folder: &str) -> Result<(), Box<dyn Error>> {
    let store = KeyStore::new(folder);
    for statement in Statement::ALL {
        let name = statement.circuit();
        let key = match store.circuit_key(name, None) {
            Ok(found) => found,
            Err(_) => store.development_key(&statement.shape()?, |stage| match stage {
                KeyStage::Computing => eprintln!("{name}: computing, up to a minute"),
                KeyStage::Writing => eprintln!("{name}: writing"),
            })?,
        };
        describe(&key);
    }
    Ok(())
}

fn export(folder: &str) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    for statement in Statement::ALL {
        let shape = statement.shape()?;
        fs::write(Path::new(folder).join(format!("{}.r1cs", shape.name)), write_r1cs(&shape))?;
        println!("{}: {} rows, powers of tau of at least {}", shape.name, shape.rows.len(), shape.domain_size());
    }
    Ok(())
}

fn import(folder: &str, circuit: &str, file: &str) -> Result<(), Box<dyn Error>> {
    let statement = Statement::of_circuit(circuit).ok_or("no circuit has this name")?;
    let key = read_zkey(&fs::read(file)?)?;
    describe(&KeyStore::new(folder).store(statement.circuit(), KeyOrigin::Ceremony, &key)?);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["development", folder] => development(folder),
        ["export", folder] => export(folder),
        ["import", folder, circuit, file] => import(folder, circuit, file),
        _ => Err("usage: keys development FOLDER | export FOLDER | import FOLDER CIRCUIT FILE.zkey".into()),
    }
}
