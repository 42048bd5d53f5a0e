//! Settling an order, on the chain.

use crate::{
    gas::GasMarket,
    row::{Bench, Goal, Measured, Row},
};
use anyhow::Result;

pub(crate) const ROW: Row = Row { id: "gas_settle", unit: "gas", goal: Goal::AtMost(320_000.0), measure };

fn measure(_: &mut Bench) -> Result<Measured> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (first, next) = runtime.block_on(async {
        let market = GasMarket::deploy().await?;
        anyhow::Ok((market.settle(1).await?, market.settle(2).await?))
    })?;
    let note = format!(
        "a market's first settlement, with two signatures and money back, on the embedded chain; the next {next}; those on proven cohorts: \
         the contracts' README"
    );
    Ok(Measured { value: first as f64, note, ..Measured::default() })
}
