//! Commands of researchers.

use super::TierArg;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use locus_client::disclosure::Claim;
use locus_genomics::{Condition, Declarations, PurposeCode};
use locus_ledger::Amount;
use locus_privacy::Rho;
use std::path::PathBuf;

/// A question.
#[derive(Debug, Args)]
pub(crate) struct QuestionArgs {
    /// Panel file, or digest or name of a published panel
    #[arg(long)]
    pub(crate) panel: String,
    /// `all`, ids such as 1:69428:T:G separated by commas, or a file of ids
    #[arg(long, value_name = "IDS|FILE|all", default_value = "all")]
    pub(crate) variants: String,
    /// What the answer is for: a name such as biomedical, or a DUO term such as GRU or HMB
    #[arg(long, value_name = "DUO")]
    pub(crate) purpose: PurposeCode,
    /// What you sign beside the purpose, such as ethics-approval
    #[arg(long, value_name = "NAMES", default_value = "")]
    pub(crate) declare: Declarations,
    /// Disease studied, such as MONDO:0005148
    #[arg(long, value_name = "TERM")]
    pub(crate) condition: Option<Condition>,
    /// Privacy tier
    #[arg(long)]
    pub(crate) tier: TierArg,
    /// Privacy loss to buy, in zCDP: more is more exact; not for the exact tier
    #[arg(long, value_name = "RHO", required_if_eq_any([("tier", "open"), ("tier", "vetted")]))]
    pub(crate) rho: Option<Rho>,
    /// Count only datasets that are registered with proofs, none on an accreditor's word alone
    #[arg(long)]
    pub(crate) proven_only: bool,
    /// Count only people whose offers disclose this: VARIANT=carries, VARIANT=lacks or VARIANT=hom-alt; repeat it for
    /// more variants
    #[arg(long, value_name = "CLAIM")]
    pub(crate) disclosed: Vec<Claim>,
}

/// Who is asked about, by attributes that nobody sees.
#[derive(Debug, Default, Args)]
pub(crate) struct FilterArgs {
    /// Only people of whom this is true, such as "sex = 'F' and bmi >= 30"
    #[arg(long = "where", value_name = "PREDICATE", conflicts_with_all = ["cases", "controls", "strata"])]
    pub(crate) people: Option<String>,
    /// People with the condition studied
    #[arg(long, value_name = "PREDICATE", requires = "controls")]
    pub(crate) cases: Option<String>,
    /// People without it
    #[arg(long, value_name = "PREDICATE", requires = "cases")]
    pub(crate) controls: Option<String>,
    /// Attribute within whose values cases and controls are compared
    #[arg(long, value_name = "NAME", requires = "cases")]
    pub(crate) strata: Option<String>,
    /// Quantity that is regressed on genotypes, over everybody or the people of --where
    #[arg(long = "trait", value_name = "NAME", conflicts_with_all = ["cases", "controls", "strata"])]
    pub(crate) quantity: Option<String>,
    #[command(flatten)]
    pub(crate) schema: SchemaArgs,
}

/// The attributes that predicates are about, and how the keyholders evaluate them.
#[derive(Debug, Default, Args)]
pub(crate) struct SchemaArgs {
    /// Attribute schema: a file, or the digest of one in use [default: the only one in use]
    #[arg(long, value_name = "DIGEST|FILE")]
    pub(crate) schema: Option<String>,
    /// Evaluate with authenticated shares, which a keyholder cannot falsify unnoticed; takes the keyholders more
    /// messages
    #[arg(long)]
    pub(crate) authenticated: bool,
}

/// `locus quote`.
#[derive(Debug, Args)]
pub(crate) struct QuoteArgs {
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

/// `locus query`.
#[derive(Debug, Subcommand)]
pub(crate) enum QueryCommand {
    /// Buy genotype and allele counts
    Counts(CountsArgs),
    /// Buy counts of the people whom a predicate selects, by attributes that nobody sees
    Cohort(CohortArgs),
    /// Buy the counts of cases and controls or the sums of a trait, test them and write a report
    Association(Box<AssociationArgs>),
    /// Fetch the answer to an order again, or for the first time after an interruption; costs nothing
    Fetch(FetchArgs),
}

/// What is paid, and for which result.
#[derive(Debug, Args)]
pub(crate) struct PurchaseArgs {
    /// Most tokens to pay; the rest comes back
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_price: Amount,
    /// Where to write the table; the answer with its proofs goes beside it as .answer
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// `locus query counts`.
#[derive(Debug, Args)]
pub(crate) struct CountsArgs {
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
    #[command(flatten)]
    pub(crate) purchase: PurchaseArgs,
}

/// `locus query cohort`.
#[derive(Debug, Args)]
pub(crate) struct CohortArgs {
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
    /// Only people of whom this is true, such as "sex = 'F' and bmi >= 30"
    #[arg(long = "where", value_name = "PREDICATE")]
    pub(crate) people: String,
    #[command(flatten)]
    pub(crate) schema: SchemaArgs,
    #[command(flatten)]
    pub(crate) purchase: PurchaseArgs,
}

/// `locus query association`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("studied").required(true).args(["cases", "quantity"]))]
pub(crate) struct AssociationArgs {
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
    /// People with the condition studied, such as HP:0000819
    #[arg(long, value_name = "PREDICATE", requires = "controls")]
    pub(crate) cases: Option<String>,
    /// People without it, such as "not HP:0000819"
    #[arg(long, value_name = "PREDICATE", requires = "cases")]
    pub(crate) controls: Option<String>,
    /// Attribute within whose values cases and controls are compared
    #[arg(long, value_name = "NAME", requires = "cases", conflicts_with = "test")]
    pub(crate) strata: Option<String>,
    /// Quantity that is regressed on genotypes, instead of cases and controls
    #[arg(long = "trait", value_name = "NAME", conflicts_with_all = ["cases", "controls", "strata", "test"])]
    pub(crate) quantity: Option<String>,
    /// Regress the trait over the people of whom this is true only; cases and controls say themselves who they are
    #[arg(
        long = "where", value_name = "PREDICATE", requires = "quantity",
        conflicts_with_all = ["cases", "controls", "strata"]
    )]
    pub(crate) people: Option<String>,
    #[command(flatten)]
    pub(crate) schema: SchemaArgs,
    #[command(flatten)]
    pub(crate) study: StudyArgs,
    /// Most tokens to pay; the rest comes back
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_price: Amount,
    /// Folder for tables, plots, report and the answer with its proofs; new or empty
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
}

/// How a study is computed and what its files say.
#[derive(Debug, Args)]
pub(crate) struct StudyArgs {
    /// Test that compares cases with controls [default: allelic]; within strata it is always that of Cochran, Mantel
    /// and Haenszel, and a trait is regressed
    #[arg(long, value_name = "NAME")]
    pub(crate) test: Option<TestArg>,
    /// The condition in your words [default: the predicates]
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Broad ancestry of the people, as the GWAS Catalog names it
    #[arg(long, value_name = "TEXT", default_value = "NR")]
    pub(crate) ancestry: String,
    /// How genotypes were obtained, as the GWAS Catalog names it
    #[arg(long, value_name = "TEXT", default_value = "NR")]
    pub(crate) technology: String,
}

/// A test of association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestArg {
    /// Alleles, Pearson's test
    Allelic,
    /// Number of alternate alleles, Cochran-Armitage
    Trend,
    /// Carriers against the rest
    Dominant,
    /// Homozygous people against the rest
    Recessive,
    /// Genotypes, two degrees of freedom
    Genotypic,
}

/// `locus query fetch`.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// The order, 64 digits
    pub(crate) order: String,
    /// Panel file, or digest or name of a published panel
    #[arg(long)]
    pub(crate) panel: String,
    /// Where to write the table; the answer with its proofs goes beside it as .answer. Of an association the
    /// folder of all files, new or empty
    #[arg(long, value_name = "FILE|FOLDER")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) study: StudyArgs,
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::{Parser as _, error::ErrorKind};

    fn parses(line: &str) -> Result<Cli, ErrorKind> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
    }

    /// A line whose predicates, written with `_` for blanks, stay whole.
    fn parses_predicates(line: &str) -> Result<Cli, ErrorKind> {
        let words = line.split_whitespace().map(|word| word.replace('_', " "));
        Cli::try_parse_from(words).map_err(|error| error.kind())
    }

    #[test]
    fn noisy_tiers_need_rho_and_the_exact_tier_does_not() {
        use clap::error::ErrorKind::MissingRequiredArgument;
        let question = "locus quote --panel p --purpose HMB --tier";
        assert_eq!(parses(&format!("{question} open")).err(), Some(MissingRequiredArgument));
        parses(&format!("{question} open --rho 0.01")).expect("complete");
        parses(&format!("{question} exact")).expect("complete");
        let more = "--proven-only --disclosed 1:69428:T:G=carries --disclosed 1:70000:A:G=lacks";
        parses(&format!("{question} exact {more}")).expect("with requirements");
        assert!(parses(&format!("{question} exact --disclosed 1:69428:T:G")).is_err(), "no claim");
    }

    #[test]
    fn cohorts_are_asked_for_by_a_predicate() {
        let rest = "--panel p --purpose HMB --tier open --rho 0.01 --max-price 5 --out counts.tsv";
        let cli = parses_predicates(&format!("locus query cohort --where sex_=_'F'_and_bmi_>=_30 {rest}"));
        let Command::Query(QueryCommand::Cohort(args)) = cli.expect("complete").command else { panic!("a cohort") };
        assert!(!args.schema.authenticated);
        assert_eq!((args.people.as_str(), args.schema.schema), ("sex = 'F' and bmi >= 30", None));
        let cli = parses(&format!("locus query cohort --where smoker --authenticated {rest}"));
        let Command::Query(QueryCommand::Cohort(args)) = cli.expect("complete").command else { panic!("a cohort") };
        assert!(args.schema.authenticated);
        parses(&format!("locus query cohort --where smoker --schema s.json {rest} --json")).expect("complete");
        assert_eq!(parses(&format!("locus query cohort {rest}")).err(), Some(ErrorKind::MissingRequiredArgument));
        assert!(parses(&format!("locus query counts --where smoker {rest}")).is_err());
    }

    #[test]
    fn associations_compare_cases_with_controls() {
        let rest = "--panel p --purpose HMB --tier exact --max-price 5 --out study";
        let line = format!("locus query association --cases HP:0000819 --controls not_HP:0000819 {rest}");
        let Command::Query(QueryCommand::Association(args)) = parses_predicates(&line).expect("complete").command
        else {
            panic!("an association")
        };
        assert_eq!((args.controls.as_deref(), args.study.test), (Some("not HP:0000819"), None));
        for more in ["--strata sex", "--test trend --title T2D", "--authenticated", "--json"] {
            parses_predicates(&format!("{line} {more}")).expect(more);
        }
        assert!(parses(&format!("locus query association --cases smoker {rest}")).is_err(), "no controls");
        assert!(parses_predicates(&format!("{line} --test linear")).is_err());
        parses_predicates(&format!("locus query association --trait bmi --where sex_=_'F' {rest}")).expect("a trait");
        assert!(parses(&format!("locus query association {rest}")).is_err(), "nothing is studied");
        for ignored in ["--where sex_=_'F'", "--strata sex --test trend"] {
            assert!(parses_predicates(&format!("{line} {ignored}")).is_err(), "{ignored}");
        }
        assert!(parses_predicates(&format!("locus query association --trait bmi --test trend {rest}")).is_err());
        assert!(parses_predicates(&format!("{line} --trait bmi")).is_err(), "one study at a time");
    }

    #[test]
    fn quotes_are_of_everybody_of_some_people_or_of_groups() {
        let line = "locus quote --panel p --purpose HMB --tier exact";
        for filter in [
            "",
            "--where smoker",
            "--trait bmi",
            "--trait bmi --where smoker --authenticated",
            "--cases smoker --controls sober --strata sex --schema s.json",
        ] {
            parses(&format!("{line} {filter}")).expect(filter);
        }
        for filter in ["--cases smoker", "--controls sober", "--strata sex", "--where a --cases b --controls c"] {
            assert!(parses(&format!("{line} {filter}")).is_err(), "{filter}");
        }
    }

    #[test]
    fn an_order_is_fetched_with_or_without_what_a_study_needs() {
        let line = "locus query fetch abcd --panel p --out x";
        parses(line).expect("complete");
        parses(&format!("{line} --test recessive --ancestry European")).expect("complete");
    }
}
