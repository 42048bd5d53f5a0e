//! What the client claims about each dataset of a batch, checked as far as one can without keys.

use crate::error::{ArchiveError, Commitment};
use locus_commitment::{
    Address, DatasetBodyDigest, DatasetId, Digest32, PersonTag, ShareCommitment, ShareSetCommitment,
    pedersen::CiphertextCommitment,
};
use locus_genomics::PanelDigest;
use locus_ledger::{ChainView, Ciphertexts, DatasetLeaf};
use locus_wire::{
    convert::{FieldError, field},
    pb::archive::DatasetRecord,
};
use std::collections::BTreeMap;

/// A dataset whose record was checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) leaf: DatasetLeaf,
    pub(crate) shares: [ShareCommitment; 3],
    /// To all bodies, in markets that settle on proven cohorts.
    pub(crate) ciphertext: Option<[u8; CiphertextCommitment::BYTES]>,
}

/// The records of a batch, by ordinal.
#[derive(Debug)]
pub(crate) struct Records {
    registrant: Address,
    batch_nonce: u64,
    /// Whether somebody vouches for the persons.
    accredited: bool,
    /// Whether each must commit to its bodies.
    committed: bool,
    /// Those commitments, until they were held against the bodies.
    commitments: Vec<CiphertextCommitment>,
    records: Vec<Record>,
    /// Everything that only one dataset may have, and which has it.
    seen: BTreeMap<(Commitment, [u8; 32]), u32>,
}

impl Records {
    /// No records yet.
    pub(crate) fn new(registrant: Address, batch_nonce: u64, accredited: bool, committed: bool) -> Self {
        let (commitments, records, seen) = Default::default();
        Self { registrant, batch_nonce, accredited, committed, commitments, records, seen }
    }

    /// The records taken so far.
    pub(crate) fn all(&self) -> &[Record] {
        &self.records
    }

    /// The leaves, by ordinal.
    pub(crate) fn leaves(&self) -> Vec<DatasetLeaf> {
        self.records.iter().map(|record| record.leaf).collect()
    }

    /// The declared commitments to ciphertexts, by ordinal.
    pub(crate) fn take_commitments(&mut self) -> Vec<CiphertextCommitment> {
        std::mem::take(&mut self.commitments)
    }

    /// What is registered of the ciphertexts, in markets that settle on proven cohorts.
    pub(crate) fn ciphertexts(&self, proven: bool) -> Option<Ciphertexts> {
        let points: Option<Vec<_>> = self.records.iter().map(|record| record.ciphertext).collect();
        points.filter(|_| self.committed).map(|points| Ciphertexts::of_points(&points, proven))
    }

    /// The declared H(b), by ordinal.
    pub(crate) fn body_digests(&self) -> Vec<DatasetBodyDigest> {
        self.records.iter().map(|record| record.leaf.commitments.bodies).collect()
    }

    /// Takes the record of the next dataset.
    ///
    /// The id must be the one derived from registrant, batch and ordinal; without an accreditor the
    /// person must be the registrant; the share commitments must make the registered one; nothing
    /// may repeat a dataset before it.
    pub(crate) fn push(&mut self, message: &DatasetRecord) -> Result<(), ArchiveError> {
        let ordinal = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let mismatch = |what| ArchiveError::Mismatch { ordinal, what };
        let leaf = DatasetLeaf::try_from(field::required("dataset.leaf", &message.leaf)?)?;
        if leaf.dataset != DatasetId::derive(self.registrant, self.batch_nonce, ordinal) {
            return Err(mismatch(Commitment::Dataset));
        }
        if !self.accredited && leaf.person != PersonTag::of_registrant(self.registrant) {
            return Err(mismatch(Commitment::Person));
        }
        let shares = parse_shares(&message.share_commitments)?;
        if ShareSetCommitment::new(&shares) != leaf.commitments.shares {
            return Err(mismatch(Commitment::Shares));
        }
        for (what, value) in unique_parts(&leaf) {
            if let Some(&first) = self.seen.get(&(what, value)) {
                return Err(ArchiveError::DuplicateInBatch { first, second: ordinal, what });
            }
        }
        self.seen.extend(unique_parts(&leaf).map(|part| (part, ordinal)));
        let ciphertext = self.push_commitment(&message.ciphertext_commitment)?;
        self.records.push(Record { leaf, shares, ciphertext });
        Ok(())
    }

    /// The commitment of the next dataset; refused where there must be none.
    fn push_commitment(&mut self, bytes: &[u8]) -> Result<Option<[u8; CiphertextCommitment::BYTES]>, ArchiveError> {
        let name = "dataset.ciphertext_commitment";
        if !self.committed {
            let refused = || FieldError::refused(name, "this market does not settle on proven cohorts").into();
            return if bytes.is_empty() { Ok(None) } else { Err(refused()) };
        }
        let commitment = field::ciphertext_commitment(name, bytes)?;
        self.commitments.push(commitment);
        Ok(Some(commitment.to_bytes()))
    }

    /// Refuses a batch that repeats a commitment of a registered dataset, or has a person with
    /// another live dataset on `panel`. The contract and the keyholders refuse it too; here it is
    /// refused before they are asked.
    pub(crate) fn check_unregistered(&self, view: &ChainView, panel: &PanelDigest) -> Result<(), ArchiveError> {
        for registration in view.registrations() {
            for (registered, leaf) in (0..).zip(registration.leaves.iter()) {
                let live = registration.panel == *panel && !view.is_revoked(registration.id, registered);
                let repeated = unique_parts(leaf)
                    .filter(|(what, _)| live || *what != Commitment::Person)
                    .find_map(|part| self.seen.get(&part).map(|&ordinal| (part.0, ordinal)));
                if let Some((what, ordinal)) = repeated {
                    let registration = registration.id;
                    return Err(ArchiveError::AlreadyRegistered { ordinal, what, registration, registered });
                }
            }
        }
        Ok(())
    }
}

/// What no two datasets may share. Persons may share nothing within a panel.
fn unique_parts(leaf: &DatasetLeaf) -> impl Iterator<Item = (Commitment, [u8; 32])> + use<> {
    [
        (Commitment::Bodies, leaf.commitments.bodies.0.0),
        (Commitment::Shares, leaf.commitments.shares.0.0),
        (Commitment::Genotypes, leaf.commitments.genotypes.0.0),
        (Commitment::Person, leaf.person.0),
    ]
    .into_iter()
}

fn parse_shares(bytes: &[u8]) -> Result<[ShareCommitment; 3], ArchiveError> {
    let bytes: [u8; 96] = field::array("dataset.share_commitments", bytes)?;
    let (parts, _) = bytes.as_chunks::<32>();
    Ok([parts[0], parts[1], parts[2]].map(|part| ShareCommitment(Digest32(part))))
}

#[cfg(test)]
mod tests;
