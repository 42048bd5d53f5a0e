//! One keyholder's part of an answer: one share's key sum and partial decryption.

use crate::{
    row::{Bench, Goal, Measured, Row},
    timing::fastest,
};
use anyhow::Result;
use locus_commitment::{Address, DatasetContext, DatasetId, Digest32, NetworkId};
use locus_genomics::{PanelBlockIndex, PanelDigest, Plane, Slot};
use locus_privacy::{SlotMask, Tau};
use locus_rlwe::{Mask, NoiseInput, RING_DIMENSION, ShareSum, partial_decryption};
use locus_sharing::{KeySeed, NoiseKey, ShareIndex};
use std::hint::black_box;

pub(crate) const ROW: Row = Row { id: "keyholder_share", unit: "ms", goal: Goal::AtMost(10.0), measure };

const PEOPLE: u32 = 2504;

fn measure(_: &mut Bench) -> Result<Measured> {
    let registrant = Address([2; 20]);
    let context = |ordinal| DatasetContext {
        network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
        registrant,
        dataset: DatasetId::derive(registrant, 7, ordinal),
        panel: PanelDigest([4; 32]),
        version: 1,
    };
    let seed = |ordinal: u32| {
        let mut bytes = [3; 32];
        bytes[..4].copy_from_slice(&ordinal.to_le_bytes());
        KeySeed::from_bytes(bytes)
    };
    let datasets: Vec<(DatasetContext, KeySeed)> =
        (0..PEOPLE).map(|ordinal| (context(ordinal), seed(ordinal))).collect();
    let [share, ..] = ShareIndex::ALL;
    let slots = SlotMask::try_new((16..RING_DIMENSION).filter_map(|slot| Slot::try_new(u32::try_from(slot).ok()?)))?;
    let (noise_key, tau) = (NoiseKey::from_bytes([5; 32]), Tau(Digest32([6; 32])));
    let noise = NoiseInput { noise_key: &noise_key, tau: &tau, dp_share: None };
    let seconds = fastest(15, || {
        let seeds = datasets.iter().map(|(context, seed)| (context, seed));
        let sum = ShareSum::over(share, PanelBlockIndex(0), Plane::Calls, seeds)?;
        black_box(partial_decryption(Mask::v1(), &sum, Plane::Calls, &slots, noise)?);
        Ok(())
    })?;
    let note = format!("{PEOPLE} people x 4,096 slots, one processor: keys expanded, added, times mask, noise");
    Ok(Measured { value: seconds * 1e3, note, ..Measured::default() })
}
