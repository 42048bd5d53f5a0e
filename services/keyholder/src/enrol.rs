//! Enrolment: a batch of datasets is checked before this keyholder signs for it.
//!
//! A keyholder sees no genotype here. It learns that its key shares open their commitments, that the
//! committed ciphertexts decrypt to nothing at the check slots, and that the other holders of its
//! shares have the same keys.

use crate::{
    error::KeyholderError,
    keyholder::Keyholder,
    proven::{ProvenBodies, ProvenDataset},
    store::{DatasetKey, PendingDataset},
};
use locus_commitment::{
    BodyDigest, DatasetBodyDigest, DatasetContext, Digest32, NetworkId, PersonTag, ShareCommitment, ShareSetCommitment,
    pedersen::CiphertextCommitment,
};
use locus_genomics::{PanelBlockIndex, Plane, VARIANTS_PER_PANEL_BLOCK};
use locus_ledger::{Ciphertexts, DatasetLeaf, Registration, signed_leaves_hash};
use locus_rlwe::{BlockKeys, Mask, check_share_values, verify_check_slots};
use locus_sharing::{KeyholderIndex, SeedPackage, SeedPackageHeader, ShareIndex, seal::SealedBox, shares_of};
use locus_wire::{
    convert::field::{self, required},
    pb::keyholder as pb,
    relay,
};
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

/// Check slots of one body.
type CheckSlots = [u64; 16];
/// Bytes of the check values of one body: two shares.
const VALUE_BYTES: usize = 2 * 16 * 8;
/// Chunks of check values that may wait for their counterpart.
const WAITING_CHUNKS_MAX: usize = 8;

/// A batch whose header was verified.
pub(crate) struct Batch {
    pub(crate) registration: Registration,
    /// EIP-712 struct hash of the registration.
    pub(crate) digest: Digest32,
    pub(crate) count: u32,
    pub(crate) columns: Vec<(PanelBlockIndex, Plane)>,
    /// Whether every body comes with a proof.
    pub(crate) proven: bool,
}

impl Keyholder {
    /// Verifies the header of a batch: this market, a published panel, the registrant's and the
    /// accreditor's signatures.
    pub(crate) async fn open_batch(&self, header: &pb::EnrolHeader) -> Result<Batch, KeyholderError> {
        let network = required("network", &header.network)?;
        if NetworkId::try_from(network)? != self.network() {
            return Err(KeyholderError::OtherNetwork);
        }
        let registration = Registration::try_from(required("registration", &header.registration)?)?;
        self.poll_chain().await?;
        let (block_count, complete_calls) = {
            let view = self.view();
            let panel = view.panel(&registration.panel).ok_or(KeyholderError::NotFinal("the panel"))?;
            (panel.variant_count.div_ceil(VARIANTS_PER_PANEL_BLOCK), panel.complete_calls)
        };
        if header.block_count != block_count || header.complete_calls != complete_calls {
            return Err(KeyholderError::Malformed("block count or planes differ from the panel's".into()));
        }
        if header.dataset_count == 0 || header.dataset_count > locus_sharing::REGISTRATION_DATASETS_MAX {
            return Err(KeyholderError::Malformed("a batch has 1 to 4096 datasets".into()));
        }
        match (registration.accreditor, header.proven, self.encryption_verifier()) {
            (None, false, _) => return Err(KeyholderError::Unproven),
            (_, true, None) => return Err(KeyholderError::NoProofKey),
            _ => {}
        }
        let digest = self.contracts().registration_digest(&registration);
        self.verify_batch_signatures(&registration, header).await?;
        let planes = Plane::of_panel(complete_calls);
        let columns = (0..block_count)
            .flat_map(|block| planes.iter().map(move |plane| (PanelBlockIndex(block), *plane)))
            .collect();
        Ok(Batch { registration, digest, count: header.dataset_count, columns, proven: header.proven })
    }

    async fn verify_batch_signatures(
        &self,
        registration: &Registration,
        header: &pb::EnrolHeader,
    ) -> Result<(), KeyholderError> {
        let contracts = self.contracts();
        let signing_hash = contracts.registration_signing_hash(registration);
        self.verify(registration.registrant, &signing_hash, &header.registrant_signature, "registrant").await?;
        if let Some(accreditor) = registration.accreditor {
            if !self.view().is_accreditor(&accreditor) {
                return Err(KeyholderError::Signature("accreditor"));
            }
            let signing_hash = contracts.accreditation_signing_hash(&contracts.registration_digest(registration));
            self.verify(accreditor, &signing_hash, &header.accreditor_signature, "accreditor").await?;
        }
        Ok(())
    }

    /// First step: checks the seeds of a chunk, keeps them as pending and signs its check values.
    pub(crate) fn check_chunk(
        &self,
        batch: &Batch,
        chunk: &pb::EnrolChunk,
        bodies: &ProvenBodies,
    ) -> Result<pb::CheckValues, KeyholderError> {
        let count = u32::try_from(chunk.datasets.len()).unwrap_or(u32::MAX);
        let end = chunk.first_ordinal.checked_add(count).filter(|end| *end <= batch.count);
        if count == 0 || end.is_none() {
            return Err(KeyholderError::Order("a chunk is outside of the batch"));
        }
        if !bodies.fits(batch, chunk) {
            return Err(KeyholderError::Order("the proven bodies of a chunk's datasets must come before it"));
        }
        let header = SeedPackageHeader {
            network: self.network(),
            registrant: batch.registration.registrant,
            batch_nonce: batch.registration.batch_nonce,
            panel: batch.registration.panel,
            version: batch.registration.version,
            keyholder: self.index(),
            first_ordinal: chunk.first_ordinal,
            count,
        };
        let sealed = SealedBox::parse(chunk.sealed_seeds.to_vec())?;
        let package = SeedPackage::open(header, self.sealing_key(), &sealed)?;
        let mut pending = Vec::with_capacity(chunk.datasets.len());
        for ((ordinal, dataset), seeds) in (chunk.first_ordinal..).zip(&chunk.datasets).zip(package.datasets()) {
            let proven = bodies.dataset(batch.columns.len(), pending.len());
            pending.push(self.check_dataset(
                batch,
                &header.dataset_context(ordinal),
                dataset,
                seeds,
                proven.as_ref(),
            )?);
        }
        self.store().put_pending(&batch.digest, chunk.first_ordinal, &pending)?;
        let mut values = Vec::with_capacity(pending.len() * batch.columns.len() * VALUE_BYTES);
        for value in pending.iter().flat_map(|dataset| &dataset.checks).flat_map(|checks| &checks[1..]).flatten() {
            values.extend_from_slice(&value.to_le_bytes());
        }
        let mut message = pb::CheckValues {
            keyholder: u32::from(self.index().get()),
            first_ordinal: chunk.first_ordinal,
            dataset_count: count,
            values: values.into(),
            signature: Default::default(),
        };
        let digest = relay::check_values_digest(&self.network(), &batch.digest, &message);
        message.signature = self.sign(&digest)?;
        Ok(message)
    }

    fn check_dataset(
        &self,
        batch: &Batch,
        context: &DatasetContext,
        dataset: &pb::EnrolDataset,
        seeds: &locus_sharing::DatasetSeeds,
        proven: Option<&ProvenDataset<'_>>,
    ) -> Result<PendingDataset, KeyholderError> {
        let failed = |what| KeyholderError::Enrolment { dataset: context.dataset, what };
        let leaf = DatasetLeaf::try_from(required("leaf", &dataset.leaf)?)?;
        if leaf.dataset != context.dataset {
            return Err(failed("dataset id"));
        }
        let commitments = share_commitments(&dataset.share_commitments).ok_or_else(|| failed("share commitments"))?;
        if ShareSetCommitment::new(&commitments) != leaf.commitments.shares {
            return Err(failed("share commitments"));
        }
        for seed in &seeds.0 {
            if seed.commitment(context) != commitments[seed.share.position()] {
                return Err(failed("key seeds"));
            }
        }
        self.store().check_unique(DatasetKey::of(context), &leaf.commitments)?;
        let body_checks =
            open_bodies(&dataset.bodies, batch.columns.len(), &leaf).ok_or_else(|| failed("ciphertext digest"))?;
        match proven {
            Some(proven) => proven.check_leaf(batch, &leaf)?,
            // The chain tells proven datasets by it.
            None if leaf.commitments.genotypes.is_proven() => return Err(failed("genotype commitment")),
            None => {}
        }
        let ciphertext = self.parse_commitment(&dataset.ciphertext_commitment)?;
        let keys = seeds.0.each_ref().map(|seed| (seed.share, BlockKeys::new(context, seed.share, &seed.seed)));
        let mut checks = Vec::with_capacity(batch.columns.len());
        for (column, ((block, plane), check_slots)) in batch.columns.iter().zip(body_checks).enumerate() {
            let mut values = [check_slots, [0; 16], [0; 16]];
            for ((share, key), value) in keys.iter().zip(&mut values[1..]) {
                let bits = key.expand(*block, *plane);
                if let Some(proven) = proven {
                    proven.check_share(context.dataset, column, *share, &bits)?;
                }
                *value = check_share_values(Mask::v1(), &bits);
            }
            checks.push(values);
        }
        let mut secret = Zeroizing::new(Vec::with_capacity(128));
        for seed in &seeds.0 {
            secret.extend_from_slice(seed.seed.as_bytes());
            secret.extend_from_slice(&seed.blinding.0);
        }
        Ok(PendingDataset {
            key: DatasetKey::of(context),
            person: leaf.person,
            commitments: leaf.commitments,
            seeds: secret,
            checks,
            ciphertext,
        })
    }

    /// The commitment to a dataset's ciphertexts, in a market where it must have one. That it is one to these
    /// ciphertexts is seen by the archive and by everybody who opens a sum of them, not here.
    fn parse_commitment(&self, bytes: &[u8]) -> Result<Option<[u8; CiphertextCommitment::BYTES]>, KeyholderError> {
        let name = "ciphertext_commitment";
        if self.settles_on_cohorts() {
            return Ok(Some(field::ciphertext_commitment(name, bytes)?.to_bytes()));
        }
        let refused = || field::FieldError::refused(name, "this market does not settle on proven cohorts").into();
        if bytes.is_empty() { Ok(None) } else { Err(refused()) }
    }

    /// Verifies the signature under relayed check values.
    pub(crate) async fn verify_peer_values(
        &self,
        batch: &Batch,
        message: &pb::CheckValues,
    ) -> Result<KeyholderIndex, KeyholderError> {
        let digest = relay::check_values_digest(&self.network(), &batch.digest, message);
        let peer = self.verify_peer(message.keyholder, &digest, &message.signature).await?;
        let expected = usize::try_from(message.dataset_count).unwrap_or(usize::MAX);
        let expected = expected.saturating_mul(batch.columns.len()).saturating_mul(VALUE_BYTES);
        if message.values.len() != expected {
            return Err(KeyholderError::Malformed("check values have the wrong length".into()));
        }
        Ok(peer)
    }

    /// Signs a batch whose check slots all verified.
    pub(crate) async fn attest_batch(&self, batch: &Batch) -> Result<pb::AttestDatasetsResponse, KeyholderError> {
        let pending = self.store().pending(&batch.digest, 0..batch.count)?;
        let leaves: Vec<DatasetLeaf> = pending
            .iter()
            .map(|dataset| DatasetLeaf {
                dataset: dataset.key.dataset,
                person: dataset.person,
                commitments: dataset.commitments,
            })
            .collect();
        let points: Option<Vec<_>> = pending.iter().map(|dataset| dataset.ciphertext).collect();
        let points = points.filter(|_| self.settles_on_cohorts());
        let ciphertexts = points.map(|points| Ciphertexts::of_points(&points, batch.proven));
        if signed_leaves_hash(&leaves, ciphertexts.as_ref()) != batch.registration.leaves_hash {
            return Err(KeyholderError::Order("the datasets are not those that the registrant signed"));
        }
        self.poll_chain().await?;
        self.check_persons(batch, &leaves)?;
        self.store().attest(&batch.digest, batch.count)?;
        let epoch = self.committee_epoch().await?;
        let signing_hash = self.contracts().attestation_signing_hash(&batch.digest, epoch);
        Ok(pb::AttestDatasetsResponse {
            keyholder: u32::from(self.index().get()),
            signature: self.sign(&signing_hash)?,
        })
    }

    /// One live dataset per person and panel.
    fn check_persons(&self, batch: &Batch, leaves: &[DatasetLeaf]) -> Result<(), KeyholderError> {
        let view = self.view();
        let mut living = BTreeSet::new();
        for registration in view.registrations_on(&batch.registration.panel, u64::MAX) {
            for (ordinal, leaf) in (0u32..).zip(registration.leaves.iter()) {
                if !view.is_revoked(registration.id, ordinal) {
                    living.insert(leaf.person);
                }
            }
        }
        for leaf in leaves {
            if !living.insert(leaf.person) {
                return Err(KeyholderError::PersonHasDataset(leaf.dataset));
            }
        }
        if batch.registration.accreditor.is_none() {
            let own = PersonTag::of_registrant(batch.registration.registrant);
            if let Some(leaf) = leaves.iter().find(|leaf| leaf.person != own) {
                return Err(KeyholderError::Enrolment { dataset: leaf.dataset, what: "person tag" });
            }
        }
        Ok(())
    }
}

/// The second step of enrolment while its stream arrives: pairs up the other keyholders' values.
#[derive(Default)]
pub(crate) struct PeerValues {
    waiting: BTreeMap<u32, (KeyholderIndex, pb::CheckValues)>,
    verified: u32,
}

impl PeerValues {
    /// Takes one message whose signature was verified. Once both other keyholders' values of a chunk
    /// are there, verifies the check slots of its datasets.
    pub(crate) fn take(
        &mut self,
        keyholder: &Keyholder,
        batch: &Batch,
        peer: KeyholderIndex,
        message: pb::CheckValues,
    ) -> Result<(), KeyholderError> {
        let first = message.first_ordinal;
        let Some((other_peer, other)) = self.waiting.remove(&first) else {
            if self.waiting.len() >= WAITING_CHUNKS_MAX {
                return Err(KeyholderError::Order("too many chunks wait for the other keyholder's values"));
            }
            self.waiting.insert(first, (peer, message));
            return Ok(());
        };
        let paired = other_peer != peer && other.dataset_count == message.dataset_count && first == self.verified;
        if !paired {
            return Err(KeyholderError::Order("check values of both other keyholders must cover the batch in order"));
        }
        verify_chunk(keyholder, batch, [(other_peer, &other), (peer, &message)])?;
        self.verified = self.verified.saturating_add(message.dataset_count);
        Ok(())
    }

    /// Whether the whole batch was verified.
    pub(crate) fn covers(&self, batch: &Batch) -> bool {
        self.verified == batch.count && self.waiting.is_empty()
    }
}

fn verify_chunk(
    keyholder: &Keyholder,
    batch: &Batch,
    peers: [(KeyholderIndex, &pb::CheckValues); 2],
) -> Result<(), KeyholderError> {
    let first = peers[0].1.first_ordinal;
    let count = peers[0].1.dataset_count;
    let pending = keyholder.store().pending(&batch.digest, first..first.saturating_add(count))?;
    if u32::try_from(pending.len()) != Ok(count) {
        return Err(KeyholderError::StepMissing("the check of these datasets"));
    }
    let columns = batch.columns.len();
    for (place, dataset) in pending.iter().enumerate() {
        for (column, checks) in dataset.checks.iter().enumerate() {
            let mut shares: [Option<CheckSlots>; 3] = [None; 3];
            let [check_slots, first_value, second_value] = checks;
            let own = [*first_value, *second_value];
            let mut agree = merge(&mut shares, keyholder.index(), own);
            for (peer, message) in peers {
                agree &= merge(&mut shares, peer, values_at(&message.values, place * columns + column));
            }
            let failed = |what| KeyholderError::Enrolment { dataset: dataset.key.dataset, what };
            let [Some(one), Some(two), Some(three)] = shares else { return Err(failed("key shares")) };
            if !agree {
                return Err(failed("key shares, which differ between their holders"));
            }
            verify_check_slots(check_slots, &[one, two, three]).map_err(|_| failed("check slots"))?;
        }
    }
    Ok(())
}

/// Enters a holder's two values; false when another holder's value of the same share differs.
fn merge(shares: &mut [Option<CheckSlots>; 3], holder: KeyholderIndex, values: [CheckSlots; 2]) -> bool {
    let mut agree = true;
    for (share, value) in shares_of(holder).into_iter().zip(values) {
        let known = &mut shares[ShareIndex::position(share)];
        agree &= known.is_none_or(|known| known == value);
        *known = Some(value);
    }
    agree
}

/// The two values of the body at `place`; the length was checked on arrival.
fn values_at(values: &[u8], place: usize) -> [CheckSlots; 2] {
    let mut parsed = [[0u64; 16]; 2];
    let start = place.saturating_mul(VALUE_BYTES);
    let bytes = values.get(start..start.saturating_add(VALUE_BYTES)).unwrap_or(&[]);
    for (value, word) in parsed.iter_mut().flatten().zip(bytes.as_chunks::<8>().0) {
        *value = u64::from_le_bytes(*word);
    }
    parsed
}

fn share_commitments(bytes: &[u8]) -> Option<[ShareCommitment; 3]> {
    let (parts, rest) = bytes.as_chunks::<32>();
    let [first, second, third] = parts else { return None };
    rest.is_empty().then(|| [first, second, third].map(|part| ShareCommitment(Digest32(*part))))
}

/// The check slots of all bodies, if they belong to the dataset's digest.
fn open_bodies(bodies: &[pb::BodyOpening], columns: usize, leaf: &DatasetLeaf) -> Option<Vec<CheckSlots>> {
    if bodies.len() != columns {
        return None;
    }
    let mut digests = Vec::with_capacity(columns);
    let mut checks = Vec::with_capacity(columns);
    for body in bodies {
        let check_slots: &[u8; 128] = body.check_slots.as_ref().try_into().ok()?;
        let whole: &[u8; 32] = body.body_hash.as_ref().try_into().ok()?;
        digests.push(BodyDigest::of_parts(check_slots, &Digest32(*whole)));
        let mut values = [0u64; 16];
        for (value, word) in values.iter_mut().zip(check_slots.as_chunks::<8>().0) {
            *value = u64::from_le_bytes(*word);
        }
        checks.push(values);
    }
    (DatasetBodyDigest::of_bodies(&digests) == leaf.commitments.bodies).then_some(checks)
}
