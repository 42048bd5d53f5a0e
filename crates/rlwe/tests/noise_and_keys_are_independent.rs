//! Streams that must have nothing to do with each other: shares, blocks, planes, datasets, kinds of
//! noise and questions.

mod support;

use locus_genomics::{PanelBlockIndex, Plane};
use locus_rlwe::{EncryptionNoise, NoiseInput, derive_noise};
use locus_sharing::ShareIndex;
use support::{Person, all_slots, as_f64, correlation, dp_share, noise_key, random_genotypes, share_sum, tau};

/// Every pair of streams has a correlation within four standard errors of zero.
fn check_pairwise(streams: &[(String, Vec<f64>)]) {
    for (place, (left_name, left)) in streams.iter().enumerate() {
        for (right_name, right) in &streams[place + 1..] {
            let measured = correlation(left, right);
            let bound = 4.0 / (left.len() as f64).sqrt();
            assert!(measured.abs() < bound, "{left_name} and {right_name}: {measured}");
        }
    }
}

#[test]
fn secret_bits_of_shares_blocks_planes_and_datasets_are_uncorrelated_and_balanced() {
    let mut streams = Vec::new();
    for ordinal in 0..2 {
        let person = Person::new(ordinal, random_genotypes(1, 4));
        for share in ShareIndex::ALL {
            for block in [0, 1] {
                for plane in [Plane::Calls, Plane::Missing] {
                    let sum = share_sum(&[&person], share, PanelBlockIndex(block), plane);
                    let bits: Vec<f64> = sum.coefficients().iter().map(|bit| *bit as f64).collect();
                    let ones: f64 = bits.iter().sum();
                    // 4,096 coin flips: the standard deviation is 32.
                    assert!((ones - 2048.0).abs() < 4.0 * 32.0, "{ones}");
                    streams.push((format!("dataset {ordinal} share {share} block {block} {plane:?}"), bits));
                }
            }
        }
    }
    check_pairwise(&streams);
}

#[test]
fn flooding_and_dp_noise_of_shares_planes_kinds_and_questions_are_uncorrelated() {
    let slots = all_slots();
    let mut streams = Vec::new();
    for label in [1, 2] {
        for share in ShareIndex::ALL {
            for plane in [Plane::Calls, Plane::Missing] {
                let (key, tau) = (noise_key(share), tau(label));
                let input = NoiseInput { noise_key: &key, tau: &tau, dp_share: Some(dp_share(100)) };
                let noise = derive_noise(input, share, plane, &slots).expect("valid variance");
                let name = format!("question {label} share {share} {plane:?}");
                streams.push((format!("{name} flooding"), as_f64(&noise.flooding[16..])));
                streams.push((format!("{name} low counter"), as_f64(&noise.low_counter)));
                if plane == Plane::Calls {
                    streams.push((format!("{name} high counter"), as_f64(&noise.high_counter)));
                } else {
                    assert!(noise.high_counter.is_empty());
                }
            }
        }
    }
    assert_eq!(streams.len(), 2 * 3 * 5);
    check_pairwise(&streams);
}

#[test]
fn two_shares_with_one_noise_key_still_draw_different_noise() {
    // A keyholder that generates two noise keys could make them equal.
    let (key, tau) = (noise_key(ShareIndex::ALL[0]), tau(1));
    let input = NoiseInput { noise_key: &key, tau: &tau, dp_share: None };
    let [first, second, third] = ShareIndex::ALL.map(|share| {
        let noise = derive_noise(input, share, Plane::Calls, &all_slots()).expect("no dp noise");
        (share.to_string(), as_f64(&noise.flooding))
    });
    check_pairwise(&[first, second, third]);
}

#[test]
fn encryption_noise_of_blocks_planes_and_datasets_is_uncorrelated() {
    let mut streams = Vec::new();
    for ordinal in 0..3 {
        let person = Person::new(ordinal, random_genotypes(1, 4));
        for block in 0..3 {
            for plane in [Plane::Calls, Plane::Missing] {
                let seed = &person.secrets.encryption_noise_seed;
                let noise = EncryptionNoise::expand(seed, PanelBlockIndex(block), plane);
                let values: Vec<i64> = noise.values().collect();
                streams.push((format!("dataset {ordinal} block {block} {plane:?}"), as_f64(&values)));
            }
        }
    }
    check_pairwise(&streams);
}

#[test]
fn a_part_of_the_slots_draws_the_first_values_of_each_stream() {
    // Values go to released slots in ascending order, whichever they are.
    let (key, tau) = (noise_key(ShareIndex::ALL[0]), tau(1));
    let input = NoiseInput { noise_key: &key, tau: &tau, dp_share: Some(dp_share(100)) };
    let few = locus_privacy::SlotMask::try_new([300, 20].map(support::slot)).expect("valid");
    let all = derive_noise(input, ShareIndex::ALL[0], Plane::Calls, &all_slots()).expect("valid variance");
    let part = derive_noise(input, ShareIndex::ALL[0], Plane::Calls, &few).expect("valid variance");
    assert_eq!(part.flooding[..], all.flooding[..18]);
    assert_eq!(part.low_counter[..], all.low_counter[..2]);
    assert_eq!(part.high_counter[..], all.high_counter[..2]);
}
