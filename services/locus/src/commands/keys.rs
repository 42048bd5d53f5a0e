//! `locus keys`.

use crate::{
    cli::KeysCommand,
    context::{Context, now_unix_s},
    error::CommandError,
};
use locus_client::{Keystore, NewKeys};

pub(super) fn run(command: &KeysCommand, context: &Context) -> Result<(), CommandError> {
    match command {
        KeysCommand::New { accreditor } => {
            let new = NewKeys { accreditor: *accreditor };
            let keystore = Keystore::create(&context.folder.keys(), new, now_unix_s())?;
            show(&keystore, context)?;
            context.output.note(
                "\nMake a copy of this folder and keep it apart: who loses the keys can neither withdraw nor\n\
                 erase what they enrolled, nor open what they bought; who has them can.",
            );
            Ok(())
        }
        KeysCommand::Show => show(&context.keystore()?, context),
    }
}

fn show(keystore: &Keystore, context: &Context) -> Result<(), CommandError> {
    let metadata = keystore.metadata();
    let value = serde_json::json!({
        "folder": keystore.folder(),
        "account": metadata.account,
        "sealing_key_digest": metadata.sealing_key_digest,
        "accreditor": metadata.accreditor,
        "created_unix_s": metadata.created_unix_s,
    });
    context.output.result(&value, || {
        let mut text = format!("account      {}\n", metadata.account);
        if let Some(accreditor) = &metadata.accreditor {
            text += &format!("accreditor   {accreditor}\n");
        }
        text += &format!("sealing key  {}\n", metadata.sealing_key_digest);
        text + &format!("folder       {}\n", keystore.folder().display())
    })
}
