//! Disclosures in offers: claims that everybody may read for as long as the chain remembers.

use super::{Claim, ClaimedGenotype, DisclosureError, OwnGenome, index_of, registered};
use crate::{
    error::ClientError,
    keystore::Keystore,
    network::Network,
    service::{Services, name, retrying, until_final},
};
use locus_cohort::{DisclosedClaim, DisclosureDocument, Requirements, disclosure_digest, offer_disclosure_context};
use locus_commitment::Digest32;
use locus_genomics::Panel;
use locus_ledger::RegistrationId;
use locus_proofs::groth16::ProvingKey;
use locus_wire::{
    convert::{FieldError, field},
    pb::archive as pb,
};

/// What an order requires of every dataset counted: proofs, and disclosed claims about variants of the panel.
///
/// # Errors
/// [`ClientError::Disclosure`] for a variant that is not on the panel, [`ClientError::Claims`] for two claims about
/// one variant, and for too many.
pub fn requirements(panel: &Panel, proven_only: bool, claims: &[Claim]) -> Result<Requirements, ClientError> {
    let place = |claim: &Claim| {
        Ok(DisclosedClaim { variant: index_of(panel, &claim.variant)?, genotypes: claim.genotype.claim() })
    };
    let claims: Vec<DisclosedClaim> = claims.iter().map(place).collect::<Result<_, ClientError>>()?;
    Ok(Requirements::try_new(proven_only, claims, panel.variant_count())?)
}

/// Claims as people write them.
pub fn claim_texts(panel: &Panel, claims: &[DisclosedClaim]) -> Vec<Claim> {
    let text = |claim: &DisclosedClaim| {
        let variant = panel.variant(claim.variant)?.to_string();
        Some(Claim { variant, genotype: ClaimedGenotype::of(claim.genotypes)? })
    };
    claims.iter().filter_map(text).collect()
}

/// Proves claims about the one genome of a registration for its offers that end by `expiry_unix_s`, and gives the
/// document to the archive, where everybody can read it. Returns what an offer names. `packed` has the genotypes on
/// the whole panel.
///
/// # Errors
/// [`ClientError::Disclosure`] when the claims are not true of the registered genome, or the registration has
/// several; [`ClientError::Call`].
pub async fn offer_disclosure(
    services: &Services,
    network: &Network,
    keystore: &Keystore,
    (panel, packed): (&Panel, &[u8]),
    (registration, expiry_unix_s): (RegistrationId, u64),
    claims: &[Claim],
    key: &ProvingKey,
) -> Result<Digest32, ClientError> {
    if claims.is_empty() {
        return Err(DisclosureError::Request("name at least one variant").into());
    }
    let claims = requirements(panel, false, claims)?.disclosed().to_vec();
    let found = registered(services, registration, 0).await?;
    if found.dataset_count != 1 {
        let datasets = found.dataset_count;
        return Err(DisclosureError::SeveralDatasets { registration: registration.0, datasets }.into());
    }
    let genome = OwnGenome::open(network, keystore, (panel, packed), (registration, 0), found)?;
    let proof = genome.prove(key, &offer_disclosure_context(genome.context, expiry_unix_s, &claims))?;
    let document = DisclosureDocument::try_new(registration, expiry_unix_s, claims, proof)?.to_bytes();
    put(services, document).await
}

async fn put(services: &Services, document: Vec<u8>) -> Result<Digest32, ClientError> {
    let digest = disclosure_digest(&document);
    let request = pb::PutDisclosureRequest { document: document.into() };
    let call = || {
        let (mut archive, request) = (services.archive.clone(), request.clone());
        async move { archive.put_disclosure(request).await }
    };
    let kept = until_final(name::ARCHIVE, call).await?;
    let named = field::digest("disclosure_digest", &kept.disclosure_digest).map_err(malformed)?;
    if named == digest { Ok(digest) } else { Err(malformed(FieldError::refused("disclosure_digest", "it is another"))) }
}

/// The document that the offer of a registration names. Whether its claims hold is not checked: keyholders do before
/// they count anybody, and so can everybody, with [`DisclosureDocument::verify`].
///
/// # Errors
/// [`ClientError::Call`] when the archive does not have it, [`ClientError::Malformed`] when what it sends is another
/// one.
pub async fn fetch_offer_disclosure(
    services: &Services,
    registration: RegistrationId,
    digest: Digest32,
) -> Result<DisclosureDocument, ClientError> {
    let request =
        pb::GetDisclosureRequest { registration_id: registration.0, disclosure_digest: digest.0.to_vec().into() };
    let call = || {
        let (mut archive, request) = (services.archive.clone(), request.clone());
        async move { archive.get_disclosure(request).await }
    };
    let message = retrying(name::ARCHIVE, call).await?;
    let refused = |reason: &dyn std::fmt::Display| malformed(FieldError::refused("document", reason));
    let document = DisclosureDocument::parse(&message.document).map_err(|error| refused(&error))?;
    let is_named = disclosure_digest(&message.document) == digest && document.registration() == registration;
    if is_named { Ok(document) } else { Err(refused(&"it is another document")) }
}

fn malformed(error: FieldError) -> ClientError {
    ClientError::Malformed { service: name::ARCHIVE, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use locus_cohort::ClaimsError;

    #[test]
    fn claims_read_back_by_the_names_of_variants() {
        let panel = testing::panel(20, true);
        let parse = |text: &&str| text.parse::<Claim>().expect("a claim");
        let claims: Vec<Claim> = ["1:7:A:C=lacks", "1:3:A:C=hom-alt"].iter().map(parse).collect();
        let placed = requirements(&panel, true, &claims).expect("on the panel");
        assert!(placed.proven_only());
        assert_eq!(claim_texts(&panel, placed.disclosed()), [claims[1].clone(), claims[0].clone()]);
        let twice = [parse(&"1:7:A:C=lacks"), parse(&"1:7:A:C=carries")];
        assert!(matches!(requirements(&panel, false, &twice), Err(ClientError::Claims(ClaimsError::Twice(6)))));
        assert!(requirements(&panel, false, &[parse(&"1:7:A:T=lacks")]).is_err());
    }
}
