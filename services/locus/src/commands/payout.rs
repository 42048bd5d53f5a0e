//! `locus verify payout`.

use super::roots::read_deployment;
use crate::{
    cli::VerifyPayoutArgs,
    context::{Context, parse_order},
    error::CommandError,
    progress::Bars,
};
use locus_client::{
    ClientError, KeystoreError,
    payout::{AccountPayout, CheckedPayouts, CheckedSettlement, PayeesFrom, PayoutRecord, check_payouts},
};
use locus_commitment::Address;
use locus_ledger::{Amount, Chain, Ledger};
use serde_json::{Value, json};

/// Checks all payouts of the market; shows those of an account or an order.
pub(super) async fn verify(args: &VerifyPayoutArgs, context: &Context) -> Result<(), CommandError> {
    let contracts = match &args.deployment {
        Some(file) => read_deployment(file)?,
        None => *context.known_network()?.contracts(),
    };
    let order = args.order.as_deref().map(parse_order).transpose()?;
    let account = account_of(args, context)?;
    let bars = Bars::new(context.output);
    bars.show("reading the chain", 0, 0);
    let chain = Chain::http(&args.rpc, None).map_err(ClientError::from)?;
    let ledger = Ledger::open(chain, contracts).await.map_err(ClientError::from)?;
    let record = PayoutRecord::read(&ledger, &context.services()?).await?;
    let checked = check_payouts(&record, &contracts).await.map_err(ClientError::from)?;
    bars.clear();
    let settlement = match order {
        None => None,
        Some(order) => {
            let unsettled = || CommandError::Usage(format!("order {order} is not settled on this chain"));
            Some(checked.settlement_of(order).ok_or_else(unsettled)?)
        }
    };
    let owed = account.map(|account| (account, checked.account(account)));
    let value = describe(&checked, owed.as_ref(), settlement);
    context.output.result(&value, || words(&checked, owed.as_ref(), settlement))
}

/// The account named, or the own one; an auditor has none.
fn account_of(args: &VerifyPayoutArgs, context: &Context) -> Result<Option<Address>, CommandError> {
    match (args.account, context.keystore()) {
        (Some(account), _) => Ok(Some(account)),
        (None, Ok(keystore)) => Ok(Some(keystore.address())),
        (None, Err(CommandError::Client(ClientError::Keystore(KeystoreError::Missing { .. })))) => Ok(None),
        (None, Err(error)) => Err(error),
    }
}

/// How many settlements have payees from the cohort, from the roots, and unknown ones.
fn tally(checked: &CheckedPayouts) -> [usize; 3] {
    let count = |from: Option<PayeesFrom>| {
        let is = |checked: &&CheckedSettlement| checked.payees.as_ref().map(|(from, _)| *from) == from;
        checked.settlements().iter().filter(is).count()
    };
    [count(Some(PayeesFrom::Cohort)), count(Some(PayeesFrom::Roots)), count(None)]
}

fn name_of(from: PayeesFrom) -> &'static str {
    match from {
        PayeesFrom::Cohort => "cohort",
        PayeesFrom::Roots => "roots",
    }
}

fn describe(
    checked: &CheckedPayouts,
    owed: Option<&(Address, AccountPayout)>,
    settlement: Option<&CheckedSettlement>,
) -> Value {
    let [cohort, roots, unknown] = tally(checked);
    json!({
        "verified": true,
        "payout_root": checked.root().to_string(),
        "settlements": checked.settlements().len(),
        "payees_from": { "cohort": cohort, "roots": roots, "unknown": unknown },
        "accounts": checked.account_count(),
        "settled": checked.settled_total().to_string(),
        "claimed": checked.claimed_total().to_string(),
        "account": owed.map(|(account, owed)| json!({
            "account": account.to_string(),
            "earned": owed.earned.to_string(),
            "claimed": owed.claimed.to_string(),
            "claimable": owed.claimable().to_string(),
            "proof": owed.proof.as_ref().map(|proof| proof.path.iter().map(ToString::to_string).collect::<Vec<_>>()),
            "payments": owed.payments.iter().map(|(sequence, order, amount)| json!({
                "settlement": sequence,
                "order": order.to_string(),
                "amount": amount.to_string(),
            })).collect::<Vec<_>>(),
        })),
        "order": settlement.map(|checked| {
            let payee = |(account, amount): (&Address, &Amount)| json!({
                "account": account.to_string(),
                "amount": amount.to_string(),
            });
            json!({
                "order": checked.settlement.order.to_string(),
                "settlement": checked.settlement.payout_sequence,
                "cohort_size": checked.settlement.cohort_size,
                "price": checked.settlement.price.to_string(),
                "payees_from": checked.payees.as_ref().map(|(from, _)| name_of(*from)),
                "payees": checked.payees.as_ref().map(|(_, payees)| payees.iter().map(payee).collect::<Vec<_>>()),
            })
        }),
    })
}

fn words(
    checked: &CheckedPayouts,
    owed: Option<&(Address, AccountPayout)>,
    settlement: Option<&CheckedSettlement>,
) -> String {
    let [cohort, roots, unknown] = tally(checked);
    let mut text = format!(
        "settled    {} orders for {} tokens, of which {} were claimed\n\
         payees     of {cohort} orders from their cohorts, of {roots} from the roots around them\n\
         root       {} over {} accounts\n",
        checked.settlements().len(),
        checked.settled_total(),
        checked.claimed_total(),
        checked.root(),
        checked.account_count(),
    );
    if unknown > 0 {
        text += &format!(
            "unknown    whom {unknown} orders paid: keyholders left out people whom public data do not name\n"
        );
    }
    if let Some((account, owed)) = owed {
        text += &format!(
            "account    {account}\nearned     {}, by {} known payments\nclaimable  {}\n",
            owed.earned,
            owed.payments.len(),
            owed.claimable(),
        );
    }
    if let Some(CheckedSettlement { settlement, payees }) = settlement {
        let (size, price) = (settlement.cohort_size, settlement.price);
        text += &format!("order      {}: {price} tokens for {size} people\n", settlement.order);
        for (account, amount) in payees.iter().flat_map(|(_, payees)| payees) {
            text += &format!("  {account}  {amount}\n");
        }
    }
    text + "verified   orders, signatures, prices, roots, sums and what the escrow holds\n"
}
