//! Rust code and descriptor set of the packages under `proto/`, written to `crates/wire`.

use anyhow::{Context, Result, bail};
use prost::Message as _;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const OUT_DIR: &str = "crates/wire/src/generated";
const DESCRIPTOR_SET: &str = "descriptor_set.bin";

/// Generates the code; with `check`, fails when the committed files differ.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let committed_dir = root.join(OUT_DIR);
    let fresh_dir = root.join("target/codegen");
    if fresh_dir.exists() {
        fs::remove_dir_all(&fresh_dir)?;
    }
    fs::create_dir_all(&fresh_dir)?;
    generate(root, &fresh_dir)?;
    let fresh = read_files(&fresh_dir)?;
    if check {
        if fresh != read_files(&committed_dir)? {
            bail!("{OUT_DIR} differs from proto/: run `cargo xtask codegen` and commit the result");
        }
        return Ok(());
    }
    for (name, bytes) in fresh {
        fs::write(committed_dir.join(name), bytes)?;
    }
    Ok(())
}

fn generate(root: &Path, out_dir: &Path) -> Result<()> {
    let proto_dir = root.join("proto");
    let mut files = Vec::new();
    collect_protos(&proto_dir.join("locus"), &mut files)?;
    files.sort();
    let descriptors = protox::compile(&files, [&proto_dir]).context("proto files do not compile")?;
    fs::write(out_dir.join(DESCRIPTOR_SET), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .out_dir(out_dir)
        .bytes(".")
        .compile_fds(descriptors)
        .context("code generation failed")
}

fn collect_protos(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect_protos(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

fn read_files(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
    }
    Ok(files)
}
