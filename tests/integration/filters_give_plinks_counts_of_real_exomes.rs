//! Seven filtered questions over 2,504 real exomes with made-up attributes, asked of all services: every count is
//! plink2's. Compares nothing where the data are absent.

use anyhow::{Context as _, Result, ensure};
use locus_client::{
    enrol::AttributeInput,
    research::{Question, SelectionCounts},
};
use locus_genomics::{Panel, VariantSelection};
use locus_intake::{AttributeMapping, AttributeSource, read_attributes};
use locus_phenotype::AttributeSchema;
use locus_privacy::{Rho, Tier};
use locus_tests::{Bought, Market, about, filter_of, read_plink_counts, shared_cohort};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path, sync::Arc};

const SCHEMA: &str = r#"{
    "name": "kgp3", "version": "1",
    "attributes": [
        {"kind": "category", "name": "population", "values": ["ACB", "ASW", "BEB", "CDX", "CEU", "CHB", "CHS", "CLM", "ESN",
         "FIN", "GBR", "GIH", "GWD", "IBS", "ITU", "JPT", "KHV", "LWK", "MSL", "MXL", "PEL", "PJL", "PUR", "STU", "TSI", "YRI"]},
        {"kind": "category", "name": "super_population", "values": ["AFR", "AMR", "EAS", "EUR", "SAS"]},
        {"kind": "category", "name": "sex", "values": ["M", "F"]},
        {"kind": "term", "term": "HP:0000819"},
        {"kind": "flag", "name": "ever_smoked"},
        {"kind": "term", "term": "HP:0002099"},
        {"kind": "term", "term": "HP:0001513"},
        {"kind": "bands", "name": "bmi", "edges": ["18.5", "25", "30"], "unit": "kg/m2"},
        {"kind": "bands", "name": "ldl", "edges": ["3", ">4"], "unit": "mmol/L"}
    ]
}"#;

/// Columns of the attribute file, and what their contents mean.
const COLUMNS: [(&str, &str, &[(&str, &str)]); 9] = [
    ("POP", "population", &[]),
    ("SUPERPOP", "super_population", &[]),
    ("SYN_SEX", "sex", &[("1", "M"), ("2", "F")]),
    ("SYN_DIABETES", "HP:0000819", &[("1", "no"), ("2", "yes")]),
    ("SYN_EVER_SMOKED", "ever_smoked", &[("1", "no"), ("2", "yes")]),
    ("SYN_ASTHMA", "HP:0002099", &[("1", "no"), ("2", "yes")]),
    ("SYN_OBESITY", "HP:0001513", &[("1", "no"), ("2", "yes")]),
    ("SYN_BMI", "bmi", &[]),
    ("SYN_LDL", "ldl", &[]),
];

const QUESTIONS: [(&str, &str); 6] = [
    ("q1_eur", "super_population = 'EUR'"),
    ("q2_diabetic", "HP:0000819"),
    ("q3_eur_diabetic", "super_population = 'EUR' and HP:0000819"),
    ("q4_female_bmi30", "sex = 'F' and bmi >= 30"),
    ("q5_smoker_asthma_or_obesity", "ever_smoked and (HP:0002099 or HP:0001513)"),
    ("q6_not_afr_ldl", "super_population <> 'AFR' and ldl > 4.0"),
];
/// Ten people.
const TOO_FEW: &str = "population = 'GBR' and HP:0000819 and ever_smoked";

fn mapping() -> Result<AttributeMapping> {
    let column = |(column, attribute, values): &(&str, &str, &[(&str, &str)])| json!({ "column": column, "attribute": attribute, "values": values.iter().copied().collect::<BTreeMap<_, _>>() });
    let columns: Vec<Value> = COLUMNS.iter().map(column).collect();
    let document = json!({ "person": "IID", "missing": ["NA"], "columns": columns });
    Ok(AttributeMapping::parse_json(Path::new("mapping.json"), &document.to_string())?)
}

struct Scene {
    market: Market,
    panel: Arc<Panel>,
    schema: Arc<AttributeSchema>,
}

impl Scene {
    async fn of(prefix: &Path) -> Result<Self> {
        let market = Market::start().await?;
        let (panel, enrolled) = market.enrol_plink(prefix).await?;
        let schema = AttributeSchema::parse_json(SCHEMA)?;
        let table = AttributeSource::Table(prefix.with_file_name("kgp3_attributes.tsv"));
        let input = AttributeInput::of_intake(schema.clone(), read_attributes(&table, &schema, &mapping()?)?);
        for batch in &enrolled {
            let added = market.add_attributes(&market.biobank, batch.registration, &input).await?;
            ensure!(added.matched == batch.datasets.len(), "{} people have attributes", added.matched);
        }
        Ok(Self { market, panel, schema: Arc::new(schema) })
    }

    fn question(&self, texts: &[&str]) -> Result<Question> {
        Ok(about(filter_of(texts, &self.schema)?, VariantSelection::all(&self.panel), Tier::Exact, Rho::ZERO))
    }

    async fn buy(&self, question: &Question) -> Result<Bought> {
        self.market.buy_as(&self.market.researcher, &self.panel, question, "100".parse()?).await
    }

    /// Compares het and alternate homozygous counts with plink2's, whichever allele it calls REF.
    fn check(&self, counts: &SelectionCounts, truth: &Path) -> Result<()> {
        let truth: BTreeMap<String, [i64; 4]> = read_plink_counts(truth)?
            .into_iter()
            .flat_map(|row| {
                let place = row.id.split(':').take(2).collect::<Vec<_>>().join(":");
                let [hom_ref, het, hom_alt, missing] = row.counts;
                let (one, other) = (row.ref_allele, row.alt_allele);
                [
                    (format!("{place}:{one}:{other}"), [hom_ref, het, hom_alt, missing]),
                    (format!("{place}:{other}:{one}"), [hom_alt, het, hom_ref, missing]),
                ]
            })
            .collect();
        for row in &counts.rows {
            let id = self.panel.variant(row.index).context("a variant")?.to_string();
            let found = [row.hom_ref(), row.het, row.hom_alt, row.missing];
            ensure!(truth.get(&id) == Some(&found), "{}, {id}: {found:?}, plink2 {:?}", counts.text, truth.get(&id));
        }
        ensure!(counts.rows.len() == 23_770);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filtered_counts_of_the_exome_equal_plink() -> Result<()> {
    let Some(prefix) = shared_cohort("kgp3_exome") else {
        eprintln!("kgp3_exome is not beside the repository: not compared");
        return Ok(());
    };
    let scene = Scene::of(&prefix).await?;
    let truth = |name: &str| prefix.with_file_name(format!("gt_queries/{name}"));
    for (name, text) in QUESTIONS {
        let bought = scene.buy(&scene.question(&[text])?).await?;
        let [counts] = bought.opened.selections() else { panic!("one selection") };
        scene.check(counts, &truth(&format!("{name}.gcount.zst")))?;
    }
    let refused = scene.buy(&scene.question(&[TOO_FEW])?).await.expect_err("ten people");
    ensure!(format!("{refused:#}").contains("too few people match"), "{refused:#}");
    Ok(())
}
