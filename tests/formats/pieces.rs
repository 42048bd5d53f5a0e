//! Files that stand by themselves.

use crate::{Piece, piece};
use anyhow::{Context as _, Result, anyhow, ensure};
use getrandom::{SysRng, rand_core::UnwrapErr};
use locus_aggregator::AggregatorConfig;
use locus_archive::ArchiveConfig;
use locus_client::proving::default_proof_keys;
use locus_cohort::Requirements;
use locus_commitment::{Address, DatasetContext, DatasetId, NetworkId};
use locus_exchange::ExchangeConfig;
use locus_genomics::{
    Assembly, Genotype, PackedGenotypes, Panel, PanelBlockIndex, PanelDigest, Plane, VARIANTS_PER_PANEL_BLOCK, Variant,
    VariantIndex, VariantSelection,
};
use locus_keyholder::KeyholderConfig;
use locus_phenotype::{AttributeSchema, Predicate};
use locus_proofs::{
    NetworkKeys, Statement,
    dataset::EncryptionProver,
    encryption::{EncryptionProof, EncryptionVerifier},
    keys::KeyStore,
};
use locus_rlwe::{Body, DatasetKeys, Mask};
use locus_service::{ConfigError, ServiceConfig, read_config};
use locus_sharing::{
    GenotypeDigest, MasterSecret,
    seal::{SealBinding, SealedBox, SealingPrivateKey, open, seal},
};
use locus_store::{PanelShape, PanelStore, SlotSet, open_store};
use locus_tests::files_below;
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use tokio::runtime::Builder;

const VARIANTS: [&str; 4] = ["1:1000:A:G", "1:2000:C:T", "2:3000:GA:G", "22:4000:T:TC"];
const SCHEMA: &str = r#"{"name": "v1", "version": "1", "attributes": [
    {"kind": "category", "name": "sex", "values": ["F", "M"]}, {"kind": "flag", "name": "smoker"},
    {"kind": "bands", "name": "age", "edges": ["18", "30", "50"], "whole": true, "unit": "a"},
    {"kind": "quantity", "name": "bmi", "origin": "10", "step": "0.5", "bits": 6, "unit": "kg/m2"},
    {"kind": "term", "term": "HP:0000819"}]}"#;
const PREDICATE: &str = "smoker AND (age >= 30 OR NOT HP:0000819)";
const SEALING_SEED: [u8; 32] = [7; 32];
const BINDING: SealBinding<'static> = SealBinding { info: b"locus/tests/v1", associated_data: b"version 1" };
const SEALED: &[u8] = b"what only its recipient reads";

pub(crate) fn all() -> Vec<Piece> {
    vec![
        piece(
            "panel.bin",
            || Ok(panel()?.to_canonical_bytes()),
            |bytes| same(&Panel::from_canonical_bytes(bytes)?, &panel()?),
        ),
        piece("manifest-2.json", || block_on(write_manifest()), |bytes| block_on(read_manifest(bytes))),
        piece(
            "panel.txt",
            || Ok(panel()?.to_text().into_bytes()),
            |bytes| same(&Panel::parse_text(std::str::from_utf8(bytes)?)?, &panel()?),
        ),
        piece(
            "selection.bin",
            || Ok(selection()?.to_canonical_bytes()),
            |bytes| {
                let read = VariantSelection::from_canonical_bytes(&panel()?, bytes)?;
                same(&read.to_canonical_bytes(), &selection()?.to_canonical_bytes())
            },
        ),
        piece(
            "schema.json",
            || Ok(schema()?.to_json().into_bytes()),
            |bytes| same(&AttributeSchema::parse_json(std::str::from_utf8(bytes)?)?.to_json(), &schema()?.to_json()),
        ),
        piece(
            "predicate.bin",
            || Ok(predicate()?.to_bytes()),
            |bytes| same(&Predicate::from_bytes(bytes, &schema()?)?.to_bytes(), &predicate()?.to_bytes()),
        ),
        piece(
            "requirements.bin",
            || Ok(REQUIREMENTS.to_vec()),
            |bytes| {
                let requirements = Requirements::parse(bytes, 4)?;
                ensure!(requirements.proven_only(), "proven datasets are required");
                same(&requirements.to_bytes(), &REQUIREMENTS.to_vec())
            },
        ),
        piece("sealed.bin", sealed, |bytes| {
            let key = SealingPrivateKey::from_seed(&SEALING_SEED);
            let opened = open(&key, BINDING, &SealedBox::parse(bytes.to_vec())?)?;
            ensure!(*opened == SEALED, "it opens to something else");
            Ok(())
        }),
        piece("encryption.proof", encryption_proof, check_encryption_proof),
        piece("proof_keys.txt", proof_keys, |bytes| same(&bytes.to_vec(), &proof_keys()?)),
    ]
}

fn same<T: PartialEq>(read: &T, written: &T) -> Result<()> {
    ensure!(read == written, "it says something else than what was written");
    Ok(())
}

const MANIFEST_OF: PanelDigest = PanelDigest([7; 32]);
const TOMBSTONES: [u32; 3] = [3, 4, 1_030];

/// The first manifest of a panel, in a folder of its own.
struct ManifestFolder {
    dir: tempfile::TempDir,
    panel: PanelStore,
}

impl ManifestFolder {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let store = open_store(&dir.path().to_string_lossy(), BTreeMap::new())?;
        Ok(Self { panel: store.panel(MANIFEST_OF, PanelShape::try_new(2, true)?), dir })
    }

    async fn begin(&self) -> Result<PathBuf> {
        let mut slots = SlotSet::new();
        TOMBSTONES.into_iter().try_for_each(|slot| slots.insert(slot).map(drop))?;
        self.panel.tombstone(&slots).await?;
        let files = files_below(self.dir.path())?;
        files.into_iter().find(|path| path.extension().is_some_and(|end| end == "json")).context("a manifest")
    }
}

async fn write_manifest() -> Result<Vec<u8>> {
    Ok(fs::read(ManifestFolder::new()?.begin().await?)?)
}

async fn read_manifest(bytes: &[u8]) -> Result<()> {
    let path = ManifestFolder::new()?.begin().await?;
    let folder = ManifestFolder::new()?;
    let components: Vec<_> = path.iter().rev().take(3).collect();
    let path = components.iter().rev().fold(folder.dir.path().to_path_buf(), |path, part| path.join(part));
    fs::create_dir_all(path.parent().context("a folder")?)?;
    fs::write(path, bytes)?;
    let manifest = folder.panel.latest().await?;
    same(&manifest.tombstones().iter().collect::<Vec<_>>(), &TOMBSTONES.to_vec())
}

/// Runs what needs a runtime, also where one runs already.
fn block_on<T: Send>(work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let run = || Builder::new_current_thread().enable_all().build()?.block_on(work);
    std::thread::scope(|scope| scope.spawn(run).join()).map_err(|_| anyhow!("it panicked"))?
}

fn panel() -> Result<Panel> {
    let variants = VARIANTS.iter().map(|id| id.parse()).collect::<Result<Vec<Variant>, _>>()?;
    Ok(Panel::try_new("v1", Assembly::GRCh38, false, variants.iter().map(Variant::as_ref))?)
}

fn selection() -> Result<VariantSelection> {
    Ok(VariantSelection::from_indices(&panel()?, [VariantIndex(0), VariantIndex(2)])?)
}

fn schema() -> Result<AttributeSchema> {
    Ok(AttributeSchema::parse_json(SCHEMA)?)
}

fn predicate() -> Result<Predicate> {
    Ok(Predicate::parse(PREDICATE, &schema()?)?)
}

/// Proven datasets only; variants 0 and 2 disclosed.
const REQUIREMENTS: [u8; 11] = [1, 0, 0, 0, 0, 0b0110, 2, 0, 0, 0, 0b0001];

fn sealed() -> Result<Vec<u8>> {
    let recipient = SealingPrivateKey::from_seed(&SEALING_SEED).public_key();
    Ok(seal(&recipient, BINDING, SEALED, &mut UnwrapErr(SysRng))?.into_bytes())
}

/// A dataset whose secrets follow from its name and genotypes, with its packed genotypes and its body.
fn dataset() -> Result<(DatasetContext, DatasetKeys, PackedGenotypes, Body)> {
    let registrant = Address([2; 20]);
    let context = DatasetContext {
        network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
        registrant,
        dataset: DatasetId::derive(registrant, 7, 0),
        panel: PanelDigest([4; 32]),
        version: 1,
    };
    let kinds = [Genotype::HomRef, Genotype::Het, Genotype::HomAlt];
    let genotypes: PackedGenotypes =
        (0..VARIANTS_PER_PANEL_BLOCK as usize).map(|variant| kinds[variant * 7 % 3]).collect();
    let digest = GenotypeDigest::of_packed(genotypes.as_bytes());
    let keys = DatasetKeys::derive(&MasterSecret::from_bytes([9; 32]), &context, &digest);
    let body = keys.encrypt(Mask::v1(), PanelBlockIndex(0), Plane::Calls, genotypes.as_bytes())?;
    Ok((context, keys, genotypes, body))
}

fn encryption_proof() -> Result<Vec<u8>> {
    let (context, keys, genotypes, body) = dataset()?;
    let keys_of_provers = KeyStore::new(default_proof_keys());
    let key = keys_of_provers.development_key(&Statement::Encryption.shape()?, |_| {})?;
    let key = keys_of_provers.proving_key(&key)?;
    let column = (PanelBlockIndex(0), Plane::Calls);
    let proof = EncryptionProver::new(key).prove(
        &context,
        &keys,
        column,
        (genotypes.as_bytes(), &body),
        &mut UnwrapErr(SysRng),
    )?;
    Ok(proof.to_bytes().to_vec())
}

fn check_encryption_proof(bytes: &[u8]) -> Result<()> {
    let (context, _, _, body) = dataset()?;
    let key = NetworkKeys::new(None, true).circuit_key(Statement::Encryption)?.context("a key in the tree")?;
    let verifier = EncryptionVerifier::new(key.verifying_key);
    Ok(verifier.verify(&context, PanelBlockIndex(0), Plane::Calls, &body, &EncryptionProof::parse(bytes)?)?)
}

/// Names of the keys that test networks prove and verify with.
fn proof_keys() -> Result<Vec<u8>> {
    let mut text = String::new();
    for statement in Statement::ALL {
        let key = NetworkKeys::new(None, true).circuit_key(statement)?.context("a key in the tree")?;
        text += &format!("{} {}\n", statement.circuit(), key.id().0);
    }
    Ok(text.into_bytes())
}

/// Configuration files, which were the examples of version 1.
pub(crate) const CONFIGURATIONS: [(&str, &str, fn(&Path) -> Result<(), ConfigError>); 4] = [
    ("config/archive.toml", include_str!("../../services/archive/config.example.toml"), read::<ArchiveConfig>),
    ("config/exchange.toml", include_str!("../../services/exchange/config.example.toml"), read::<ExchangeConfig>),
    ("config/aggregator.toml", include_str!("../../services/aggregator/config.example.toml"), read::<AggregatorConfig>),
    ("config/keyholder.toml", include_str!("../../services/keyholder/config.example.toml"), read::<KeyholderConfig>),
];

fn read<T: ServiceConfig + DeserializeOwned>(path: &Path) -> Result<(), ConfigError> {
    read_config::<T>(T::SERVICE, path, T::LISTS).map(drop)
}
