//! The same market on the embedded chain and on Anvil.
//!
//! Every scenario runs on the embedded chain. When the environment variable `LOCUS_ANVIL` names an
//! Anvil program it also runs there, over HTTP; a program that does not work fails the tests. The
//! test command (`cargo xtask test`) sets `LOCUS_ANVIL_REQUIRED` as well, and then a missing program
//! fails them too.

#![allow(missing_docs, clippy::unwrap_used)]

mod backend;
mod escrow;
mod follower;
mod life_cycle;
mod market;
mod offers;
mod parity;
mod proven;
mod races;
mod registration;
mod rekeying;

/// Runs scenarios on both chains.
macro_rules! on_both_chains {
    ($($module:ident: [$($scenario:ident),* $(,)?]),* $(,)?) => {
        mod embedded {$(
            mod $module {$(
                #[tokio::test(flavor = "multi_thread")]
                async fn $scenario() {
                    crate::$module::$scenario(&crate::backend::Backend::embedded()).await;
                }
            )*}
        )*}

        mod anvil {$(
            mod $module {$(
                #[tokio::test(flavor = "multi_thread")]
                async fn $scenario() {
                    if let Some(backend) = crate::backend::Backend::anvil(1) {
                        crate::$module::$scenario(&backend).await;
                    }
                }
            )*}
        )*}
    };
}

on_both_chains! {
    life_cycle: [
        a_cohort_is_registered_sold_paid_revoked_and_erased,
        an_order_that_costs_less_than_its_limit_returns_the_rest,
    ],
    registration: [
        a_copied_commitment_is_refused_under_any_account_kind_and_time,
        a_registration_needs_every_signature,
        signatures_count_for_one_message_one_contract_and_one_chain,
        a_batch_registers_once_and_a_retry_finds_it,
        a_new_committee_epoch_voids_older_attestations,
        revocation_works_while_the_market_is_paused,
        a_revocation_is_the_registrants_alone_and_in_time,
        an_erasure_is_recorded_for_revoked_datasets_with_the_keyholders_signature,
        only_the_admin_changes_lists_and_committee,
    ],
    rekeying: [
        new_keys_replace_the_old_ones_from_their_block_on,
        a_rekeying_needs_every_keyholders_signature_over_exactly_it,
        new_keys_are_complete_and_no_copies,
        eight_rekeyings_are_taken_also_in_a_pause_and_no_ninth,
        a_registration_with_commitments_to_its_ciphertexts_is_not_rekeyed,
        only_the_admin_is_the_admin,
    ],
    offers: [
        an_offer_is_the_registrants_alone,
        an_offer_signature_counts_once_and_in_order,
        a_signature_for_another_method_or_market_posts_no_offer,
        an_expired_or_malformed_offer_is_refused,
        a_withdrawal_cancels_offers_that_were_signed_before,
    ],
    escrow: [
        an_order_is_the_researchers_alone_and_opens_once,
        orders_and_settlements_are_signed_for_one_market_and_one_method,
        an_order_outside_the_rules_is_refused,
        anyone_returns_the_escrow_after_the_deadline_and_nobody_before,
        a_settlement_needs_two_keyholders_who_signed_exactly_it,
        an_order_is_settled_once,
        a_payout_is_claimed_once_and_grows,
        claims_never_exceed_settled_prices,
        a_contract_without_a_signature_method_signs_nothing,
    ],
    races: [
        of_sixty_four_offers_with_one_nonce_exactly_one_is_posted,
        of_sixty_four_claims_of_one_payout_exactly_one_is_paid,
        of_sixty_four_openings_of_one_order_exactly_one_takes_money,
        of_sixty_four_settlements_with_one_number_exactly_one_is_made,
        one_account_sends_sixty_four_transactions_at_once,
    ],
    follower: [
        the_view_holds_what_the_chain_says,
        a_second_view_that_starts_late_agrees_with_the_first,
    ],
}
