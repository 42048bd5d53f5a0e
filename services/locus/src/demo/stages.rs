//! The stages of the demo, in order; the clauses are those of the parent module.

mod cohort;
mod disclosure;
mod erasure;
mod filtered;
mod purchases;

use super::{
    extract::Extract,
    parties::{Party, services},
    report::{Report, check},
};
use crate::{
    commands::own_words,
    context::{now_unix_s, private_folder},
    error::CommandError,
    node::{Listed, Node, NodeConfig},
    progress::Bars,
    proving::encryption_prover,
};
use locus_client::{
    Network, OfferTerms, Services, Statement, account_state, claim,
    enrol::{Contributor, EnrolInput, EnrolOptions, Enrolled, enrol},
    publish_panel, statement,
};
use locus_genomics::{Assembly, DataUse, DuoTerm, Panel};
use locus_intake::{
    Cohort, CohortSource, CompleteCalls, IntakeOptions, PanelRequest, PanelSource, PlinkFiles, build_panel, read_cohort,
};
use locus_ledger::{Amount, Audience, Demands, OfferPrices, TierSet};
use locus_privacy::Tier;
use locus_proofs::dataset::EncryptionProver;
use purchases::Purchase;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// Place in the extract of the person who enrols alone, too.
const PERSON: usize = 0;
/// Days for which the offers stand.
const OFFER_DAYS: u64 = 30;
const SECONDS_PER_DAY: u64 = 86_400;
/// What the biobank asks for one person in one answer: half a token.
const BIOBANK_PRICE: Amount = Amount(500_000_000_000_000_000);
/// What the person who enrols alone asks: two tokens.
const PERSON_PRICE: Amount = Amount(2_000_000_000_000_000_000);

/// A running market and its people.
pub(super) struct Demo {
    folder: PathBuf,
    node: Node,
    services: Services,
    network: Network,
    extract: Extract,
    biobank: Party,
    person: Party,
    researcher: Party,
}

/// What is enrolled.
struct Enrolment {
    panel: Arc<Panel>,
    input: EnrolInput,
    /// Of the person who enrols alone.
    own_input: EnrolInput,
    biobank: Enrolled,
    person: Enrolled,
}

impl Demo {
    /// Clause 1.
    pub(super) async fn start(folder: &Path, report: &mut Report) -> Result<Self, CommandError> {
        let began = Instant::now();
        let extract = Extract::unpack()?;
        let biobank = Party::new(&folder.join("biobank"), true)?;
        let person = Party::new(&folder.join("person"), false)?;
        let researcher = Party::new(&folder.join("researcher"), false)?;
        let mut config = NodeConfig::new(&folder.join("market"));
        let account = biobank.keys.accreditor()?.account().address();
        config.accreditors = vec![Listed { account, name: "Demo biobank".to_owned() }];
        let node = Node::start(config).await?;
        let services = services(node.connectors())?;
        let network = biobank.network(&services).await?;
        for party in [&person, &researcher] {
            party.network(&services).await?;
        }
        let found = format!(
            "archive, exchange, aggregator, 3 keyholders and a chain with registry {}",
            node.contracts().network.registry
        );
        report.stage("start", began, found);
        let folder = folder.to_path_buf();
        Ok(Self { folder, node, services, network, extract, biobank, person, researcher })
    }

    /// The market, to be stopped.
    pub(super) fn into_node(self) -> Node {
        self.node
    }

    /// Clauses 2 to 12.
    pub(super) async fn play(&mut self, report: &mut Report) -> Result<(), CommandError> {
        let enrolment = self.enrol(report).await?;
        self.disclose_one(&enrolment, report).await?;
        self.fund(report).await?;
        let open = self.buy_open(&enrolment, report).await?;
        let repeated = self.ask_again(&enrolment, &open, report).await?;
        let exact = self.buy_exact(&enrolment, report).await?;
        let [counted, studied] = self.ask_about_selected(&enrolment, report).await?;
        self.pay_out(&[&open, &repeated, &exact, &counted, &studied], &enrolment, report).await?;
        self.state_uses(&enrolment, &[&open, &repeated], report).await?;
        self.erase_one(&enrolment, &open, report).await?;
        self.settle_on_proofs(report).await
    }

    /// Clauses 2 and 3.
    async fn enrol(&self, report: &mut Report) -> Result<Enrolment, CommandError> {
        let genomes = self.folder.join("genomes");
        private_folder(&genomes)?;
        let began = Instant::now();
        let plink = CohortSource::Plink(PlinkFiles::of_prefix(&self.extract.write(&genomes)?));
        let (panel, cohort) = read_with_panel(plink, genomes.clone()).await?;
        publish_panel(&self.services, &panel).await?;
        let (people, variants) = (cohort.report.samples, panel.variant_count());
        let blocks = panel.block_count();
        report.stage(
            "read",
            began,
            format!("{people} people, {variants} variants in {blocks} panel blocks, as PLINK files"),
        );
        report.figure("people", people);
        report.figure("variants", variants);

        let began = Instant::now();
        let input = EnrolInput::of_cohort(panel.clone(), cohort);
        let accreditor = self.biobank.keys.accreditor()?;
        let terms = offer_terms(BIOBANK_PRICE, &[Tier::Open, Tier::Exact], &panel)?;
        let contributor = Contributor::Biobank { accreditor };
        let batch = self.enrol_as(&self.biobank, &input, contributor, None, terms, report).await?;
        check(batch.datasets.len() == self.extract.samples().len(), || "not everybody was enrolled".to_owned())?;
        let found = format!(
            "{} people encrypted, attested by 3 keyholders, registration {} on the chain, on offer open and exact",
            batch.datasets.len(),
            batch.registration.0
        );
        report.stage("enrol biobank", began, found);

        let began = Instant::now();
        let vcf = genomes.join("me.vcf");
        fs::write(&vcf, self.extract.vcf_of(PERSON)).map_err(CommandError::file(&vcf))?;
        let own = read_on_panel(CohortSource::Vcf(vec![vcf]), panel.clone(), genomes).await?;
        let own_input = EnrolInput::of_cohort(panel.clone(), own);
        let terms = offer_terms(PERSON_PRICE, &[Tier::Open], &panel)?;
        let contributor = Contributor::Person { individual: 0 };
        let prover = Some(encryption_prover(&self.network, None, &Bars::new(report.output)).await?);
        let person = self.enrol_as(&self.person, &own_input, contributor, prover, terms, report).await?;
        let found = format!(
            "1 genome from a VCF file, every body proven, registration {}, on offer open",
            person.registration.0
        );
        report.stage("enrol person", began, found);
        Ok(Enrolment { panel, input, own_input, biobank: batch, person })
    }

    async fn enrol_as(
        &self,
        party: &Party,
        input: &EnrolInput,
        contributor: Contributor,
        prover: Option<Arc<EncryptionProver>>,
        terms: OfferTerms,
        report: &Report,
    ) -> Result<Enrolled, CommandError> {
        let options = EnrolOptions { version: 1, terms: Some(terms), prover };
        let bars = Bars::new(report.output);
        let (services, network) = (&self.services, &self.network);
        let records = party.folder.enrolments();
        let now = now_unix_s();
        let enrolled =
            enrol(services, network, &party.keys, input, &contributor, &options, &records, now, bars).await?;
        let one = <[Enrolled; 1]>::try_from(enrolled);
        one.map(|[one]| one).map_err(|several| {
            CommandError::Demo(format!("one registration was expected, {} were made", several.len()))
        })
    }

    /// Clause 9.
    async fn pay_out(
        &self,
        bought: &[&Purchase],
        enrolment: &Enrolment,
        report: &mut Report,
    ) -> Result<(), CommandError> {
        let began = Instant::now();
        let prices: Amount = bought.iter().map(|purchase| purchase.price()).sum();
        let biobank = claim(&self.services, self.biobank.keys.address()).await?;
        let person = claim(&self.services, self.person.keys.address()).await?;
        let people = enrolment.biobank.datasets.len() as u64;
        let batch_price = BIOBANK_PRICE.checked_mul(people).unwrap_or_default();
        check(batch_price.checked_mul(bought.len() as u64) == Some(biobank), || {
            format!("the biobank was paid {biobank} tokens")
        })?;
        check(PERSON_PRICE.checked_mul(2) == Some(person), || format!("the person was paid {person} tokens"))?;
        check(biobank.checked_add(person) == Some(prices), || format!("{prices} tokens were spent on answers"))?;
        let again = claim(&self.services, self.biobank.keys.address()).await?;
        check(again == Amount::ZERO, || format!("a second claim paid {again} tokens more"))?;
        let left = account_state(&self.services, self.researcher.keys.address()).await?.balance;
        let sum = left.checked_add(prices);
        check(sum == Some(purchases::funds()), || format!("the researcher has {left} tokens after spending {prices}"))?;
        report.stage(
            "pay out",
            began,
            format!("{biobank} tokens to the biobank, {person} to the person: what the answers cost; a second claim pays nothing"),
        );
        report.figure("paid_biobank", biobank.to_string());
        report.figure("paid_person", person.to_string());
        Ok(())
    }

    async fn statement_of_person(&self, enrolment: &Enrolment) -> Result<Statement, CommandError> {
        let registration = enrolment.person.registration;
        Ok(statement(&self.services, &self.network, &self.person.keys, registration, 0, now_unix_s()).await?)
    }

    /// Clause 10.
    async fn state_uses(
        &self,
        enrolment: &Enrolment,
        bought: &[&Purchase],
        report: &mut Report,
    ) -> Result<(), CommandError> {
        let began = Instant::now();
        let statement = self.statement_of_person(enrolment).await?;
        check(statement.differences.is_empty(), || "the keyholders' books differ".to_owned())?;
        check(statement.unreachable.is_empty(), || "a keyholder gave no statement".to_owned())?;
        check(statement.uses.len() == bought.len(), || format!("{} uses are stated", statement.uses.len()))?;
        for purchase in bought {
            let is_stated = statement.uses.iter().any(|used| {
                used.order == purchase.placed.order_id
                    && used.researcher == self.researcher.keys.address()
                    && used.price == PERSON_PRICE
            });
            check(is_stated, || format!("order {} is not in the statement", purchase.placed.order_id))?;
        }
        let budget = &statement.budget;
        let found = format!(
            "{} uses, privacy loss {} of {} in a year",
            statement.uses.len(),
            budget.spent_year,
            budget.spent_year.checked_add(budget.left_year).unwrap_or(budget.left_year)
        );
        report.stage("statement", began, found);
        report.statement(own_words(&statement));
        Ok(())
    }
}

/// The terms of both offers: general research, anyone.
fn offer_terms(price: Amount, tiers: &[Tier], panel: &Panel) -> Result<OfferTerms, CommandError> {
    Ok(OfferTerms {
        prices: OfferPrices { counts: price, filtered_counts: price, association: price },
        data_use: DataUse::try_new([DuoTerm::GeneralResearch])?,
        condition: None,
        tiers: TierSet::of(tiers),
        audience: Audience::Anyone,
        demands: Demands::NONE,
        disclosure: None,
        blocks: 0..panel.block_count(),
        expiry_unix_s: now_unix_s().saturating_add(OFFER_DAYS * SECONDS_PER_DAY),
    })
}

/// Reads a cohort and the panel of its own variants.
async fn read_with_panel(source: CohortSource, scratch: PathBuf) -> Result<(Arc<Panel>, Cohort), CommandError> {
    let request = PanelRequest {
        name: "demo".to_owned(),
        assembly: Assembly::GRCh37,
        complete_calls: CompleteCalls::Detect,
        reference: None,
    };
    let work = move || {
        let from = PanelSource::Cohort(source.clone());
        let (panel, _) = build_panel(&from, &request, &scratch, &mut |_| {})?;
        let cohort = read_cohort(&source, &panel, &IntakeOptions::default(), &scratch, &mut |_| {})?;
        Ok::<_, CommandError>((Arc::new(panel), cohort))
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| CommandError::Interrupted)?
}

/// Reads genotypes on a panel.
async fn read_on_panel(source: CohortSource, panel: Arc<Panel>, scratch: PathBuf) -> Result<Cohort, CommandError> {
    let work = move || read_cohort(&source, &panel, &IntakeOptions::default(), &scratch, &mut |_| {});
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| CommandError::Interrupted)??)
}
