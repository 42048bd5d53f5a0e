//! The same loops compiled for several instruction sets, chosen at run time.
//!
//! This is the only module of the crate with unsafe code. What is unsafe is the call of a function
//! that is compiled for instructions the processor may not have, and reading and writing a register
//! of 64 bytes. Safety: such a function is called only for an [`InstructionSet`] of that name;
//! outside this module these values exist only as results of [`InstructionSet::available`], which
//! lists an instruction set after the processor has been asked for every feature that the function
//! enables. Registers are read from and written to references to 64 bytes, no alignment assumed.
#![allow(unsafe_code)]

use locus_store::{BodyBytes, BodySum};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m512i, _mm512_add_epi64, _mm512_loadu_si512, _mm512_srli_epi64, _mm512_storeu_si512};

/// An instruction set that this processor has; see the module's safety argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InstructionSet(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl InstructionSet {
    /// Every instruction set that this processor has, fastest first; the last one, which every
    /// processor has, is the compiler's base line.
    pub(super) fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx512 {
                sets.push(Self(Kind::Avx512));
            }
            if is_x86_feature_detected!("avx2") {
                sets.push(Self(Kind::Avx2));
            }
        }
        sets.push(Self(Kind::Portable));
        sets
    }

    pub(super) fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            Kind::Portable => "portable",
        }
    }
}

/// Adds eight bodies to `sum` in one pass.
pub(super) fn add_eight(instruction_set: InstructionSet, sum: &mut BodySum, bodies: &[BodyBytes; 8]) {
    match instruction_set.0 {
        // SAFETY: see the module; the value says that the processor has these features.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => unsafe { add_eight_avx512(sum, bodies) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => unsafe { add_eight_avx2(sum, bodies) },
        Kind::Portable => add_eight_any(sum, bodies),
    }
}

/// Adds one body to `sum`.
pub(super) fn add_one(instruction_set: InstructionSet, sum: &mut BodySum, body: &BodyBytes) {
    match instruction_set.0 {
        // SAFETY: see the module; the value says that the processor has these features.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => unsafe { add_one_avx512(sum, body) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => unsafe { add_one_avx2(sum, body) },
        Kind::Portable => add_one_any(sum, body),
    }
}

/// Written out, because the compiler uses half of the registers' width by itself: a quarter slower out of cache.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn add_eight_avx512(sum: &mut BodySum, bodies: &[BodyBytes; 8]) {
    let bodies = bodies.each_ref().map(|body| body.as_chunks::<64>().0);
    let totals = sum.words.as_chunks_mut::<8>().0.iter_mut().zip(sum.high_halves.as_chunks_mut::<8>().0);
    for (place, (totals, highs)) in totals.enumerate() {
        let (mut total, mut high) = (load_avx512(totals), load_avx512(highs));
        for body in bodies {
            let words = load_bytes_avx512(&body[place]);
            total = _mm512_add_epi64(total, words);
            high = _mm512_add_epi64(high, _mm512_srli_epi64::<32>(words));
        }
        store_avx512(totals, total);
        store_avx512(highs, high);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn load_bytes_avx512(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: 64 bytes that may be read, at any alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn load_avx512(words: &[u64; 8]) -> __m512i {
    // SAFETY: 64 bytes that may be read, at any alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn store_avx512(words: &mut [u64; 8], values: __m512i) {
    // SAFETY: 64 bytes that may be written, at any alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), values) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_eight_avx2(sum: &mut BodySum, bodies: &[BodyBytes; 8]) {
    add_eight_any(sum, bodies);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn add_one_avx512(sum: &mut BodySum, body: &BodyBytes) {
    add_one_any(sum, body);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_one_avx2(sum: &mut BodySum, body: &BodyBytes) {
    add_one_any(sum, body);
}

#[inline(always)]
fn add_eight_any(sum: &mut BodySum, bodies: &[BodyBytes; 8]) {
    let bodies = bodies.each_ref().map(|body| body.as_chunks::<8>().0);
    let [first, second, third, fourth, fifth, sixth, seventh, eighth] = bodies.map(|words| words.iter());
    let left = first.zip(second).zip(third.zip(fourth));
    let right = fifth.zip(sixth).zip(seventh.zip(eighth));
    for ((total, high), (left, right)) in sum.words.iter_mut().zip(&mut sum.high_halves).zip(left.zip(right)) {
        let (((first, second), (third, fourth)), ((fifth, sixth), (seventh, eighth))) = (left, right);
        for word in [first, second, third, fourth, fifth, sixth, seventh, eighth] {
            let word = u64::from_le_bytes(*word);
            *total = total.wrapping_add(word);
            // At most 2^26 halves are added up: far below 2^64.
            *high = high.wrapping_add(word >> 32);
        }
    }
}

#[inline(always)]
fn add_one_any(sum: &mut BodySum, body: &BodyBytes) {
    for ((total, high), word) in sum.words.iter_mut().zip(&mut sum.high_halves).zip(body.as_chunks::<8>().0) {
        let word = u64::from_le_bytes(*word);
        *total = total.wrapping_add(word);
        *high = high.wrapping_add(word >> 32);
    }
}
