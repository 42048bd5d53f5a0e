//! Messages that are signed, stored, or in flight while services are replaced one by one.

use crate::{Piece, piece};
use anyhow::{Result, ensure};
use bytes::Bytes;
use locus_wire::pb::{archive, exchange, genomics, keyholder, query};
use prost::Message;

pub(crate) fn all() -> Vec<Piece> {
    vec![
        message("messages/order.pb", order),
        message("messages/offer.pb", offer),
        message("messages/dataset_record.pb", dataset_record),
        message("messages/question.pb", question),
        message("messages/preparation.pb", preparation),
        message("messages/commitment.pb", commitment),
        message("messages/answer_request.pb", answer_request),
        message("messages/answer_record.pb", answer_record),
        message("messages/settlement.pb", settlement),
        message("messages/earnings.pb", earnings),
        message("messages/attributes.pb", attributes),
        message("messages/rekeying_opening.pb", rekeying_opening),
        message("messages/rekeying_header.pb", rekeying_header),
        message("messages/rekeying_piece.pb", rekeying_piece),
        message("messages/rekeying_statement.pb", rekeying_statement),
        message("messages/rekey_receipt.pb", rekey_receipt),
    ]
}

/// A message that must be encoded as it was: what is signed or hashed over an encoding depends on it.
fn message<M: Message + Default + PartialEq + 'static>(name: &'static str, content: fn() -> M) -> Piece {
    let check = move |bytes: &[u8]| -> Result<()> {
        ensure!(M::decode(bytes)? == content(), "a field has another number or type");
        ensure!(content().encode_to_vec() == bytes, "it is encoded in another way");
        Ok(())
    };
    piece(name, move || Ok(content().encode_to_vec()), check)
}

fn bytes(value: u8, count: usize) -> Bytes {
    vec![value; count].into()
}

fn network() -> Option<genomics::Network> {
    Some(genomics::Network { chain_id: 31_337, registry: bytes(1, 20) })
}

fn selection() -> Option<genomics::VariantSelection> {
    let range = |start, end| genomics::variant_selection::Range { start, end };
    Some(genomics::VariantSelection { ranges: vec![range(0, 2), range(5, 9)] })
}

fn filter() -> Option<genomics::CohortFilter> {
    Some(genomics::CohortFilter {
        schema_digest: bytes(3, 32),
        selections: vec![bytes(4, 60), bytes(5, 61)],
        authenticated: true,
    })
}

fn order() -> genomics::Order {
    genomics::Order {
        researcher: bytes(1, 20),
        panel_digest: bytes(2, 32),
        selection_digest: bytes(3, 32),
        predicate_digest: bytes(4, 32),
        query_class: 1,
        purpose: 0x0102,
        condition_digest: bytes(5, 32),
        tier: 1,
        rho_nano: 10_000_000,
        max_price: "1500000000000000000".to_owned(),
        hpke_key_digest: bytes(6, 32),
        deadline_unix_s: 1_900_000_000,
        nonce: 7,
    }
}

fn offer() -> genomics::Offer {
    genomics::Offer {
        registration_id: 1,
        price_counts: "10000000000000000".to_owned(),
        price_filtered_counts: "20000000000000000".to_owned(),
        price_association: "30000000000000000".to_owned(),
        data_use: 0x22,
        tiers: 0b101,
        audience: genomics::Audience::NamedBuyers.into(),
        buyers: vec![bytes(1, 20), bytes(2, 20)],
        block_start: 0,
        block_end: 6,
        condition_digest: bytes(3, 32),
        expiry_unix_s: 1_900_000_000,
        nonce: 8,
        demands: 0b11,
        disclosure_digest: bytes(4, 32),
    }
}

fn dataset_record() -> archive::DatasetRecord {
    archive::DatasetRecord {
        leaf: Some(genomics::DatasetLeaf {
            dataset_id: bytes(1, 32),
            person_tag: bytes(2, 32),
            body_digest: bytes(3, 32),
            share_commitment: bytes(4, 32),
            genotype_commitment: bytes(5, 32),
        }),
        share_commitments: bytes(6, 96),
        ciphertext_commitment: bytes(7, 64),
    }
}

fn question() -> keyholder::Question {
    keyholder::Question {
        order_id: bytes(1, 32),
        selection: selection(),
        hpke_public_key: bytes(2, 1216),
        filter: filter(),
        requirements: bytes(1, 1),
    }
}

fn preparation() -> keyholder::Preparation {
    keyholder::Preparation {
        keyholder: 2,
        order_id: bytes(1, 32),
        excluded_slots: vec![3, 300, 70_000],
        charge_sequence: 9,
        signature: bytes(2, 65),
        seen: vec![keyholder::LedgerLength { keyholder: 1, charge_sequence: 8 }],
        exact_history: bytes(3, 32),
        attempt: 4,
    }
}

fn commitment() -> keyholder::AnswerCommitment {
    let block = keyholder::BlockCommitment {
        block: 3,
        tau: bytes(4, 32),
        share_commitments: vec![bytes(5, 32), bytes(6, 32)],
        selection: 1,
    };
    keyholder::AnswerCommitment {
        keyholder: 3,
        order_id: bytes(1, 32),
        cohort_digest: bytes(2, 32),
        cohort_size: 2_504,
        answer_digest: bytes(3, 32),
        blocks: vec![block],
        signature: bytes(7, 65),
        attributes_digest: bytes(8, 32),
        attempt: 5,
    }
}

fn answer_request() -> query::AnswerQueryRequest {
    query::AnswerQueryRequest {
        order_id: bytes(1, 32),
        selection: selection(),
        hpke_public_key: bytes(2, 1216),
        deadline_unix_s: 1_900_000_000,
        nonce: bytes(3, 32),
        signature: bytes(4, 65),
        filter: filter(),
        requirements: bytes(1, 1),
    }
}

fn settlement() -> exchange::Settlement {
    exchange::Settlement {
        order_id: bytes(1, 32),
        answer_digest: bytes(2, 32),
        cohort_digest: bytes(3, 32),
        cohort_size: 2_504,
        price: "25040000000000000000".to_owned(),
        payout_sequence: 6,
        payout_root: bytes(4, 32),
    }
}

fn answer_record() -> query::AnswerRecord {
    let block = query::BlockAnswer {
        block: 3,
        tau: bytes(1, 32),
        planes: vec![query::PlaneAnswer { plane: 1, body_sum: bytes(2, 144) }],
        shares: vec![query::SealedShare { share: 1, keyholder: 2, sealed: bytes(3, 200) }],
        selection: 1,
    };
    let summary = query::AnswerSummary {
        cohort_size: 2_504,
        price: "25040000000000000000".to_owned(),
        rho_nano: 10_000_000,
        degraded: true,
        answer_digest: bytes(4, 32),
        cohort_digest: bytes(5, 32),
        settlement: Some(settlement()),
        signatures: vec![exchange::settle_order_request::Signature { keyholder: 2, signature: bytes(6, 65) }],
        cohort: None,
        attributes_digest: bytes(7, 32),
    };
    query::AnswerRecord {
        network: network(),
        order_id: bytes(8, 32),
        order: Some(order()),
        selection: selection(),
        blocks: vec![block],
        summary: Some(summary),
        cohort_sums: Vec::new(),
        filter: filter(),
        schema_json: "{}".to_owned(),
        requirements: bytes(1, 1),
    }
}

fn earnings() -> exchange::ListEarningsResponse {
    let earning = exchange::Earning { account: bytes(1, 20), cumulative: "25040000000000000000".to_owned() };
    exchange::ListEarningsResponse { payout_sequence: 6, earnings: vec![earning], is_last: true }
}

fn attributes() -> keyholder::AttributeHeader {
    keyholder::AttributeHeader {
        registration_id: 1,
        revision: 2,
        schema_json: "{}".to_owned(),
        dataset_count: 3,
        commitments_digest: bytes(4, 32),
        registrant_signature: bytes(5, 65),
        attempt: 6,
    }
}

fn rekeying_order() -> keyholder::RekeyingOrder {
    keyholder::RekeyingOrder {
        registration_id: 1,
        generation: 2,
        deadline_unix_s: 1_900_000_000,
        admin: bytes(3, 20),
        signature: bytes(4, 65),
    }
}

fn rekeying_opening() -> keyholder::RekeyingOpening {
    keyholder::RekeyingOpening {
        keyholder: 2,
        registration_id: 1,
        generation: 2,
        committee_epoch: 3,
        hpke_public_key: bytes(5, 1216),
        signature: bytes(6, 65),
    }
}

fn rekeying_header() -> keyholder::RekeyingHeader {
    keyholder::RekeyingHeader {
        order: Some(rekeying_order()),
        openings: vec![rekeying_opening()],
        contributions: vec![keyholder::RekeyingContribution {
            from_keyholder: 1,
            to_keyholder: 2,
            share: 3,
            sealed: bytes(7, 1168),
            signature: bytes(8, 65),
        }],
        left_out: vec![1, 5],
    }
}

fn rekeying_piece() -> keyholder::RekeyingPiece {
    keyholder::RekeyingPiece { number: 1, is_last: true, sealed: bytes(9, 80), salt: bytes(10, 32) }
}

fn rekeying_statement() -> keyholder::RekeyingStatement {
    keyholder::RekeyingStatement {
        keyholder: 3,
        session: bytes(1, 32),
        keys_hash: bytes(2, 32),
        attributes_digest: bytes(3, 32),
        signature: bytes(4, 65),
    }
}

fn rekey_receipt() -> archive::RekeyReceipt {
    archive::RekeyReceipt {
        registration_id: 1,
        generation: 2,
        keys: bytes(3, 128),
        attestations: vec![bytes(4, 65), bytes(5, 65), bytes(6, 65)],
        // Not in version 1.
        deadline_unix_s: 0,
    }
}
