//! What the crate promises, one file per promise.
#![allow(clippy::cast_possible_truncation, reason = "statistics turn reals into bins")]

mod answers_isolate_nobody;
mod attacks_on_released_counts_gain_little;
mod budgets_never_shrink;
mod questions_have_one_name;
mod quotes_match_measured_attacks;
mod releases_keep_their_privacy_loss;
mod sampler_is_reproducible;
mod sampler_matches_the_distribution;
mod stream;
