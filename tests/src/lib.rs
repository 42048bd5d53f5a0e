//! What the whole-system tests share: a market in this process, with every service real and every
//! call over gRPC, and people who use it.

mod attributes;
mod buying;
mod cheats;
mod leaks;
mod made_up;
mod people;
mod persons;
mod plink;
mod rekeying;
mod rounds;
mod stage;
mod upload;
mod vault;

pub use attributes::AttributeUpload;
pub use buying::{Bought, ask, biomedical, first_variants, question_of};
pub use cheats::{CheatingKeyholder, Lie, OtherAggregator};
pub use leaks::{Finding, Needle, Scanner};
pub use made_up::{about, filter_of, made_up_attributes, made_up_bmi, made_up_input, made_up_schema, selected_counts};
pub use people::People;
pub use plink::{PlinkCounts, by_variant, read_plink_counts};
pub use rounds::{Carried, Falsifier};
pub use stage::{Dataset, Stage};
pub use upload::{Upload, body_digest, send, system_rng};
pub use vault::{noise_keys, wrapping_key};

use anyhow::{Result, ensure};
use locus::node::{Listed, Node, NodeConfig};
use locus_aggregator::ProverKeys;
use locus_client::{
    DataFolder, Keystore, Network, NewKeys, NoProgress, OfferTerms, ServiceChannels, Services,
    enrol::{Accreditor as _, Contributor, EnrolInput, EnrolOptions, Enrolled, enrol},
    mint_test_tokens, publish_panel,
    research::{OpenedAnswer, Quote, VerifiedAnswer},
};
use locus_genomics::{Assembly, DataUse, DuoTerm, Panel, VariantSelection};
use locus_intake::{
    CohortSource, CompleteCalls, IntakeOptions, IntakeReport, PanelRequest, PanelSource, PlinkFiles, build_panel,
    read_cohort,
};
use locus_ledger::{Amount, Audience, Demands, OfferPrices, TierSet};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_proofs::keys::KeyStore;
use locus_prover::{Circuits, MarketKeys};
use locus_service::connect;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// The folder of the repository, for tests of any package: asked when they run, since a target folder may be shared by copies of
/// the repository.
pub fn repository() -> PathBuf {
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names it"));
    let root = package.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
    root.expect("a package is in the repository").to_path_buf()
}

/// The committed extract of 1000 Genomes data: 2,504 people, 4,500 variants.
pub fn committed_extract() -> PathBuf {
    repository().join("services/locus/demo/kgp3_exome_4500")
}

/// A cohort beside the repository, when the data folder is there.
pub fn shared_cohort(name: &str) -> Option<PathBuf> {
    let folder = repository().join("../shared/data").join(name);
    folder.is_dir().then(|| folder.join(name))
}

/// Seconds since the Unix epoch.
pub fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// A person or institution with keys of its own.
pub struct Party {
    /// Its data folder.
    pub folder: DataFolder,
    /// Its keys.
    pub keys: Keystore,
}

impl Party {
    /// Fresh keys in `dir`.
    pub fn create(dir: &Path) -> Result<Self> {
        let folder = DataFolder::new(dir);
        let keys = Keystore::create(&folder.keys(), NewKeys { accreditor: true }, now_unix_s())?;
        Ok(Self { folder, keys })
    }

    /// The keys that are in `dir`.
    pub fn open(dir: &Path) -> Result<Self> {
        let folder = DataFolder::new(dir);
        let keys = Keystore::open(&folder.keys())?;
        Ok(Self { folder, keys })
    }
}

/// A market in this process with two biobanks and a researcher.
pub struct Market {
    /// All services.
    pub node: Node,
    /// Connections to them.
    pub services: Services,
    /// The market's public facts.
    pub network: Network,
    /// An accredited biobank.
    pub biobank: Party,
    /// Another institution on the list of accreditors.
    pub clinic: Party,
    /// A researcher with tokens.
    pub researcher: Party,
    dir: TempDir,
}

/// Privacy rules of the tests: the standard ones, with a smaller floor for sealed batches so that
/// the smaller cohorts can be asked exactly.
pub fn test_parameters() -> NetworkParameterValues {
    NetworkParameterValues { test_network: true, exact_batch_min: 300, ..NetworkParameterValues::default() }
}

/// Privacy rules with floors that a few dozen people reach.
pub fn small_floors() -> NetworkParameterValues {
    NetworkParameterValues { cohort_size_min: 20, exact_batch_min: 20, exact_change_min: 5, ..test_parameters() }
}

impl Market {
    /// Starts everything in a fresh folder.
    pub async fn start() -> Result<Self> {
        Self::start_with(test_parameters()).await
    }

    /// Starts everything in a fresh folder, with these privacy rules.
    pub async fn start_with(parameters: NetworkParameterValues) -> Result<Self> {
        Self::start_changed(|config| config.parameters = parameters).await
    }

    /// Starts everything in a fresh folder, with the rules of the tests and what `change` makes of the rest.
    pub async fn start_changed(change: impl FnOnce(&mut NodeConfig)) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, change).await
    }

    /// Starts a market whose orders settle on proven cohorts, with small circuits.
    pub async fn start_proven(parameters: NetworkParameterValues) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let folder = dir.path().join("proof-keys");
        let market = MarketKeys::development(&KeyStore::new(&folder), Circuits::small()?, |_| ())?;
        let prover = Some(ProverKeys { market, folder });
        Self::start_in(dir, |config| (config.parameters, config.prover) = (parameters, prover)).await
    }

    /// Starts a market again from the files that [`stop`](Self::stop) left in `dir`.
    pub async fn resume(dir: TempDir, parameters: NetworkParameterValues) -> Result<Self> {
        Self::run_in(dir, Party::open, |config| config.parameters = parameters).await
    }

    async fn start_in(dir: TempDir, change: impl FnOnce(&mut NodeConfig)) -> Result<Self> {
        let market = Self::run_in(dir, Party::create, change).await?;
        market.fund(&market.researcher).await?;
        Ok(market)
    }

    async fn run_in(
        dir: TempDir,
        party: fn(&Path) -> Result<Party>,
        change: impl FnOnce(&mut NodeConfig),
    ) -> Result<Self> {
        let [biobank, clinic, researcher] = [
            party(&dir.path().join("biobank"))?,
            party(&dir.path().join("clinic"))?,
            party(&dir.path().join("researcher"))?,
        ];
        let mut config = NodeConfig::new(&dir.path().join("market"));
        config.parameters = test_parameters();
        change(&mut config);
        for (name, party) in [("biobank", &biobank), ("clinic", &clinic)] {
            let account = party.keys.accreditor()?.address();
            config.accreditors.push(Listed { account, name: name.to_owned() });
        }
        let node = Node::start(config).await?;
        let connectors = node.connectors().clone();
        let [first, second, third] = &connectors.keyholders;
        let services = Services::new(ServiceChannels {
            archive: connect(&connectors.archive).await?,
            exchange: connect(&connectors.exchange).await?,
            aggregator: connect(&connectors.aggregator).await?,
            keyholders: [connect(first).await?, connect(second).await?, connect(third).await?],
        });
        let network = Network::fetch(&services).await?;
        Ok(Self { node, services, network, biobank, clinic, researcher, dir })
    }

    /// Stops all services; the files stay as long as the folder returned.
    pub async fn stop(self) -> TempDir {
        let Self { node, services, dir, .. } = self;
        drop(services);
        node.shutdown().await;
        dir
    }

    /// A folder for scratch files.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// The folder of all services' data.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("market")
    }

    /// A new party with tokens.
    pub async fn funded_party(&self, name: &str) -> Result<Party> {
        let party = Party::create(&self.dir.path().join(name))?;
        self.fund(&party).await?;
        Ok(party)
    }

    async fn fund(&self, party: &Party) -> Result<()> {
        Ok(mint_test_tokens(&self.services, party.keys.address(), "1000000".parse::<Amount>()?).await?)
    }

    /// Builds a panel of all variants of a cohort and reads the cohort onto it.
    pub fn read_cohort(
        &self,
        name: &str,
        source: &CohortSource,
        assembly: Assembly,
    ) -> Result<(EnrolInput, IntakeReport)> {
        let name = name.to_owned();
        let request = PanelRequest { name, assembly, complete_calls: CompleteCalls::Detect, reference: None };
        let (panel, _) = build_panel(&PanelSource::Cohort(source.clone()), &request, self.scratch(), &mut |_| {})?;
        let cohort = read_cohort(source, &panel, &IntakeOptions::default(), self.scratch(), &mut |_| {})?;
        let report = cohort.report.clone();
        Ok((EnrolInput::of_cohort(Arc::new(panel), cohort), report))
    }

    /// Made-up people on a panel of their own.
    pub fn read_people(&self, name: &str, people: &People) -> Result<EnrolInput> {
        let file = self.dir.path().join(format!("{name}.vcf"));
        people.write_vcf(&file)?;
        Ok(self.read_cohort(name, &CohortSource::Vcf(vec![file]), Assembly::GRCh38)?.0)
    }

    /// More made-up people on a panel that is there already.
    pub fn read_more_people(&self, name: &str, people: &People, panel: &Arc<Panel>) -> Result<EnrolInput> {
        let file = self.dir.path().join(format!("{name}.vcf"));
        people.write_vcf(&file)?;
        let source = CohortSource::Vcf(vec![file]);
        let cohort = read_cohort(&source, panel, &IntakeOptions::default(), self.scratch(), &mut |_| {})?;
        Ok(EnrolInput::of_cohort(panel.clone(), cohort))
    }

    /// Enrols everybody in `input` as an institution would, at 0.01 token a dataset in all tiers.
    pub async fn enrol(&self, institution: &Party, input: &EnrolInput) -> Result<Vec<Enrolled>> {
        self.enrol_on_terms(institution, input, terms(&input.panel)?).await
    }

    /// Enrols everybody in `input` as an institution would, on these terms.
    pub async fn enrol_on_terms(
        &self,
        institution: &Party,
        input: &EnrolInput,
        terms: OfferTerms,
    ) -> Result<Vec<Enrolled>> {
        publish_panel(&self.services, &input.panel).await?;
        let contributor = Contributor::Biobank { accreditor: institution.keys.accreditor()? };
        let options = EnrolOptions { version: 1, terms: Some(terms), prover: None };
        let records = institution.folder.enrolments();
        let progress = Arc::new(NoProgress);
        let (services, network, keys) = (&self.services, &self.network, &institution.keys);
        let now = now_unix_s();
        Ok(enrol(services, network, keys, input, &contributor, &options, &records, now, progress).await?)
    }

    /// Enrols a PLINK cohort as the biobank would, on a panel of all its variants, at 0.01 token a
    /// dataset in all tiers. Returns the panel and what was enrolled.
    pub async fn enrol_plink(&self, prefix: &Path) -> Result<(Arc<Panel>, Vec<Enrolled>)> {
        let source = CohortSource::Plink(PlinkFiles::of_prefix(prefix));
        let assembly = if prefix.to_string_lossy().contains("sim5k") { Assembly::GRCh38 } else { Assembly::GRCh37 };
        let (input, _) = self.read_cohort("test", &source, assembly)?;
        let enrolled = self.enrol(&self.biobank, &input).await?;
        Ok((input.panel, enrolled))
    }

    /// Buys counts as the researcher and opens the answer.
    pub async fn buy(
        &self,
        panel: &Panel,
        selection: VariantSelection,
        tier: Tier,
        rho: Rho,
    ) -> Result<(VerifiedAnswer, OpenedAnswer, Quote)> {
        let question = biomedical(selection, tier, rho);
        let quote = self.quote(panel, &self.researcher, &question).await?;
        let bought = self.buy_as(&self.researcher, panel, &question, quote.price).await?;
        Ok((bought.verified, bought.opened, quote))
    }

    /// What the market holds: every object with its size, and the number of registrations. Left out
    /// are the versions of manifests, one of which says that a refused batch is on its way out.
    pub async fn holdings(&self) -> Result<BTreeMap<String, u64>> {
        let objects = self.data_dir().join("objects");
        let mut holdings = BTreeMap::new();
        let is_manifest = |path: &PathBuf| path.parent().is_some_and(|folder| folder.ends_with("manifest"));
        for path in files_below(&objects)?.into_iter().filter(|path| !is_manifest(path)) {
            holdings.insert(path.strip_prefix(&objects)?.display().to_string(), fs::metadata(&path)?.len());
        }
        let mut registrations = 0;
        while self.registration(registrations + 1).await.is_ok() {
            registrations += 1;
        }
        holdings.insert("registrations".to_owned(), registrations);
        Ok(holdings)
    }

    /// Fails when the market holds anything else than `before`.
    pub async fn check_unchanged(&self, before: &BTreeMap<String, u64>, after_what: &str) -> Result<()> {
        let now = self.holdings().await?;
        let appeared: Vec<_> = now.iter().filter(|entry| before.get(entry.0) != Some(entry.1)).collect();
        let gone: Vec<_> = before.keys().filter(|name| !now.contains_key(*name)).collect();
        ensure!(appeared.is_empty() && gone.is_empty(), "after {after_what}: new {appeared:#?}, gone {gone:#?}");
        Ok(())
    }
}

/// Every file below a folder.
pub fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

/// 0.01 token a dataset, research, all tiers, anyone, for a day.
pub fn terms(panel: &Panel) -> Result<OfferTerms> {
    let price = "0.01".parse::<Amount>()?;
    Ok(OfferTerms {
        prices: OfferPrices { counts: price, filtered_counts: price, association: price },
        data_use: DataUse::try_new([DuoTerm::GeneralResearch])?,
        condition: None,
        tiers: TierSet::of(&[Tier::Open, Tier::Vetted, Tier::Exact]),
        audience: Audience::Anyone,
        demands: Demands::NONE,
        disclosure: None,
        blocks: 0..panel.block_count(),
        expiry_unix_s: now_unix_s() + 86_400,
    })
}
