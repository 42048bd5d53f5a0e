//! The project's types in the words of the contracts.

use super::LedgerError;
use crate::{
    amount::Amount,
    bindings::{escrow::IQueryEscrow, offers::IOfferBook, registry::IDatasetRegistry},
    eip712::{audience_words, evm, uint96},
    types::{Offer, Order, OrderId, Registration, Settlement, tier_code},
};
use alloy_primitives::{B256, Bytes, U256, Uint};
use alloy_rpc_types_eth::TransactionReceipt;
use locus_commitment::Digest32;

pub(super) fn transaction(receipt: &TransactionReceipt) -> Digest32 {
    Digest32(receipt.transaction_hash.0)
}

pub(super) fn bytes(signature: &[u8]) -> Bytes {
    Bytes::copy_from_slice(signature)
}

pub(super) fn order_words(order: &Order) -> IQueryEscrow::Order {
    IQueryEscrow::Order {
        researcher: evm(order.researcher),
        panelDigest: B256::from(order.panel.0),
        selectionDigest: B256::from(order.selection_digest.0),
        predicateDigest: B256::from(order.predicate_digest.0),
        queryClass: order.query_class.code(),
        purpose: order.purpose,
        conditionDigest: B256::from(order.condition_digest.0),
        tier: tier_code(order.tier),
        rhoNano: order.rho.as_nano(),
        maxPrice: uint96(order.max_price),
        hpkeKeyDigest: B256::from(order.hpke_key_digest.0),
        deadline: order.deadline_unix_s,
        nonce: order.nonce,
    }
}

pub(super) fn settlement_words(settlement: &Settlement) -> IQueryEscrow::Settlement {
    IQueryEscrow::Settlement {
        orderId: B256::from(settlement.order.0.0),
        answerDigest: B256::from(settlement.answer_digest.0),
        cohortDigest: B256::from(settlement.cohort_digest.0),
        cohortSize: settlement.cohort_size,
        price: uint96(settlement.price),
        payoutSequence: settlement.payout_sequence,
        payoutRoot: B256::from(settlement.payout_root.0),
    }
}

pub(super) fn settlement_of(words: &IQueryEscrow::Settlement) -> Settlement {
    Settlement {
        order: OrderId(digest(words.orderId)),
        answer_digest: digest(words.answerDigest),
        cohort_digest: digest(words.cohortDigest),
        cohort_size: words.cohortSize,
        price: small_amount(words.price),
        payout_sequence: words.payoutSequence,
        payout_root: digest(words.payoutRoot),
    }
}

pub(super) fn digest(word: B256) -> Digest32 {
    Digest32(word.0)
}

pub(super) fn small_amount(value: Uint<96, 2>) -> Amount {
    // 96 bits always fit.
    Amount(value.to::<u128>())
}

pub(super) fn offer_words(offer: &Offer) -> IOfferBook::Offer {
    let (audience, buyers) = audience_words(&offer.audience);
    IOfferBook::Offer {
        registrationId: offer.registration.0,
        priceCounts: uint96(offer.prices.counts),
        priceFilteredCounts: uint96(offer.prices.filtered_counts),
        priceAssociation: uint96(offer.prices.association),
        dataUse: offer.data_use,
        tiers: offer.tiers.0,
        audience,
        buyers,
        blockStart: offer.block_start,
        blockEnd: offer.block_end,
        conditionDigest: B256::from(offer.condition_digest.0),
        demands: offer.demands.0,
        disclosureDigest: B256::from(offer.disclosure_digest.0),
        expiry: offer.expiry_unix_s,
        nonce: offer.nonce,
    }
}

pub(super) fn registration_words(registration: &Registration) -> IDatasetRegistry::Registration {
    IDatasetRegistry::Registration {
        registrant: evm(registration.registrant),
        panelDigest: B256::from(registration.panel.0),
        version: registration.version,
        batchNonce: registration.batch_nonce,
        accreditor: registration.accreditor.map_or_else(Default::default, evm),
        deadline: registration.deadline_unix_s,
        leavesHash: B256::from(registration.leaves_hash.0),
    }
}

pub(super) fn amount(value: U256) -> Result<Amount, LedgerError> {
    u128::try_from(value).map(Amount).map_err(|_| LedgerError::Value("token amount"))
}
