//! Clause 4: the person shows one fact to one verifier, and nothing else.

use super::{Demo, Enrolment};
use crate::{
    context::now_unix_s,
    demo::report::{Report, check},
    error::CommandError,
    progress::Bars,
    proving::proving_key,
};
use locus_client::{
    ClientError,
    disclosure::{Claim, ClaimedGenotype, DisclosureError, DisclosureRequest, Expected, disclose, verify_disclosure},
};
use locus_genomics::{Genotype, VariantIndex};
use locus_proofs::Statement;
use serde_json::json;
use std::time::Instant;

/// Who asks, and what for.
const VERIFIER: &str = "trial of a sponsor";
const PURPOSE: &str = "eligibility";
const NONCE: [u8; 32] = [42; 32];
const VALID_S: u64 = 3_600;

impl Demo {
    pub(super) async fn disclose_one(&self, enrolment: &Enrolment, report: &mut Report) -> Result<(), CommandError> {
        let began = Instant::now();
        let panel = &enrolment.panel;
        let genotypes = enrolment.own_input.genotypes.person(0)?;
        let carried = genotypes.iter().position(|genotype| genotype == Genotype::Het).unwrap_or(0);
        let carried = VariantIndex(u32::try_from(carried).unwrap_or(u32::MAX));
        let variant = panel.variant(carried).map(|variant| variant.to_string()).unwrap_or_default();
        let key = proving_key(&self.network, None, Statement::Disclosure, &Bars::new(report.output)).await?;
        let request = |genotype| DisclosureRequest {
            registration: enrolment.person.registration,
            ordinal: 0,
            verifier: VERIFIER.to_owned(),
            purpose: PURPOSE.to_owned(),
            nonce: NONCE,
            expiry_unix_s: now_unix_s() + VALID_S,
            claims: vec![Claim { variant: variant.clone(), genotype }],
        };
        let (services, network, keys) = (&self.services, &self.network, &self.person.keys);
        let own = (&**panel, genotypes.as_bytes());
        let shown = disclose(services, network, keys, own, &request(ClaimedGenotype::Carries), &key).await?;
        let verify = |verifier| {
            let expected = Expected { verifier, nonce: &NONCE, now_unix_s: now_unix_s() };
            verify_disclosure(services, network, panel, &shown, expected, None)
        };
        verify(VERIFIER).await?;
        let elsewhere = verify("somebody else").await;
        check(matches!(elsewhere, Err(ClientError::Disclosure(DisclosureError::Other("verifier")))), || {
            "a disclosure was believed by somebody it was not made for".to_owned()
        })?;
        let untrue = disclose(services, network, keys, own, &request(ClaimedGenotype::Lacks), &key).await;
        check(matches!(untrue, Err(ClientError::Disclosure(DisclosureError::Untrue))), || {
            "a claim that is not true was proven".to_owned()
        })?;
        report.figure("disclosed", json!({ "variant": variant, "claim": "carries" }));
        let found = format!("the person carries {variant}: proven to one verifier; the opposite cannot be proven");
        report.stage("disclose", began, found);
        Ok(())
    }
}
