//! `locus tls`.

use crate::{
    cli::{TlsCommand, TlsInitArgs, TlsIssueArgs},
    context::{Context, now_unix_s},
    error::CommandError,
};
use locus_service::Authority;
use serde_json::{Value, json};

pub(super) fn run(command: &TlsCommand, context: &Context) -> Result<(), CommandError> {
    match command {
        TlsCommand::Init(args) => init(args, context),
        TlsCommand::Issue(args) => issue(args, context),
    }
}

fn init(args: &TlsInitArgs, context: &Context) -> Result<(), CommandError> {
    let authority = Authority::create(&args.folder, &args.trust_domain, now_unix_s())?;
    let value = json!({ "folder": args.folder, "trust_domain": authority.trust_domain() });
    context.output.result(&value, || {
        format!(
            "authority of {} in {}\nWhoever has its key can be any service: for trying things out only.\n",
            authority.trust_domain(),
            args.folder.display()
        )
    })
}

fn issue(args: &TlsIssueArgs, context: &Context) -> Result<(), CommandError> {
    let authority = Authority::open(&args.folder)?;
    let mut issued = Vec::new();
    for role in &args.role {
        let files = authority.issue(*role, &args.host, args.days, now_unix_s())?;
        issued.push((role, files));
    }
    let values: Vec<Value> = issued
        .iter()
        .map(|(role, files)| {
            json!({
                "role": role.to_string(),
                "certificate": files.certificate,
                "key": files.key,
                "authority": files.authority,
            })
        })
        .collect();
    context.output.result(&values, || {
        let line = |(role, files): &(_, locus_service::IssuedFiles)| {
            format!("{role}: {} and {}\n", files.certificate.display(), files.key.display())
        };
        issued.iter().map(line).collect()
    })
}
