//! Results of association, variant by variant.

use crate::error::ReportError;
use locus_genomics::{Panel, VariantIndex};
use locus_statistics::{
    CaseControl, ClassCounts, ConfidenceLevel, TraitScale, TraitSums, allelic_odds_ratio, allelic_test, dominant_test,
    genomic_inflation, genotypic_test, linear_regression, mantel_haenszel, recessive_test, trend_test,
};

/// Which test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Pearson's test of alleles.
    Allelic,
    /// Cochran-Armitage trend.
    Trend,
    /// Carriers against the rest.
    Dominant,
    /// Homozygous people against the rest.
    Recessive,
    /// Pearson's test of genotypes, two degrees of freedom.
    Genotypic,
    /// Cochran-Mantel-Haenszel test of alleles over strata.
    Stratified,
    /// Linear regression of a quantitative trait.
    Linear,
}

impl Method {
    /// Its name in tables.
    pub fn code(self) -> &'static str {
        match self {
            Self::Allelic => "ALLELIC",
            Self::Trend => "TREND",
            Self::Dominant => "DOM",
            Self::Recessive => "REC",
            Self::Genotypic => "GENO",
            Self::Stratified => "CMH",
            Self::Linear => "ADD",
        }
    }

    /// Its name in prose.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Allelic => "Pearson's chi-squared test of alleles",
            Self::Trend => "Cochran-Armitage trend test",
            Self::Dominant => "chi-squared test, dominant model",
            Self::Recessive => "chi-squared test, recessive model",
            Self::Genotypic => "chi-squared test of genotypes, two degrees of freedom",
            Self::Stratified => "Cochran-Mantel-Haenszel test of alleles over strata",
            Self::Linear => "linear regression on the number of alternate alleles",
        }
    }
}

/// What an effect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectKind {
    /// Odds ratio of the alternate allele.
    OddsRatio,
    /// Change of a trait for each alternate allele.
    Beta,
}

/// An effect with its error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// Odds ratio or beta.
    pub estimate: f64,
    /// Standard error of beta, or of the logarithm of the odds ratio.
    pub standard_error: f64,
    /// The 95 % interval of the estimate.
    pub interval: (f64, f64),
}

/// The result of one variant. The alternate allele is the effect allele.
#[derive(Debug, Clone, PartialEq)]
pub struct AssociationRow {
    /// Chromosome, 1 to 22.
    pub chrom: u8,
    /// Position, 1-based.
    pub position: u32,
    /// Reference allele.
    pub ref_allele: String,
    /// Alternate allele, the effect allele.
    pub alt_allele: String,
    /// People with a call; with noise not whole.
    pub called: f64,
    /// Frequency of the alternate allele; with noise it may leave 0 to 1.
    pub frequency: Option<f64>,
    /// Frequencies in cases and in controls.
    pub group_frequencies: Option<(f64, f64)>,
    /// The effect, where it can be estimated.
    pub effect: Option<Effect>,
    /// Chi-squared, or T of a regression.
    pub statistic: Option<f64>,
    /// p-value.
    pub p_value: Option<f64>,
}

impl AssociationRow {
    /// `chrom:position:ref:alt`.
    pub fn id(&self) -> String {
        format!("{}:{}:{}:{}", self.chrom, self.position, self.ref_allele, self.alt_allele)
    }
}

/// All results of a study, in panel order.
#[derive(Debug, Clone, PartialEq)]
pub struct AssociationTable {
    /// The test.
    pub method: Method,
    /// What effects are.
    pub effect_kind: EffectKind,
    /// One row a variant.
    pub rows: Vec<AssociationRow>,
}

impl AssociationTable {
    /// Genomic control lambda of the statistics (their squares for a regression); `None` without
    /// results, and for the genotypic test, which has two degrees of freedom.
    pub fn lambda(&self) -> Option<f64> {
        let chi_squared = |row: &AssociationRow| match self.method {
            Method::Linear => row.statistic.map(|t| t * t),
            Method::Genotypic => None,
            _ => row.statistic,
        };
        genomic_inflation(&self.rows.iter().filter_map(chi_squared).collect::<Vec<_>>())
    }

    /// The rows with the smallest p-values, smallest first.
    pub fn top(&self, count: usize) -> Vec<&AssociationRow> {
        let mut rows: Vec<&AssociationRow> = self.rows.iter().filter(|row| row.p_value.is_some()).collect();
        rows.sort_by(|left, right| {
            let key = |row: &AssociationRow| row.p_value.unwrap_or(1.0);
            key(left)
                .total_cmp(&key(right))
                .then_with(|| (left.chrom, left.position).cmp(&(right.chrom, right.position)))
        });
        rows.truncate(count);
        rows
    }
}

/// Tests `variants` of `panel`, whose counts are `counts`, by `method`; effects are allelic odds
/// ratios whatever the test. For [`Method::Linear`] use [`trait_table`], for [`Method::Stratified`]
/// [`stratified_table`]: here they are the trend and the allelic test.
///
/// # Errors
/// [`ReportError::Length`], [`ReportError::NoVariant`].
pub fn case_control_table(
    panel: &Panel,
    variants: &[VariantIndex],
    counts: &[CaseControl],
    method: Method,
) -> Result<AssociationTable, ReportError> {
    let rows = rows_of(panel, variants, counts.len())?;
    let test = match method {
        Method::Allelic | Method::Stratified => allelic_test,
        Method::Trend | Method::Linear => trend_test,
        Method::Dominant => dominant_test,
        Method::Recessive => recessive_test,
        Method::Genotypic => genotypic_test,
    };
    let rows = rows.zip(counts).map(|(row, groups)| {
        let mut row = row?;
        let outcome = test(groups);
        let odds = allelic_odds_ratio(groups);
        let pooled = groups.pooled();
        row.called = pooled.called();
        row.frequency = pooled.allele_frequency();
        row.group_frequencies = groups.cases.allele_frequency().zip(groups.controls.allele_frequency());
        row.effect = odds.and_then(|odds| {
            let interval = odds.interval(ConfidenceLevel::USUAL)?;
            Some(Effect { estimate: odds.ratio, standard_error: odds.log_standard_error?, interval })
        });
        row.statistic = outcome.map(|outcome| outcome.statistic);
        row.p_value = outcome.map(|outcome| outcome.p_value);
        Ok(row)
    });
    let method = match method {
        Method::Linear => Method::Trend,
        Method::Stratified => Method::Allelic,
        method => method,
    };
    let rows = rows.collect::<Result<_, ReportError>>()?;
    Ok(AssociationTable { method, effect_kind: EffectKind::OddsRatio, rows })
}

/// Tests `variants` of `panel` within strata: `counts` has, for each variant, cases and controls of every
/// stratum. Effects are common odds ratios (Mantel and Haenszel), frequencies those of all strata together.
///
/// # Errors
/// [`ReportError::Length`], [`ReportError::NoVariant`].
pub fn stratified_table(
    panel: &Panel,
    variants: &[VariantIndex],
    counts: &[Vec<CaseControl>],
) -> Result<AssociationTable, ReportError> {
    let rows = rows_of(panel, variants, counts.len())?;
    let rows = rows.zip(counts).map(|(row, strata)| {
        let mut row = row?;
        let outcome = mantel_haenszel(strata);
        let (cases, controls) =
            (all_strata(strata, |stratum| &stratum.cases), all_strata(strata, |stratum| &stratum.controls));
        let everybody = AlleleSums { alt: cases.alt + controls.alt, called: cases.called + controls.called };
        row.called = everybody.called;
        row.frequency = everybody.frequency();
        row.group_frequencies = cases.frequency().zip(controls.frequency());
        row.effect = outcome.and_then(|outcome| outcome.odds_ratio).and_then(|odds| {
            let interval = odds.interval(ConfidenceLevel::USUAL)?;
            Some(Effect { estimate: odds.ratio, standard_error: odds.log_standard_error?, interval })
        });
        row.statistic = outcome.map(|outcome| outcome.test.statistic);
        row.p_value = outcome.map(|outcome| outcome.test.p_value);
        Ok(row)
    });
    let rows = rows.collect::<Result<_, ReportError>>()?;
    Ok(AssociationTable { method: Method::Stratified, effect_kind: EffectKind::OddsRatio, rows })
}

/// Alternate alleles and people called, over strata.
struct AlleleSums {
    alt: f64,
    called: f64,
}

impl AlleleSums {
    fn frequency(&self) -> Option<f64> {
        (self.called > 0.0).then(|| self.alt / (2.0 * self.called))
    }
}

fn all_strata(strata: &[CaseControl], group: fn(&CaseControl) -> &ClassCounts) -> AlleleSums {
    let add = |sums: AlleleSums, stratum: &CaseControl| AlleleSums {
        alt: sums.alt + group(stratum).alt_alleles(),
        called: sums.called + group(stratum).called(),
    };
    strata.iter().fold(AlleleSums { alt: 0.0, called: 0.0 }, add)
}

/// Regresses a trait, whose sums on the scale's units are `sums`, on `variants` of `panel`.
///
/// # Errors
/// [`ReportError::Length`], [`ReportError::NoVariant`].
pub fn trait_table(
    panel: &Panel,
    variants: &[VariantIndex],
    sums: &[TraitSums],
    scale: Option<TraitScale>,
) -> Result<AssociationTable, ReportError> {
    let rows = rows_of(panel, variants, sums.len())?;
    let rows = rows.zip(sums).map(|(row, sums)| {
        let mut row = row?;
        row.called = sums.classes.called();
        row.frequency = sums.classes.allele_frequency();
        let fit = linear_regression(sums).map(|fit| scale.map_or(fit, |scale| scale.scale_fit(fit)));
        row.effect = fit.map(|fit| {
            let reach = ConfidenceLevel::USUAL.half_width() * fit.standard_error;
            let interval = (fit.beta - reach, fit.beta + reach);
            Effect { estimate: fit.beta, standard_error: fit.standard_error, interval }
        });
        row.statistic = fit.map(|fit| fit.t);
        row.p_value = fit.map(|fit| fit.p_value);
        Ok(row)
    });
    let rows = rows.collect::<Result<_, ReportError>>()?;
    Ok(AssociationTable { method: Method::Linear, effect_kind: EffectKind::Beta, rows })
}

/// Rows with their variants, and nothing else yet.
fn rows_of<'a>(
    panel: &'a Panel,
    variants: &'a [VariantIndex],
    counts: usize,
) -> Result<impl Iterator<Item = Result<AssociationRow, ReportError>> + 'a, ReportError> {
    if variants.len() != counts {
        return Err(ReportError::Length { variants: variants.len(), counts });
    }
    Ok(variants.iter().map(|index| {
        let variant = panel.variant(*index).ok_or(ReportError::NoVariant(index.0))?;
        Ok(AssociationRow {
            chrom: variant.chrom().number(),
            position: variant.position(),
            ref_allele: variant.ref_allele().to_string(),
            alt_allele: variant.alt_allele().to_string(),
            called: 0.0,
            frequency: None,
            group_frequencies: None,
            effect: None,
            statistic: None,
            p_value: None,
        })
    }))
}
