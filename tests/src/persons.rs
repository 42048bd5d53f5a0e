//! People who enrol themselves, with proofs.

use crate::{Market, Party, now_unix_s};
use anyhow::{Context as _, Result};
use locus_client::{
    NoProgress, OfferTerms,
    enrol::{Contributor, EnrolInput, EnrolOptions, Enrolled, enrol},
    proving::{default_proof_keys, encryption_prover, proving_key},
};
use locus_proofs::{Statement, dataset::EncryptionProver, groth16::ProvingKey};
use std::sync::{Arc, OnceLock};

impl Market {
    /// Enrols one individual of `input` as the person that `party` is, on these terms.
    pub async fn enrol_person(
        &self,
        party: &Party,
        input: &EnrolInput,
        individual: u32,
        terms: OfferTerms,
    ) -> Result<Enrolled> {
        let contributor = Contributor::Person { individual };
        let options = EnrolOptions { version: 1, terms: Some(terms), prover: Some(self.encryption_prover()?) };
        let records = party.folder.enrolments();
        let progress = Arc::new(NoProgress);
        let (services, network, keys) = (&self.services, &self.network, &party.keys);
        let now = now_unix_s();
        let enrolled = enrol(services, network, keys, input, &contributor, &options, &records, now, progress).await?;
        enrolled.into_iter().next().context("one registration")
    }

    /// The prover of encryptions on test networks, loaded once.
    pub fn encryption_prover(&self) -> Result<Arc<EncryptionProver>> {
        static PROVER: OnceLock<Arc<EncryptionProver>> = OnceLock::new();
        if let Some(loaded) = PROVER.get() {
            return Ok(loaded.clone());
        }
        let prover = encryption_prover(&self.network, &default_proof_keys(), |_| {})?;
        Ok(PROVER.get_or_init(|| prover).clone())
    }

    /// The key that disclosures are proven with.
    pub fn disclosure_key(&self) -> Result<ProvingKey> {
        Ok(proving_key(&self.network, &default_proof_keys(), Statement::Disclosure, |_| {})?)
    }
}
