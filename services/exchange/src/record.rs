//! The record of transactions: each has its entry before it is sent, so neither a caller that hangs up nor a transaction
//! whose outcome stays unknown is missing.

use locus_ledger::BeforeSending;
use locus_service::AuditLog;
use std::sync::Arc;

tokio::task_local! {
    /// The call that is being answered.
    static CALL: &'static str;
}

/// Does `work`, whose transactions are sent for `call`.
pub(crate) async fn during<T>(call: &'static str, work: impl Future<Output = T>) -> T {
    CALL.scope(call, work).await
}

/// Records every transaction with the call that it is sent for; one that cannot be recorded is not sent. Transactions are sent
/// one after the other, so this does not wait for the disk.
pub(crate) fn in_log(audit: AuditLog) -> BeforeSending {
    Arc::new(move |transaction| {
        let call = CALL.try_with(|call| *call).unwrap_or("none");
        Ok(audit.note("transaction_sent", &[("call", &call), ("transaction", &hex::encode(transaction.0))])?)
    })
}
