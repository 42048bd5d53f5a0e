//! Enrolment of attributes: shares are taken in, compared with the other holders', shown to be shares
//! of bits, and only then may filters ask about them.
//!
//! Nobody opens anything here but 64 sums that are zero. One attempt has one session of common
//! randomness: gate 0 is the coin, gate 1 masks the sums. Both calls of an attempt derive them anew;
//! what they are used for is fixed by then, because the shares do not change after the first call and
//! one set of sums is kept for ever after the second.

mod rows;
#[cfg(test)]
mod tests;

use crate::{
    error::KeyholderError,
    keyholder::Keyholder,
    store::{AttributeAttempt, AttributeStage, DatasetKey, PendingEntry, StoreError},
};
use locus_commitment::{DatasetContext, Digest32};
use locus_ledger::attribute_statement_hash;
use locus_phenotype::{AttributeSchema, SchemaDigest};
use locus_sharing::{
    AttributeCommitmentsDigest, AttributePackage, AttributePackageHeader, AttributeShareDigests, BIT_CHECK_WORDS,
    BitCheck, CoinPart, KeyholderIndex, Prss, PrssSession, SharedVector, attribute_share_digest, seal::SealedBox,
    shares_of, verify_bits,
};
use locus_wire::{
    convert::{
        AttributeEnrolment,
        field::{self, FieldError},
    },
    limits::attribute_chunk_datasets_max,
    pb::keyholder as pb,
    relay,
};

/// Gate of the coin.
const COIN_GATE: u32 = 0;
/// Gate that masks the sums.
const SUMS_GATE: u32 = 1;
/// Datasets whose shares are in memory at a time: at most 4 MiB.
const PAGE_DATASETS: u32 = 64;

/// An enrolment of attributes whose header was verified.
pub(crate) struct AttributeBatch {
    attempt: AttributeAttempt,
    schema: AttributeSchema,
    /// Name of the session.
    session: Digest32,
    /// By ordinal.
    datasets: Vec<BatchDataset>,
}

/// A dataset of the registration.
struct BatchDataset {
    context: DatasetContext,
    /// Nothing is kept of a revoked one: its seeds are, or will be, destroyed.
    is_revoked: bool,
}

/// The first call while its stream arrives.
pub(crate) struct AttributeIntake {
    next_ordinal: u32,
    commitments: AttributeCommitmentsDigest,
}

impl AttributeBatch {
    fn refused(&self, what: &'static str) -> KeyholderError {
        KeyholderError::Attributes { registration: self.attempt.statement.registration, what }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.datasets.len()).unwrap_or(u32::MAX)
    }

    fn bit_count(&self) -> u32 {
        u32::try_from(self.schema.bit_count()).unwrap_or(u32::MAX)
    }

    fn dataset(&self, ordinal: u32) -> Result<&BatchDataset, KeyholderError> {
        let place = usize::try_from(ordinal).unwrap_or(usize::MAX);
        self.datasets.get(place).ok_or(KeyholderError::Order("a chunk is outside of the registration"))
    }

    fn keys(&self) -> Vec<DatasetKey> {
        self.datasets.iter().map(|dataset| DatasetKey::of(&dataset.context)).collect()
    }

    /// What the audit log says of it.
    pub(crate) fn facts(&self) -> (u64, u32, String) {
        let statement = &self.attempt.statement;
        (statement.registration.0, statement.revision, statement.schema.to_string())
    }
}

impl Keyholder {
    /// Verifies a header: a registration that is final, all its datasets, and the registrant's word.
    pub(crate) async fn open_attributes(&self, header: &pb::AttributeHeader) -> Result<AttributeBatch, KeyholderError> {
        let enrolment = AttributeEnrolment::try_from(header)?;
        let statement = enrolment.statement;
        self.poll_chain().await?;
        let (registrant, datasets) = {
            let view = self.view();
            let registration = view.registration(statement.registration);
            let registration = registration.ok_or(KeyholderError::NotFinal("the registration"))?;
            if registration.generation() > 0 {
                return Err(KeyholderError::AttributesOfRekeyed);
            }
            let dataset = |(ordinal, leaf): (u32, &locus_ledger::DatasetLeaf)| BatchDataset {
                context: DatasetContext {
                    network: self.network(),
                    registrant: registration.registrant,
                    dataset: leaf.dataset,
                    panel: registration.panel,
                    version: registration.version,
                },
                is_revoked: view.is_revoked(registration.id, ordinal),
            };
            let datasets: Vec<BatchDataset> = (0u32..).zip(registration.leaves.iter()).map(dataset).collect();
            (registration.registrant, datasets)
        };
        if u32::try_from(datasets.len()) != Ok(enrolment.dataset_count) {
            let counts = format!("the registration has {} datasets, not {}", datasets.len(), enrolment.dataset_count);
            return Err(KeyholderError::Malformed(counts));
        }
        let session = relay::attribute_session_digest(&self.network(), &statement);
        let attempt = AttributeAttempt { statement, number: enrolment.attempt };
        let batch = AttributeBatch { attempt, schema: enrolment.schema, session, datasets };
        let digest = attribute_statement_hash(&self.network(), &statement);
        let verified = self.verify(registrant, &digest, &enrolment.registrant_signature, "registrant").await;
        match verified {
            Err(KeyholderError::Signature(_)) => return Err(batch.refused("the registrant's signature")),
            verified => verified?,
        }
        self.end_lapsed_rekeying(statement.registration).await?;
        Ok(batch)
    }

    /// Begins the first call. From here on the attempt's number is used.
    pub(crate) fn begin_attributes(&self, batch: &AttributeBatch) -> Result<AttributeIntake, KeyholderError> {
        self.store().begin_attributes(&batch.attempt, &batch.schema.to_json())?;
        Ok(AttributeIntake { next_ordinal: 0, commitments: AttributeCommitmentsDigest::begin(batch.count()) })
    }

    /// Takes in the shares of the next datasets.
    pub(crate) fn take_attributes(
        &self,
        batch: &AttributeBatch,
        intake: &mut AttributeIntake,
        chunk: &pb::SealedAttributes,
    ) -> Result<(), KeyholderError> {
        let count_max = u64::from(attribute_chunk_datasets_max(batch.bit_count()));
        let count = field::in_range("chunk.dataset_count", chunk.dataset_count, 1, count_max)?;
        let end = chunk.first_ordinal.checked_add(count).filter(|end| *end <= batch.count());
        let end = end.filter(|_| chunk.first_ordinal == intake.next_ordinal);
        let end = end.ok_or(KeyholderError::Order("attributes must come by ordinal, without gaps"))?;
        let header = AttributePackageHeader {
            network: self.network(),
            registration: batch.attempt.statement.registration.0,
            keyholder: self.index(),
            first_ordinal: chunk.first_ordinal,
            count,
            schema: batch.attempt.statement.schema,
            bit_count: batch.bit_count(),
        };
        let does_not_open = |_| batch.refused("its sealed shares");
        let sealed = SealedBox::parse(chunk.sealed.to_vec()).map_err(does_not_open)?;
        let package = AttributePackage::open(header, self.sealing_key(), &sealed).map_err(does_not_open)?;
        let mut kept = Vec::with_capacity(package.entries().len());
        for (ordinal, entry) in (chunk.first_ordinal..end).zip(package.entries()) {
            intake.commitments.add(entry.commitment());
            let dataset = batch.dataset(ordinal)?;
            if !dataset.is_revoked {
                let key = DatasetKey::of(&dataset.context);
                kept.push(PendingEntry { ordinal, key, entry: entry.clone() });
            }
        }
        self.store().put_attributes(&batch.attempt, &kept)?;
        intake.next_ordinal = end;
        Ok(())
    }

    /// Ends the first call: what the others need to check this keyholder's shares, signed.
    pub(crate) fn finish_attributes(
        &self,
        batch: &AttributeBatch,
        intake: AttributeIntake,
    ) -> Result<pb::AttributeCheck, KeyholderError> {
        if intake.next_ordinal != batch.count() {
            return Err(KeyholderError::Order("the attributes of all datasets are needed"));
        }
        if intake.commitments.finish() != batch.attempt.statement.commitments {
            return Err(batch.refused("its commitments"));
        }
        let mut prss = self.attribute_prss(batch)?;
        let (_, coin_part) = BitCheck::begin(&mut prss, COIN_GATE)?;
        let mut check = pb::AttributeCheck {
            keyholder: u32::from(self.index().get()),
            share_digests: self.share_digests(batch)?.map(|digest| digest.0.to_vec().into()).to_vec(),
            coin_part: coin_part.to_bytes().to_vec().into(),
            signature: Default::default(),
        };
        let digest = relay::attribute_check_digest(&batch.session, batch.attempt.number, &check);
        check.signature = self.sign(&digest)?;
        self.store().finish_check(&batch.attempt, &check)?;
        Ok(check)
    }

    /// Second call: this keyholder's part of the sums, once the shares agree with the other holders'.
    pub(crate) async fn verify_attributes(
        &self,
        request: &pb::VerifyAttributesRequest,
    ) -> Result<pb::AttributeSums, KeyholderError> {
        let batch = self.open_attributes(field::required("header", &request.header)?).await?;
        let pending = self.store().attribute_attempt(&batch.attempt)?;
        if pending.reached() < AttributeStage::Checked {
            return Err(StoreError::AttemptGone(batch.attempt.number).into());
        }
        if let Some(sums) = pending.sums {
            return Ok(sums);
        }
        let own = pending.check.ok_or(StoreError::Damaged("attribute state"))?;
        let received = self.compare_checks(&batch, &own, &request.checks).await?;
        let keyholder = self.clone();
        locus_service::blocking(move || keyholder.sum_attributes(&batch, received)).await
    }

    /// Compares the shares that others hold too; returns the part of the coin that this keyholder lacked.
    async fn compare_checks(
        &self,
        batch: &AttributeBatch,
        own: &pb::AttributeCheck,
        checks: &[pb::AttributeCheck],
    ) -> Result<CoinPart, KeyholderError> {
        let mut received = None;
        let numbers = checks.iter().map(|check| check.keyholder);
        self.check_committee(numbers, "checks of all three keyholders")?;
        for check in checks {
            let digest = relay::attribute_check_digest(&batch.session, batch.attempt.number, check);
            let peer = self.verify_peer(check.keyholder, &digest, &check.signature).await?;
            if check.share_digests.len() != 2 {
                return Err(FieldError::refused("checks.share_digests", "there is one for each share held").into());
            }
            if peer == self.index() && check != own {
                return Err(KeyholderError::Disagreement("the check is not the one signed here".into()));
            }
            let digests = shares_of(peer).into_iter().zip(&check.share_digests);
            for (share, theirs) in digests.filter(|(share, _)| self.index().holds(*share)) {
                let ours = shares_of(self.index()).into_iter().zip(&own.share_digests);
                if ours.into_iter().any(|(held, ours)| held == share && ours != theirs) {
                    return Err(batch.refused("its shares, which differ between two keyholders"));
                }
            }
            if CoinPart::recipient(peer) == self.index() {
                let part: [u8; 32] = field::array("checks.coin_part", &check.coin_part)?;
                received = Some(CoinPart::from_bytes(&part));
            }
        }
        received.ok_or(KeyholderError::StepMissing("checks of all three keyholders"))
    }

    /// The masked sums over everybody's shares, signed and kept: the first set is the only one.
    fn sum_attributes(&self, batch: &AttributeBatch, received: CoinPart) -> Result<pb::AttributeSums, KeyholderError> {
        let mut prss = self.attribute_prss(batch)?;
        let (check, _) = BitCheck::begin(&mut prss, COIN_GATE)?;
        let mut sums =
            check.sums(received, batch.schema.bit_count(), batch.schema.bit_rules(), &mut prss, SUMS_GATE)?;
        self.for_each_pending(batch, |_, shares| Ok(sums.add(shares)?))?;
        let bytes: Vec<u8> = sums.finish().iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut message = pb::AttributeSums {
            keyholder: u32::from(self.index().get()),
            sums: bytes.into(),
            signature: Default::default(),
        };
        let digest = relay::attribute_sums_digest(&batch.session, batch.attempt.number, &message);
        message.signature = self.sign(&digest)?;
        Ok(self.store().finish_verification(&batch.attempt, &message)?)
    }

    /// Third call: makes the attributes live when the sums are zero; returns how many datasets have
    /// attributes now.
    pub(crate) async fn admit_attributes(
        &self,
        request: &pb::AdmitAttributesRequest,
    ) -> Result<(AttributeBatch, u32), KeyholderError> {
        let batch = self.open_attributes(field::required("header", &request.header)?).await?;
        let keys = batch.keys();
        let pending = match self.store().attribute_attempt(&batch.attempt) {
            // Admitted before.
            Err(StoreError::AttemptGone(_)) if self.store().is_live(&batch.attempt.statement)? => {
                let count = self.store().attribute_count(&keys, &SchemaDigest(batch.attempt.statement.schema))?;
                return Ok((batch, count));
            }
            pending => pending?,
        };
        let own = pending.sums.ok_or(KeyholderError::StepMissing("the verification of this attempt"))?;
        let numbers = request.sums.iter().map(|sums| sums.keyholder);
        self.check_committee(numbers, "sums of all three keyholders")?;
        let mut parts = [[0; BIT_CHECK_WORDS]; 3];
        for sums in &request.sums {
            let digest = relay::attribute_sums_digest(&batch.session, batch.attempt.number, sums);
            let peer = self.verify_peer(sums.keyholder, &digest, &sums.signature).await?;
            if peer == self.index() && *sums != own {
                return Err(KeyholderError::Disagreement("the sums are not those signed here".into()));
            }
            parts[peer.position()] = parse_sums(&sums.sums)?;
        }
        let [first, second, third] = &parts;
        verify_bits([first, second, third])
            .map_err(|_| batch.refused("its bits: the shares are not of bits with one value for each attribute"))?;
        let count = self.store().admit_attributes(&batch.attempt, &keys)?;
        Ok((batch, count))
    }

    /// Messages must be of all three keyholders, one each.
    fn check_committee(&self, numbers: impl Iterator<Item = u32>, what: &'static str) -> Result<(), KeyholderError> {
        let mut numbers: Vec<u32> = numbers.collect();
        numbers.sort_unstable();
        let all = KeyholderIndex::ALL.map(|keyholder| u32::from(keyholder.get()));
        if numbers == all { Ok(()) } else { Err(KeyholderError::StepMissing(what)) }
    }

    /// The common randomness of the attempt.
    fn attribute_prss(&self, batch: &AttributeBatch) -> Result<Prss, KeyholderError> {
        self.prss(PrssSession { tau: batch.session, attempt: batch.attempt.number })
    }

    /// Digests of everybody's shares, for both shares held, ascending.
    fn share_digests(&self, batch: &AttributeBatch) -> Result<[Digest32; 2], KeyholderError> {
        let held = shares_of(self.index());
        let mut digests = held.map(|_| AttributeShareDigests::begin());
        self.for_each_pending(batch, |pending, shares| {
            let context = &batch.dataset(pending.ordinal)?.context;
            for (share, digest) in held.into_iter().zip(&mut digests) {
                let is_released = share == self.index().released_share();
                let words = if is_released { shares.released() } else { shares.other() };
                let of_dataset = attribute_share_digest(context, pending.entry.commitment(), share, words);
                digest.add(pending.ordinal, &of_dataset);
            }
            Ok(())
        })?;
        Ok(digests.map(AttributeShareDigests::finish))
    }

    /// The shares of everybody in the present attempt, by ordinal.
    fn for_each_pending(
        &self,
        batch: &AttributeBatch,
        mut work: impl FnMut(&PendingEntry, &SharedVector<u64>) -> Result<(), KeyholderError>,
    ) -> Result<(), KeyholderError> {
        for start in (0..batch.count()).step_by(usize::try_from(PAGE_DATASETS).unwrap_or(usize::MAX)) {
            let page = self.store().pending_attributes(&batch.attempt, start..start.saturating_add(PAGE_DATASETS))?;
            let keys: Vec<DatasetKey> = page.iter().map(|pending| pending.key).collect();
            let seeds = self.store().seeds(&keys)?;
            for (pending, secret) in page.iter().zip(seeds) {
                let context = &batch.dataset(pending.ordinal)?.context;
                work(pending, &self.shares_of_entry(&pending.entry, context, &secret, batch.schema.bit_count())?)?;
            }
        }
        Ok(())
    }
}

fn parse_sums(bytes: &[u8]) -> Result<[u64; BIT_CHECK_WORDS], KeyholderError> {
    let bytes: [u8; 8 * BIT_CHECK_WORDS] = field::array("sums.sums", bytes)?;
    let mut sums = [0; BIT_CHECK_WORDS];
    for (sum, word) in sums.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *sum = u64::from_le_bytes(*word);
    }
    Ok(sums)
}
