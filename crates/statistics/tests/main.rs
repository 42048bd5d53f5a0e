//! Tests of the statistics against other programs and against their own claims.

mod calibrated_under_noise;
mod equals_plink;
mod equals_plink_on_an_extract;
mod plink_files;
mod printed;
mod textbook_examples;
