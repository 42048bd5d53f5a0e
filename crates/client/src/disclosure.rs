//! Disclosures: one fact, or a list of facts, about a registered genome, shown to one verifier for one
//! purpose until one moment. Clause 14 of the specification.

mod offer;

pub use offer::{claim_texts, fetch_offer_disclosure, offer_disclosure, requirements};

use crate::{
    error::ClientError,
    keystore::Keystore,
    network::Network,
    service::{Services, name, retrying},
};
use locus_commitment::{Address, DatasetContext, GenotypeCommitment, field::FieldBytes};
use locus_genomics::{Panel, PanelDigest, VariantIndex, VariantSelection};
use locus_ledger::{DatasetLeaf, RegistrationId};
use locus_proofs::{
    NetworkKeys, ProofsError, Statement,
    dataset::{block_genotypes, genotype_tree},
    disclosure::{DisclosureContext, DisclosureProof, DisclosureVerifier, GenotypeClaim, GenotypeTree},
    groth16::ProvingKey,
};
use locus_rlwe::DatasetKeys;
use locus_sharing::GenotypeDigest;
use locus_wire::{
    convert::field,
    pb::exchange::{GetRegistrationRequest, GetRegistrationResponse, get_registration_request::Key},
};
use serde::{Deserialize, Serialize};
use std::{path::Path, str::FromStr};

/// Version of the file.
const FORMAT: u32 = 1;
/// Longest name of a verifier, and longest purpose, in bytes.
const TEXT_BYTES_MAX: usize = 256;
/// Bytes of the packed genotypes of a panel block: four to a byte.
const PACKED_BLOCK_BYTES: usize = locus_genomics::VARIANTS_PER_PANEL_BLOCK as usize / 4;

/// Why something cannot be disclosed, or a disclosure is not believed.
#[derive(Debug, thiserror::Error)]
pub enum DisclosureError {
    /// No claims, an empty or long text, or a moment that has passed.
    #[error("{0}")]
    Request(&'static str),
    /// A claim that is none.
    #[error("{0} is no claim: write VARIANT=carries, VARIANT=lacks or VARIANT=hom-alt")]
    Claim(String),
    /// The genotypes are not those that were registered.
    #[error(
        "these genotypes are not the ones that dataset {ordinal} of registration {registration} commits to, or it was enrolled without proofs: use the same file, panel and keys as when you enrolled"
    )]
    OtherGenotypes {
        /// The registration.
        registration: u64,
        /// The dataset.
        ordinal: u32,
    },
    /// What is claimed is not so.
    #[error("a claim is not true of this genome, so it cannot be proven")]
    Untrue,
    /// Not a person's registration.
    #[error(
        "registration {registration} has {datasets} datasets: only an offer of a genome that was enrolled alone can disclose something"
    )]
    SeveralDatasets {
        /// The registration.
        registration: u64,
        /// Datasets in it.
        datasets: u32,
    },
    /// The dataset was revoked.
    #[error("dataset {ordinal} of registration {registration} is revoked: it is disclosed no more")]
    Revoked {
        /// The registration.
        registration: u64,
        /// The dataset.
        ordinal: u32,
    },
    /// The file is of another version or has a field that cannot be right.
    #[error("the disclosure file is not one of this version, or is damaged: {0}")]
    Malformed(&'static str),
    /// Made for somebody or something else.
    #[error("the disclosure was made for another {0}")]
    Other(&'static str),
    /// Its time is over.
    #[error("the disclosure was valid until {expiry_unix_s} (Unix time): ask for a new one")]
    Expired {
        /// Last second.
        expiry_unix_s: u64,
    },
    /// The proof does not verify.
    #[error("the proof does not verify: the genome is not shown to have these genotypes")]
    Refused,
    /// No key to verify with.
    #[error("name the folder with the verifying keys that this market's ceremony published")]
    NoKey,
}

/// What is claimed of one variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The variant, as `chrom:pos:ref:alt`.
    pub variant: String,
    /// Which genotypes.
    pub genotype: ClaimedGenotype,
}

/// A set of genotypes with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimedGenotype {
    /// One or two alternate alleles.
    Carries,
    /// Two reference alleles; a missing call is not one.
    Lacks,
    /// Two alternate alleles.
    HomAlt,
}

impl ClaimedGenotype {
    /// The named set with these genotypes.
    pub fn of(claim: GenotypeClaim) -> Option<Self> {
        [Self::Carries, Self::Lacks, Self::HomAlt].into_iter().find(|named| named.claim() == claim)
    }

    fn claim(self) -> GenotypeClaim {
        match self {
            Self::Carries => GenotypeClaim::CARRIES,
            Self::Lacks => GenotypeClaim::DOES_NOT_CARRY,
            Self::HomAlt => GenotypeClaim::HOM_ALT,
        }
    }
}

impl std::fmt::Display for ClaimedGenotype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Carries => "carries",
            Self::Lacks => "lacks",
            Self::HomAlt => "hom-alt",
        })
    }
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.variant, self.genotype)
    }
}

/// `VARIANT=carries`, `VARIANT=lacks` or `VARIANT=hom-alt`.
impl FromStr for Claim {
    type Err = DisclosureError;

    fn from_str(text: &str) -> Result<Self, DisclosureError> {
        let refused = || DisclosureError::Claim(text.to_owned());
        let (variant, word) = text.rsplit_once('=').ok_or_else(refused)?;
        let genotype = match word {
            "carries" => ClaimedGenotype::Carries,
            "lacks" => ClaimedGenotype::Lacks,
            "hom-alt" => ClaimedGenotype::HomAlt,
            _ => return Err(refused()),
        };
        Ok(Self { variant: variant.to_owned(), genotype })
    }
}

/// What is disclosed to whom.
#[derive(Debug, Clone)]
pub struct DisclosureRequest {
    /// The registration of the genome.
    pub registration: RegistrationId,
    /// Its place there.
    pub ordinal: u32,
    /// Who may rely on it, by a name that both sides know.
    pub verifier: String,
    /// What for.
    pub purpose: String,
    /// A number from the verifier, so that it knows that the disclosure is fresh.
    pub nonce: [u8; 32],
    /// Last second of validity, Unix time.
    pub expiry_unix_s: u64,
    /// What is claimed.
    pub claims: Vec<Claim>,
}

/// A disclosure as it is handed over: JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosure {
    format: u32,
    /// Chain of the market.
    pub chain_id: u64,
    /// Registry of the market.
    pub registry: String,
    /// The registration.
    pub registration: u64,
    /// The dataset's place in it.
    pub ordinal: u32,
    /// Panel of the variants.
    pub panel: String,
    /// Who may rely on it.
    pub verifier: String,
    /// What for.
    pub purpose: String,
    /// The verifier's number, 64 digits.
    pub nonce: String,
    /// Last second of validity, Unix time.
    pub expiry_unix_s: u64,
    /// What is shown.
    pub claims: Vec<Claim>,
    proof: String,
}

/// What the chain says about one dataset.
struct Registered {
    leaf: DatasetLeaf,
    registrant: Address,
    panel: PanelDigest,
    version: u32,
    dataset_count: u32,
    is_revoked: bool,
}

async fn registered(
    services: &Services,
    registration: RegistrationId,
    ordinal: u32,
) -> Result<Registered, ClientError> {
    let request = GetRegistrationRequest { key: Some(Key::RegistrationId(registration.0)), ordinal: Some(ordinal) };
    let call = || {
        let (mut exchange, request) = (services.exchange.clone(), request.clone());
        async move { exchange.get_registration(request).await }
    };
    let message = retrying(name::EXCHANGE, call).await?;
    parse(&message, ordinal).map_err(|error| ClientError::Malformed { service: name::EXCHANGE, error })
}

fn parse(message: &GetRegistrationResponse, ordinal: u32) -> Result<Registered, field::FieldError> {
    Ok(Registered {
        leaf: DatasetLeaf::try_from(field::required("leaf", &message.leaf)?)?,
        registrant: field::address("registrant", &message.registrant)?,
        panel: PanelDigest(field::array("panel_digest", &message.panel_digest)?),
        version: message.version,
        dataset_count: message.dataset_count,
        is_revoked: message.revoked_ordinals.contains(&ordinal),
    })
}

/// Proves claims about an own genome. `packed` has its genotypes on the whole panel. Takes a fraction of
/// a second a claim.
///
/// # Errors
/// [`ClientError::Disclosure`] when the claims are not true of the registered genome.
pub async fn disclose(
    services: &Services,
    network: &Network,
    keystore: &Keystore,
    (panel, packed): (&Panel, &[u8]),
    request: &DisclosureRequest,
    key: &ProvingKey,
) -> Result<Disclosure, ClientError> {
    let (registration, ordinal) = (request.registration, request.ordinal);
    let found = registered(services, registration, ordinal).await?;
    let genome = OwnGenome::open(network, keystore, (panel, packed), (registration, ordinal), found)?;
    let disclosure = Disclosure {
        format: FORMAT,
        chain_id: network.id().chain_id,
        registry: network.id().registry.to_string(),
        registration: registration.0,
        ordinal,
        panel: panel.digest().to_string(),
        verifier: request.verifier.clone(),
        purpose: request.purpose.clone(),
        nonce: hex::encode(request.nonce),
        expiry_unix_s: request.expiry_unix_s,
        claims: request.claims.clone(),
        proof: String::new(),
    };
    let proof = genome.prove(key, &disclosure.context(genome.context, panel)?)?;
    Ok(Disclosure { proof: hex::encode(proof.to_bytes()), ..disclosure })
}

/// An own genome that is registered with proofs, with what opens its commitment.
struct OwnGenome<'a> {
    context: DatasetContext,
    keys: DatasetKeys,
    tree: GenotypeTree,
    packed: &'a [u8],
}

impl<'a> OwnGenome<'a> {
    /// Derives the keys, and checks that these are the genotypes that were registered.
    fn open(
        network: &Network,
        keystore: &Keystore,
        (panel, packed): (&Panel, &'a [u8]),
        (registration, ordinal): (RegistrationId, u32),
        found: Registered,
    ) -> Result<Self, ClientError> {
        if found.is_revoked {
            return Err(DisclosureError::Revoked { registration: registration.0, ordinal }.into());
        }
        let context = dataset_context(network, &found);
        let keys = DatasetKeys::derive(keystore.master(), &context, &GenotypeDigest::of_packed(packed));
        let tree = genotype_tree(&keys.secrets().genotype_blinding, packed)?;
        if tree.leaf_commitment() != found.leaf.commitments.genotypes || found.panel != panel.digest() {
            return Err(DisclosureError::OtherGenotypes { registration: registration.0, ordinal }.into());
        }
        Ok(Self { context, keys, tree, packed })
    }

    fn prove(&self, key: &ProvingKey, statement: &DisclosureContext) -> Result<DisclosureProof, ClientError> {
        let blinding = &self.keys.secrets().genotype_blinding;
        let mut blocks_opened = Vec::new();
        for (place, block) in (0..).map(locus_genomics::PanelBlockIndex).zip(self.packed.chunks(PACKED_BLOCK_BYTES)) {
            blocks_opened.push(block_genotypes(blinding, place, block)?);
        }
        let opening = |block: u32| blocks_opened[usize::try_from(block).unwrap_or(usize::MAX)].clone();
        let proof = DisclosureProof::prove(key, statement, &self.tree, opening, &mut crate::entropy::system_rng()?);
        proof.map_err(|error| match error {
            ProofsError::Unsatisfied { .. } => DisclosureError::Untrue.into(),
            other => other.into(),
        })
    }
}

/// What a verifier expects of a disclosure.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Its own name.
    pub verifier: &'a str,
    /// The number it gave.
    pub nonce: &'a [u8; 32],
    /// The time now.
    pub now_unix_s: u64,
}

/// Checks a disclosure against the chain: that it is for this verifier and moment, and that the
/// registered genome has the genotypes that it claims. `keys` is the folder of a real network's keys.
///
/// # Errors
/// [`ClientError::Disclosure`] with what does not hold.
pub async fn verify_disclosure(
    services: &Services,
    network: &Network,
    panel: &Panel,
    disclosure: &Disclosure,
    expected: Expected<'_>,
    keys: Option<&Path>,
) -> Result<(), ClientError> {
    let id = network.id();
    let here = disclosure.chain_id == id.chain_id && disclosure.registry == id.registry.to_string();
    if disclosure.format != FORMAT {
        return Err(DisclosureError::Malformed("its format").into());
    }
    for (is_right, what) in [
        (here, "market"),
        (disclosure.panel == panel.digest().to_string(), "panel"),
        (disclosure.verifier == expected.verifier, "verifier"),
        (disclosure.nonce == hex::encode(expected.nonce), "nonce"),
    ] {
        if !is_right {
            return Err(DisclosureError::Other(what).into());
        }
    }
    if expected.now_unix_s > disclosure.expiry_unix_s {
        return Err(DisclosureError::Expired { expiry_unix_s: disclosure.expiry_unix_s }.into());
    }
    let registration = RegistrationId(disclosure.registration);
    let found = registered(services, registration, disclosure.ordinal).await?;
    if found.is_revoked {
        return Err(DisclosureError::Revoked { registration: registration.0, ordinal: disclosure.ordinal }.into());
    }
    if found.panel != panel.digest() {
        return Err(DisclosureError::Other("panel").into());
    }
    let statement = disclosure.context(dataset_context(network, &found), panel)?;
    let proof = hex::decode(&disclosure.proof).map_err(|_| DisclosureError::Malformed("its proof"))?;
    let proof = DisclosureProof::parse(&proof).map_err(|_| DisclosureError::Malformed("its proof"))?;
    let is_test_network = network.parameters().values().test_network;
    let key = NetworkKeys::new(keys, is_test_network).circuit_key(Statement::Disclosure)?;
    let key = key.ok_or(DisclosureError::NoKey)?;
    let GenotypeCommitment(commitment) = found.leaf.commitments.genotypes;
    let verified = DisclosureVerifier::new(key.verifying_key).verify(&statement, &FieldBytes(commitment.0), &proof);
    verified.map_err(|_| DisclosureError::Refused.into())
}

fn dataset_context(network: &Network, found: &Registered) -> DatasetContext {
    DatasetContext {
        network: network.id(),
        registrant: found.registrant,
        dataset: found.leaf.dataset,
        panel: found.panel,
        version: found.version,
    }
}

impl Disclosure {
    /// What the proofs are bound to.
    fn context(&self, dataset: DatasetContext, panel: &Panel) -> Result<DisclosureContext, ClientError> {
        let is_text = |text: &str| !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
        if !is_text(&self.verifier) || !is_text(&self.purpose) {
            return Err(DisclosureError::Request("name the verifier and the purpose, in at most 256 bytes each").into());
        }
        if self.claims.is_empty() {
            return Err(DisclosureError::Request("name at least one variant").into());
        }
        let mut nonce = [0; 32];
        hex::decode_to_slice(&self.nonce, &mut nonce).map_err(|_| DisclosureError::Malformed("its nonce"))?;
        let claims = self.claims.iter().map(|claim| Ok((index_of(panel, &claim.variant)?, claim.genotype.claim())));
        Ok(DisclosureContext {
            dataset,
            verifier: self.verifier.as_bytes().to_vec(),
            purpose: self.purpose.clone(),
            nonce,
            expiry_unix_s: self.expiry_unix_s,
            claims: claims.collect::<Result<_, ClientError>>()?,
        })
    }
}

fn index_of(panel: &Panel, variant: &str) -> Result<VariantIndex, ClientError> {
    let selection = VariantSelection::from_ids(panel, [variant])?;
    selection.indices().next().ok_or_else(|| DisclosureError::Claim(variant.to_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_with_the_word_after_the_last_sign() {
        let claim: Claim = "1:69428:T:G=lacks".parse().expect("a claim");
        assert_eq!(claim, Claim { variant: "1:69428:T:G".to_owned(), genotype: ClaimedGenotype::Lacks });
        for wrong in ["1:69428:T:G", "1:69428:T:G=", "1:69428:T:G=het", ""] {
            assert!(matches!(wrong.parse::<Claim>(), Err(DisclosureError::Claim(_))), "{wrong}");
        }
    }
}
