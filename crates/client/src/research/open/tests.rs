use super::*;
use crate::{
    enrol::UploadJob,
    progress::NoProgress,
    research::{
        Question,
        file::save_record,
        scripted::{RESEARCHER_SEED, sign},
    },
    testing::{self, TestCohort},
};
use bytes::Bytes;
use locus_commitment::{DatasetContext, Digest32};
use locus_genomics::{Declarations, PanelBlockIndex, Purpose, PurposeCode};
use locus_ledger::{Amount, QueryClass, order_id};
use locus_privacy::{Rho, Tier, report};
use locus_rlwe::{Mask, NoiseInput, RlweError, ShareSum, partial_decryption, select_released};
use locus_sharing::{NoiseKey, SharingError, seal::seal};
use locus_wire::{convert::selection_to_pb, pb::archive::upload_datasets_request::Part};
use std::collections::BTreeMap;

/// An answer to a question about a whole test cohort, made as archive, aggregator and keyholders do.
struct Answered {
    cohort: TestCohort,
    record: pb::AnswerRecord,
}

fn question(cohort: &TestCohort, indices: &[u32], tier: Tier, rho: Rho) -> Question {
    let indices = indices.iter().copied().map(VariantIndex);
    Question {
        selection: VariantSelection::from_indices(&cohort.input.panel, indices).expect("a selection"),
        query_class: QueryClass::Counts,
        purpose: Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE },
        condition: None,
        tier,
        rho,
        filter: None,
        requirements: Default::default(),
    }
}

fn order_of(question: &Question) -> Order {
    Order {
        researcher: testing::account(52).address(),
        panel: question.selection.panel(),
        selection_digest: Digest32(question.selection.digest()),
        predicate_digest: Digest32([0; 32]),
        query_class: question.query_class,
        purpose: question.purpose.to_bits(),
        condition_digest: question.condition_digest(),
        tier: question.tier,
        rho: question.rho,
        max_price: Amount(100),
        hpke_key_digest: SealingPrivateKey::from_seed(&RESEARCHER_SEED).public_key().digest(),
        deadline_unix_s: 1_700_000_000,
        nonce: 1,
    }
}

/// Sums of all bodies by (block, plane).
fn body_sums(job: &UploadJob) -> BTreeMap<(u32, u32), Box<[u64; 4096]>> {
    let mut sums = BTreeMap::new();
    let mut add = |message: locus_wire::pb::archive::UploadDatasetsRequest| {
        if let Some(Part::Bodies(chunk)) = message.part {
            let sum = sums.entry((chunk.block, chunk.plane)).or_insert_with(|| Box::new([0u64; 4096]));
            for body in chunk.bodies.chunks(32_768) {
                for (total, word) in sum.iter_mut().zip(body.as_chunks::<8>().0) {
                    *total = total.wrapping_add(u64::from_le_bytes(*word));
                }
            }
        }
        Ok(())
    };
    job.produce(&mut add, &NoProgress).expect("produced");
    sums
}

impl Answered {
    fn new(people: u32, variants: u32, complete_calls: bool, ask: &[u32], tier: Tier, rho: Rho) -> Self {
        let cohort = TestCohort::read(people, variants, complete_calls);
        let question = question(&cohort, ask, tier, rho);
        let order = order_of(&question);
        let job = cohort.job();
        let network = testing::network();
        let panel = &cohort.input.panel;
        let shape = PanelShape { digest: panel.digest(), complete_calls };
        let named = NamedCohort { digest: CohortDigest(Digest32([61; 32])), size: people };
        let plan =
            AnswerPlan::of_named(network.id(), shape, &question.selection, tier, rho, named, None).expect("a plan");
        let id = order_id(&order);
        let sums = body_sums(&job);
        let blocks = plan.blocks().iter().map(|block| answer_block(&job, &plan, block, id, &sums)).collect();
        let settlement = Settlement {
            order: id,
            answer_digest: plan.digest().0,
            cohort_digest: named.digest.0,
            cohort_size: people,
            price: Amount(70),
            payout_sequence: 1,
            payout_root: Digest32([62; 32]),
        };
        let summary = pb::AnswerSummary {
            cohort_size: people,
            price: "70".into(),
            rho_nano: rho.as_nano(),
            degraded: false,
            answer_digest: settlement.answer_digest.0.to_vec().into(),
            cohort_digest: settlement.cohort_digest.0.to_vec().into(),
            settlement: Some((&settlement).into()),
            signatures: sign(&settlement, &[1, 2, 3]),
            cohort: None,
            attributes_digest: Default::default(),
        };
        let record = pb::AnswerRecord {
            network: Some((&network.id()).into()),
            order_id: id.0.0.to_vec().into(),
            order: Some((&order).into()),
            selection: Some(selection_to_pb(&question.selection)),
            blocks,
            summary: Some(summary),
            cohort_sums: Vec::new(),
            filter: None,
            schema_json: String::new(),
            requirements: Default::default(),
        };
        Self { cohort, record }
    }

    fn open(&self, record: &pb::AnswerRecord) -> Result<OpenedAnswer, ClientError> {
        let key = SealingPrivateKey::from_seed(&RESEARCHER_SEED);
        open_answer(record, &self.cohort.input.panel, &testing::network(), &key).map(|(_, opened)| opened)
    }
}

fn answer_block(
    job: &UploadJob,
    plan: &AnswerPlan,
    block: &BlockPlan,
    order: OrderId,
    sums: &BTreeMap<(u32, u32), Box<[u64; 4096]>>,
) -> pb::BlockAnswer {
    let words = |values: Vec<u64>| Bytes::from(values.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
    let plane = |plane: &Plane| pb::PlaneAnswer {
        plane: u32::from(plane.code()),
        body_sum: words(select_released(&block.slots, &sums[&(block.block.0, u32::from(plane.code()))])),
    };
    let partials = ShareIndex::ALL.map(|share| {
        let of_plane = |plane: &Plane| partial(job, plan, block, *plane, share).to_bytes();
        plan.planes().iter().flat_map(of_plane).collect::<Vec<u8>>()
    });
    let shares = release_plan(None).map(|assignment| {
        let share = assignment.share;
        let vouched = vouched_share(assignment.releaser, share).expect("a holder of both");
        let mut payload = partials[share.position()].clone();
        payload.extend(share_digest(&block.tau, vouched, &partials[vouched.position()]).0);
        let associated_data = sealed_share_associated_data(&order, &block.tau, share.get());
        let binding = SealBinding { info: DST_SEALED_SHARE, associated_data: &associated_data };
        let recipient = SealingPrivateKey::from_seed(&RESEARCHER_SEED).public_key();
        let mut rng = crate::entropy::system_rng().expect("randomness");
        let sealed = seal(&recipient, binding, &payload, &mut rng).expect("sealed");
        let keyholder = u32::from(assignment.releaser.get());
        pb::SealedShare { share: u32::from(share.get()), keyholder, sealed: sealed.into_bytes().into() }
    });
    pb::BlockAnswer {
        block: block.block.0,
        tau: block.tau.0.0.to_vec().into(),
        planes: plan.planes().iter().map(plane).collect(),
        shares: shares.into(),
        selection: block.selection,
    }
}

fn partial(
    job: &UploadJob,
    plan: &AnswerPlan,
    block: &BlockPlan,
    plane: Plane,
    share: ShareIndex,
) -> PartialDecryption {
    let identity = &job.batch.identity;
    let contexts: Vec<DatasetContext> = job
        .batch
        .datasets
        .iter()
        .map(|dataset| DatasetContext {
            network: identity.network,
            registrant: identity.registrant,
            dataset: dataset.dataset,
            panel: job.batch.panel.digest(),
            version: identity.version,
        })
        .collect();
    let seeds = job.batch.datasets.iter().map(|dataset| dataset.keys.secrets().seeds.of(share));
    let sum = ShareSum::over(share, PanelBlockIndex(block.block.0), plane, contexts.iter().zip(seeds)).expect("a sum");
    let noise_key = NoiseKey::from_bytes([70 + share.get(); 32]);
    let noise = NoiseInput { noise_key: &noise_key, tau: &block.tau, dp_share: plan.dp_share() };
    partial_decryption(Mask::v1(), &sum, plane, &block.slots, noise).expect("a partial decryption")
}

const ASKED: [u32; 5] = [0, 3, 4079, 4080, 4089];

#[test]
fn exact_counts_equal_the_plaintext_across_blocks_and_planes() {
    for complete_calls in [false, true] {
        let answered = Answered::new(66, 4090, complete_calls, &ASKED, Tier::Exact, Rho::ZERO);
        let opened = answered.open(&answered.record).expect("opened");
        let counts: Vec<_> =
            opened.rows().iter().map(|row| (row.index.0, [row.het, row.hom_alt, row.missing])).collect();
        assert_eq!(counts, ASKED.map(|index| (index, answered.cohort.truth(index))).to_vec());
        assert_eq!((opened.cohort_size(), opened.dp_total()), (66, None));
    }
}

#[test]
fn noisy_counts_differ_by_the_noise_that_was_bought() {
    let rho = Rho::from_nano(50_000_000);
    let answered = Answered::new(66, 4090, false, &ASKED, Tier::Open, rho);
    let opened = answered.open(&answered.record).expect("opened");
    let total = opened.dp_total().expect("noise");
    let sigma = report::sigma(total);
    assert_eq!(sigma, 10.0, "five variants at rho 0.05");
    let errors: Vec<i64> = opened
        .rows()
        .iter()
        .flat_map(|row| {
            let truth = answered.cohort.truth(row.index.0);
            [row.het - truth[0], row.hom_alt - truth[1], row.missing - truth[2]]
        })
        .collect();
    assert!(errors.iter().any(|error| *error != 0), "there is noise");
    assert!(errors.iter().all(|error| error.abs() < 70), "within seven sigma: {errors:?}");
}

#[test]
fn a_kept_answer_opens_again_without_any_service() {
    let answered = Answered::new(10, 20, true, &[1, 2], Tier::Exact, Rho::ZERO);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("one.answer");
    save_record(&answered.record, &path).expect("saved");
    let loaded = crate::research::load_record(&path).expect("loaded");
    let verified = verify_answer(&loaded, &answered.cohort.input.panel, &testing::network()).expect("verified");
    assert_eq!((verified.signed_by().len(), verified.is_degraded()), (3, false));
    assert_eq!(answered.open(&loaded).expect("opened").rows(), answered.open(&answered.record).expect("opened").rows());
}

#[test]
fn two_signatures_are_enough_but_degraded_and_one_is_not() {
    let answered = Answered::new(10, 20, true, &[1, 2], Tier::Exact, Rho::ZERO);
    let panel = &answered.cohort.input.panel;
    let with = |by: &[u8]| {
        let mut record = answered.record.clone();
        let summary = record.summary.as_mut().expect("a summary");
        let settlement = Settlement::try_from(summary.settlement.as_ref().expect("one")).expect("a settlement");
        summary.signatures = sign(&settlement, by);
        verify_answer(&record, panel, &testing::network())
    };
    assert!(with(&[2, 3]).is_ok_and(|verified| verified.is_degraded()));
    assert!(matches!(with(&[2]), Err(ClientError::Answer(AnswerError::TooFewSignatures { valid: 1 }))));
    assert!(matches!(with(&[]), Err(ClientError::Answer(AnswerError::TooFewSignatures { valid: 0 }))));
}

/// Each change is one that a dishonest or broken service could make.
#[test]
fn an_answer_with_any_part_changed_does_not_open() {
    let answered = Answered::new(10, 4090, false, &ASKED, Tier::Exact, Rho::ZERO);
    assert!(answered.open(&answered.record).is_ok(), "the unchanged answer opens");
    let changes: [(&str, fn(&mut pb::AnswerRecord)); 19] = [
        ("another market", |record| record.network.as_mut().expect("one").chain_id = 1),
        ("another order id", |record| record.order_id = vec![1; 32].into()),
        ("another order", |record| record.order.as_mut().expect("one").nonce += 1),
        ("another selection", |record| record.selection.as_mut().expect("one").ranges[0].end += 1),
        ("no summary", |record| record.summary = None),
        ("another cohort size", |record| summary(record).cohort_size += 1),
        ("another size in the settlement", |record| {
            summary(record).cohort_size += 1;
            settlement(record).cohort_size += 1;
        }),
        ("another price", |record| summary(record).price = "71".into()),
        ("another answer digest", |record| {
            summary(record).answer_digest = vec![9; 32].into();
            settlement(record).answer_digest = vec![9; 32].into();
        }),
        ("a block missing", |record| drop(record.blocks.pop())),
        ("blocks swapped", |record| record.blocks.swap(0, 1)),
        ("another tau", |record| record.blocks[0].tau = vec![9; 32].into()),
        ("a plane missing", |record| drop(record.blocks[0].planes.pop())),
        ("a share twice", |record| record.blocks[0].shares[1] = record.blocks[0].shares[0].clone()),
        ("shares of another block", |record| {
            record.blocks[0].shares[1] = record.blocks[1].shares[1].clone();
        }),
        ("a share of another keyholder", |record| record.blocks[0].shares[1].keyholder = 3),
        ("a share of a keyholder that does not hold it", |record| record.blocks[0].shares[1].keyholder = 2),
        ("a sum cut off", |record| drop(record.blocks[0].planes[0].body_sum.split_off(8))),
        ("another dataset in the sum", |record| {
            let mut sum = record.blocks[0].planes[1].body_sum.to_vec();
            sum[7] ^= 1;
            record.blocks[0].planes[1].body_sum = sum.into();
        }),
    ];
    for (what, change) in changes {
        let mut record = answered.record.clone();
        change(&mut record);
        assert!(answered.open(&record).is_err(), "{what}");
    }
}

fn summary(record: &mut pb::AnswerRecord) -> &mut pb::AnswerSummary {
    record.summary.as_mut().expect("a summary")
}

fn settlement(record: &mut pb::AnswerRecord) -> &mut locus_wire::pb::exchange::Settlement {
    summary(record).settlement.as_mut().expect("a settlement")
}

/// The signed digest covers what an answer is about, even when every signature is right.
#[test]
fn keyholders_who_sign_another_question_are_caught() {
    let answered = Answered::new(10, 30, true, &[1, 2], Tier::Exact, Rho::ZERO);
    let other = Answered::new(10, 30, true, &[1, 3], Tier::Exact, Rho::ZERO);
    let mut record = answered.record.clone();
    let foreign = other.record.summary.as_ref().expect("a summary").answer_digest.clone();
    settlement(&mut record).answer_digest = foreign.clone();
    summary(&mut record).answer_digest = foreign;
    let signed = Settlement::try_from(settlement(&mut record) as &_).expect("a settlement");
    summary(&mut record).signatures = sign(&signed, &[1, 2, 3]);
    assert!(matches!(answered.open(&record), Err(ClientError::Answer(AnswerError::OtherQuestion))));
}

#[test]
fn a_price_above_the_maximum_is_caught_even_when_signed() {
    let answered = Answered::new(10, 30, true, &[1], Tier::Exact, Rho::ZERO);
    let mut record = answered.record.clone();
    settlement(&mut record).price = "101".into();
    summary(&mut record).price = "101".into();
    let signed = Settlement::try_from(settlement(&mut record) as &_).expect("a settlement");
    summary(&mut record).signatures = sign(&signed, &[1, 2, 3]);
    let refused = answered.open(&record);
    assert!(matches!(refused, Err(ClientError::Answer(AnswerError::AboveMaximum { price: Amount(101), .. }))));
}

#[test]
fn only_the_key_of_the_order_opens_the_shares() {
    let answered = Answered::new(10, 30, true, &[1], Tier::Exact, Rho::ZERO);
    let panel = &answered.cohort.input.panel;
    let stranger = SealingPrivateKey::from_seed(&[99; 32]);
    let refused = open_answer(&answered.record, panel, &testing::network(), &stranger);
    assert!(matches!(refused, Err(ClientError::Answer(AnswerError::OtherKey { .. }))));
    // Past that check, the seal itself refuses.
    let verified = verify_answer(&answered.record, panel, &testing::network()).expect("verified");
    let block = &verified.plan().blocks()[0];
    let sealed = &answered.record.blocks[0].shares[0];
    let refused = open_share(&verified, block, ShareIndex::ALL[0], sealed, &stranger);
    assert!(matches!(refused, Err(ClientError::Sharing(SharingError::Open))));
}

#[test]
fn check_slots_show_a_sum_over_another_cohort() {
    let answered = Answered::new(10, 30, true, &[1], Tier::Exact, Rho::ZERO);
    let other = Answered::new(9, 30, true, &[1], Tier::Exact, Rho::ZERO);
    let mut record = answered.record.clone();
    record.blocks[0].planes[0] = other.record.blocks[0].planes[0].clone();
    assert!(matches!(answered.open(&record), Err(ClientError::Rlwe(RlweError::AnswerCheckSlot { slot: 0 }))));
}

/// A keyholder knows the shares it releases, so it can alter one by whole people and seal it again; the
/// other holder's digest under another seal shows it.
#[test]
fn a_share_that_its_releaser_altered_is_caught_by_the_digest_of_the_other_holder() {
    let answered = Answered::new(10, 30, true, &[1], Tier::Exact, Rho::ZERO);
    let verified =
        verify_answer(&answered.record, &answered.cohort.input.panel, &testing::network()).expect("verified");
    assert!(!verified.is_degraded());
    let block = &verified.plan().blocks()[0];
    let key = SealingPrivateKey::from_seed(&RESEARCHER_SEED);
    for share in ShareIndex::ALL {
        let mut record = answered.record.clone();
        let message = &mut record.blocks[0].shares[share.position()];
        let mut payload = open_share(&verified, block, share, message, &key).expect("opens");
        // One heterozygous person less in d_A is one more in the count; no check slot changes.
        let word = &mut payload.as_chunks_mut::<8>().0[16];
        *word = u64::from_le_bytes(*word).wrapping_sub(1 << 26).to_le_bytes();
        let associated_data = sealed_share_associated_data(&verified.order_id, &block.tau, share.get());
        let binding = SealBinding { info: DST_SEALED_SHARE, associated_data: &associated_data };
        let mut rng = crate::entropy::system_rng().expect("randomness");
        message.sealed = seal(&key.public_key(), binding, &payload, &mut rng).expect("sealed").into_bytes().into();
        let refused = answered.open(&record);
        let Err(ClientError::Answer(AnswerError::Altered { share: seen, .. })) = refused else {
            panic!("share {share}: {refused:?}")
        };
        assert_eq!(seen, share);
    }
}
