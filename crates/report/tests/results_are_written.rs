//! Tables, files, plots and the page of a study.

use arrow_array::{Array, Float64Array, StringArray};
use locus_genomics::{Assembly, Panel, VariantIndex, VariantRef};
use locus_report::*;
use locus_statistics::{CaseControl, ClassCounts, CountNoise, TraitNoise, TraitSums};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A panel over three chromosomes.
fn panel(per_chrom: u32) -> Panel {
    let ids: Vec<String> = [1u8, 2, 22]
        .iter()
        .flat_map(|chrom| (1..=per_chrom).map(move |number| format!("{chrom}:{}:A:G", 1_000_000 + 2_000 * number)))
        .collect();
    let variants: Vec<locus_genomics::Variant> = ids.iter().map(|id| id.parse().expect("a variant")).collect();
    Panel::try_new(
        "demo",
        Assembly::GRCh38,
        true,
        variants.iter().map(|variant| -> VariantRef<'_> { variant.as_ref() }),
    )
    .expect("a panel")
}

fn study(counts: CohortCounts, sigma: Option<f64>) -> Study {
    Study {
        trait_description: "type 2 diabetes <script>alert(1)</script> & \"more\"".to_owned(),
        ontology_terms: vec!["MONDO:0005148".to_owned()],
        panel: "demo".to_owned(),
        assembly: Assembly::GRCh38,
        selections: vec![("cases".to_owned(), "HP:0000819 AND age >= 50".to_owned())],
        evaluation: "plain shares".to_owned(),
        counts,
        ancestry_category: "NR".to_owned(),
        genotyping_technology: "Exome-wide sequencing".to_owned(),
        noise: NoiseStatement { sigma, rho: "0.05".to_owned(), tier: "open".to_owned() },
        order_ids: vec!["ab".repeat(32)],
        proof_ids: vec!["cd".repeat(32)],
        date: "2026-11-21".to_owned(),
        software: "locus 0.1.0".to_owned(),
    }
}

/// Counts that differ between the groups at every tenth variant; the last variant has no carrier.
fn counts(variants: u32, noise: CountNoise) -> Vec<CaseControl> {
    let group = |people: i64, het: i64, hom_alt: i64| {
        if noise.is_none() {
            let [people, het, hom_alt] = [people, het, hom_alt].map(|count| u64::try_from(count).expect("exact"));
            return ClassCounts::exact(people, het, hom_alt, 0).expect("they add up");
        }
        ClassCounts::noisy(people, het, hom_alt, 0, noise)
    };
    (0..variants)
        .map(|number| {
            let spread = i64::from(number % 7);
            let excess = if number % 10 == 0 { 60 } else { 0 };
            match number + 1 == variants {
                true => CaseControl { cases: group(400, 0, 0), controls: group(600, 0, 0) },
                false => {
                    CaseControl { cases: group(400, 120 + spread + excess, 12), controls: group(600, 180 - spread, 18) }
                }
            }
        })
        .collect()
}

fn table(per_chrom: u32, method: Method) -> (Panel, AssociationTable) {
    let panel = panel(per_chrom);
    let variants: Vec<VariantIndex> = (0..3 * per_chrom).map(VariantIndex).collect();
    let table =
        case_control_table(&panel, &variants, &counts(3 * per_chrom, CountNoise::NONE), method).expect("one length");
    (panel, table)
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), ReportError>) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes).expect("memory is writable");
    String::from_utf8(bytes).expect("it is text")
}

#[test]
fn the_plink_table_has_its_columns_and_na_where_nothing_is_known() {
    let (_, table) = table(4, Method::Allelic);
    let text = written(|out| write_plink_tsv(&table, out));
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(
        lines[0].join(" "),
        "#CHROM POS ID REF ALT A1 TEST OBS_CT A1_CASE_FREQ A1_CTRL_FREQ OR LOG(OR)_SE L95 U95 CHISQ P"
    );
    assert!(lines.iter().all(|line| line.len() == lines[0].len()) && lines.len() == 13);
    assert_eq!(lines[1][..10], ["1", "1002000", "1:1002000:A:G", "A", "G", "G", "ALLELIC", "1000", "0.255", "0.18"]);
    // (204 / 596) / (216 / 984) and Pearson's statistic of the same table.
    assert_eq!(lines[1][10], "1.55928");
    assert_eq!(lines[12][8..], ["0", "0", "NA", "NA", "NA", "NA", "NA", "NA"]);
}

#[test]
fn the_ssf_file_has_the_standard_columns_and_its_metadata_fit() {
    let (_, table) = table(4, Method::Trend);
    let mut bytes = Vec::new();
    let summary = write_ssf(&table, &mut bytes).expect("memory is writable");
    let text = String::from_utf8(bytes).expect("it is text");
    let header: Vec<&str> = text.lines().next().expect("a header").split('\t').collect();
    assert_eq!(
        header[..8],
        [
            "chromosome",
            "base_pair_location",
            "effect_allele",
            "other_allele",
            "odds_ratio",
            "standard_error",
            "effect_allele_frequency",
            "p_value"
        ]
    );
    assert_eq!(summary.left_out, 1, "a variant nobody carries has no odds ratio");
    assert_eq!(summary.variants, 11);
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(fields.len(), header.len());
        let number = |place: usize| fields[place].parse::<f64>().expect("a number");
        assert!((0.0..=1.0).contains(&number(6)) && (0.0..=1.0).contains(&number(7)) && number(4) > 0.0);
        assert_eq!(fields[8], format!("{}_{}_{}_{}", fields[0], fields[1], fields[3], fields[2]), "ref, then alt");
        assert_eq!(fields[9], "OA");
    }
    let study = study(CohortCounts::CaseControl { cases: 400, controls: 600 }, Some(12.5));
    let yaml = ssf_metadata(&study, table.method, "demo.tsv", &summary);
    for line in [
        "genome_assembly: GRCh38",
        "coordinate_system: 1-based",
        "file_type: GWAS-SSF v1.0",
        "    sample_size: 1000",
        "    case_control_study: true",
        "    case_count: 400",
        "    control_count: 600",
        "is_sorted: true",
        "is_harmonised: false",
        "data_file_name: \"demo.tsv\"",
    ] {
        assert!(yaml.lines().any(|found| found == line), "{line} is not in\n{yaml}");
    }
    assert!(yaml.contains("standard deviation 12.5") && yaml.contains("1 variants without"));
    assert_eq!(summary.md5.len(), 32);
    assert!(yaml.contains(&format!("data_file_md5sum: {}", summary.md5)));
}

#[test]
fn the_md5_is_that_of_the_bytes() {
    let empty = AssociationTable { method: Method::Linear, effect_kind: EffectKind::Beta, rows: Vec::new() };
    let mut bytes = Vec::new();
    let summary = write_ssf(&empty, &mut bytes).expect("memory is writable");
    // md5sum of the header line.
    assert_eq!(bytes.len(), 151);
    assert_eq!(summary.md5, "fff085d415003d61b0cc7ddf4b205be7");
}

#[test]
fn noisy_frequencies_stay_within_the_standard() {
    let panel = panel(1);
    let noise = CountNoise::try_new(400.0, 0.0, 0.0).expect("a variance");
    let rare = ClassCounts::noisy(400, -30, 3, 0, noise);
    let counts = [CaseControl { cases: rare, controls: rare }; 3];
    let variants = [0, 1, 2].map(VariantIndex);
    let table = case_control_table(&panel, &variants, &counts, Method::Trend).expect("one length");
    assert!(table.rows[0].frequency.expect("called") < 0.0);
    assert!(table.rows[0].p_value.is_some(), "the test allows for noise");
    let plot = Plot::new(PlotKind::Frequencies, &table, "noisy").expect("there are frequencies");
    assert!(plot.to_svg().expect("drawn").contains("noisy"));
}

#[test]
fn the_parquet_file_holds_the_same_numbers() {
    let (_, table) = table(5, Method::Allelic);
    let mut bytes = Vec::new();
    write_parquet(&table, &mut bytes).expect("memory is writable");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.parquet");
    std::fs::write(&path, &bytes).expect("writable");
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).expect("readable")).expect("parquet");
    let metadata = reader.metadata().file_metadata().key_value_metadata().expect("some").clone();
    assert!(metadata.iter().any(|pair| pair.key == "locus.test" && pair.value.as_deref() == Some("ALLELIC")));
    let batch = reader.build().expect("a reader").next().expect("one batch").expect("valid");
    assert_eq!(batch.num_rows(), 15);
    let column = |name: &str| batch.column_by_name(name).expect("it exists").clone();
    let p_values = column("p_value");
    let p_values = p_values.as_any().downcast_ref::<Float64Array>().expect("floats");
    for (place, row) in table.rows.iter().enumerate() {
        assert_eq!((!p_values.is_null(place)).then(|| p_values.value(place)), row.p_value);
    }
    let alleles = column("alt_allele");
    assert_eq!(alleles.as_any().downcast_ref::<StringArray>().expect("texts").value(3), "G");
}

#[test]
fn plots_are_drawn_as_svg_and_png() {
    let (_, table) = table(200, Method::Trend);
    for kind in [PlotKind::Manhattan, PlotKind::Quantiles, PlotKind::Frequencies] {
        let plot = Plot::new(kind, &table, "A title").expect("there are results");
        let svg = plot.to_svg().expect("drawn");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>") && svg.contains("A title"));
        let file = plot.to_png().expect("drawn");
        let mut reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().expect("a png");
        assert_eq!((reader.info().width, reader.info().height), plot.size());
        let mut pixels = vec![0; reader.output_buffer_size().expect("small")];
        reader.next_frame(&mut pixels).expect("one frame");
        let dark = pixels.chunks(3).filter(|pixel| pixel.iter().all(|value| *value < 128)).count();
        assert!(dark > 500, "{kind:?} has {dark} dark pixels, text included");
    }
    let manhattan = Plot::new(PlotKind::Manhattan, &table, "t").expect("results").to_svg().expect("drawn");
    for chrom in ["1", "2", "22"] {
        assert!(manhattan.lines().any(|line| line.trim() == chrom), "chromosome {chrom} is named");
    }
    let quantiles = Plot::new(PlotKind::Quantiles, &table, "t").expect("results").to_svg().expect("drawn");
    assert!(quantiles.contains("lambda = "));
}

#[test]
fn many_variants_make_a_plot_of_bounded_size() {
    let (_, table) = table(20_000, Method::Allelic);
    assert_eq!(table.rows.len(), 60_000);
    let svg = Plot::new(PlotKind::Manhattan, &table, "t").expect("results").to_svg().expect("drawn");
    assert!(svg.len() < 4_000_000, "{} bytes", svg.len());
}

#[test]
fn a_table_without_results_has_no_plot_but_a_page() {
    let panel = panel(1);
    let nobody = ClassCounts::exact(0, 0, 0, 0).expect("empty");
    let counts = [CaseControl { cases: nobody, controls: nobody }; 3];
    let table = case_control_table(&panel, &[0, 1, 2].map(VariantIndex), &counts, Method::Trend).expect("one length");
    for kind in [PlotKind::Manhattan, PlotKind::Quantiles, PlotKind::Frequencies] {
        assert!(matches!(Plot::new(kind, &table, "t").err(), Some(ReportError::NothingToPlot)));
    }
    let page = written(|out| write_html(&study(CohortCounts::Quantitative { people: 0 }, None), &table, out));
    assert!(page.contains("no variant has a result"));
    let short = case_control_table(&panel, &[VariantIndex(0)], &counts, Method::Trend);
    assert!(matches!(short.err(), Some(ReportError::Length { variants: 1, counts: 3 })));
    let outside = case_control_table(&panel, &[VariantIndex(9)], &counts[..1], Method::Trend);
    assert!(matches!(outside.err(), Some(ReportError::NoVariant(9))));
}

#[test]
fn the_page_holds_everything_and_reaches_for_nothing() {
    let (_, table) = table(50, Method::Trend);
    let study = study(CohortCounts::CaseControl { cases: 400, controls: 600 }, Some(12.5));
    let page = written(|out| write_html(&study, &table, out));
    for text in [
        "400 cases, 600 controls",
        "Cochran-Armitage trend test",
        "standard deviation 12.5 people",
        "tier open, rho 0.05",
        "plain shares",
        &study.order_ids[0],
        &study.proof_ids[0],
        "HP:0000819 AND age &gt;= 50",
        "Genomic control lambda",
        "default-src 'none'",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    for outside in ["src=", "href=", "url(", "@import", "<iframe", "<object"] {
        assert!(!page.contains(outside), "the page refers to something outside: {outside}");
    }
    let rows = page.split("Smallest p-values").nth(1).expect("the table").matches("<tr>").count();
    assert_eq!(rows, 26, "a header and the 25 strongest");
    let first = table.top(1)[0].id();
    assert!(page.contains(&first));
}

#[test]
fn a_trait_table_has_slopes_and_sorts_by_p() {
    let panel = panel(1);
    let sums = |het_sum: f64| TraitSums {
        classes: ClassCounts::exact(300, 100, 20, 0).expect("they add up"),
        sum: 30.0,
        het_sum,
        hom_alt_sum: 5.0,
        square_sum: 400.0,
        noise: TraitNoise::NONE,
    };
    let table = trait_table(&panel, &[0, 1, 2].map(VariantIndex), &[sums(10.0), sums(40.0), sums(-15.0)], None)
        .expect("one length");
    assert_eq!(table.top(3).iter().map(|row| row.chrom).collect::<Vec<_>>(), [2, 22, 1]);
    assert!(table.lambda().is_some());
    let text = written(|out| write_plink_tsv(&table, out));
    assert!(text.starts_with("#CHROM\tPOS\tID\tREF\tALT\tA1\tTEST\tOBS_CT\tA1_FREQ\tBETA\tSE\tL95\tU95\tT_STAT\tP\n"));
    let mut bytes = Vec::new();
    write_ssf(&table, &mut bytes).expect("memory is writable");
    assert!(String::from_utf8(bytes).expect("text").lines().next().expect("a header").contains("\tbeta\t"));
}

#[test]
fn strata_are_tested_together_and_one_stratum_gives_its_own_odds_ratio() {
    let panel = panel(4);
    let variants: Vec<VariantIndex> = (0..12).map(VariantIndex).collect();
    let counts = counts(12, CountNoise::NONE);
    let alone = case_control_table(&panel, &variants, &counts, Method::Allelic).expect("one length");
    let of_strata = |copies: usize| {
        let strata: Vec<Vec<CaseControl>> = counts.iter().map(|groups| vec![*groups; copies]).collect();
        stratified_table(&panel, &variants, &strata).expect("one length")
    };
    let (one, two) = (of_strata(1), of_strata(2));
    assert_eq!((one.method.code(), two.rows[0].called), ("CMH", 2.0 * alone.rows[0].called));
    for (stratified, unstratified) in one.rows.iter().chain(&two.rows).zip(alone.rows.iter().chain(&alone.rows)) {
        assert_eq!(stratified.group_frequencies, unstratified.group_frequencies);
        assert_eq!(stratified.effect.is_some(), unstratified.effect.is_some());
        let ratio = |row: &AssociationRow| row.effect.map_or(0.0, |effect| effect.estimate);
        assert!((ratio(stratified) - ratio(unstratified)).abs() < 1e-9);
    }
    // The hypergeometric variance has t - 1 where Pearson's test has t alleles.
    let (stratified, pearson) = (one.rows[0].statistic.expect("tested"), alone.rows[0].statistic.expect("tested"));
    assert!((stratified - pearson * 1999.0 / 2000.0).abs() < 1e-9, "{stratified} {pearson}");
}
