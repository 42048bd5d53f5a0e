//! `locus balance`, `claim`, `fund` and `refund`.

use crate::{
    cli::{AccountArgs, FundArgs, RefundArgs},
    context::{Context, parse_order},
    error::CommandError,
};
use locus_client::{AccountState, account_state, claim as claim_payout, mint_test_tokens, research::refund_order};
use locus_commitment::Address;
use serde_json::{Value, json};

fn account_of(args: &AccountArgs, context: &Context) -> Result<Address, CommandError> {
    match args.account {
        Some(account) => Ok(account),
        None => Ok(context.keystore()?.address()),
    }
}

fn describe(account: Address, state: &AccountState) -> Value {
    json!({
        "account": account.to_string(),
        "balance": state.balance.to_string(),
        "earned": state.earned.to_string(),
        "claimed": state.claimed.to_string(),
        "claimable": state.claimable().to_string(),
    })
}

pub(super) async fn balance(args: &AccountArgs, context: &Context) -> Result<(), CommandError> {
    let account = account_of(args, context)?;
    let state = account_state(&context.services()?, account).await?;
    context.output.result(&describe(account, &state), || {
        format!(
            "account    {account}\nbalance    {}\nearned     {}\nclaimed    {}\nclaimable  {}\n",
            state.balance,
            state.earned,
            state.claimed,
            state.claimable()
        )
    })
}

pub(super) async fn claim(args: &AccountArgs, context: &Context) -> Result<(), CommandError> {
    let account = account_of(args, context)?;
    let services = context.services()?;
    let paid = claim_payout(&services, account).await?;
    let state = account_state(&services, account).await?;
    let mut value = describe(account, &state);
    value["paid"] = json!(paid.to_string());
    context.output.result(&value, || match paid.0 {
        0 => format!("{account} has nothing to claim; it holds {} tokens\n", state.balance),
        _ => format!("{paid} tokens were paid to {account}, which now holds {}\n", state.balance),
    })
}

pub(super) async fn fund(args: &FundArgs, context: &Context) -> Result<(), CommandError> {
    let account = account_of(&args.account, context)?;
    let services = context.services()?;
    mint_test_tokens(&services, account, args.amount).await?;
    let state = account_state(&services, account).await?;
    context.output.result(&describe(account, &state), || {
        format!("{} test tokens were minted for {account}, which now holds {}\n", args.amount, state.balance)
    })
}

pub(super) async fn refund(args: &RefundArgs, context: &Context) -> Result<(), CommandError> {
    let order = parse_order(&args.order)?;
    refund_order(&context.services()?, order).await?;
    let value = json!({ "order": order.to_string(), "refunded": true });
    context.output.result(&value, || format!("the escrow of order {order} is back with who paid it\n"))
}
