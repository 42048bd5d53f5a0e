//! Putting an answer together from sums, sealed shares and signatures.

use crate::{
    error::AggregatorError,
    relay::{KeyholderPeer, Released},
};
use bytes::Bytes;
use locus_cohort::{AnswerPlan, Cohort};
use locus_ledger::{Order, Settlement};
use locus_wire::{
    convert::field,
    pb::{
        exchange::settle_order_request,
        query::{self as pb, answer_query_response::Event},
    },
};
use std::collections::BTreeMap;

/// Everything the keyholders released for one order.
pub(super) struct Settled {
    /// What was signed.
    pub(super) settlement: Settlement,
    /// Keyholder and signature, ascending.
    pub(super) signatures: Vec<(u8, Bytes)>,
    /// Whether a keyholder was missing.
    pub(super) degraded: bool,
    /// (block, share) to the keyholder that released it and the sealed bytes.
    shares: BTreeMap<(u32, u32), (u8, Bytes)>,
}

impl Settled {
    /// Sorts what was released; needs two signatures over the same settlement.
    pub(super) fn collect(peers: &[KeyholderPeer], released: Vec<Released>) -> Result<Self, AggregatorError> {
        let mut shares = BTreeMap::new();
        let mut signed: Option<Settlement> = None;
        let mut signatures = Vec::new();
        for (peer, released) in peers.iter().zip(released) {
            for share in released.shares {
                if shares.insert((share.block, share.share), (peer.index, share.sealed)).is_some() {
                    return Err(peer.misbehaved("a share that another keyholder released"));
                }
            }
            let Some(signature) = released.settlement else { continue };
            let settlement = Settlement::try_from(field::required("settlement", &signature.settlement)?)?;
            if *signed.get_or_insert(settlement) != settlement {
                return Err(peer.misbehaved("another settlement than the others"));
            }
            signatures.push((peer.index, signature.signature));
        }
        match signed {
            Some(settlement) if signatures.len() >= 2 => Ok(Self { settlement, signatures, degraded: false, shares }),
            _ => Err(AggregatorError::KeyholdersDown(signatures.len())),
        }
    }
}

/// The messages of an answer: its blocks, then its summary.
pub(super) fn assemble(
    order: &Order,
    cohort: &Cohort,
    plan: &AnswerPlan,
    sums: Vec<Vec<u64>>,
    settled: Settled,
) -> Result<Vec<pb::AnswerQueryResponse>, AggregatorError> {
    let mut messages = Vec::with_capacity(plan.blocks().len() + 1);
    let planes = plan.planes();
    for (block, sums) in plan.blocks().iter().zip(sums.chunks(planes.len())) {
        let shares = (1..=3u32).map(|share| {
            let (keyholder, sealed) =
                settled.shares.get(&(block.block.0, share)).ok_or(AggregatorError::KeyholdersDown(2))?;
            Ok(pb::SealedShare { share, keyholder: u32::from(*keyholder), sealed: sealed.clone() })
        });
        let shares = shares.collect::<Result<Vec<_>, AggregatorError>>()?;
        let planes = planes.iter().zip(sums).map(|(plane, sum)| pb::PlaneAnswer {
            plane: u32::from(plane.code()),
            body_sum: sum.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into(),
        });
        let answer = pb::BlockAnswer {
            block: block.block.0,
            tau: Bytes::copy_from_slice(&block.tau.0.0),
            planes: planes.collect(),
            shares,
        };
        messages.push(pb::AnswerQueryResponse { event: Some(Event::Block(answer)) });
    }
    let signatures = settled.signatures.iter().map(|(keyholder, signature)| settle_order_request::Signature {
        keyholder: u32::from(*keyholder),
        signature: signature.clone(),
    });
    let summary = pb::AnswerSummary {
        cohort_size: cohort.size(),
        price: field::amount_text(cohort.price()),
        rho_nano: order.rho.as_nano(),
        degraded: settled.degraded,
        answer_digest: Bytes::copy_from_slice(&plan.digest().0.0),
        cohort_digest: Bytes::copy_from_slice(&cohort.digest().0.0),
        settlement: Some((&settled.settlement).into()),
        signatures: signatures.collect(),
    };
    messages.push(pb::AnswerQueryResponse { event: Some(Event::Summary(summary)) });
    Ok(messages)
}
