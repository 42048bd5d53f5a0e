//! Whole markets on test data, one file for each thing that they do. One program, so that what all of them use is
//! compiled once.

mod associations_equal_plink_on_real_genomes;
mod attributes_are_shared_among_keyholders;
mod ciphertexts_are_kept_in_s3;
mod filters_give_plinks_counts_of_real_exomes;
mod filters_select_people_nobody_sees;
mod open_answers_have_the_noise_they_state;
mod orders_count_whom_they_require;
mod registrations_get_new_keys;
mod researcher_gets_counts_for_paid_cohort;
