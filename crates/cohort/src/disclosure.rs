//! Clauses 19 to 21: documents with which offers disclose something about a genome.

use crate::{
    eligible::{Eligible, ExclusionReason},
    requirements::{CLAIMS_MAX, ClaimsError, DisclosedClaim, Requirements, claim_bytes, ordered, parse_claims},
};
use locus_commitment::{DatasetContext, Digest32, NetworkId, field::FieldBytes, sha3_256};
use locus_ledger::{ChainView, RegistrationId, RegistrationRecord};
use locus_proofs::{
    ProofsError,
    disclosure::{DisclosureContext, DisclosureProof, DisclosureVerifier},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Longest document: its head, and for each claim five bytes and a proof.
pub const DISCLOSURE_BYTES_MAX: usize = HEAD_BYTES + CLAIMS_MAX * (5 + PROOF_BYTES);
/// Version (1), registration (8), expiry (8), number of claims (1).
const HEAD_BYTES: usize = 18;
const PROOF_BYTES: usize = 256;
const FORMAT: u8 = 1;
const DST_DISCLOSURE: &str = "locus/cohort/offer-disclosure/v1";
/// Whom and what a proof in an offer is for: everybody who resolves a cohort.
const VERIFIER: &[u8] = b"locus";
const PURPOSE: &str = "offer";
/// Most documents of which a party remembers what they disclose: some 50 MB.
const READ_MAX: usize = 1 << 18;

/// Why a document is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DisclosureRefusal {
    /// It is no such document.
    #[error("this is no disclosure of an offer in canonical form: make it with this version's client")]
    Format,
    /// Its claims cannot be.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// It is about no registration of this market.
    #[error("registration {0} is not final on the chain: retry when it is")]
    UnknownRegistration(RegistrationId),
    /// It is about a batch.
    #[error(
        "registration {registration} has {datasets} datasets: an offer discloses only of one that a person registered alone"
    )]
    SeveralDatasets {
        /// The registration.
        registration: RegistrationId,
        /// Datasets in it.
        datasets: usize,
    },
    /// The proof is not one of these claims about this genome.
    #[error("the proof does not verify: prove these claims anew from the genome that was registered")]
    Proof,
}

/// Claims about the one dataset of a registration, with their proofs, until some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisclosureDocument {
    registration: RegistrationId,
    expiry_unix_s: u64,
    claims: Vec<DisclosedClaim>,
    proof: DisclosureProof,
}

/// What the proofs of a document about `dataset` are bound to. There is no nonce: a document is good for every offer of
/// its registration that ends no later than it does.
pub fn offer_disclosure_context(
    dataset: DatasetContext,
    expiry_unix_s: u64,
    claims: &[DisclosedClaim],
) -> DisclosureContext {
    DisclosureContext {
        dataset,
        verifier: VERIFIER.to_vec(),
        purpose: PURPOSE.to_owned(),
        nonce: [0; 32],
        expiry_unix_s,
        claims: claims.iter().map(|claim| (claim.variant, claim.genotypes)).collect(),
    }
}

/// What an offer names a document by.
pub fn disclosure_digest(document: &[u8]) -> Digest32 {
    sha3_256(DST_DISCLOSURE, &[document])
}

impl DisclosureDocument {
    /// The document of these claims, which are in the order in which they were proven.
    ///
    /// # Errors
    /// [`DisclosureRefusal::Format`] unless there are claims, each with its proof; [`DisclosureRefusal::Claims`].
    pub fn try_new(
        registration: RegistrationId,
        expiry_unix_s: u64,
        claims: Vec<DisclosedClaim>,
        proof: DisclosureProof,
    ) -> Result<Self, DisclosureRefusal> {
        let in_order = ordered(claims.clone(), u32::MAX)? == claims;
        let each_proven = proof.to_bytes().len() == claims.len() * PROOF_BYTES;
        if !in_order || !each_proven || claims.is_empty() {
            return Err(DisclosureRefusal::Format);
        }
        Ok(Self { registration, expiry_unix_s, claims, proof })
    }

    /// Reads [`to_bytes`](Self::to_bytes) with all checks but those that need the chain.
    ///
    /// # Errors
    /// [`DisclosureRefusal`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DisclosureRefusal> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(DisclosureRefusal::Format)?;
        let (version, count) = (head[0], usize::from(head[HEAD_BYTES - 1]));
        if version != FORMAT || count > CLAIMS_MAX || rest.len() != count * (5 + PROOF_BYTES) {
            return Err(DisclosureRefusal::Format);
        }
        let word = |start: usize| {
            let bytes = head[start..].first_chunk::<8>().copied();
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        let (claims, proofs) = rest.split_at(count * 5);
        let proof = DisclosureProof::parse(proofs).map_err(|_| DisclosureRefusal::Format)?;
        Self::try_new(RegistrationId(word(1)), word(9), parse_claims(claims)?, proof)
    }

    /// The canonical bytes: 1, registration (8), expiry (8), number of claims (1), the claims as in
    /// [`Requirements::to_bytes`], a proof of 256 bytes for each. Little endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend(self.registration.0.to_le_bytes());
        bytes.extend(self.expiry_unix_s.to_le_bytes());
        bytes.push(u8::try_from(self.claims.len()).unwrap_or(u8::MAX));
        bytes.extend(claim_bytes(&self.claims));
        bytes.extend(self.proof.to_bytes());
        bytes
    }

    /// The registration that it is about.
    pub fn registration(&self) -> RegistrationId {
        self.registration
    }

    /// Last second of the offers that may name it.
    pub fn expiry_unix_s(&self) -> u64 {
        self.expiry_unix_s
    }

    /// What it discloses, ascending by variant.
    pub fn claims(&self) -> &[DisclosedClaim] {
        &self.claims
    }

    /// Checks the claims against what the chain keeps of the dataset.
    ///
    /// # Errors
    /// [`DisclosureRefusal`].
    pub fn verify(
        &self,
        verifier: &DisclosureVerifier,
        network: NetworkId,
        view: &ChainView,
    ) -> Result<(), DisclosureRefusal> {
        let unknown = DisclosureRefusal::UnknownRegistration(self.registration);
        let record = view.registration(self.registration).ok_or(unknown.clone())?;
        let [leaf] = &record.leaves[..] else {
            let (registration, datasets) = (self.registration, record.leaves.len());
            return Err(DisclosureRefusal::SeveralDatasets { registration, datasets });
        };
        let panel = view.panel(&record.panel).ok_or(unknown)?;
        ordered(self.claims.clone(), panel.variant_count)?;
        let context = offer_disclosure_context(dataset_context(network, record), self.expiry_unix_s, &self.claims);
        let commitment = FieldBytes(leaf.commitments.genotypes.0.0);
        let verified: Result<(), ProofsError> = verifier.verify(&context, &commitment, &self.proof);
        verified.map_err(|_| DisclosureRefusal::Proof)
    }
}

/// The context of a registration's first dataset.
fn dataset_context(network: NetworkId, record: &RegistrationRecord) -> DatasetContext {
    DatasetContext {
        network,
        registrant: record.registrant,
        dataset: record.leaves[0].dataset,
        panel: record.panel,
        version: record.version,
    }
}

/// A document that the offer of an eligible dataset names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferedDisclosure {
    /// The registration on offer.
    pub registration: RegistrationId,
    /// Registry slot of its dataset.
    pub slot: u64,
    /// The document.
    pub digest: Digest32,
    /// When the offer ends.
    pub offer_expiry_unix_s: u64,
}

/// What a verified document discloses.
#[derive(Debug)]
struct Facts {
    expiry_unix_s: u64,
    claims: Vec<DisclosedClaim>,
}

/// `None` for a document that does not hold.
type Verdicts = BTreeMap<(RegistrationId, Digest32), Option<Arc<Facts>>>;

/// The documents that a party has read and verified itself, each once.
pub struct DisclosureBook {
    verifier: Option<DisclosureVerifier>,
    verdicts: Mutex<Verdicts>,
}

impl DisclosureBook {
    /// A party that has read nothing. Without a key it believes nothing.
    pub fn new(verifier: Option<DisclosureVerifier>) -> Self {
        Self { verifier, verdicts: Mutex::default() }
    }

    fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The documents that must be fetched before [`left_out`](Self::left_out) can tell what they disclose.
    pub fn unread(&self, eligible: &Eligible) -> Vec<OfferedDisclosure> {
        if self.verifier.is_none() {
            return Vec::new();
        }
        let verdicts = self.verdicts();
        let is_unread = |offered: &&OfferedDisclosure| !verdicts.contains_key(&(offered.registration, offered.digest));
        eligible.disclosures.iter().filter(is_unread).copied().collect()
    }

    /// Reads a document and remembers what it discloses, if it holds. Bytes that do not have the digest are some
    /// other document, of which nothing is remembered. A few milliseconds a claim.
    pub fn read(&self, network: NetworkId, view: &ChainView, offered: &OfferedDisclosure, bytes: &[u8]) {
        let Some(verifier) = &self.verifier else { return };
        if disclosure_digest(bytes) != offered.digest {
            return;
        }
        let parsed = DisclosureDocument::parse(bytes).ok();
        let own = parsed.filter(|document| document.registration == offered.registration);
        let verified = own.filter(|document| document.verify(verifier, network, view).is_ok());
        let facts = |document: DisclosureDocument| {
            Arc::new(Facts { expiry_unix_s: document.expiry_unix_s, claims: document.claims })
        };
        let mut verdicts = self.verdicts();
        while verdicts.len() >= READ_MAX {
            verdicts.pop_first();
        }
        verdicts.insert((offered.registration, offered.digest), verified.map(facts));
    }

    /// Slots of eligible datasets that have not disclosed what is required, as far as this party could verify, and
    /// why not.
    pub fn left_out(&self, eligible: &Eligible, requirements: &Requirements) -> BTreeMap<u64, ExclusionReason> {
        let verdicts = self.verdicts();
        let reason = |offered: &OfferedDisclosure| match verdicts.get(&(offered.registration, offered.digest)) {
            None => Some(ExclusionReason::DisclosureUnread),
            Some(None) => Some(ExclusionReason::DisclosureRefused),
            Some(Some(facts)) if facts.expiry_unix_s < offered.offer_expiry_unix_s => {
                Some(ExclusionReason::DisclosureRefused)
            }
            Some(Some(facts)) if !requirements.are_met_by(&facts.claims) => Some(ExclusionReason::NotDisclosed),
            Some(Some(_)) => None,
        };
        eligible.disclosures.iter().filter_map(|offered| Some((offered.slot, reason(offered)?))).collect()
    }
}

impl std::fmt::Debug for DisclosureBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DisclosureBook of {} documents", self.verdicts().len())
    }
}
