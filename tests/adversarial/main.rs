//! Parties that cheat, one file each, against all services of a market.

mod aggregator_cannot_change_an_answer;
mod contributor_cannot_copy_a_dataset;
mod contributor_cannot_enrol_unproven_ciphertexts;
mod contributor_cannot_spoil_a_cohort;
mod exchange_cannot_invent_payouts;
mod keyholder_cannot_alter_or_stop_an_answer;
mod orders_settle_on_proven_cohorts_only;
mod researcher_cannot_cheat_with_orders;
mod researcher_cannot_isolate_a_person;
