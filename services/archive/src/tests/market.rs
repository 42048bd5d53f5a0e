//! A market on an embedded chain, an archive on a directory, and uploads for it.

use super::scripted::{Scripted, committee_key};
use crate::{
    archive::Archive,
    config::Limits,
    error::ArchiveError,
    progress::Progress,
    start::{ArchiveDeps, build},
    upload,
};
use bytes::Bytes;
use futures::stream;
use locus_commitment::{
    Address, BodyDigest, DatasetBodyDigest, DatasetCommitments, DatasetId, Digest32, GenotypeCommitment, PersonTag,
    ShareCommitment, ShareSetCommitment,
};
use locus_genomics::{Assembly, Panel, Variant};
use locus_ledger::{
    AccountKey, Chain, ChainConfig, CommitteeMember, Contracts, DatasetLeaf, DeploymentConfig, EmbeddedChain, Ledger,
    RegisteredBatch, Registration, deploy, leaves_hash,
};
use locus_privacy::NetworkParameterValues;
use locus_service::{Clock, Connector, ServerHandle};
use locus_sharing::{
    KeyholderIndex,
    seal::{ENCAPSULATION_BYTES, SealingPrivateKey, TAG_BYTES},
};
use locus_store::{BODY_BYTES, SCAN_NEEDLE_BYTES, open_store};
use locus_wire::pb::archive::{
    BodyChunk, DatasetChunk, DatasetRecord, SealedSeeds, UploadDatasetsRequest, UploadFinish, UploadHeader,
    UploadReceipt, upload_datasets_request::Part,
};
use std::{collections::BTreeMap, path::Path, sync::Arc};
use tempfile::TempDir;
use tonic::Status;

/// Panel blocks of the test panel.
pub(super) const BLOCKS: u32 = 2;
/// Bodies of one dataset: two blocks, both planes.
pub(super) const COLUMNS: usize = 4;
/// Time at which every test starts.
pub(super) const NOW: u64 = 1_900_000_000;

pub(super) fn key(byte: u8) -> AccountKey {
    AccountKey::from_bytes(&[byte; 32]).expect("a valid key")
}

/// The chain's time is the archive's.
struct ChainClock(Clock);

impl locus_ledger::Clock for ChainClock {
    fn unix_s(&self) -> u64 {
        self.0.now_unix_s()
    }
}

/// A deployed market with scripted keyholders, and the folder of one archive.
pub(super) struct Market {
    pub(super) chain: EmbeddedChain,
    pub(super) contracts: Contracts,
    pub(super) panel: Panel,
    pub(super) keyholders: Vec<Arc<Scripted>>,
    pub(super) clock: Clock,
    pub(super) folder: TempDir,
    pub(super) limits: Limits,
    connectors: [Connector; 3],
    _servers: Vec<ServerHandle>,
}

impl Market {
    pub(super) async fn new() -> Self {
        let clock = Clock::manual(NOW);
        let chain = EmbeddedChain::in_memory(&ChainConfig::new(31_337), Arc::new(ChainClock(clock.clone())));
        let member = |index: KeyholderIndex| CommitteeMember {
            signer: committee_key(index).address(),
            hpke_public_key: SealingPrivateKey::from_seed(&[index.get(); 32]).public_key().to_bytes().to_vec(),
        };
        let parameters = NetworkParameterValues { test_network: true, ..NetworkParameterValues::default() };
        let config = DeploymentConfig {
            parameters,
            committee: KeyholderIndex::ALL.map(member),
            accreditors: vec![(key(50).address(), "biobank".to_owned())],
            researchers: Vec::new(),
            token: None,
        };
        let admin = key(99);
        let connection = Chain::embedded(chain.clone(), Some(&admin));
        let contracts = deploy(&connection, &config).await.expect("deploys");
        let ledger = Ledger::open(connection, contracts).await.expect("opens");
        let epoch = ledger.committee_epoch().await.expect("reads");
        let mut keyholders = Vec::new();
        let mut connectors = Vec::new();
        let mut servers = Vec::new();
        for index in KeyholderIndex::ALL {
            let scripted = Scripted::new(index, contracts, epoch, COLUMNS);
            let (server, connector) = scripted.serve().await;
            keyholders.push(scripted);
            connectors.push(connector);
            servers.push(server);
        }
        let market = Self {
            chain,
            contracts,
            panel: test_panel(),
            keyholders,
            clock,
            folder: tempfile::tempdir().expect("a scratch folder"),
            limits: Limits { keyholder_wait_s: 20, ..Limits::default() },
            connectors: <[Connector; 3]>::try_from(connectors).expect("three keyholders"),
            _servers: servers,
        };
        let panel = &market.panel;
        ledger
            .publish_panel(panel.digest(), panel.name(), panel.variant_count(), panel.complete_calls())
            .await
            .expect("publishes");
        market
    }

    /// A connection that can send transactions.
    pub(super) async fn ledger(&self) -> Ledger {
        let chain = Chain::embedded(self.chain.clone(), Some(&key(99)));
        Ledger::open(chain, self.contracts).await.expect("opens")
    }

    /// Lets time pass for the archive, and with a new block for the chain.
    pub(super) async fn pass(&self, seconds: u64) {
        self.clock.advance(seconds);
        self.make_block().await;
    }

    /// Something happens on the chain.
    pub(super) async fn make_block(&self) {
        let other = key(51).address();
        self.ledger().await.set_accreditor(other, true, "another").await.expect("the admin may");
    }

    /// Folder of the objects.
    pub(super) fn objects(&self) -> std::path::PathBuf {
        self.folder.path().join("objects")
    }

    /// Starts an archive, or starts it again.
    pub(super) async fn archive(&self) -> Arc<Archive> {
        let url = self.objects().display().to_string();
        let archive = build(ArchiveDeps {
            store: open_store(&url, BTreeMap::new()).expect("opens"),
            data_dir: self.folder.path().join("archive"),
            chain: Chain::embedded(self.chain.clone(), None),
            contracts: self.contracts,
            keyholders: self.connectors.clone(),
            proof_keys_dir: None,
            limits: self.limits,
            clock: self.clock.clone(),
        });
        let archive = archive.await.expect("starts");
        archive.panels.put(self.panel.to_canonical_bytes()).await.expect("takes the panel");
        Arc::new(archive)
    }

    /// Files of bodies in the store.
    pub(super) fn body_objects(&self) -> usize {
        count_files(&self.objects(), ".parquet")
    }

    /// Puts an uploaded batch on the chain.
    pub(super) async fn register(&self, batch: &Batch, receipt: &UploadReceipt) -> RegisteredBatch {
        let attestations: Vec<Vec<u8>> = receipt.attestations.iter().map(|signature| signature.to_vec()).collect();
        let attestations = <[Vec<u8>; 3]>::try_from(attestations).expect("three attestations");
        let accreditor = batch.accreditor_signature(self);
        let signature = batch.registrant_signature(self);
        let ledger = self.ledger().await;
        let registration = batch.registration(self);
        ledger
            .register_datasets(&registration, &batch.leaves(), &signature, &accreditor, &attestations)
            .await
            .expect("the contract accepts what the archive collected")
    }
}

fn count_files(folder: &Path, ending: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths
        .map(|path| match path.is_dir() {
            true => count_files(&path, ending),
            false => usize::from(path.to_string_lossy().ends_with(ending)),
        })
        .sum()
}

/// 4,081 variants: two panel blocks.
fn test_panel() -> Panel {
    let variants: Vec<Variant> =
        (1..=4_081).map(|position| format!("1:{position}:A:C").parse().expect("an id")).collect();
    Panel::try_new("test", Assembly::GRCh38, false, variants.iter().map(Variant::as_ref)).expect("a panel")
}

/// A batch of a biobank, whose ciphertexts are patterns.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) registrant: u8,
    pub(super) nonce: u64,
    pub(super) deadline_unix_s: u64,
    /// What the bodies of each dataset are made from; equal patterns are copies.
    pub(super) patterns: Vec<u8>,
}

impl Batch {
    pub(super) fn of(registrant: u8, patterns: &[u8]) -> Self {
        Self { registrant, nonce: 1, deadline_unix_s: NOW + 3600, patterns: patterns.to_vec() }
    }

    fn registrant_address(&self) -> Address {
        key(self.registrant).address()
    }

    pub(super) fn body(&self, ordinal: usize, column: usize) -> Vec<u8> {
        let (pattern, column) = (self.patterns[ordinal], u8::try_from(column).expect("few columns"));
        (0..BODY_BYTES).map(|place| pattern ^ column.rotate_left(6) ^ place.to_le_bytes()[0]).collect()
    }

    fn shares(&self, ordinal: usize) -> [ShareCommitment; 3] {
        [1, 2, 3].map(|share| ShareCommitment(Digest32([self.patterns[ordinal] ^ (share << 6); 32])))
    }

    /// Bytes that only bodies of this dataset have, if no other pattern is equal modulo 32.
    pub(super) fn needle(&self, ordinal: usize) -> [u8; SCAN_NEEDLE_BYTES] {
        *self.body(ordinal, 0).first_chunk().expect("a body is longer")
    }

    pub(super) fn leaf(&self, ordinal: usize) -> DatasetLeaf {
        let digest = |column| {
            let body = self.body(ordinal, column);
            BodyDigest::of_body(body.as_slice().try_into().expect("one body"))
        };
        let bodies: Vec<BodyDigest> = (0..COLUMNS).map(digest).collect();
        let pattern = self.patterns[ordinal];
        DatasetLeaf {
            dataset: DatasetId::derive(
                self.registrant_address(),
                self.nonce,
                u32::try_from(ordinal).expect("few datasets"),
            ),
            person: PersonTag([pattern ^ 0x11; 32]),
            commitments: DatasetCommitments {
                bodies: DatasetBodyDigest::of_bodies(&bodies),
                shares: ShareSetCommitment::new(&self.shares(ordinal)),
                genotypes: GenotypeCommitment(Digest32([pattern ^ 0x22; 32])),
            },
        }
    }

    pub(super) fn leaves(&self) -> Vec<DatasetLeaf> {
        (0..self.patterns.len()).map(|ordinal| self.leaf(ordinal)).collect()
    }

    pub(super) fn registration(&self, market: &Market) -> Registration {
        Registration {
            registrant: self.registrant_address(),
            panel: market.panel.digest(),
            version: 1,
            batch_nonce: self.nonce,
            accreditor: Some(key(50).address()),
            deadline_unix_s: self.deadline_unix_s,
            leaves_hash: leaves_hash(&self.leaves()),
        }
    }

    pub(super) fn registrant_signature(&self, market: &Market) -> Vec<u8> {
        let hash = market.contracts.registration_signing_hash(&self.registration(market));
        key(self.registrant).sign_digest(&hash).expect("a key signs").to_bytes().to_vec()
    }

    pub(super) fn accreditor_signature(&self, market: &Market) -> Vec<u8> {
        let digest = market.contracts.registration_digest(&self.registration(market));
        let hash = market.contracts.accreditation_signing_hash(&digest);
        key(50).sign_digest(&hash).expect("a key signs").to_bytes().to_vec()
    }

    /// All messages of an upload.
    pub(super) fn parts(&self, market: &Market) -> Vec<Part> {
        let registration = self.registration(market);
        let datasets = u32::try_from(self.patterns.len()).expect("few datasets");
        let mut parts = vec![Part::Header(UploadHeader {
            network: Some((&market.contracts.network).into()),
            registrant: registration.registrant.0.to_vec().into(),
            panel_digest: registration.panel.0.to_vec().into(),
            version: registration.version,
            batch_nonce: registration.batch_nonce,
            accreditor: key(50).address().0.to_vec().into(),
            proven: false,
            deadline_unix_s: registration.deadline_unix_s,
            dataset_count: datasets,
        })];
        for block in 0..BLOCKS {
            for plane in 0..2 {
                let column = (block * 2 + plane) as usize;
                let bodies: Vec<u8> = (0..self.patterns.len()).flat_map(|ordinal| self.body(ordinal, column)).collect();
                parts.push(Part::Bodies(BodyChunk {
                    block,
                    plane,
                    first_ordinal: 0,
                    bodies: bodies.into(),
                    proofs: Default::default(),
                }));
            }
        }
        let records = (0..self.patterns.len()).map(|ordinal| DatasetRecord {
            leaf: Some((&self.leaf(ordinal)).into()),
            share_commitments: self.shares(ordinal).iter().flat_map(|share| share.0.0).collect::<Vec<u8>>().into(),
            ciphertext_commitment: Default::default(),
        });
        parts.push(Part::Datasets(DatasetChunk { first_ordinal: 0, datasets: records.collect() }));
        for keyholder in 1..=3 {
            for ordinal in 0..datasets {
                let sealed = vec![0; ENCAPSULATION_BYTES + TAG_BYTES + 128].into();
                parts.push(Part::Seeds(SealedSeeds { keyholder, first_ordinal: ordinal, dataset_count: 1, sealed }));
            }
        }
        parts.push(Part::Finish(UploadFinish {
            registrant_signature: self.registrant_signature(market).into(),
            accreditor_signature: self.accreditor_signature(market).into(),
        }));
        parts
    }

    /// Uploads the batch.
    pub(super) async fn upload(&self, market: &Market, archive: &Arc<Archive>) -> Result<UploadReceipt, ArchiveError> {
        upload_parts(archive, self.parts(market)).await
    }
}

/// Sends messages as one upload.
pub(super) async fn upload_parts(archive: &Arc<Archive>, parts: Vec<Part>) -> Result<UploadReceipt, ArchiveError> {
    let messages = parts.into_iter().map(|part| Ok::<_, Status>(UploadDatasetsRequest { part: Some(part) }));
    let (sender, _receiver) = tokio::sync::mpsc::channel(64);
    upload::receive(archive, &mut stream::iter(messages), &Progress::new(sender)).await
}

/// Flips a bit of a byte string.
pub(super) fn flipped(bytes: &Bytes, place: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[place] ^= 1;
    bytes.into()
}
