//! Checking an answer against what was ordered, and opening it.

mod error;
mod filtered;

pub use error::AnswerError;

use crate::{
    disclosure::{Claim, claim_texts},
    error::ClientError,
    network::Network,
    research::{
        filter::{self, AskedFilter},
        opened::OpenedAnswer,
        opening::verify_cohort_sums,
        table::VariantCounts,
    },
    service::name,
};
use locus_cohort::{
    AnswerPlan, BlockPlan, DST_SEALED_SHARE, NamedCohort, PanelShape, Requirements, SHARE_DIGEST_BYTES,
    sealed_share_associated_data, settlement_signing_hash, share_digest, vouched_share,
};
use locus_commitment::NetworkId;
use locus_genomics::{Panel, Plane, Slot, VariantIndex, VariantSelection};
use locus_ledger::{CohortEvidence, Order, OrderId, Settlement};
use locus_privacy::CohortDigest;
use locus_rlwe::{CombinedPlane, CounterRange, PartialDecryption, SignedCounts, combine, released_count};
use locus_sharing::{
    KeyholderIndex, ShareIndex, release_plan,
    seal::{SealBinding, SealedBox, SealingPrivateKey, open},
};
use locus_wire::{
    convert::{FieldError, field, parse_selection, parse_settlement_signatures},
    pb::query as pb,
};
use zeroize::Zeroizing;

/// Keyholders that must have signed a settlement.
const SIGNATURES_MIN: usize = 2;
/// Keyholders.
const KEYHOLDERS: usize = 3;

/// An answer whose order, settlement and question belong together; the counts are still sealed.
#[derive(Debug, Clone)]
pub struct VerifiedAnswer {
    network: NetworkId,
    order_id: OrderId,
    order: Order,
    settlement: Settlement,
    selection: VariantSelection,
    filter: Option<AskedFilter>,
    requirements: Requirements,
    disclosed: Vec<Claim>,
    plan: AnswerPlan,
    signed_by: Vec<KeyholderIndex>,
    degraded: bool,
    evidence: Option<CohortEvidence>,
    cohort_opened: bool,
}

impl VerifiedAnswer {
    /// The order.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Its name.
    pub fn order_id(&self) -> OrderId {
        self.order_id
    }

    /// The market.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// The settlement that the keyholders signed.
    pub fn settlement(&self) -> &Settlement {
        &self.settlement
    }

    /// The variants asked for.
    pub fn selection(&self) -> &VariantSelection {
        &self.selection
    }

    /// Who of the cohort was counted; `None` for everybody.
    pub fn filter(&self) -> Option<&AskedFilter> {
        self.filter.as_ref()
    }

    /// What everybody in the cohort had to be.
    pub fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    /// What everybody in the cohort had to have disclosed.
    pub fn disclosed(&self) -> &[Claim] {
        &self.disclosed
    }

    /// Noise, offset and privacy loss of the answer.
    pub fn plan(&self) -> &AnswerPlan {
        &self.plan
    }

    /// The keyholders whose signatures on the settlement are valid, ascending.
    pub fn signed_by(&self) -> &[KeyholderIndex] {
        &self.signed_by
    }

    /// The proven cohort that the order settled on, in a market that settles on such cohorts.
    pub fn cohort(&self) -> Option<&CohortEvidence> {
        self.evidence.as_ref()
    }

    /// Whether the answer comes with the sums that open the commitment of that cohort. Nobody sees the sums
    /// that a filtered answer is made of, so it never does.
    pub fn is_cohort_opened(&self) -> bool {
        self.cohort_opened
    }

    /// Whether a keyholder was missing, so that two shares lack the comparison between holders.
    pub fn is_degraded(&self) -> bool {
        self.degraded
    }
}

/// Checks everything about an answer that needs no private key: that it answers the order, that
/// enough keyholders signed its settlement, and that what they signed is this question to the cohort
/// that the settlement names. Whether that cohort is the right one is what the signatures vouch for.
///
/// # Errors
/// [`ClientError::Answer`] naming what does not fit, [`ClientError::Malformed`] for malformed parts.
pub fn verify_answer(
    record: &pb::AnswerRecord,
    panel: &Panel,
    network: &Network,
) -> Result<VerifiedAnswer, ClientError> {
    let ordered = verify_order(record, panel, network)?;
    let summary = record.summary.as_ref().ok_or(AnswerError::NotAnswered)?;
    let settlement = parse_settlement(summary).map_err(malformed)?;
    check_settlement(&ordered, summary, &settlement)?;
    let evidence = summary.cohort.as_ref().map(CohortEvidence::try_from).transpose().map_err(malformed)?;
    let signed_by = signers(summary, &settlement, &ordered.order, evidence.as_ref(), network)?;
    if signed_by.len() < SIGNATURES_MIN {
        return Err(AnswerError::TooFewSignatures { valid: signed_by.len() }.into());
    }
    let shape = PanelShape { digest: panel.digest(), complete_calls: panel.complete_calls() };
    let Ordered { order_id, order, selection, filter, requirements } = ordered;
    let is_as_proven = |evidence: &CohortEvidence| evidence.choice.proven_only == requirements.proven_only();
    if !evidence.as_ref().is_none_or(is_as_proven) {
        return Err(AnswerError::OtherOrder("origin of the datasets in the proven cohort").into());
    }
    let asked_of = filter
        .as_ref()
        .map(|asked| Ok(asked.shape(field::digest("summary.attributes_digest", &summary.attributes_digest)?)));
    let asked_of = asked_of.transpose().map_err(malformed)?;
    let cohort = NamedCohort { digest: CohortDigest(settlement.cohort_digest), size: settlement.cohort_size };
    let plan = AnswerPlan::of_named(network.id(), shape, &selection, order.tier, order.rho, cohort, asked_of.as_ref())
        .map_err(AnswerError::Plan)?;
    if plan.digest().0 != settlement.answer_digest {
        return Err(AnswerError::OtherQuestion.into());
    }
    let cohort_opened = match &evidence {
        Some(evidence) if filter.is_none() && !record.cohort_sums.is_empty() => {
            verify_cohort_sums(record, &plan, panel, evidence)?;
            true
        }
        _ => false,
    };
    let degraded =
        summary.degraded || signed_by.len() < KEYHOLDERS || (filter.is_none() && !is_released_by_all(record));
    Ok(VerifiedAnswer {
        network: network.id(),
        order_id,
        order,
        settlement,
        selection,
        filter,
        disclosed: claim_texts(panel, requirements.disclosed()),
        requirements,
        plan,
        signed_by,
        degraded,
        evidence,
        cohort_opened,
    })
}

/// Verifies an answer, opens its shares with the researcher's key and decodes the counts. The check
/// slots prove that the ciphertext sum and the key shares are of the same cohort, and that the parts of a
/// filtered answer are of the same evaluation.
///
/// # Errors
/// As [`verify_answer`]; [`ClientError::Sharing`] when a share does not open, [`ClientError::Rlwe`]
/// when the parts do not decode.
pub fn open_answer(
    record: &pb::AnswerRecord,
    panel: &Panel,
    network: &Network,
    key: &SealingPrivateKey,
) -> Result<(VerifiedAnswer, OpenedAnswer), ClientError> {
    let verified = verify_answer(record, panel, network)?;
    let ordered = verified.order.hpke_key_digest;
    if key.public_key().digest() != ordered {
        return Err(AnswerError::OtherKey { ordered }.into());
    }
    let plan = &verified.plan;
    if record.blocks.len() != plan.blocks().len() {
        let block = plan.blocks().last().map_or(0, |last| last.block.0);
        return Err(AnswerError::Parts { block }.into());
    }
    let range = CounterRange::try_new(verified.settlement.cohort_size, u64::from(plan.offset()))?;
    let (mut rows, mut selections) = (Vec::new(), Vec::new());
    if plan.is_filtered() {
        selections = filtered::open_selections(&verified, record, key, range)?;
    } else {
        for (block, answer) in plan.blocks().iter().zip(&record.blocks) {
            rows.extend(open_block(&verified, block, answer, key, range)?);
        }
    }
    let opened = OpenedAnswer {
        tier: plan.tier(),
        rho: verified.order.rho,
        cohort_size: verified.settlement.cohort_size,
        dp_total: plan.dp_total(),
        rows,
        selections,
    };
    Ok((verified, opened))
}

fn malformed(error: FieldError) -> ClientError {
    ClientError::Malformed { service: name::QUERY, error }
}

/// The order of a record, checked against panel and market.
pub(crate) struct Ordered {
    pub(crate) order_id: OrderId,
    pub(crate) order: Order,
    pub(crate) selection: VariantSelection,
    pub(crate) filter: Option<AskedFilter>,
    pub(crate) requirements: Requirements,
}

/// Checks that a record's order is one of this market about this panel, selection and filter.
pub(crate) fn verify_order(
    record: &pb::AnswerRecord,
    panel: &Panel,
    network: &Network,
) -> Result<Ordered, ClientError> {
    let parsed = parse_order(record).map_err(malformed)?;
    let (market, order_id, order) = parsed;
    if market != network.id() {
        return Err(AnswerError::OtherNetwork(market.registry).into());
    }
    if order.panel != panel.digest() {
        return Err(AnswerError::OtherPanel(order.panel).into());
    }
    let message = field::required("selection", &record.selection).map_err(malformed)?;
    let selection = parse_selection(message, panel.digest(), panel.variant_count()).map_err(malformed)?;
    if selection.digest() != order.selection_digest.0 {
        return Err(AnswerError::OtherOrder("selection of variants").into());
    }
    if locus_ledger::order_id(&order) != order_id {
        return Err(AnswerError::OtherOrder("order id").into());
    }
    let filter = AskedFilter::of_record(record).map_err(malformed)?;
    let requirements = Requirements::parse(&record.requirements, panel.variant_count())
        .map_err(|error| malformed(FieldError::refused("requirements", error)))?;
    if filter::predicate_digest(filter.as_ref(), &requirements) != order.predicate_digest {
        return Err(AnswerError::OtherOrder("filter, or what it requires of datasets,").into());
    }
    filter::check_class(order.query_class, filter.as_ref())?;
    Ok(Ordered { order_id, order, selection, filter, requirements })
}

fn parse_order(record: &pb::AnswerRecord) -> Result<(NetworkId, OrderId, Order), FieldError> {
    let market = NetworkId::try_from(field::required("network", &record.network)?)?;
    let order_id = OrderId(field::digest("order_id", &record.order_id)?);
    Ok((market, order_id, Order::try_from(field::required("order", &record.order)?)?))
}

fn parse_settlement(summary: &pb::AnswerSummary) -> Result<Settlement, FieldError> {
    Settlement::try_from(field::required("summary.settlement", &summary.settlement)?)
}

/// Checks the settlement against the order, and the summary's copies against the settlement.
fn check_settlement(
    ordered: &Ordered,
    summary: &pb::AnswerSummary,
    settlement: &Settlement,
) -> Result<(), ClientError> {
    let other = |what| Err(AnswerError::OtherOrder(what).into());
    if settlement.order != ordered.order_id {
        return other("settlement");
    }
    if summary.cohort_size != settlement.cohort_size {
        return other("cohort size");
    }
    if summary.price != settlement.price.0.to_string() {
        return other("price");
    }
    if *summary.answer_digest != settlement.answer_digest.0 {
        return other("answer digest");
    }
    if *summary.cohort_digest != settlement.cohort_digest.0 {
        return other("cohort digest");
    }
    let (price, max_price) = (settlement.price, ordered.order.max_price);
    if price > max_price { Err(AnswerError::AboveMaximum { price, max_price }.into()) } else { Ok(()) }
}

fn signers(
    summary: &pb::AnswerSummary,
    settlement: &Settlement,
    order: &Order,
    evidence: Option<&CohortEvidence>,
    network: &Network,
) -> Result<Vec<KeyholderIndex>, ClientError> {
    let signatures = parse_settlement_signatures(&summary.signatures).map_err(malformed)?;
    // Without evidence nobody signed anything that settles in such a market.
    if evidence.is_some() != network.settles_on_cohorts() {
        return Ok(Vec::new());
    }
    let digest = settlement_signing_hash(network.contracts(), settlement, order, evidence);
    let digest = digest.ok_or_else(|| malformed(FieldError::refused("order.purpose", "there is no such purpose")))?;
    let mut signers = Vec::with_capacity(signatures.len());
    for signed in signatures {
        let keyholder = KeyholderIndex::try_new(signed.keyholder)?;
        if network.is_signed_by(keyholder, &digest, &signed.signature) {
            signers.push(keyholder);
        }
    }
    Ok(signers)
}

/// Whether every share comes from the keyholder that releases it when all are up, so that each share
/// is vouched for by the holder who did not release it.
fn is_released_by_all(record: &pb::AnswerRecord) -> bool {
    let plan = release_plan(None).map(|assignment| u32::from(assignment.releaser.get()));
    record.blocks.iter().all(|block| block.shares.iter().map(|share| share.keyholder).eq(plan))
}

fn open_block(
    verified: &VerifiedAnswer,
    block: &BlockPlan,
    answer: &pb::BlockAnswer,
    key: &SealingPrivateKey,
    range: CounterRange,
) -> Result<Vec<VariantCounts>, ClientError> {
    let planes = verified.plan.planes();
    let wrong_parts = || ClientError::from(AnswerError::Parts { block: block.block.0 });
    let plane_codes = answer.planes.iter().map(|plane| plane.plane);
    let shares = answer.shares.iter().map(|sealed| sealed.share);
    let has_all_parts = answer.block == block.block.0
        && *answer.tau == block.tau.0.0
        && plane_codes.eq(planes.iter().map(|plane| u32::from(plane.code())))
        && shares.eq(ShareIndex::ALL.map(|share| u32::from(share.get())));
    if !has_all_parts {
        return Err(wrong_parts());
    }
    let [first, second, third] = answer.shares.as_slice() else { return Err(wrong_parts()) };
    let [one, two, three] = ShareIndex::ALL;
    let payloads = [
        open_share(verified, block, one, first, key)?,
        open_share(verified, block, two, second, key)?,
        open_share(verified, block, three, third, key)?,
    ];
    check_digests(block, answer, &payloads)?;
    let [first, second, third] = &payloads;
    let opened = [
        parse_share(verified, block, one, first)?,
        parse_share(verified, block, two, second)?,
        parse_share(verified, block, three, third)?,
    ];
    let mut sums = Vec::with_capacity(planes.len());
    for (place, (plane, message)) in planes.iter().zip(&answer.planes).enumerate() {
        let (words, rest) = message.body_sum.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(wrong_parts());
        }
        let sum: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let partials = opened.each_ref().map(|partials| &partials[place]);
        sums.push((*plane, combine(*plane, &block.slots, &sum, partials)?));
    }
    variant_rows(block, sums, i64::from(range.cohort_size()), range)
}

/// Decodes the planes of a block into counts of `individuals` people.
fn variant_rows(
    block: &BlockPlan,
    planes: Vec<(Plane, CombinedPlane)>,
    individuals: i64,
    range: CounterRange,
) -> Result<Vec<VariantCounts>, ClientError> {
    let (mut calls, mut missing) = (None, None);
    for (plane, combined) in planes {
        match plane {
            Plane::Calls => calls = Some(combined.decode_calls(range)?),
            Plane::Missing => missing = Some(combined.decode_missing(range)?),
        }
    }
    let row = |(place, slot): (usize, Slot)| {
        // Where a plane is not asked for, nobody is counted by it.
        let of_calls = |count: fn(&SignedCounts) -> i64| {
            calls.as_ref().map_or(Some(0), |calls: &Vec<SignedCounts>| calls.get(place).map(count))
        };
        let of_missing = missing.as_ref().map_or(Some(0), |missing: &Vec<i64>| missing.get(place).copied());
        let counts = || {
            Some(VariantCounts {
                index: VariantIndex::at(block.block, slot)?,
                individuals,
                het: of_calls(|counts| counts.het)?,
                hom_alt: of_calls(|counts| counts.hom_alt)?,
                missing: of_missing?,
            })
        };
        counts().ok_or_else(|| AnswerError::Parts { block: block.block.0 }.into())
    };
    block.slots.slots().enumerate().map(row).collect()
}

/// Compares every share with what its other holder has computed for it.
fn check_digests(
    block: &BlockPlan,
    answer: &pb::BlockAnswer,
    payloads: &[Zeroizing<Vec<u8>>; 3],
) -> Result<(), ClientError> {
    let wrong_parts = || ClientError::from(AnswerError::Parts { block: block.block.0 });
    for ((share, message), payload) in ShareIndex::ALL.into_iter().zip(&answer.shares).zip(payloads) {
        let witness = field::keyholder("keyholder", message.keyholder).map_err(malformed)?;
        let witness = KeyholderIndex::try_new(witness)?;
        let vouched = vouched_share(witness, share).ok_or_else(wrong_parts)?;
        let (_, digest) = payload.split_last_chunk::<SHARE_DIGEST_BYTES>().ok_or_else(wrong_parts)?;
        let (partials, _) =
            payloads[vouched.position()].split_last_chunk::<SHARE_DIGEST_BYTES>().ok_or_else(wrong_parts)?;
        if share_digest(&block.tau, vouched, partials).0 != *digest {
            return Err(AnswerError::Altered { block: block.block.0, share: vouched, witness }.into());
        }
    }
    Ok(())
}

/// The payload of one share: partial decryptions, then the digest of the releaser's other share.
fn open_share(
    verified: &VerifiedAnswer,
    block: &BlockPlan,
    share: ShareIndex,
    message: &pb::SealedShare,
    key: &SealingPrivateKey,
) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    let expected = 8 * released_count(&block.slots) * verified.plan.planes().len() + SHARE_DIGEST_BYTES;
    open_sealed(verified, block, share.get(), message, key, expected)
}

/// The payload that is sealed under (order, tau, `number`), of `expected` bytes.
fn open_sealed(
    verified: &VerifiedAnswer,
    block: &BlockPlan,
    number: u8,
    message: &pb::SealedShare,
    key: &SealingPrivateKey,
    expected: usize,
) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    let associated_data = sealed_share_associated_data(&verified.order_id, &block.tau, number);
    let binding = SealBinding { info: DST_SEALED_SHARE, associated_data: &associated_data };
    let payload = open(key, binding, &SealedBox::parse(message.sealed.to_vec())?)?;
    if payload.len() == expected { Ok(payload) } else { Err(AnswerError::Parts { block: block.block.0 }.into()) }
}

/// The partial decryptions of an opened share, one a plane.
fn parse_share(
    verified: &VerifiedAnswer,
    block: &BlockPlan,
    share: ShareIndex,
    payload: &[u8],
) -> Result<Vec<PartialDecryption>, ClientError> {
    let parts = verified.plan.planes().iter().zip(payload.chunks(8 * released_count(&block.slots)));
    parts.map(|(plane, bytes)| Ok(PartialDecryption::parse(share, *plane, &block.slots, bytes)?)).collect()
}

#[cfg(test)]
mod tests;
