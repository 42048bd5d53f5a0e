//! Registrations, revocations and erasures, and every way to abuse their signatures.

use crate::{
    backend::{Backend, account, key},
    market::{
        ACCREDITOR, ADMIN, BIOBANK, KEYHOLDERS, Market, PANEL, PERSON, STRANGER, SignedBatch, earnings, leaf, member,
        refusal, sign,
    },
};
use locus_commitment::{Digest32, GenotypeCommitment, ShareSetCommitment};
use locus_ledger::{DatasetLeaf, leaves_hash};

const BAD_SIGNATURE: &str = "DatasetRegistryBadSignature";
const DUPLICATE: &str = "DatasetRegistryDuplicate";

pub(crate) async fn a_copied_commitment_is_refused_under_any_account_kind_and_time(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let original = leaf(7);
    let batch = market.batch(PERSON, 1, vec![original]);
    let registered = market.submit(&batch).await.expect("the original is registered");
    let fresh = leaf(8);
    let copies: [(&str, DatasetLeaf); 4] = [
        ("bodies", with(fresh, |leaf| leaf.commitments.bodies = original.commitments.bodies)),
        ("shares", with(fresh, |leaf| leaf.commitments.shares = original.commitments.shares)),
        ("genotypes", with(fresh, |leaf| leaf.commitments.genotypes = original.commitments.genotypes)),
        (
            "another kind of commitment",
            with(fresh, |leaf| leaf.commitments.genotypes = GenotypeCommitment(original.commitments.shares.0)),
        ),
    ];
    for (nonce, (what, copy)) in (1..).zip(copies) {
        // Control: without the copied field the same leaf is fine, which the end of the test shows.
        let stolen = market.batch(STRANGER, nonce, vec![copy]);
        assert_eq!(refusal(market.submit(&stolen).await), DUPLICATE, "{what}");
    }
    market
        .ledger
        .revoke_datasets(registered.registration, &[0], market.deadline(), &{
            let digest = market.contracts().revocation_signing_hash(registered.registration, &[0], market.deadline());
            sign(&key(PERSON), &digest)
        })
        .await
        .expect("revoked");
    let again = market.batch(STRANGER, 20, vec![original]);
    assert_eq!(refusal(market.submit(&again).await), DUPLICATE, "after the revocation");
    let twice = market.batch(STRANGER, 21, vec![fresh, fresh]);
    assert_eq!(refusal(market.submit(&twice).await), DUPLICATE, "twice in one batch");
    let own = with(fresh, |leaf| leaf.commitments.shares = ShareSetCommitment(leaf.commitments.bodies.0));
    assert_eq!(refusal(market.submit(&market.batch(STRANGER, 22, vec![own])).await), DUPLICATE, "within a leaf");
    market.submit(&market.batch(STRANGER, 23, vec![fresh])).await.expect("nothing of the refused batches was kept");
}

fn with(mut leaf: DatasetLeaf, change: impl FnOnce(&mut DatasetLeaf)) -> DatasetLeaf {
    change(&mut leaf);
    leaf
}

pub(crate) async fn a_registration_needs_every_signature(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let good = market.batch(BIOBANK, 1, vec![leaf(1)]);
    let spoil: [(&str, &str, fn(&mut SignedBatch)); 10] = [
        ("no registrant", BAD_SIGNATURE, |batch| batch.registrant_signature.clear()),
        ("a stranger for the registrant", BAD_SIGNATURE, |batch| batch.registrant_signature = vec![27; 65]),
        ("no accreditor", BAD_SIGNATURE, |batch| batch.accreditor_signature.clear()),
        ("the registrant for the accreditor", BAD_SIGNATURE, |batch| {
            batch.accreditor_signature = batch.registrant_signature.clone();
        }),
        ("no keyholder 2", BAD_SIGNATURE, |batch| batch.attestations[1].clear()),
        ("keyholders in another order", BAD_SIGNATURE, |batch| batch.attestations.swap(0, 2)),
        ("one keyholder for all", BAD_SIGNATURE, |batch| batch.attestations[1] = batch.attestations[0].clone()),
        ("a high s", BAD_SIGNATURE, |batch| batch.registrant_signature = high_form(&batch.registrant_signature)),
        ("other leaves", "DatasetRegistryLeavesMismatch", |batch| batch.leaves[0] = leaf(2)),
        ("no leaves", "DatasetRegistryBadBatchSize", |batch| batch.leaves.clear()),
    ];
    for (what, name, change) in spoil {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(refusal(market.submit(&bad).await), name, "{what}");
    }
    let mut unlisted = good.registration;
    unlisted.accreditor = Some(account(STRANGER));
    let unlisted = market.sign_batch(&key(BIOBANK), unlisted, vec![leaf(1)], 3);
    assert_eq!(refusal(market.submit(&unlisted).await), "DatasetRegistryAccreditorUnknown");
    let mut unnamed = market.batch(PERSON, 1, vec![leaf(1)]);
    unnamed.accreditor_signature = good.accreditor_signature.clone();
    assert_eq!(refusal(market.submit(&unnamed).await), "DatasetRegistryAccreditorMissing");
    market.submit(&good).await.expect("the untouched batch is registered");
}

/// The other signature of the same signer over the same digest: (r, n - s, other v).
pub(crate) fn high_form(signature: &[u8]) -> Vec<u8> {
    let low = alloy_primitives::Signature::from_raw(signature).expect("65 bytes");
    let group_order = alloy_primitives::uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
    alloy_primitives::Signature::new(low.r(), group_order - low.s(), !low.v()).as_bytes().to_vec()
}

pub(crate) async fn signatures_count_for_one_message_one_contract_and_one_chain(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let other = Market::deploy(backend).await;
    let good = market.batch(PERSON, 1, vec![leaf(1)]);
    // The same registration signed for another market on the same chain.
    let elsewhere = other.sign_batch(&key(PERSON), good.registration, good.leaves.clone(), 3);
    assert_eq!(refusal(market.submit(&elsewhere).await), BAD_SIGNATURE, "another contract");
    // The same registration signed for the same address on another chain.
    let mut contracts = *market.contracts();
    contracts.network.chain_id += 1;
    let mut bad = good.clone();
    bad.registrant_signature = sign(&key(PERSON), &contracts.registration_signing_hash(&good.registration));
    assert_eq!(refusal(market.submit(&bad).await), BAD_SIGNATURE, "another chain");
    // A keyholder's signature over the accreditation in place of its attestation.
    let digest = market.contracts().registration_digest(&good.registration);
    let mut bad = good.clone();
    bad.attestations[0] = sign(&key(KEYHOLDERS[0]), &market.contracts().accreditation_signing_hash(&digest));
    assert_eq!(refusal(market.submit(&bad).await), BAD_SIGNATURE, "another message");
    // One field changed after signing.
    let mut bad = good.clone();
    bad.registration.version = 2;
    assert_eq!(refusal(market.submit(&bad).await), BAD_SIGNATURE, "another version");
    // Another wallet puts its name on a victim's signed batch.
    let mut bad = good.clone();
    bad.registration.registrant = account(STRANGER);
    assert_eq!(refusal(market.submit(&bad).await), BAD_SIGNATURE, "another registrant");
    backend.advance_s(7_200).await;
    assert_eq!(refusal(market.submit(&good).await), "DatasetRegistryExpired");
    let mut later = good.registration;
    later.deadline_unix_s += 7_200;
    let later = market.sign_batch(&key(PERSON), later, good.leaves, 3);
    market.submit(&later).await.expect("signed with a later deadline it is registered");
}

pub(crate) async fn a_batch_registers_once_and_a_retry_finds_it(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let batch = market.batch(BIOBANK, 9, vec![leaf(1), leaf(2)]);
    let body = leaf(2).commitments.bodies.0;
    assert_eq!(market.ledger.dataset_of_commitment(&body).await.unwrap(), None);
    let registered = market.submit(&batch).await.expect("registered");
    assert_eq!(refusal(market.submit(&batch).await), "DatasetRegistryBatchNonceUsed");
    let found = market.ledger.dataset_of_commitment(&body).await.unwrap();
    assert_eq!(found, Some((registered.registration, 1)));
    let summary = market.ledger.registration_summary(registered.registration).await.unwrap();
    assert_eq!((summary.registrant, summary.panel, summary.dataset_count), (account(BIOBANK), PANEL, 2));
    let outcome = market.ledger.transaction_outcome(&registered.transaction).await.unwrap().expect("included");
    assert!(outcome.succeeded && outcome.gas_used > 100_000);
    assert_eq!(market.ledger.transaction_outcome(&Digest32([9; 32])).await.unwrap(), None);
    // Another registrant may use the same number.
    market.submit(&market.batch(PERSON, 9, vec![leaf(3)])).await.expect("registered");
}

pub(crate) async fn a_new_committee_epoch_voids_older_attestations(backend: &Backend) {
    let market = Market::deploy(backend).await;
    assert_eq!(market.ledger.committee_epoch().await.unwrap(), 3);
    let old = market.batch(PERSON, 1, vec![leaf(1)]);
    market.ledger.set_keyholder(2, &member(14)).await.expect("the admin replaces keyholder 2");
    assert_eq!(market.ledger.keyholder_signer(2).await.unwrap(), account(14));
    assert_eq!(refusal(market.submit(&old).await), BAD_SIGNATURE);
    let mut new = market.sign_batch(&key(PERSON), old.registration, old.leaves, 4);
    assert_eq!(refusal(market.submit(&new).await), BAD_SIGNATURE, "the former keyholder 2");
    let digest = market.contracts().registration_digest(&new.registration);
    new.attestations[1] = sign(&key(14), &market.contracts().attestation_signing_hash(&digest, 4));
    market.submit(&new).await.expect("the new committee attests");
}

pub(crate) async fn revocation_works_while_the_market_is_paused(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let (ledger, contracts) = (&market.ledger, *market.contracts());
    let registration = market.register(BIOBANK, 0, 3).await.registration;
    market.post(BIOBANK, &market.offer(registration, 1, 10)).await.expect("posted");
    let (settled, unsettled) = (market.open(1, 100).await, market.open(2, 100).await);
    ledger.pause().await.expect("the admin pauses");
    assert!(ledger.is_paused().await.unwrap());

    let batch = market.batch(PERSON, 1, vec![leaf(50)]);
    assert_eq!(refusal(market.submit(&batch).await), "EnforcedPause");
    assert_eq!(refusal(market.post(BIOBANK, &market.offer(registration, 2, 10)).await), "OfferBookPaused");
    assert_eq!(refusal(market.open_signed(&market.order(3, 1), None).await), "QueryEscrowPaused");

    let revocation = contracts.revocation_signing_hash(registration, &[1], market.deadline());
    let signature = sign(&key(BIOBANK), &revocation);
    ledger.revoke_datasets(registration, &[1], market.deadline(), &signature).await.expect("revoked");
    assert!(ledger.is_revoked(registration, 1).await.unwrap());
    assert!(!ledger.is_revoked(registration, 0).await.unwrap());
    let withdrawal = sign(&key(BIOBANK), &contracts.withdrawal_signing_hash(registration, 1));
    ledger.withdraw_offer(registration, 1, &withdrawal).await.expect("withdrawn");
    let tree = earnings(&[(BIOBANK, 30)]);
    market.settle(&market.settlement(settled, 1, 30, &tree)).await.expect("settled");
    ledger.claim_payout(&tree.proof(account(BIOBANK)).unwrap()).await.expect("claimed");
    backend.advance_s(7_200).await;
    ledger.refund_order(unsettled).await.expect("refunded");

    ledger.unpause().await.expect("the admin ends the pause");
    let mut late = batch.registration;
    late.deadline_unix_s += 7_200;
    market.submit(&market.sign_batch(&key(PERSON), late, vec![leaf(50)], 3)).await.expect("registered");
}

pub(crate) async fn a_revocation_is_the_registrants_alone_and_in_time(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let (ledger, contracts, deadline) = (&market.ledger, *market.contracts(), market.deadline());
    let registration = market.register(BIOBANK, 0, 2).await.registration;
    let own = contracts.revocation_signing_hash(registration, &[0], deadline);
    let stranger = sign(&key(STRANGER), &own);
    assert_eq!(refusal(ledger.revoke_datasets(registration, &[0], deadline, &stranger).await), BAD_SIGNATURE);
    let signature = sign(&key(BIOBANK), &own);
    assert_eq!(refusal(ledger.revoke_datasets(registration, &[1], deadline, &signature).await), BAD_SIGNATURE);
    let high = high_form(&signature);
    assert_eq!(refusal(ledger.revoke_datasets(registration, &[0], deadline, &high).await), BAD_SIGNATURE);
    let absent = sign(&key(BIOBANK), &contracts.revocation_signing_hash(registration, &[2], deadline));
    let outcome = ledger.revoke_datasets(registration, &[2], deadline, &absent).await;
    assert_eq!(refusal(outcome), "DatasetRegistryBadOrdinal");
    assert_eq!(refusal(ledger.revoke_own_datasets(registration, &[0]).await), "DatasetRegistryNotRegistrant");

    ledger.revoke_datasets(registration, &[0], deadline, &signature).await.expect("revoked");
    ledger.revoke_datasets(registration, &[0], deadline, &signature).await.expect("a repetition is harmless");
    let direct = market.seen_by(backend, &key(BIOBANK)).await;
    direct.revoke_own_datasets(registration, &[1]).await.expect("the registrant needs no signature");
    assert!(ledger.is_revoked(registration, 1).await.unwrap());
    backend.advance_s(7_200).await;
    let outcome = ledger.revoke_datasets(registration, &[0], deadline, &signature).await;
    assert_eq!(refusal(outcome), "DatasetRegistryExpired");
}

pub(crate) async fn an_erasure_is_recorded_for_revoked_datasets_with_the_keyholders_signature(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let (ledger, contracts) = (&market.ledger, *market.contracts());
    let registration = market.register(PERSON, 0, 1).await.registration;
    let by = |keyholder: u8, claimed: u8| {
        sign(&key(KEYHOLDERS[usize::from(keyholder) - 1]), &contracts.erasure_signing_hash(registration, &[0], claimed))
    };
    let early = ledger.record_erasure(registration, &[0], 1, &by(1, 1)).await;
    assert_eq!(refusal(early), "DatasetRegistryNotRevoked");
    let direct = market.seen_by(backend, &key(PERSON)).await;
    direct.revoke_own_datasets(registration, &[0]).await.expect("revoked");
    assert_eq!(refusal(ledger.record_erasure(registration, &[0], 2, &by(1, 2)).await), BAD_SIGNATURE);
    assert_eq!(refusal(ledger.record_erasure(registration, &[0], 2, &by(2, 1)).await), BAD_SIGNATURE);
    ledger.record_erasure(registration, &[0], 2, &by(2, 2)).await.expect("recorded");
}

pub(crate) async fn only_the_admin_changes_lists_and_committee(backend: &Backend) {
    let market = Market::deploy(backend).await;
    let stranger = market.seen_by(backend, &key(STRANGER)).await;
    const DENIED: &str = "AccessControlUnauthorizedAccount";
    assert_eq!(refusal(stranger.pause().await), DENIED);
    assert_eq!(refusal(stranger.set_keyholder(1, &member(STRANGER)).await), DENIED);
    assert_eq!(refusal(stranger.set_accreditor(account(STRANGER), true, "me").await), DENIED);
    assert_eq!(refusal(stranger.set_researcher(account(STRANGER), true, "me").await), DENIED);
    assert_eq!(refusal(stranger.mint(account(STRANGER), locus_ledger::Amount(1)).await), DENIED);
    assert!(market.ledger.is_accreditor(account(ACCREDITOR)).await.unwrap());
    market.ledger.set_accreditor(account(ACCREDITOR), false, "").await.expect("the admin removes");
    let batch = market.batch(BIOBANK, 1, vec![leaf(1)]);
    assert_eq!(batch.registration.leaves_hash, leaves_hash(&[leaf(1)]));
    assert_eq!(refusal(market.submit(&batch).await), "DatasetRegistryAccreditorUnknown");
    market.ledger.set_researcher(account(STRANGER), true, "them").await.expect("the admin lists");
    assert!(market.ledger.is_accredited_researcher(account(STRANGER)).await.unwrap());
    assert_eq!(market.ledger.sender(), Some(account(ADMIN)));
}
