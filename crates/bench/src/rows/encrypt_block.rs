//! Encrypting one person's 4,080 genotypes of a panel block.

use crate::{
    peers::output,
    row::{Bench, Goal, Measured, Row},
    timing::fastest,
};
use anyhow::Result;
use locus_commitment::{Address, DatasetContext, DatasetId, NetworkId};
use locus_genomics::{Genotype, PackedGenotypes, PanelBlockIndex, PanelDigest, Plane};
use locus_rlwe::{DatasetEncryptor, Mask};
use locus_sharing::MasterSecret;
use std::{hint::black_box, process::Command};

pub(crate) const ROW: Row = Row { id: "encrypt_block", unit: "ms", goal: Goal::AtMost(0.2), measure };

const BLOCKS: u32 = 64;
/// BFV with packing, at the smallest ring for one addition-only computation; 4096 numbers a vector.
const TENSEAL: &str = "
import tenseal, time
context = tenseal.context(tenseal.SCHEME_TYPE.BFV, poly_modulus_degree=4096, plain_modulus=1032193, n_threads=1)
numbers = [i % 3 for i in range(4096)]
best = 1e9
for _ in range(40):
    start = time.perf_counter()
    tenseal.bfv_vector(context, numbers)
    best = min(best, time.perf_counter() - start)
size = len(tenseal.bfv_vector(context, numbers).serialize())
print(best * 1e3, size)
";

fn measure(bench: &mut Bench) -> Result<Measured> {
    let context = DatasetContext {
        network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
        registrant: Address([2; 20]),
        dataset: DatasetId::derive(Address([2; 20]), 7, 0),
        panel: PanelDigest([4; 32]),
        version: 1,
    };
    let kinds = [Genotype::HomRef, Genotype::Het, Genotype::HomAlt];
    let genotypes: PackedGenotypes = (0..BLOCKS as usize * 4080).map(|variant| kinds[variant * 7 % 3]).collect();
    let master = MasterSecret::from_bytes([9; 32]);
    let encryptor = DatasetEncryptor::new(&master, &context, &genotypes);
    let mask = Mask::v1();
    let seconds = fastest(9, || {
        for block in 0..BLOCKS {
            black_box(encryptor.encrypt(mask, PanelBlockIndex(block), Plane::Calls)?.to_bytes());
        }
        Ok(())
    })?;
    let mut measured = Measured {
        value: seconds * 1e3 / f64::from(BLOCKS),
        note: "one plane, 32,768 bytes, one processor".to_owned(),
        ..Measured::default()
    };
    let Some(python) = bench.peers.python_with("tenseal") else {
        measured.peer = Some("TenSEAL BFV: absent".to_owned());
        return Ok(measured);
    };
    let printed = output(Command::new(python).args(["-c", TENSEAL]))?;
    let mut fields = printed.split_ascii_whitespace();
    measured.peer = Some("TenSEAL BFV, 4096 numbers".to_owned());
    measured.peer_value = fields.next().and_then(|field| field.parse().ok());
    measured.note += &format!("; TenSEAL {} bytes", fields.next().unwrap_or("?"));
    Ok(measured)
}
