//! The heavy part of an answer: summing key shares and multiplying by the mask.

use super::{key_of, question::Asked, stored_answer, united_commitment};
use crate::{
    error::KeyholderError,
    keyholder::Keyholder,
    store::{DatasetKey, StoreError, StoredAnswer, seeds_of_secret},
};
use locus_cohort::{AnswerPlan, Cohort, DST_SEALED_SHARE, Member, sealed_share_associated_data, share_digest};
use locus_commitment::Digest32;
use locus_genomics::{PanelBlockIndex, PanelDigest, Plane};
use locus_ledger::OrderId;
use locus_rlwe::{BlockKeys, Mask, NoiseInput, ShareSum, ShareSumBuilder, partial_decryption};
use locus_sharing::{
    NoiseKey, ShareIndex,
    seal::{SealBinding, SealingPublicKey, seal},
    shares_of,
};
use locus_wire::{pb::keyholder as pb, relay};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Members whose seeds are in memory at a time.
const MEMBERS_PER_CHUNK: usize = 1024;

/// What one share contributes to an answer: for each block, its commitment and its partial
/// decryptions, planes one after the other.
struct ShareAnswer {
    share: ShareIndex,
    blocks: Vec<(Digest32, Zeroizing<Vec<u8>>)>,
}

impl Keyholder {
    /// Computes both shares of every block, seals them and signs what they commit to.
    pub(super) async fn compute(
        &self,
        asked: &Asked,
        cohort: &Cohort,
        plan: &AnswerPlan,
        participants: &[u32],
    ) -> Result<StoredAnswer, KeyholderError> {
        let keys = shares_of(self.index()).map(|share| (share, self.noise_key(share)));
        let mut jobs = Vec::with_capacity(2);
        for (share, noise_key) in keys {
            let job = ShareJob {
                keyholder: self.clone(),
                share,
                noise_key: noise_key?,
                panel: asked.panel.digest,
                members: cohort.members().to_vec(),
                plan: plan.clone(),
            };
            jobs.push(locus_service::blocking(move || job.run()));
        }
        let answers: Arc<[ShareAnswer]> = futures::future::try_join_all(jobs).await?.into();
        let sealing = [(0, 1), (1, 0)].map(|(own, other)| {
            let (answers, plan, order, recipient) =
                (answers.clone(), plan.clone(), asked.order_id, asked.recipient.clone());
            locus_service::blocking(move || seal_share(&answers[own], &answers[other], &plan, order, &recipient))
        });
        let sealed = futures::future::try_join_all(sealing).await?;
        let blocks = plan.blocks().iter().enumerate().map(|(place, block)| pb::BlockCommitment {
            block: block.block.0,
            tau: block.tau.0.0.to_vec().into(),
            share_commitments: answers.iter().map(|answer| answer.blocks[place].0.0.to_vec().into()).collect(),
            selection: block.selection,
        });
        let mut commitment = pb::AnswerCommitment {
            keyholder: u32::from(self.index().get()),
            order_id: asked.order_id.0.0.to_vec().into(),
            cohort_digest: cohort.digest().0.0.to_vec().into(),
            cohort_size: cohort.size(),
            answer_digest: plan.digest().0.0.to_vec().into(),
            blocks: blocks.collect(),
            signature: Default::default(),
            attributes_digest: Default::default(),
            attempt: 0,
        };
        commitment.signature = self.sign(&relay::commitment_digest(&self.network(), &commitment))?;
        let mut shares = Vec::with_capacity(plan.blocks().len() * answers.len());
        for (answer, sealed) in answers.iter().zip(sealed) {
            let number = u32::from(answer.share.get());
            for (block, sealed) in plan.blocks().iter().zip(sealed) {
                shares.push(pb::ReleasedShare {
                    block: block.block.0,
                    share: number,
                    sealed: sealed.into(),
                    selection: block.selection,
                });
            }
        }
        Ok(stored_answer(commitment, shares, cohort, participants))
    }
}

/// Seals the blocks of one share to the researcher, each with the digest of what this keyholder has
/// for its other share, so that the researcher sees whether the releaser of that one altered it.
fn seal_share(
    own: &ShareAnswer,
    other: &ShareAnswer,
    plan: &AnswerPlan,
    order: OrderId,
    recipient: &SealingPublicKey,
) -> Result<Vec<Vec<u8>>, KeyholderError> {
    let parts = own.blocks.iter().zip(&other.blocks);
    let blocks = plan.blocks().iter().zip(parts).map(|(block, ((_, partials), (_, other_partials)))| {
        let mut payload = partials.clone();
        payload.extend_from_slice(&share_digest(&block.tau, other.share, other_partials).0);
        let associated_data = sealed_share_associated_data(&order, &block.tau, own.share.get());
        let binding = SealBinding { info: DST_SEALED_SHARE, associated_data: &associated_data };
        Ok(seal(recipient, binding, &payload, &mut crate::keyholder::system_rng())?.into_bytes())
    });
    blocks.collect()
}

struct ShareJob {
    keyholder: Keyholder,
    share: ShareIndex,
    noise_key: NoiseKey,
    panel: PanelDigest,
    members: Vec<Member>,
    plan: AnswerPlan,
}

impl ShareJob {
    fn run(&self) -> Result<ShareAnswer, KeyholderError> {
        let sums = self.sum_shares()?;
        let planes = self.plan.planes();
        let mut blocks = Vec::with_capacity(self.plan.blocks().len());
        for (block, sums) in self.plan.blocks().iter().zip(sums.chunks(planes.len())) {
            let noise = NoiseInput { noise_key: &self.noise_key, tau: &block.tau, dp_share: self.plan.dp_share() };
            let mut payload = Zeroizing::new(Vec::new());
            let mut commitments = Vec::with_capacity(planes.len());
            for (plane, sum) in planes.iter().zip(sums) {
                let partial = partial_decryption(Mask::v1(), sum, *plane, &block.slots, noise)?;
                commitments.push(partial.commitment(&self.noise_key, &block.tau));
                payload.extend_from_slice(&partial.to_bytes());
            }
            blocks.push((united_commitment(&commitments), payload));
        }
        Ok(ShareAnswer { share: self.share, blocks })
    }

    /// S_A of every (block, plane), blocks first.
    fn sum_shares(&self) -> Result<Vec<ShareSum>, KeyholderError> {
        let columns: Vec<(PanelBlockIndex, Plane)> = self
            .plan
            .blocks()
            .iter()
            .flat_map(|block| self.plan.planes().iter().map(|plane| (block.block, *plane)))
            .collect();
        let mut builders: Vec<ShareSumBuilder> = columns.iter().map(|_| ShareSumBuilder::new(self.share)).collect();
        for members in self.members.chunks(MEMBERS_PER_CHUNK) {
            let keys: Vec<DatasetKey> = members.iter().map(key_of).collect();
            let seeds = self.keyholder.store().seeds(&keys)?;
            for (member, secret) in members.iter().zip(seeds) {
                let seeds = seeds_of_secret(self.keyholder.index(), &secret)?;
                let held = seeds.iter().find(|(share, _)| *share == self.share);
                let (share, seed) = held.ok_or(StoreError::Damaged("seed"))?;
                let block_keys = BlockKeys::new(&self.keyholder.context_of(self.panel, member), *share, seed);
                for ((block, plane), builder) in columns.iter().zip(&mut builders) {
                    builder.add(&block_keys.expand(*block, *plane))?;
                }
            }
        }
        Ok(builders.into_iter().map(ShareSumBuilder::finish).collect())
    }
}
