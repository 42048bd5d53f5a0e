//! Commitments to ciphertexts: a random combination of all bodies of an upload, made as they come, must
//! open the same combination of the commitments that come at the end. So thousands of commitments are
//! checked for little more than the price of one.

use super::sequence::BodyRun;
use locus_commitment::pedersen::{CiphertextCommitment, Generators, WeightedBodies};
use locus_genomics::{PanelBlockIndex, Plane};
use locus_store::BODY_BYTES;

/// The combination so far. Its weights are drawn here, so an uploader cannot know them.
pub(crate) struct CommitmentCheck {
    weights: Vec<u128>,
    columns: Vec<(PanelBlockIndex, Plane)>,
    /// Place of the column that is coming in.
    column: usize,
    bodies: WeightedBodies,
    /// Commitment to the columns before.
    total: CiphertextCommitment,
}

impl CommitmentCheck {
    /// For an upload of `datasets` with bodies in these columns.
    pub(crate) fn draw(columns: Vec<(PanelBlockIndex, Plane)>, datasets: u32) -> Result<Self, getrandom::Error> {
        let mut weights = Vec::new();
        for _ in 0..datasets {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes)?;
            weights.push(u128::from_le_bytes(bytes));
        }
        let (bodies, total) = (WeightedBodies::default(), CiphertextCommitment::empty());
        Ok(Self { weights, columns, column: 0, bodies, total })
    }

    /// Takes the bodies of a chunk, whose place and length the sequence has checked.
    pub(crate) fn take(&mut self, run: BodyRun, bodies: &[u8]) {
        if self.column != run.column as usize {
            self.close_column();
            self.column = run.column as usize;
        }
        let weights = self.weights.iter().skip(run.first_ordinal as usize);
        for (body, weight) in bodies.chunks_exact(BODY_BYTES).zip(weights) {
            let (words, _) = body.as_chunks::<8>();
            let coefficients: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
            self.bodies.add(*weight, &coefficients);
        }
    }

    fn close_column(&mut self) {
        if let Some((block, plane)) = self.columns.get(self.column) {
            let bodies = std::mem::take(&mut self.bodies);
            self.total = self.total.plus(&bodies.commitment(&Generators::expand(block.0, plane.code())));
        }
    }

    /// Whether these, by ordinal, are the commitments to the bodies.
    pub(crate) fn holds(mut self, commitments: &[CiphertextCommitment]) -> bool {
        self.close_column();
        commitments.len() == self.weights.len()
            && self.total == CiphertextCommitment::weighted_sum(commitments, &self.weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [(PanelBlockIndex, Plane); 3] =
        [(PanelBlockIndex(0), Plane::Calls), (PanelBlockIndex(0), Plane::Missing), (PanelBlockIndex(1), Plane::Calls)];

    /// Bodies of five datasets in a column.
    fn bodies(column: u8) -> Vec<u8> {
        let byte = |place: u64| (place.wrapping_mul(0x9e37_79b9) >> 13).to_le_bytes()[0] ^ column;
        (0..5 * BODY_BYTES as u64).map(byte).collect()
    }

    fn commitments() -> Vec<CiphertextCommitment> {
        let mut commitments = vec![CiphertextCommitment::empty(); 5];
        for (column, (block, plane)) in (0..).zip(COLUMNS) {
            let generators = Generators::expand(block.0, plane.code());
            for (commitment, body) in commitments.iter_mut().zip(bodies(column).chunks(BODY_BYTES)) {
                let (words, _) = body.as_chunks::<8>();
                let coefficients: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
                *commitment = commitment.plus(&CiphertextCommitment::of_body(&generators, &coefficients));
            }
        }
        commitments
    }

    /// An upload in chunks of two, with one byte changed if `flipped` names it.
    fn check(commitments: &[CiphertextCommitment], flipped: Option<(u8, usize)>) -> bool {
        let mut check = CommitmentCheck::draw(COLUMNS.to_vec(), 5).unwrap();
        for column in 0..3u8 {
            let mut bodies = bodies(column);
            if let Some((_, place)) = flipped.filter(|(flipped, _)| *flipped == column) {
                bodies[place] ^= 1;
            }
            for (chunk, bodies) in (0..).zip(bodies.chunks(2 * BODY_BYTES)) {
                let count = u32::try_from(bodies.len() / BODY_BYTES).unwrap();
                check.take(BodyRun { column: column.into(), first_ordinal: 2 * chunk, count }, bodies);
            }
        }
        check.holds(commitments)
    }

    #[test]
    fn true_commitments_hold_and_a_flipped_bit_an_exchange_or_a_missing_one_does_not() {
        let commitments = commitments();
        assert!(check(&commitments, None));
        for (column, place) in [(0, 0), (1, 2 * BODY_BYTES), (2, 5 * BODY_BYTES - 1)] {
            assert!(!check(&commitments, Some((column, place))), "byte {place} of column {column}");
        }
        let mut exchanged = commitments.clone();
        exchanged.swap(0, 3);
        assert!(!check(&exchanged, None));
        assert!(!check(&commitments[..4], None));
        let mut one_false = commitments;
        one_false[4] = one_false[4].plus(&CiphertextCommitment::of_body(&Generators::expand(0, 0), &[1]));
        assert!(!check(&one_false, None));
    }
}
