//! The keyholder's own process.

use clap::{Args, Parser, Subcommand};
use locus_keyholder::{KeyEncryptionKey, KeyFileError, KeyholderConfig, hand_over, init, rewrap, take_over};
use locus_service::{
    AuditHead, ConfigError, ServiceArgs, ServiceConfig as _, protect_memory, read_config, run_service, verify_audit_log,
};
use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Holds two of the three key shares of every dataset, and answers once per authorised question
#[derive(Debug, Parser)]
#[command(
    name = "locus-keyholder",
    version,
    about,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Cli {
    #[command(flatten)]
    service: Option<ServiceArgs>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make this keyholder's keys, once, and write their public part for the deployment
    Init(InitArgs),
    /// Wrap the keys under another key-encryption key, while the keyholder is stopped
    Rewrap(RewrapArgs),
    /// Write what the successor of another keyholder needs of this one, while this one is stopped
    HandOver(HandOverArgs),
    /// Take over from the other two what the keyholder before this one had, before the first start
    TakeOver(TakeOverArgs),
    /// The record of what this keyholder did
    #[command(subcommand)]
    Audit(AuditCommand),
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Verify the record and print its head, to be noted elsewhere; also while the keyholder runs
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct RewrapArgs {
    /// Folder of database and keys
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The key-encryption key until now
    #[arg(long, value_name = "FILE")]
    kek_file: PathBuf,
    /// The one from now on
    #[arg(long, value_name = "FILE")]
    new_kek_file: PathBuf,
}

#[derive(Debug, Args)]
struct HandOverArgs {
    /// This keyholder's configuration
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// The successor's public file, from its operator: `init` wrote it
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Where to write what is handed over
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct TakeOverArgs {
    /// The successor's configuration
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// A file of one of the other keyholders; give it twice, once for each
    #[arg(long = "from", value_name = "FILE", required = true)]
    from: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// The record: `audit.log` in the data folder
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A head noted earlier, which must be part of it
    #[arg(long, value_name = "NUMBER:HASH")]
    contains: Option<AuditHead>,
}

#[derive(Debug, Args)]
struct InitArgs {
    /// Which keyholder of the market this is: 1, 2 or 3
    #[arg(long)]
    index: u8,
    /// Folder of database and keys: `data_dir` of the configuration
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// File with the key that wraps the keys: 64 hexadecimal digits, mode 0600; `kek_file` of the configuration
    #[arg(long, value_name = "FILE")]
    kek_file: Option<PathBuf>,
    /// Where to write the public part
    #[arg(long, value_name = "FILE")]
    public: PathBuf,
}

/// Any error: it is told, not handled.
type CommandError = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match (cli.command, cli.service) {
        (Some(Command::Init(args)), _) => {
            report(init(args.index, &args.data_dir, args.kek_file.as_deref(), &args.public))
        }
        (Some(Command::Rewrap(args)), _) => report(rewrap_keys(&args)),
        (Some(Command::HandOver(args)), _) => report(run(async {
            let config = configuration(&args.config)?;
            Ok(hand_over(&config, &args.to, &args.out).await?)
        })),
        (Some(Command::TakeOver(args)), _) => report(run(async {
            let [first, second] = &args.from[..] else {
                return Err("give --from twice, a file of each of the others".into());
            };
            let config = configuration(&args.config)?;
            Ok(take_over(&config, [first, second]).await?)
        })),
        (Some(Command::Audit(AuditCommand::Verify(args))), _) => {
            report(verify_audit_log(&args.file, args.contains).map(|head| head.to_string()))
        }
        (None, Some(service)) => run_service(&service, locus_keyholder::start),
        // The parser asks for one of them.
        (None, None) => ExitCode::from(2),
    }
}

fn rewrap_keys(args: &RewrapArgs) -> Result<String, KeyFileError> {
    let (old, new) = (KeyEncryptionKey::read(&args.kek_file)?, KeyEncryptionKey::read(&args.new_kek_file)?);
    let changed = rewrap(&args.data_dir, &old, &new)?;
    Ok(format!("{changed} keys are wrapped under {}: set kek_file to it", args.new_kek_file.display()))
}

/// Runs a command with key seeds in its memory.
fn run(command: impl Future<Output = Result<String, CommandError>>) -> Result<String, CommandError> {
    protect_memory()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

fn configuration(path: &Path) -> Result<KeyholderConfig, ConfigError> {
    read_config(KeyholderConfig::SERVICE, path, KeyholderConfig::LISTS)
}

fn report<E: std::fmt::Display>(result: Result<String, E>) -> ExitCode {
    // Nothing can be done about closed standard streams.
    match result {
        Ok(text) => {
            let _ = writeln!(io::stdout().lock(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "locus-keyholder: {error}");
            ExitCode::FAILURE
        }
    }
}
