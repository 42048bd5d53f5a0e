//! `locus orders`: what was ordered from this folder, and what became of it.

use crate::{context::Context, error::CommandError};
use locus_client::{CallError, Services, research::load_record};
use locus_ledger::{Order, OrderId};
use locus_wire::pb::exchange::{GetOrderRequest, OrderState};
use serde_json::{Value, json};
use std::{fs, io, path::PathBuf};
use tonic::Code;

const ORDER_EXTENSION: &str = "order";

/// An order of this folder.
struct Placed {
    id: OrderId,
    order: Order,
    variant_count: u32,
    state: &'static str,
    is_fetched: bool,
}

/// Lists orders with their states on the chain.
pub(super) async fn list(context: &Context) -> Result<(), CommandError> {
    let services = context.services()?;
    context.network(&services).await?;
    let mut placed = Vec::new();
    for path in order_files(context)? {
        placed.push(look_up(&path, &services, context).await?);
    }
    placed.sort_by_key(|placed| placed.order.deadline_unix_s);
    let value: Value = placed.iter().map(describe).collect();
    context.output.result(&value, || {
        if placed.is_empty() {
            return "nothing was ordered from this folder\n".to_owned();
        }
        let mut table = crate::demo::table(&["order", "tier", "variants", "at most", "state", "answer"]);
        for placed in &placed {
            table.add_row(vec![
                placed.id.to_string(),
                placed.order.tier.to_string(),
                placed.variant_count.to_string(),
                placed.order.max_price.to_string(),
                placed.state.to_owned(),
                if placed.is_fetched { "kept" } else { "not fetched" }.to_owned(),
            ]);
        }
        format!("{table}\n")
    })
}

fn order_files(context: &Context) -> Result<Vec<PathBuf>, CommandError> {
    let folder = context.folder.orders();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CommandError::file(&folder)(error)),
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(CommandError::file(&folder))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == ORDER_EXTENSION));
    Ok(paths)
}

async fn look_up(path: &std::path::Path, services: &Services, context: &Context) -> Result<Placed, CommandError> {
    let record = load_record(path)?;
    let damaged = || CommandError::Usage(format!("{} is not an order: move it away", path.display()));
    let order = record.order.as_ref().and_then(|order| Order::try_from(order).ok()).ok_or_else(damaged)?;
    let id = <[u8; 32]>::try_from(record.order_id.as_ref()).map_err(|_| damaged())?;
    let id = OrderId(locus_commitment::Digest32(id));
    let ranges = record.selection.map(|selection| selection.ranges).unwrap_or_default();
    let variant_count = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
    let request = GetOrderRequest { order_id: record.order_id };
    let state = match services.exchange.clone().get_order(request).await {
        Ok(response) => match response.into_inner().state() {
            OrderState::Open => "open",
            OrderState::Settled => "settled",
            OrderState::Refunded => "refunded",
            OrderState::Unspecified => "unknown",
        },
        Err(status) if status.code() == Code::NotFound => "not on the chain",
        Err(status) => return Err(locus_client::ClientError::from(CallError::new("exchange", &status)).into()),
    };
    let is_fetched = context.folder.answer_file(id).is_file();
    Ok(Placed { id, order, variant_count, state, is_fetched })
}

fn describe(placed: &Placed) -> Value {
    json!({
        "order": placed.id.to_string(),
        "panel": placed.order.panel.to_string(),
        "tier": placed.order.tier.to_string(),
        "rho": placed.order.rho.to_string(),
        "variant_count": placed.variant_count,
        "max_price": placed.order.max_price.to_string(),
        "deadline_unix_s": placed.order.deadline_unix_s,
        "state": placed.state,
        "fetched": placed.is_fetched,
    })
}
