//! What the whole-system tests share: a market in this process, with every service real and every
//! call over gRPC, and people who use it.

use anyhow::{Context as _, Result, ensure};
use locus::node::{Listed, Node, NodeConfig};
use locus_client::{
    DataFolder, Keystore, Network, NewKeys, NoProgress, OfferTerms, ServiceChannels, Services,
    enrol::{Accreditor as _, Contributor, EnrolInput, EnrolOptions, Enrolled, enrol},
    mint_test_tokens, publish_panel,
    research::{self, OpenedAnswer, Question, VerifiedAnswer},
};
use locus_genomics::{Assembly, DataUse, Declarations, DuoTerm, Panel, Purpose, PurposeCode, VariantSelection};
use locus_intake::{
    CohortSource, CompleteCalls, IntakeOptions, PanelRequest, PanelSource, PlinkFiles, build_panel, read_cohort,
};
use locus_ledger::{Amount, Audience, OfferPrices, QueryClass, TierSet};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_service::connect;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// The committed extract of 1000 Genomes data: 2,504 people, 4,500 variants.
pub fn committed_extract() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/locus/demo/kgp3_exome_4500")
}

/// A cohort beside the repository, when the data folder is there.
pub fn shared_cohort(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name);
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
}

/// A market in this process with a biobank and a researcher.
pub struct Market {
    /// All services.
    pub node: Node,
    /// Connections to them.
    pub services: Services,
    /// The market's public facts.
    pub network: Network,
    /// An accredited biobank.
    pub biobank: Party,
    /// A researcher with tokens.
    pub researcher: Party,
    dir: TempDir,
}

/// Privacy rules of the tests: the standard ones, with a smaller floor for sealed batches so that
/// the smaller cohorts can be asked exactly.
pub fn test_parameters() -> NetworkParameterValues {
    NetworkParameterValues { test_network: true, exact_batch_min: 300, ..NetworkParameterValues::default() }
}

impl Market {
    /// Starts everything in a fresh folder.
    pub async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let biobank = Party::create(&dir.path().join("biobank"))?;
        let researcher = Party::create(&dir.path().join("researcher"))?;
        let accreditor = biobank.keys.accreditor()?;
        let mut config = NodeConfig::new(&dir.path().join("market"));
        config.parameters = test_parameters();
        config.accreditors.push(Listed { account: accreditor.address(), name: "biobank".to_owned() });
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
        mint_test_tokens(&services, researcher.keys.address(), "1000000".parse::<Amount>()?).await?;
        Ok(Self { node, services, network, biobank, researcher, dir })
    }

    /// A folder for scratch files.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Enrols a PLINK cohort as the biobank would, on a panel of all its variants, at 0.01 token a
    /// dataset in all tiers. Returns the panel and what was enrolled.
    pub async fn enrol_plink(&self, prefix: &Path) -> Result<(Arc<Panel>, Vec<Enrolled>)> {
        let source = CohortSource::Plink(PlinkFiles::of_prefix(prefix));
        let assembly = if prefix.to_string_lossy().contains("sim5k") { Assembly::GRCh38 } else { Assembly::GRCh37 };
        let request =
            PanelRequest { name: "test".to_owned(), assembly, complete_calls: CompleteCalls::Detect, reference: None };
        let (panel, _) = build_panel(&PanelSource::Cohort(source), &request, self.scratch(), &mut |_| {})?;
        let panel = Arc::new(panel);
        let source = CohortSource::Plink(PlinkFiles::of_prefix(prefix));
        let cohort = read_cohort(&source, &panel, &IntakeOptions::default(), self.scratch(), &mut |_| {})?;
        publish_panel(&self.services, &panel).await?;
        let input = EnrolInput::of_cohort(panel.clone(), cohort);
        let contributor = Contributor::Biobank { accreditor: self.biobank.keys.accreditor()? };
        let options = EnrolOptions { version: 1, terms: Some(terms(&panel)?) };
        let records = self.biobank.folder.enrolments();
        let enrolled = enrol(
            &self.services,
            &self.network,
            &self.biobank.keys,
            &input,
            &contributor,
            &options,
            &records,
            now_unix_s(),
            Arc::new(NoProgress),
        )
        .await?;
        Ok((panel, enrolled))
    }

    /// Buys counts and opens the answer. Returns the bytes of the kept answer too.
    pub async fn buy(
        &self,
        panel: &Panel,
        selection: VariantSelection,
        tier: Tier,
        rho: Rho,
    ) -> Result<(VerifiedAnswer, OpenedAnswer, research::Quote)> {
        let purpose = Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE };
        let question = Question { selection, query_class: QueryClass::Counts, purpose, condition: None, tier, rho };
        let keys = &self.researcher.keys;
        let quote = research::quote(&self.services, &self.network, panel, keys.address(), &question).await?;
        let orders = self.researcher.folder.orders();
        let order_terms = research::OrderTerms { max_price: quote.price, lifetime_s: None };
        let placed =
            research::place_order(&self.services, &self.network, keys, &question, &order_terms, &orders, now_unix_s())
                .await?;
        let file = self.researcher.folder.answer_file(placed.order_id);
        let record = research::fetch_answer(&self.services, keys, &placed, &file, &NoProgress).await?;
        let (verified, opened) = research::open_answer(&record, panel, &self.network, keys.sealing_key())?;
        Ok((verified, opened, quote))
    }
}

fn terms(panel: &Panel) -> Result<OfferTerms> {
    let price = "0.01".parse::<Amount>()?;
    Ok(OfferTerms {
        prices: OfferPrices { counts: price, filtered_counts: price, association: price },
        data_use: DataUse::try_new([DuoTerm::GeneralResearch])?,
        condition: None,
        tiers: TierSet::of(&[Tier::Open, Tier::Vetted, Tier::Exact]),
        audience: Audience::Anyone,
        blocks: 0..panel.block_count(),
        expiry_unix_s: now_unix_s() + 86_400,
    })
}

/// Genotype counts of one variant as `plink2 --geno-counts` prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlinkCounts {
    /// Reference allele.
    pub ref_allele: String,
    /// Alternate allele.
    pub alt_allele: String,
    /// Homozygous reference, heterozygous, homozygous alternate, missing.
    pub counts: [i64; 4],
}

/// Reads a `.gcount.zst` file: (chromosome and position from the id, counts), in file order.
pub fn read_plink_counts(path: &Path) -> Result<Vec<PlinkCounts>> {
    let bytes = zstd::decode_all(std::fs::File::open(path).with_context(|| path.display().to_string())?)?;
    let text = String::from_utf8(bytes)?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().context("an empty file")?.split('\t').collect();
    let column = |name: &str| header.iter().position(|title| *title == name).context(name.to_owned());
    let (ref_column, alt_column) = (column("REF")?, column("ALT")?);
    let columns =
        [column("HOM_REF_CT")?, column("HET_REF_ALT_CTS")?, column("TWO_ALT_GENO_CTS")?, column("MISSING_CT")?];
    let mut rows = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        ensure!(fields.len() == header.len(), "a line with {} fields", fields.len());
        let mut counts = [0; 4];
        for (count, column) in counts.iter_mut().zip(columns) {
            *count = fields[column].parse()?;
        }
        let allele = |column: usize| fields[column].to_owned();
        rows.push(PlinkCounts { ref_allele: allele(ref_column), alt_allele: allele(alt_column), counts });
    }
    Ok(rows)
}
