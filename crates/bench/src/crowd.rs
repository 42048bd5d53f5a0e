//! Researchers by the hundred, each with keys and connections of their own, who use the market by the same calls as
//! the command line.

use crate::market::BenchMarket;
use anyhow::Result;
use locus_client::{
    Keystore, Network, NewKeys, ServiceChannels, Services, mint_test_tokens,
    research::{Question, Requirements},
};
use locus_genomics::{Declarations, Panel, Purpose, PurposeCode, VariantIndex, VariantSelection};
use locus_ledger::{Amount, QueryClass};
use locus_privacy::{Rho, Tier};
use locus_service::{Connector, connect_lazy};
use std::{fs, path::PathBuf, sync::Arc};
use tokio::runtime::Runtime;

/// Somebody who asks.
pub(crate) struct Researcher {
    pub(crate) services: Services,
    pub(crate) keystore: Keystore,
    /// Where orders are kept.
    pub(crate) orders: PathBuf,
    pub(crate) network: Arc<Network>,
    pub(crate) panel: Arc<Panel>,
}

/// Makes `count` researchers of a market; each has `funds`.
pub(crate) fn gather(
    runtime: &Runtime,
    market: &BenchMarket,
    count: usize,
    funds: Option<Amount>,
) -> Result<Vec<Researcher>> {
    let panel = Arc::new(Panel::from_canonical_bytes(&fs::read(market.path("bench.panel"))?)?);
    runtime.block_on(async {
        let network = Arc::new(Network::fetch(&services(market.endpoint())?).await?);
        let mut crowd = Vec::with_capacity(count);
        for number in 0..count {
            let home = PathBuf::from(market.path(&format!("crowd/{number}")));
            fs::create_dir_all(&home)?;
            let keystore = Keystore::create(&home.join("keys"), NewKeys { accreditor: false }, 0)?;
            let services = services(market.endpoint())?;
            if let Some(funds) = funds {
                mint_test_tokens(&services, keystore.address(), funds).await?;
            }
            let (network, panel) = (network.clone(), panel.clone());
            crowd.push(Researcher { services, keystore, orders: home.join("orders"), network, panel });
        }
        Ok(crowd)
    })
}

/// Connections, made when they are used.
fn services(endpoint: &str) -> Result<Services> {
    let channel = connect_lazy(&Connector::Url(endpoint.to_owned()))?;
    // Nobody here asks a keyholder for a statement.
    let keyholders = [channel.clone(), channel.clone(), channel.clone()];
    Ok(Services::new(ServiceChannels {
        archive: channel.clone(),
        exchange: channel.clone(),
        aggregator: channel,
        keyholders,
    }))
}

impl Researcher {
    /// A question for the counts of some variants, in the open tier.
    pub(crate) fn question(&self, variants: impl IntoIterator<Item = u32>, rho_nano: u64) -> Result<Question> {
        let selection = VariantSelection::from_indices(&self.panel, variants.into_iter().map(VariantIndex))?;
        Ok(Question {
            selection,
            query_class: QueryClass::Counts,
            purpose: Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE },
            condition: None,
            tier: Tier::Open,
            rho: Rho::from_nano(rho_nano),
            filter: None,
            requirements: Requirements::default(),
        })
    }
}
