//! The rows, in the order of the table.

mod association_5000x65536;
mod ballista_core;
mod bytes_per_and;
mod bytes_per_genotype;
mod cohort_100k;
mod commit_dataset;
mod counts_vs_plink2;
mod encrypt_block;
mod enroll_biobank;
mod enroll_with_commitments;
mod filtered_vs_unfiltered;
mod gas_register;
mod gas_settle;
mod keyholder_share;
mod paid_queries_50;
mod paid_query;
mod prove_cohort;
mod prove_disclosure;
mod prove_encryption;
mod prove_update;
mod quotes_1000;
mod rekey_biobank;
mod rss_max;
mod sum_memory;
mod sum_store;
mod verify;
mod verify_answer;

use crate::row::Row;

/// All rows.
pub(crate) fn all() -> Vec<Row> {
    vec![
        sum_memory::ROW,
        sum_store::ROW,
        ballista_core::ROW,
        cohort_100k::ROW,
        counts_vs_plink2::ROW,
        keyholder_share::ROW,
        encrypt_block::ROW,
        enroll_biobank::ROW,
        paid_query::ROW,
        quotes_1000::ROW,
        paid_queries_50::ROW,
        filtered_vs_unfiltered::ROW,
        filtered_vs_unfiltered::AUTHENTICATED,
        association_5000x65536::ROW,
        bytes_per_and::ROW,
        bytes_per_and::AUTHENTICATED,
        rss_max::ROW,
        bytes_per_genotype::ROW,
        // After those that look at what was enrolled.
        rekey_biobank::ROW,
        prove_encryption::ROW,
        prove_disclosure::ROW,
        prove_cohort::ROW,
        prove_update::ROW,
        verify::ROW,
        commit_dataset::ROW,
        enroll_with_commitments::ROW,
        verify_answer::ROW,
        gas_register::ROW,
        gas_settle::ROW,
    ]
}
