//! `locus demo`: the whole market on 2,504 real genomes, in this process, every claim checked.
//!
//! Clauses, each a stage:
//!
//! 1. A market starts: archive, exchange, aggregator, three keyholders, embedded chain.
//! 2. A biobank builds a panel from the extract and enrols all 2,504 people as one accredited
//!    batch, on offer in the open and the exact tier.
//! 3. One person enrols their own genome from a VCF file, with a proof of every ciphertext, on offer in
//!    the open tier.
//! 4. The person proves to one verifier that they carry a variant; the opposite cannot be proven.
//! 5. A researcher is funded, and buys noisy counts of 100 variants; the error found is compared
//!    with the error quoted.
//! 6. The answer fetched again is the same file; the same question ordered again has the same
//!    counts and costs nobody any privacy.
//! 7. The researcher buys exact counts of all variants; they equal counts of the plaintext, made by
//!    a decoder of its own.
//! 8. The biobank shares everybody's attributes among the keyholders; the researcher buys counts of the people
//!    whom two of them select, and an association study of cases and controls, with its files and plots. All
//!    counts equal the plaintext; no service and no keyholder has seen who was counted.
//! 9. Biobank and person claim what they earned; the money adds up.
//! 10. The person's statement shows every use and the privacy spent.
//! 11. One person of the biobank is revoked and erased, while an order is open: the keyholders sign
//!     for the keys, no object holds the ciphertext, the open order is answered without them, the
//!     exact tier refuses the batch.
//! 12. A second market settles orders on cohorts that are proven on the chain: 120 people are enrolled with
//!     commitments to their ciphertexts, the registry's root is moved over them and an order settles on the
//!     proof of its cohort, whose ciphertexts open what the chain has verified.
//!
//! A claim that does not hold ends the demo with an error.

mod extract;
mod parties;
mod report;
mod stages;

pub(crate) use report::table;

use crate::{cli::DemoArgs, context::private_folder, error::CommandError, node::Node, output::Output};
use report::Report;
use stages::Demo;
use std::{fs, path::PathBuf};

/// Runs the demo.
pub(crate) async fn run(args: &DemoArgs, output: Output) -> Result<(), CommandError> {
    let (folder, _temporary) = folder(args)?;
    let mut report = Report::new(output);
    let mut demo = Demo::start(&folder, &mut report).await?;
    let result = demo.play(&mut report).await;
    let node: Node = demo.into_node();
    node.shutdown().await;
    result?;
    report.print(args.keep.as_deref())
}

/// A new folder, which goes with the second value unless it is to be kept.
fn folder(args: &DemoArgs) -> Result<(PathBuf, Option<tempfile::TempDir>), CommandError> {
    let Some(keep) = &args.keep else {
        let temporary = tempfile::Builder::new().prefix("locus-demo-").tempdir();
        let temporary = temporary.map_err(CommandError::file(&std::env::temp_dir()))?;
        return Ok((temporary.path().to_path_buf(), Some(temporary)));
    };
    private_folder(keep)?;
    let mut entries = fs::read_dir(keep).map_err(CommandError::file(keep))?;
    if entries.next().is_some() {
        let reason = format!("--keep {}: the folder is not empty, name a new one", keep.display());
        return Err(CommandError::Usage(reason));
    }
    Ok((keep.clone(), None))
}
