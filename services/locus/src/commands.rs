//! What each command does.

mod answers;
mod attributes;
mod committee;
mod deploy;
mod disclosure;
mod enroll;
mod filter;
mod keys;
mod money;
mod offers;
mod orders;
mod own;
mod panel;
mod payout;
mod proofs;
mod question;
mod roots;
mod study;
mod tls;
mod up;

pub use deploy::DeployError;
pub(crate) use own::{today, words as own_words};
pub use roots::RootsError;

use crate::{
    cli::{Command, VerifyCommand},
    context::Context,
    demo,
    error::CommandError,
};

/// Runs a command.
pub(crate) async fn run(command: Command, context: &Context) -> Result<(), CommandError> {
    match command {
        Command::Demo(args) => demo::run(&args, context.output).await,
        Command::Up(args) => up::run(&args, context).await,
        Command::Deploy(args) => deploy::run(&args, context).await,
        Command::Committee(command) => committee::run(&command, context).await,
        Command::Tls(command) => tls::run(&command, context),
        Command::Proofs(command) => proofs::run(command, context).await,
        Command::Roots(command) => roots::run(&command, context).await,
        Command::Keys(command) => keys::run(&command, context),
        Command::Panel(command) => panel::run(command, context).await,
        Command::Enroll(args) => enroll::run(args, context).await,
        Command::Attributes(command) => attributes::run(command, context).await,
        Command::Offer(args) => offers::offer(&args, context).await,
        Command::Offers(args) => offers::list(&args, context).await,
        Command::Quote(args) => question::quote(&args, context).await,
        Command::Query(command) => answers::query(command, context).await,
        Command::Orders => orders::list(context).await,
        Command::Statement(args) => own::statement(&args, context).await,
        Command::Withdraw(args) => own::withdraw(&args, context).await,
        Command::Revoke(args) => own::revoke(&args, context).await,
        Command::Erase(args) => own::erase(&args, context).await,
        Command::Export => own::export(context).await,
        Command::Claim(args) => money::claim(&args, context).await,
        Command::Balance(args) => money::balance(&args, context).await,
        Command::Fund(args) => money::fund(&args, context).await,
        Command::Refund(args) => money::refund(&args, context).await,
        Command::Disclose(args) => disclosure::disclose(&args, context).await,
        Command::Verify(VerifyCommand::Answer(args)) => answers::verify(&args, context).await,
        Command::Verify(VerifyCommand::Payout(args)) => payout::verify(&args, context).await,
        Command::Verify(VerifyCommand::Disclosure(args)) => disclosure::verify(&args, context).await,
    }
}
