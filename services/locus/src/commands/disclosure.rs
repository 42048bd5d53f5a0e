//! `locus disclose` and `locus verify disclosure`.

use super::enroll::{own_place, read};
use crate::{
    cli::{DiscloseArgs, VerifyDisclosureArgs},
    context::{Context, now_unix_s, read_panel, write_in_one_step},
    error::CommandError,
    progress::Bars,
    proving::proving_key,
};
use locus_client::{
    Keystore, Network, OfferTerms, Services,
    disclosure::{
        Claim, Disclosure, DisclosureRequest, Expected, disclose as prove, offer_disclosure, verify_disclosure,
    },
    enrol::EnrolInput,
};
use locus_genomics::{PackedGenotypes, Panel};
use locus_ledger::RegistrationId;
use locus_proofs::Statement;
use serde_json::json;
use std::{fs, path::Path, sync::Arc};

const DAY_S: u64 = 24 * 3_600;

/// Proves claims about an own genome and writes them for the verifier.
pub(super) async fn disclose(args: &DiscloseArgs, context: &Context) -> Result<(), CommandError> {
    let keystore = context.keystore()?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let registration = RegistrationId(args.registration);
    let record = context.folder.enrolments().of_registration(&network.id(), registration)?.ok_or_else(|| {
        let number = registration.0;
        CommandError::Usage(format!("registration {number} was not enrolled from this folder: name its --data-dir"))
    })?;
    let panel = Arc::new(context.panel(&args.panel, &services).await?);
    let bars = Bars::new(context.output);
    let cohort = read(&args.genotypes, panel.clone(), context, &bars).await?;
    let input = EnrolInput::of_cohort(panel.clone(), cohort);
    let individual = own_place(args.sample.as_deref(), &input)?;
    let genotypes = input.genotypes.person(individual)?;
    let sample = input.samples.get(usize::try_from(individual).unwrap_or(usize::MAX));
    let dataset = record.datasets.iter().find(|dataset| Some(&dataset.sample) == sample);
    let ordinal = match (dataset, record.datasets.as_slice()) {
        (Some(dataset), _) => dataset.ordinal,
        (None, [only]) => only.ordinal,
        (None, _) => {
            let sample = sample.cloned().unwrap_or_default();
            return Err(CommandError::UnknownSample { registration: args.registration, sample });
        }
    };
    let key = proving_key(&network, args.proof_keys.as_deref(), Statement::Disclosure, &bars).await?;
    let request = DisclosureRequest {
        registration,
        ordinal,
        verifier: args.verifier.clone(),
        purpose: args.purpose.clone(),
        nonce: args.nonce,
        expiry_unix_s: now_unix_s().saturating_add(args.days * DAY_S),
        claims: args.claims.clone(),
    };
    bars.show("proving", 0, 0);
    let disclosure = prove(&services, &network, &keystore, (&panel, genotypes.as_bytes()), &request, &key).await?;
    bars.clear();
    let text = serde_json::to_vec_pretty(&disclosure).map_err(|error| CommandError::Output(error.into()))?;
    write_in_one_step(&args.out, &text)?;
    let value = json!({ "out": args.out, "claims": disclosure.claims, "expiry_unix_s": disclosure.expiry_unix_s });
    context.output.result(&value, || {
        let (count, verifier) = (disclosure.claims.len(), &disclosure.verifier);
        format!("{count} claims for {verifier} are proven in {}\n", args.out.display())
    })
}

/// A person's genome and the market in which it is registered.
pub(super) struct OwnGenome<'a> {
    pub(super) services: &'a Services,
    pub(super) network: &'a Network,
    pub(super) keystore: &'a Keystore,
    pub(super) panel: &'a Panel,
    pub(super) genotypes: PackedGenotypes,
}

impl OwnGenome<'_> {
    /// Proves claims for the offer of a registration and publishes them; the terms then name them.
    pub(super) async fn disclose_in(
        &self,
        registration: RegistrationId,
        terms: &mut OfferTerms,
        claims: &[Claim],
        proof_keys: Option<&Path>,
        bars: &Arc<Bars>,
    ) -> Result<(), CommandError> {
        let key = proving_key(self.network, proof_keys, Statement::Disclosure, bars).await?;
        bars.show("proving", 0, 0);
        let (services, network, keystore) = (self.services, self.network, self.keystore);
        let genome = (self.panel, self.genotypes.as_bytes());
        let until = (registration, terms.expiry_unix_s);
        terms.disclosure = Some(offer_disclosure(services, network, keystore, genome, until, claims, &key).await?);
        bars.clear();
        Ok(())
    }
}

/// Checks a disclosure that was handed over.
pub(super) async fn verify(args: &VerifyDisclosureArgs, context: &Context) -> Result<(), CommandError> {
    let text = fs::read(&args.disclosure).map_err(CommandError::file(&args.disclosure))?;
    let disclosure: Disclosure = serde_json::from_slice(&text).map_err(|error| {
        CommandError::Usage(format!("{} is no disclosure of this version: {error}", args.disclosure.display()))
    })?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let panel = match &args.panel {
        Some(path) => read_panel(path)?,
        None => context.panel(&disclosure.panel, &services).await?,
    };
    let expected = Expected { verifier: &args.verifier, nonce: &args.nonce, now_unix_s: now_unix_s() };
    verify_disclosure(&services, &network, &panel, &disclosure, expected, args.proof_keys.as_deref()).await?;
    let value = json!({
        "verified": true,
        "registration": disclosure.registration,
        "ordinal": disclosure.ordinal,
        "purpose": disclosure.purpose,
        "expiry_unix_s": disclosure.expiry_unix_s,
        "claims": disclosure.claims,
    });
    context.output.result(&value, || {
        let mut text = format!(
            "dataset {} of registration {} is shown to have, for {}:\n",
            disclosure.ordinal, disclosure.registration, disclosure.purpose
        );
        for claim in &disclosure.claims {
            text += &format!("  {}  {}\n", claim.variant, claim.genotype);
        }
        text
    })
}
