//! Association studies of real and simulated genomes, asked of all services: every test of cases and controls is
//! plink1.9's, every regression plink2's. Compares nothing where the data are absent.

use anyhow::{Context as _, Result, ensure};
use locus_client::{
    enrol::AttributeInput,
    research::{AskedFilter, Question, association_table, case_control_filter, trait_filter},
};
use locus_genomics::{Panel, VariantSelection};
use locus_intake::{AttributeMapping, AttributeSource, read_attributes};
use locus_phenotype::{AttributeSchema, Predicate};
use locus_privacy::{Rho, Tier};
use locus_report::{AssociationRow, Method};
use locus_tests::{Bought, Market, about, shared_cohort, small_floors};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The trait is kept in steps of an eighth of a thousandth; its standard deviation is about one.
const SCHEMA: &str = r#"{
    "name": "planted", "version": "1",
    "attributes": [
        {"kind": "category", "name": "super_population", "values": ["AFR", "AMR", "EAS", "EUR", "SAS"]},
        {"kind": "term", "term": "HP:0000819"},
        {"kind": "flag", "name": "planted_case"},
        {"kind": "quantity", "name": "planted_trait", "origin": "-4", "step": "0.000125", "bits": 16, "squares": true}
    ]
}"#;

/// Columns of attributes, and what their contents mean.
const COLUMNS: [(&str, &str, &[(&str, &str)]); 4] = [
    ("SUPERPOP", "super_population", &[]),
    ("SYN_DIABETES", "HP:0000819", &[("1", "no"), ("2", "yes")]),
    ("CASE", "planted_case", &[("1", "no"), ("2", "yes")]),
    ("QT", "planted_trait", &[]),
];

/// How much the rounding of the trait may move an estimate, in standard errors.
const ROUNDING: f64 = 1e-3;

/// How much a standard error may differ, of itself: half of the last of six digits that plink2 prints, and rounding.
const PRINTED: f64 = 1e-5;

/// A data set with its planted traits, and the attributes of its people where it has any.
struct Scene {
    folder: PathBuf,
    name: String,
    market: Market,
    panel: Arc<Panel>,
    schema: Arc<AttributeSchema>,
}

impl Scene {
    async fn of(name: &str) -> Result<Option<Self>> {
        let Some(prefix) = shared_cohort(name) else {
            eprintln!("{name} is not beside the repository: not compared");
            return Ok(None);
        };
        let folder = prefix.parent().context("a folder")?.to_path_buf();
        let market = Market::start_with(small_floors()).await?;
        let (panel, enrolled) = market.enrol_plink(&prefix).await?;
        let schema = AttributeSchema::parse_json(SCHEMA)?;
        let mut tables = vec![folder.join(format!("{name}.pheno.tsv"))];
        tables.extend(Some(folder.join("kgp3_attributes.tsv")).filter(|table| table.exists()));
        let (table, columns) = joined(&tables, &market.data_dir().with_file_name("joined.tsv"))?;
        let mapping = mapping(&columns)?;
        let input = AttributeInput::of_intake(schema.clone(), read_attributes(&table, &schema, &mapping)?);
        for batch in &enrolled {
            let added = market.add_attributes(&market.biobank, batch.registration, &input).await?;
            ensure!(added.matched == batch.datasets.len(), "{} people have attributes", added.matched);
        }
        Ok(Some(Self { folder, name: name.to_owned(), market, panel, schema: Arc::new(schema) }))
    }

    async fn buy(&self, filter: AskedFilter) -> Result<Bought> {
        let question: Question = about(filter, VariantSelection::all(&self.panel), Tier::Exact, Rho::ZERO);
        self.market.buy_as(&self.market.researcher, &self.panel, &question, "100".parse()?).await
    }

    fn results(&self, bought: &Bought, method: Method) -> Result<Vec<AssociationRow>> {
        let asked = bought.verified.filter().context("a filter")?;
        Ok(association_table(&bought.opened, asked, &self.panel, method)?.rows)
    }

    async fn study(&self, cases: &str, controls: &str) -> Result<Bought> {
        let [cases, controls] = [cases, controls].map(|text| Predicate::parse(text, &self.schema));
        self.buy(case_control_filter(&cases?, &controls?, None, self.schema.clone())?).await
    }

    /// Lines of a table that plink printed, by variant.
    fn truth(&self, file: &str) -> Result<Lines> {
        let positions: BTreeMap<String, String> = lines(&self.folder.join(self.alleles_file()))?
            .into_iter()
            .map(|fields| (fields[1].clone(), fields[2].clone()))
            .collect();
        // plink1.9 puts the identifier second, plink2 third; tables of models have no position.
        let [id, first, second] = match file {
            _ if file.contains("glm") => [2, 3, 4],
            _ if file.contains("model") => [1, 2, 3],
            _ => [1, 3, 6],
        };
        let mut by_variant = Lines::new();
        for fields in lines(&self.folder.join(file))? {
            let position = positions.get(&fields[id]).with_context(|| format!("{} has a position", fields[id]))?;
            let variant = name_of(&fields[0], position, &fields[first], &fields[second]);
            by_variant.entry(variant).or_default().push(fields);
        }
        Ok(by_variant)
    }

    fn alleles_file(&self) -> String {
        format!("gt/{}.case_counts.assoc.zst", self.name)
    }

    fn check_alleles(&self, bought: &Bought, file: &str) -> Result<()> {
        let truth = self.truth(file)?;
        let rows = self.results(bought, Method::Allelic)?;
        for row in &rows {
            let [fields] = lines_of(&truth, row)? else { panic!("one line a variant") };
            // plink's A1 is the effect allele; where it is our reference allele the odds ratio turns over.
            let odds = row
                .effect
                .map(|effect| if fields[3] == row.alt_allele { effect.estimate } else { 1.0 / effect.estimate });
            // Odds of zero have no interval, and no effect is stated.
            let odds_agree = if fields[9] == "0" { odds.is_none() } else { agrees(&fields[9], odds) };
            let is_equal = agrees(&fields[7], row.statistic) && agrees(&fields[8], row.p_value) && odds_agree;
            ensure!(is_equal, "{fields:?}: {row:?}");
        }
        ensure!(rows.len() == truth.len(), "{} variants of {}", rows.len(), truth.len());
        Ok(())
    }

    /// plink1.9 `--model --cell 1` leaves out GENO, DOM and REC where a cell of the genotype table is 0, and tests
    /// DOM and REC of its own A1.
    fn check_models(&self, bought: &Bought, file: &str) -> Result<()> {
        let truth = self.truth(file)?;
        let mut compared = 0;
        for method in [Method::Genotypic, Method::Trend, Method::Allelic, Method::Dominant, Method::Recessive] {
            for row in self.results(bought, method)? {
                let lines = lines_of(&truth, &row)?;
                let turned = match method {
                    _ if lines[0][2] == row.alt_allele => method,
                    Method::Dominant => Method::Recessive,
                    Method::Recessive => Method::Dominant,
                    other => other,
                };
                let fields = lines.iter().find(|fields| fields[4] == turned.code()).context("the test")?;
                if fields[7] == "NA" {
                    continue;
                }
                let is_equal = agrees(&fields[7], row.statistic) && agrees(&fields[9], row.p_value);
                ensure!(is_equal, "{fields:?}: {row:?}");
                compared += 1;
            }
        }
        ensure!(compared > 2 * truth.len(), "{compared} tests of {} variants were compared", truth.len());
        Ok(())
    }

    fn check_regression(&self, bought: &Bought, file: &str) -> Result<()> {
        let truth = self.truth(file)?;
        let mut compared = 0;
        for row in self.results(bought, Method::Linear)? {
            let [fields] = lines_of(&truth, &row)? else { panic!("one line a variant") };
            let (Ok(beta), Ok(error)) = (fields[8].parse::<f64>(), fields[9].parse::<f64>()) else { continue };
            let effect = row.effect.context("a fit")?;
            let beta = if fields[5] == row.alt_allele { beta } else { -beta };
            let is_equal = (effect.estimate - beta).abs() <= ROUNDING * error
                && (effect.standard_error - error).abs() <= PRINTED * error;
            ensure!(is_equal, "{fields:?}: {row:?}");
            compared += 1;
        }
        ensure!(compared * 2 > truth.len(), "{compared} of {} variants were compared", truth.len());
        Ok(())
    }

    async fn check_planted(&self) -> Result<()> {
        let study = self.study("planted_case", "not planted_case").await?;
        self.check_alleles(&study, &self.alleles_file())?;
        self.check_models(&study, &format!("gt/{}.case.model.zst", self.name))?;
        let planted = self.schema.find_named("planted_trait").context("an attribute")?;
        let regression =
            self.buy(trait_filter(planted, None, self.schema.clone(), !self.panel.complete_calls())?).await?;
        self.check_regression(&regression, &format!("gt/{}.QT.glm.linear.zst", self.name))
    }
}

/// Lines of a table, by variant.
type Lines = BTreeMap<String, Vec<Vec<String>>>;

fn lines(file: &Path) -> Result<Vec<Vec<String>>> {
    let text = String::from_utf8(zstd::decode_all(fs::File::open(file)?)?)?;
    Ok(text.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect())
}

/// A variant whichever allele is the reference.
fn name_of(chrom: &str, position: &str, one: &str, other: &str) -> String {
    format!("{chrom}:{position}:{}:{}", one.min(other), one.max(other))
}

fn lines_of<'a>(truth: &'a Lines, row: &AssociationRow) -> Result<&'a [Vec<String>]> {
    let name = name_of(&row.chrom.to_string(), &row.position.to_string(), &row.ref_allele, &row.alt_allele);
    Ok(truth.get(&name).with_context(|| format!("plink has {name}"))?)
}

/// One table of the columns that are known, by person, and which these are.
fn joined(tables: &[PathBuf], target: &Path) -> Result<(AttributeSource, Vec<usize>)> {
    let mut people: BTreeMap<String, BTreeMap<usize, String>> = BTreeMap::new();
    for table in tables {
        let text = fs::read_to_string(table)?;
        let header: Vec<&str> = text.lines().next().context("a header")?.split('\t').collect();
        let person = header.iter().position(|name| *name == "IID").context("IID")?;
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            let of_person = people.entry(fields[person].to_owned()).or_default();
            for (number, (column, _, _)) in COLUMNS.iter().enumerate() {
                if let Some(place) = header.iter().position(|name| name == column) {
                    of_person.insert(number, fields[place].to_owned());
                }
            }
        }
    }
    let columns: Vec<usize> = people.values().next().context("people")?.keys().copied().collect();
    let names: Vec<&str> = columns.iter().map(|number| COLUMNS[*number].0).collect();
    let mut text = format!("IID\t{}\n", names.join("\t"));
    for (person, fields) in people {
        let fields: Vec<String> = fields.into_values().collect();
        text.push_str(&format!("{person}\t{}\n", fields.join("\t")));
    }
    fs::write(target, text)?;
    Ok((AttributeSource::Table(target.to_path_buf()), columns))
}

fn mapping(columns: &[usize]) -> Result<AttributeMapping> {
    let column = |number: &usize| {
        let (column, attribute, values) = COLUMNS[*number];
        json!({ "column": column, "attribute": attribute, "values": values.iter().copied().collect::<BTreeMap<_, _>>() })
    };
    let columns: Vec<Value> = columns.iter().map(column).collect();
    let document = json!({ "person": "IID", "missing": ["NA"], "columns": columns });
    Ok(AttributeMapping::parse_json(Path::new("mapping.json"), &document.to_string())?)
}

/// Equal to as many digits as plink1.9 prints.
fn agrees(printed: &str, value: Option<f64>) -> bool {
    match printed.parse::<f64>() {
        Ok(printed) if printed.is_finite() => {
            value.is_some_and(|value| (value - printed).abs() <= printed.abs() * 5.01e-4)
        }
        // NA and inf, where a cell of the table is empty.
        _ => value.is_none_or(|value| !value.is_finite()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn studies_of_the_exomes_equal_plink() -> Result<()> {
    let Some(scene) = Scene::of("kgp3_exome").await? else { return Ok(()) };
    let all = scene.study("HP:0000819", "not HP:0000819").await?;
    scene.check_alleles(&all, "gt_queries/a1_diabetes_all.assoc.zst")?;
    let european = ["planted_case", "not planted_case"].map(|text| format!("super_population = 'EUR' and {text}"));
    let european = scene.study(&european[0], &european[1]).await?;
    scene.check_alleles(&european, "gt_queries/a2_planted_case_eur.assoc.zst")?;
    scene.check_models(&european, "gt_queries/a2_planted_case_eur.model.zst")?;
    scene.check_planted().await
}

#[tokio::test(flavor = "multi_thread")]
async fn studies_of_a_small_cohort_equal_plink() -> Result<()> {
    match Scene::of("kgp1_eur379").await? {
        Some(scene) => scene.check_planted().await,
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn studies_with_missing_calls_equal_plink() -> Result<()> {
    match Scene::of("sim5k_dev").await? {
        Some(scene) => scene.check_planted().await,
        None => Ok(()),
    }
}
