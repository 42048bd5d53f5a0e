//! The conformance suite on the back ends that need no network.

use locus_store::{Store, conformance::store_conformance, open_store};
use std::{collections::BTreeMap, error::Error};

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() -> Result<(), Box<dyn Error>> {
    Ok(store_conformance(&Store::memory()).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_directory_conforms() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("created on opening");
    let store = open_store(&path.display().to_string(), BTreeMap::new())?;
    Ok(store_conformance(&store).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_address_conforms_and_keeps_its_data() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let url = format!("file://{}", directory.path().display());
    store_conformance(&open_store(&url, BTreeMap::new())?).await?;
    // A second run on the same directory finds the data of the first.
    let again = store_conformance(&open_store(&url, BTreeMap::new())?).await;
    assert!(again.is_err());
    Ok(())
}
