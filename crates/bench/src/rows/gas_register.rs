//! Registering datasets in bulk, on the chain.

use crate::{
    gas::GasMarket,
    row::{Bench, Goal, Measured, Row},
};
use anyhow::Result;

pub(crate) const ROW: Row = Row { id: "gas_register", unit: "gas", goal: Goal::AtMost(75_000.0), measure };

const DATASETS: u64 = 64;

fn measure(_: &mut Bench) -> Result<Measured> {
    let runtime = tokio::runtime::Runtime::new()?;
    let gas = runtime.block_on(async {
        let market = GasMarket::deploy().await?;
        // The panel's first registration pays for slots that later ones only change.
        market.register(0, 1).await?;
        market.register(1, DATASETS).await
    })?;
    let note = format!("per dataset; {DATASETS} datasets in one transaction of {gas} gas, on the embedded chain");
    Ok(Measured { value: gas as f64 / DATASETS as f64, note, ..Measured::default() })
}
