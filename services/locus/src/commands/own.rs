//! What contributors do about their own datasets: `locus statement`, `withdraw`, `revoke`, `erase`,
//! `export`.

use crate::{
    cli::{DatasetsArgs, OneDatasetArgs, RegistrationArgs, StatementArgs},
    context::{Context, now_unix_s},
    error::CommandError,
};
use locus_client::{
    DatasetUse, Erasure, Network, Services, Statement, erase as erase_datasets, export_own_data, registration_state,
    revoke as revoke_datasets, statement as ask_for_statement, withdraw_offer,
};
use locus_ledger::RegistrationId;
use serde_json::{Value, json};

/// `locus statement`.
pub(super) async fn statement(args: &StatementArgs, context: &Context) -> Result<(), CommandError> {
    let keystore = context.keystore()?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let registration = RegistrationId(args.registration.registration);
    let ordinal = one_ordinal(&args.dataset, registration, &network, context)?;
    let statement = ask_for_statement(&services, &network, &keystore, registration, ordinal, now_unix_s()).await?;
    context.output.result(&describe(&statement), || words(&statement))
}

fn one_ordinal(
    args: &OneDatasetArgs,
    registration: RegistrationId,
    network: &Network,
    context: &Context,
) -> Result<u32, CommandError> {
    match &args.sample {
        Some(sample) => ordinal_of(sample, registration, network, context),
        None => Ok(args.ordinal),
    }
}

/// The place of an individual, from the records of this folder.
fn ordinal_of(
    sample: &str,
    registration: RegistrationId,
    network: &Network,
    context: &Context,
) -> Result<u32, CommandError> {
    let record = context.folder.enrolments().of_registration(&network.id(), registration)?;
    let datasets = record.map(|record| record.datasets).unwrap_or_default();
    let found = datasets.into_iter().find(|dataset| dataset.sample == sample).map(|dataset| dataset.ordinal);
    found.ok_or_else(|| CommandError::UnknownSample { registration: registration.0, sample: sample.to_owned() })
}

/// A statement for programs.
pub(crate) fn describe(statement: &Statement) -> Value {
    let uses: Vec<Value> = statement.uses.iter().map(describe_use).collect();
    let differences: Vec<String> = statement.differences.iter().map(ToString::to_string).collect();
    let unreachable: Vec<Value> = statement
        .unreachable
        .iter()
        .map(|(keyholder, reason)| json!({ "keyholder": keyholder.get(), "reason": reason }))
        .collect();
    json!({
        "registration": statement.registration.0,
        "ordinal": statement.ordinal,
        "uses": uses,
        "rho_spent_year": statement.budget.spent_year.to_string(),
        "rho_spent_lifetime": statement.budget.spent_lifetime.to_string(),
        "rho_left_year": statement.budget.left_year.to_string(),
        "rho_left_lifetime": statement.budget.left_lifetime.to_string(),
        "differences": differences,
        "unreachable": unreachable,
    })
}

fn describe_use(used: &DatasetUse) -> Value {
    json!({
        "order": used.order.to_string(),
        "researcher": used.researcher.to_string(),
        "purpose": used.purpose.code.to_string(),
        "declarations": used.purpose.declarations.names().collect::<Vec<_>>(),
        "tier": used.tier.to_string(),
        "time_unix_s": used.time_unix_s,
        "price": used.price.to_string(),
        "rho": used.rho.to_string(),
        "variant_count": used.variant_count,
    })
}

/// A statement for people.
pub(crate) fn words(statement: &Statement) -> String {
    let mut text = format!("dataset {} of registration {}\n", statement.ordinal, statement.registration.0);
    if statement.uses.is_empty() {
        text += "nobody has used it\n";
    } else {
        let mut table = crate::demo::table(&["when", "who", "why", "tier", "variants", "price", "rho"]);
        for used in &statement.uses {
            table.add_row(vec![
                utc(used.time_unix_s),
                used.researcher.to_string(),
                used.purpose.code.to_string(),
                used.tier.to_string(),
                used.variant_count.to_string(),
                used.price.to_string(),
                used.rho.to_string(),
            ]);
        }
        text += &format!("{table}\n");
    }
    let budget = &statement.budget;
    text += &format!("privacy loss this year  {} (left {})\n", budget.spent_year, budget.left_year);
    text += &format!("privacy loss ever       {} (left {})\n", budget.spent_lifetime, budget.left_lifetime);
    for difference in &statement.differences {
        text += &format!("WARNING: {difference}\n");
    }
    for (keyholder, reason) in &statement.unreachable {
        text += &format!("keyholder {keyholder} gave no statement: {reason}\n");
    }
    text
}

/// The day, as `YYYY-MM-DD`.
pub(crate) fn today() -> String {
    utc(now_unix_s()).chars().take(10).collect()
}

/// Seconds since 1970 as date and time in UTC.
pub(crate) fn utc(unix_s: u64) -> String {
    let (days, seconds) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = civil_date(days);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Year, month and day of the Gregorian calendar, days after 1970-01-01. Years are counted from
/// March, so that the leap day is the last of a year, and in cycles of 400 years.
fn civil_date(days: u64) -> (u64, u64, u64) {
    // 0000-03-01 is 719,468 days before 1970-01-01; a cycle has 146,097 days.
    let shifted = days.saturating_add(719_468);
    let (cycle, day_of_cycle) = (shifted / 146_097, shifted % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_cycle + cycle * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// `locus withdraw`.
pub(super) async fn withdraw(args: &RegistrationArgs, context: &Context) -> Result<(), CommandError> {
    let keystore = context.keystore()?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let registration = RegistrationId(args.registration);
    withdraw_offer(&services, &network, &keystore, registration).await?;
    context.folder.enrolments().note_withdrawal(&network.id(), registration)?;
    let value = json!({ "registration": registration.0, "withdrawn": true });
    context.output.result(&value, || {
        let number = registration.0;
        format!("registration {number} is no longer on offer; put it back with `locus offer`, or erase it\n")
    })
}

/// The datasets named, or the only one. Nothing named does not mean everything.
async fn ordinals(
    args: &DatasetsArgs,
    services: &Services,
    network: &Network,
    context: &Context,
) -> Result<(RegistrationId, Vec<u32>), CommandError> {
    let registration = RegistrationId(args.registration.registration);
    if !args.sample.is_empty() {
        let found: Result<Vec<u32>, CommandError> =
            args.sample.iter().map(|sample| ordinal_of(sample, registration, network, context)).collect();
        return Ok((registration, found?));
    }
    if !args.ordinal.is_empty() {
        return Ok((registration, args.ordinal.clone()));
    }
    let count = registration_state(services, registration).await?.dataset_count;
    if count == 1 || args.all {
        return Ok((registration, (0..count).collect()));
    }
    Err(CommandError::Usage(format!(
        "registration {} has {count} datasets: name some with --ordinal or --sample, or say --all",
        registration.0
    )))
}

/// `locus revoke`.
pub(super) async fn revoke(args: &DatasetsArgs, context: &Context) -> Result<(), CommandError> {
    let keystore = context.keystore()?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let (registration, ordinals) = ordinals(args, &services, &network, context).await?;
    let revoked = revoke_datasets(&services, &network, &keystore, registration, &ordinals, now_unix_s()).await?;
    context.folder.enrolments().note_revocation(&network.id(), registration, &revoked)?;
    let value = json!({ "registration": registration.0, "revoked": revoked });
    context.output.result(&value, || {
        let (count, number) = (revoked.len(), registration.0);
        format!("{count} datasets of registration {number} are revoked: no answer counts them from now on\n")
    })
}

/// `locus erase`.
pub(super) async fn erase(args: &DatasetsArgs, context: &Context) -> Result<(), CommandError> {
    let keystore = context.keystore()?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let (registration, ordinals) = ordinals(args, &services, &network, context).await?;
    let records = context.folder.enrolments();
    let erasure =
        erase_datasets(&services, &network, &keystore, registration, &ordinals, &records, now_unix_s()).await?;
    context.output.result(&describe_erasure(&erasure), || erasure_words(&erasure))
}

/// An erasure for programs.
pub(crate) fn describe_erasure(erasure: &Erasure) -> Value {
    json!({
        "registration": erasure.registration.0,
        "ordinals": erasure.ordinals,
        "bodies_removed": erasure.bodies_removed,
        "receipts_of_keyholders": erasure.keyholders.iter().map(|keyholder| keyholder.get()).collect::<Vec<_>>(),
        "unreadable_for_ever": erasure.is_unreadable_for_ever(),
    })
}

fn erasure_words(erasure: &Erasure) -> String {
    let keyholders: Vec<String> = erasure.keyholders.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{} datasets of registration {} are revoked; {} encrypted bodies were removed\n",
        erasure.ordinals.len(),
        erasure.registration.0,
        erasure.bodies_removed
    );
    text += &format!("keyholders {} have destroyed the keys and signed for it\n", keyholders.join(", "));
    text += match (erasure.is_unreadable_for_ever(), erasure.is_complete()) {
        (true, true) => "copies of the ciphertexts, wherever they are, can never be read again\n",
        (true, false) => "that is enough; run it again later for the missing receipt\n",
        (false, _) => "that is not enough: run the same command again\n",
    };
    text
}

/// `locus export`.
pub(super) async fn export(context: &Context) -> Result<(), CommandError> {
    let keystore = context.keystore()?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let records = context.folder.enrolments();
    let data = export_own_data(&services, &network, &keystore, &records, now_unix_s()).await?;
    // A document for people too, but JSON either way.
    context.output.result(&data, || serde_json::to_string_pretty(&data).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_dates() {
        for (unix_s, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_709_251_199, "2024-02-29 23:59:59"),
            (1_709_251_200, "2024-03-01 00:00:00"),
            (4_102_444_799, "2099-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(utc(unix_s), text);
        }
    }
}
