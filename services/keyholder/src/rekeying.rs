//! Giving all datasets of a registration new keys, without their contributor (SPEC, clauses 35 to 41).
//!
//! The archive carries the messages. What the share that a keyholder lacks changes a body by is for that keyholder alone: with
//! old keys of one keyholder and new keys of another it would open the old body.

mod making;
mod pieces;
#[cfg(test)]
mod tests;

pub(crate) use making::Making;

use crate::{
    error::KeyholderError,
    keyholder::{Keyholder, system_rng},
    store::{DatasetKey, RekeyedDataset, RekeyingDraws, RekeyingResult},
};
use locus_commitment::{DatasetBodyDigest, DatasetContext, Digest32};
use locus_genomics::VARIANTS_PER_PANEL_BLOCK;
use locus_ledger::{
    DatasetKeys, DatasetLeaf, RegistrationId, RegistrationRecord, RekeyRequest, Rekeying, rekey_request_hash,
};
use locus_sharing::{
    KeyholderIndex, RekeyingSeed, RekeyingSession, ShareIndex, other_holder,
    seal::{SealedBox, SealingPublicKey},
};
use locus_store::PanelShape;
use locus_wire::{
    convert::{
        field::{self, required},
        parse_generation,
    },
    pb::keyholder as pb,
    relay,
};
use std::collections::BTreeSet;

/// Longest that an order can be taken. As long, nobody of the registration is erased who leaves after it was stated.
const ORDER_LIFETIME_MAX_S: u64 = 24 * 3_600;

/// A registration that is to get new keys.
struct Ordered {
    record: RegistrationRecord,
    shape: PanelShape,
    generation: u8,
    deadline_unix_s: u64,
}

/// One dataset that gets new keys.
pub(crate) struct Dataset {
    pub(crate) ordinal: u32,
    pub(crate) slot: u32,
    /// H(b) of the bodies there are.
    pub(crate) bodies: DatasetBodyDigest,
    /// Context of the keys there are, and of those to come.
    pub(crate) contexts: [DatasetContext; 2],
}

/// A re-keying as far as this keyholder can prepare it: the seeds of the new shares are drawn.
pub(crate) struct Prepared {
    ordered: Ordered,
    session: Digest32,
    committee_epoch: u64,
    pub(crate) datasets: Vec<Dataset>,
    /// Of the lower and the higher share held.
    seeds: [(ShareIndex, RekeyingSeed); 2],
}

impl Keyholder {
    /// First step: the order is the admin's and about the next generation; draws what this keyholder adds.
    pub(crate) async fn open_rekeying(&self, order: &pb::RekeyingOrder) -> Result<pb::RekeyingOpening, KeyholderError> {
        let ordered = self.check_order(order).await?;
        // Final: what an earlier committee signed is on the chain, or never will be.
        let epoch = self.view().committee_epoch();
        let draws = self.store().open_rekeying(ordered.record.id, ordered.generation, epoch)?;
        let mut opening = pb::RekeyingOpening {
            keyholder: u32::from(self.index().get()),
            registration_id: ordered.record.id.0,
            generation: u32::from(ordered.generation),
            committee_epoch: epoch,
            hpke_public_key: draws.private_key().public_key().to_bytes().to_vec().into(),
            signature: Default::default(),
        };
        opening.signature = self.sign(&relay::rekeying_opening_digest(&self.network(), &opening))?;
        Ok(opening)
    }

    /// Second step: what this keyholder adds to each of its shares, sealed to the other holder.
    pub(crate) async fn share_rekeying(
        &self,
        request: &pb::ShareRekeyingRequest,
    ) -> Result<Vec<pb::RekeyingContribution>, KeyholderError> {
        let ordered = self.check_order(required("order", &request.order)?).await?;
        let (session, draws) = self.session(&ordered, &request.openings).await?;
        let digest = session.digest();
        let mut contributions = Vec::with_capacity(2);
        for (share, contribution) in draws.contributions(self.index()) {
            let sealed = session.seal_contribution(self.index(), share, &contribution, &mut system_rng())?;
            let mut message = pb::RekeyingContribution {
                from_keyholder: u32::from(self.index().get()),
                to_keyholder: u32::from(other_holder(self.index(), share)?.get()),
                share: u32::from(share.get()),
                sealed: sealed.into_bytes().into(),
                signature: Default::default(),
            };
            message.signature = self.sign(&relay::rekeying_contribution_digest(&digest, &message))?;
            contributions.push(message);
        }
        Ok(contributions)
    }

    /// What the steps from the third on start with.
    pub(crate) async fn prepare_rekeying(&self, header: &pb::RekeyingHeader) -> Result<Prepared, KeyholderError> {
        let ordered = self.check_order(required("order", &header.order)?).await?;
        let (session, draws) = self.session(&ordered, &header.openings).await?;
        let digest = session.digest();
        let mut seeds = Vec::with_capacity(2);
        for (share, own) in draws.contributions(self.index()) {
            let peer = other_holder(self.index(), share)?;
            let message = header.contributions.iter().find(|message| message.share == u32::from(share.get()));
            let message = message.ok_or(KeyholderError::StepMissing("the contributions of the other keyholders"))?;
            let signed = relay::rekeying_contribution_digest(&digest, message);
            if self.verify_peer(message.from_keyholder, &signed, &message.signature).await? != peer {
                return Err(KeyholderError::Signature("other holder of a share"));
            }
            let sealed = SealedBox::parse(message.sealed.to_vec())?;
            let theirs = session.open_contribution(self.index(), share, draws.private_key(), &sealed)?;
            let both = if self.index() < peer { [&own, &theirs] } else { [&theirs, &own] };
            seeds.push((share, session.seed(share, both)));
        }
        let seeds = <[_; 2]>::try_from(seeds).map_err(|_| KeyholderError::StepMissing("two shares"))?;
        let datasets = self.datasets(&ordered, &header.left_out)?;
        Ok(Prepared { ordered, session: digest, committee_epoch: session.committee_epoch, datasets, seeds })
    }

    /// Fifth step: all three have computed the same; keeps the new seeds, then signs.
    pub(crate) async fn attest_rekeying(
        &self,
        request: &pb::AttestRekeyingRequest,
    ) -> Result<pb::AttestRekeyingResponse, KeyholderError> {
        let prepared = self.prepare_rekeying(required("header", &request.header)?).await?;
        let id = prepared.ordered.record.id;
        let result = self.store().rekeying_result(id, &prepared.session)?;
        let result = result.ok_or(KeyholderError::RekeyingGone)?;
        self.check_statements(&prepared, &result, &request.statements).await?;
        let Ordered { generation, deadline_unix_s, .. } = prepared.ordered;
        let datasets = prepared.rekeyed_datasets();
        self.store().attest_rekeying(id, &prepared.session, &result, &datasets, deadline_unix_s)?;
        let rekeying = Rekeying { registration: id, generation, keys_hash: result.keys_hash, deadline_unix_s };
        let signing_hash = self.contracts().rekeying_signing_hash(&rekeying, prepared.committee_epoch);
        Ok(pb::AttestRekeyingResponse {
            keyholder: u32::from(self.index().get()),
            signature: self.sign(&signing_hash)?,
        })
    }

    /// Destroys the seeds that re-keyings on the chain have replaced.
    pub(crate) fn retire_replaced_seeds(&self) -> Result<(), KeyholderError> {
        let view = self.view();
        let mut retired = Vec::new();
        for attested in self.store().attested_rekeyings()? {
            let Some(record) = view.registration(attested.registration) else { continue };
            if record.generation() < attested.generation {
                continue;
            }
            // Another committee's keys are not those whose seeds are here.
            let is_ours = self.store().has_seeds_of(record)?;
            if !is_ours {
                let (registration, generation) = (attested.registration.0, record.generation());
                tracing::error!(
                    registration,
                    generation,
                    "no seeds of the keys on the chain: have this keyholder replaced"
                );
                continue;
            }
            retired.push((attested.registration, record.key_version(), record.leaves.clone()));
        }
        if retired.is_empty() {
            return Ok(());
        }
        let erased = self.store().retire(&retired)?;
        tracing::info!(registrations = retired.len(), erased, "replaced key seeds destroyed");
        for (registration, ..) in &retired {
            self.record("replaced_seeds_destroyed", &[("registration", registration)])?;
        }
        Ok(())
    }

    /// Ends a re-keying that can come into force no more: the chain is past its deadline, or has another committee. Whoever leaves
    /// can then be erased, whatever the other keyholders did (clause 40). The chain must have been read.
    pub(crate) async fn end_lapsed_rekeying(&self, id: RegistrationId) -> Result<(), KeyholderError> {
        let Some(stated) = self.store().stated_rekeying(id)? else { return Ok(()) };
        let view = self.view();
        let Some((record, finalized)) = view.registration(id).zip(view.finalized()) else { return Ok(()) };
        if u32::from(record.generation()) >= stated.generation {
            return Ok(());
        }
        let time = self.ledger().block_time_unix_s(finalized.number).await;
        let time = time.map_err(|error| KeyholderError::Chain(error.to_string()))?;
        if time <= stated.deadline_unix_s && view.committee_epoch() == stated.committee_epoch {
            return Ok(());
        }
        let version = record.key_version() + 1;
        let keys: Vec<DatasetKey> =
            record.leaves.iter().map(|leaf| DatasetKey { dataset: leaf.dataset, version }).collect();
        let erased = self.store().end_rekeying(id, &stated, &keys)?;
        tracing::info!(registration = id.0, generation = stated.generation, erased, "a re-keying that lapsed is over");
        self.record("rekeying_lapsed", &[("registration", &id), ("generation", &stated.generation)])
    }

    /// Reads the chain, and holds an order against it.
    async fn check_order(&self, order: &pb::RekeyingOrder) -> Result<Ordered, KeyholderError> {
        if self.settles_on_cohorts() {
            return Err(KeyholderError::RekeyingOfCommitted);
        }
        let generation = parse_generation("order.generation", order.generation)?;
        let admin = field::address("order.admin", &order.admin)?;
        if order.deadline_unix_s < self.now_unix_s() {
            return Err(KeyholderError::Malformed("the deadline of the order has passed: sign a later one".into()));
        }
        if order.deadline_unix_s > self.now_unix_s().saturating_add(ORDER_LIFETIME_MAX_S) {
            let text = "the deadline of the order is more than a day away: sign an earlier one";
            return Err(KeyholderError::Malformed(text.into()));
        }
        self.poll_chain().await?;
        let id = RegistrationId(order.registration_id);
        let request = RekeyRequest { registration: id, generation, deadline_unix_s: order.deadline_unix_s };
        let signed = rekey_request_hash(&self.network(), &request);
        let is_admin = self.ledger().is_registry_admin(admin).await;
        if !is_admin.map_err(|error| KeyholderError::Chain(error.to_string()))? {
            return Err(KeyholderError::Signature("market's admin"));
        }
        self.verify(admin, &signed, &order.signature, "market's admin").await?;
        self.end_lapsed_rekeying(id).await?;
        let view = self.view();
        let record = view.registration(id).ok_or(KeyholderError::NotFinal("the registration"))?.clone();
        if record.generation() + 1 != generation {
            return Err(KeyholderError::OtherGeneration { next: record.generation() + 1, ordered: generation });
        }
        let panel = view.panel(&record.panel).ok_or(KeyholderError::NotFinal("the panel"))?;
        let blocks = panel.variant_count.div_ceil(VARIANTS_PER_PANEL_BLOCK);
        let shape = PanelShape::try_new(blocks, panel.complete_calls);
        let shape = shape.map_err(|error| KeyholderError::Engine(error.into()))?;
        Ok(Ordered { record, shape, generation, deadline_unix_s: order.deadline_unix_s })
    }

    /// The session that three openings make, and what this keyholder drew for it.
    async fn session(
        &self,
        ordered: &Ordered,
        openings: &[pb::RekeyingOpening],
    ) -> Result<(RekeyingSession, RekeyingDraws), KeyholderError> {
        let id = ordered.record.id;
        let draws = self.store().rekeying_draws(id)?.ok_or(KeyholderError::RekeyingGone)?;
        let fits = draws.generation == ordered.generation && draws.committee_epoch == self.view().committee_epoch();
        if !fits || openings.len() != 3 {
            return Err(KeyholderError::RekeyingGone);
        }
        let mut keys = Vec::with_capacity(3);
        for (keyholder, opening) in KeyholderIndex::ALL.into_iter().zip(openings) {
            let digest = relay::rekeying_opening_digest(&self.network(), opening);
            let signer = self.verify_peer(opening.keyholder, &digest, &opening.signature).await?;
            let is_of_this = signer == keyholder
                && opening.registration_id == id.0
                && opening.generation == u32::from(ordered.generation)
                && opening.committee_epoch == draws.committee_epoch;
            if !is_of_this {
                return Err(KeyholderError::RekeyingGone);
            }
            keys.push(SealingPublicKey::parse(&opening.hpke_public_key)?);
        }
        let keys = <[_; 3]>::try_from(keys).map_err(|_| KeyholderError::RekeyingGone)?;
        if keys[self.index().position()] != draws.private_key().public_key() {
            return Err(KeyholderError::RekeyingGone);
        }
        let session = RekeyingSession {
            network: self.network(),
            registration: id.0,
            generation: ordered.generation,
            committee_epoch: draws.committee_epoch,
            keys,
        };
        Ok((session, draws))
    }

    /// The datasets that get new keys: all but `left_out`, which must be revoked.
    fn datasets(&self, ordered: &Ordered, left_out: &[u32]) -> Result<Vec<Dataset>, KeyholderError> {
        let record = &ordered.record;
        let count = u64::try_from(record.leaves.len()).unwrap_or(u64::MAX);
        let left_out = field::ascending("left_out", left_out, count, record.leaves.len())?;
        let view = self.view();
        if let Some(ordinal) = left_out.iter().find(|ordinal| !view.is_revoked(record.id, **ordinal)) {
            return Err(KeyholderError::NotRevoked(*ordinal));
        }
        let left_out: BTreeSet<u32> = left_out.into_iter().collect();
        let context = |leaf: &DatasetLeaf, version| DatasetContext {
            network: self.network(),
            registrant: record.registrant,
            dataset: leaf.dataset,
            panel: record.panel,
            version,
        };
        let versions = [record.key_version(), record.key_version() + 1];
        let mut datasets = Vec::with_capacity(record.leaves.len());
        for (ordinal, leaf) in (0u32..).zip(record.leaves.iter()).filter(|(ordinal, _)| !left_out.contains(ordinal)) {
            let slot = u32::try_from(record.first_slot + u64::from(ordinal));
            let slot = slot.map_err(|_| KeyholderError::Malformed("a registry slot above 2^32".into()))?;
            let contexts = versions.map(|version| context(leaf, version));
            datasets.push(Dataset { ordinal, slot, bodies: leaf.commitments.bodies, contexts });
        }
        if datasets.is_empty() {
            return Err(KeyholderError::Malformed("every dataset of the registration is revoked".into()));
        }
        Ok(datasets)
    }

    async fn check_statements(
        &self,
        prepared: &Prepared,
        result: &RekeyingResult,
        statements: &[pb::RekeyingStatement],
    ) -> Result<(), KeyholderError> {
        let mut signers = BTreeSet::new();
        for statement in statements {
            let digest = relay::rekeying_statement_digest(statement);
            let signer = self.verify_peer(statement.keyholder, &digest, &statement.signature).await?;
            let is_same = statement.session == prepared.session.0.as_slice()
                && statement.keys_hash == result.keys_hash.0.as_slice()
                && statement.attributes_digest == result.attributes_digest.0.as_slice();
            if !is_same {
                let text =
                    format!("keyholder {signer} computed other new keys than this one: start the re-keying again");
                return Err(KeyholderError::Disagreement(text));
            }
            signers.insert(signer);
        }
        if signers.len() == 3 {
            Ok(())
        } else {
            Err(KeyholderError::StepMissing("the statements of all three keyholders"))
        }
    }
}

impl Prepared {
    /// What is kept of every dataset.
    fn rekeyed_datasets(&self) -> Vec<RekeyedDataset> {
        let of_dataset = |dataset: &Dataset| {
            let [_, context] = &dataset.contexts;
            let shares = self.seeds.each_ref().map(|(share, seed)| seed.dataset(*share, context));
            RekeyedDataset { ordinal: dataset.ordinal, key: DatasetKey::of(context), shares }
        };
        self.datasets.iter().map(of_dataset).collect()
    }

    /// Entries for the chain from the new keys of the datasets, in their order.
    fn entries(&self, keys: &[DatasetKeys]) -> Vec<Option<DatasetKeys>> {
        let mut entries = vec![None; self.ordered.record.leaves.len()];
        for (dataset, keys) in self.datasets.iter().zip(keys) {
            entries[dataset.ordinal as usize] = Some(*keys);
        }
        entries
    }

    fn seed_of(&self, share: ShareIndex) -> Result<&RekeyingSeed, KeyholderError> {
        let found = self.seeds.iter().find(|(held, _)| *held == share);
        found.map(|(_, seed)| seed).ok_or(KeyholderError::StepMissing("a seed of the share"))
    }
}

/// The keyholder that lacks a share has its number.
fn lacking(share: ShareIndex) -> Result<KeyholderIndex, KeyholderError> {
    Ok(KeyholderIndex::try_new(share.get())?)
}
