//! Clause 12: a second market, whose orders settle on cohorts that are proven on the chain.

use super::{
    BIOBANK_PRICE, Demo, offer_terms,
    purchases::{ask, funds, spaced},
    read_with_panel,
};
use crate::{
    context::{now_unix_s, private_folder},
    demo::{
        parties::{Party, services},
        report::{Report, check},
    },
    error::CommandError,
    node::{Listed, Node, NodeConfig},
    progress::Bars,
    proving::market_keys,
};
use locus_client::{
    ClientError, Network, Services,
    enrol::{Contributor, EnrolInput, EnrolOptions, enrol},
    mint_test_tokens, publish_panel,
    research::{AnswerError, OrderTerms, fetch_answer, fetch_cohort_sums, place_order, quote, verify_answer},
};
use locus_genomics::Panel;
use locus_intake::{CohortSource, PlinkFiles};
use locus_privacy::Tier;
use locus_wire::pb::query::AnswerRecord;
use serde_json::json;
use std::{sync::Arc, time::Instant};

/// People of this market: the first of the extract, as many as one batch of the registry moves at once.
const PEOPLE: usize = 120;

/// A market whose orders settle on proven cohorts.
struct ProvenMarket {
    services: Services,
    network: Network,
    biobank: Party,
    researcher: Party,
}

impl Demo {
    pub(super) async fn settle_on_proofs(&self, report: &mut Report) -> Result<(), CommandError> {
        let began = Instant::now();
        let bars = Bars::new(report.output);
        let keys = market_keys(None, true, &bars).await?;
        bars.clear();
        report.stage("proving keys", began, "the keys of the registry's circuits are at hand; made once".to_owned());

        let folder = self.folder.join("proven-market");
        let biobank = Party::new(&folder.join("biobank"), true)?;
        let researcher = Party::new(&folder.join("researcher"), false)?;
        let mut config = NodeConfig::new(&folder.join("market"));
        let account = biobank.keys.accreditor()?.account().address();
        config.accreditors = vec![Listed { account, name: "Demo biobank".to_owned() }];
        config.prover = Some(keys);
        let node = Node::start(config).await?;
        let services = services(node.connectors())?;
        let network = biobank.network(&services).await?;
        let market = ProvenMarket { services, network, biobank, researcher };
        let played = self.play_proven(&market, report).await;
        drop(market);
        node.shutdown().await;
        played
    }

    async fn play_proven(&self, market: &ProvenMarket, report: &mut Report) -> Result<(), CommandError> {
        let began = Instant::now();
        let genomes = self.folder.join("proven-market/genomes");
        private_folder(&genomes)?;
        let prefix = self.extract.write_first(&genomes, PEOPLE)?;
        let (panel, cohort) = read_with_panel(CohortSource::Plink(PlinkFiles::of_prefix(&prefix)), genomes).await?;
        market.enrol(&panel, &EnrolInput::of_cohort(panel.clone(), cohort), report).await?;
        let found = format!("{PEOPLE} people, each with a commitment to their ciphertexts on the chain");
        report.stage("enrol for proofs", began, found);

        let began = Instant::now();
        let record = market.buy(&panel, report).await?;
        let verified = verify_answer(&record, &panel, &market.network)?;
        check(verified.cohort().is_some_and(|evidence| evidence.cohort.size == PEOPLE as u64), || {
            "the order did not settle on a proven cohort of everybody".to_owned()
        })?;
        check(verified.is_cohort_opened(), || "the cohort's commitment was not opened".to_owned())?;
        let mut changed = record;
        let mut words = changed.cohort_sums[0].words.to_vec();
        words[0] ^= 1;
        changed.cohort_sums[0].words = words.into();
        let refused = verify_answer(&changed, &panel, &market.network);
        check(matches!(refused, Err(ClientError::Answer(AnswerError::CohortSums(_)))), || {
            "a changed sum was taken for the cohort's".to_owned()
        })?;
        report.figure("proven_cohort", json!({ "people": PEOPLE, "price": verified.settlement().price.to_string() }));
        let found = format!(
            "settled for {} tokens on a proof that {PEOPLE} people consent; their ciphertexts add up to what the chain has verified",
            verified.settlement().price
        );
        report.stage("settle on proof", began, found);
        Ok(())
    }
}

impl ProvenMarket {
    async fn enrol(&self, panel: &Arc<Panel>, input: &EnrolInput, report: &Report) -> Result<(), CommandError> {
        publish_panel(&self.services, panel).await?;
        let contributor = Contributor::Biobank { accreditor: self.biobank.keys.accreditor()? };
        let terms = Some(offer_terms(BIOBANK_PRICE, &[Tier::Open], panel)?);
        let options = EnrolOptions { version: 1, terms, prover: None };
        let (services, network, keys) = (&self.services, &self.network, &self.biobank.keys);
        let (records, bars) = (self.biobank.folder.enrolments(), Bars::new(report.output));
        enrol(services, network, keys, input, &contributor, &options, &records, now_unix_s(), bars).await?;
        Ok(())
    }

    /// The answer to an order, with what opens its cohort's commitment.
    async fn buy(&self, panel: &Panel, report: &Report) -> Result<AnswerRecord, CommandError> {
        let (services, keys) = (&self.services, &self.researcher.keys);
        mint_test_tokens(services, keys.address(), funds()).await?;
        let question = ask(spaced(panel, 0)?, Tier::Open);
        let max_price = quote(services, &self.network, panel, keys.address(), &question).await?.price;
        let terms = OrderTerms { max_price, lifetime_s: None };
        let orders = self.researcher.folder.orders();
        let placed = place_order(services, &self.network, keys, &question, &terms, &orders, now_unix_s()).await?;
        let (bars, file) = (Bars::new(report.output), self.researcher.folder.answer_file(placed.order_id));
        let mut record = fetch_answer(services, keys, &placed, &file, bars.as_ref()).await?;
        fetch_cohort_sums(services, panel, &mut record, &file, bars.as_ref()).await?;
        bars.clear();
        Ok(record)
    }
}
