//! Keyholders of a market in memory, for the unit tests.

use crate::{
    keyholder::{Inner, Keyholder},
    store::Store,
};
use locus_ledger::{
    AccountKey, Chain, ChainConfig, CommitteeMember, Contracts, DeploymentConfig, EmbeddedChain, Ledger, SystemClock,
    ViewFollower, deploy,
};
use locus_privacy::NetworkParameterValues;
use locus_service::Clock;
use locus_sharing::{KeyholderIndex, seal::SealingPrivateKey};
use std::{path::Path, sync::Arc, time::Duration};

/// A deployed market without anybody in it.
pub(crate) struct Committee {
    chain: EmbeddedChain,
    contracts: Contracts,
}

fn account(number: u8) -> AccountKey {
    AccountKey::from_bytes(&[number; 32]).expect("small constants are keys")
}

fn sealing(index: KeyholderIndex) -> SealingPrivateKey {
    SealingPrivateKey::from_seed(&[index.get(); 32])
}

/// Keyholder 1, 2 or 3.
pub(crate) fn index(number: u8) -> KeyholderIndex {
    KeyholderIndex::try_new(number).expect("1 to 3")
}

impl Committee {
    /// Deploys the contracts with keyholders whose keys are constants.
    pub(crate) async fn deploy() -> Self {
        let chain = EmbeddedChain::in_memory(&ChainConfig::new(31_337), Arc::new(SystemClock));
        let member = |index: KeyholderIndex| CommitteeMember {
            signer: account(index.get()).address(),
            hpke_public_key: sealing(index).public_key().to_bytes().to_vec(),
        };
        let config = DeploymentConfig {
            parameters: NetworkParameterValues::default(),
            committee: KeyholderIndex::ALL.map(member),
            accreditors: Vec::new(),
            researchers: Vec::new(),
            token: None,
        };
        let admin = Chain::embedded(chain.clone(), Some(&account(9)));
        let contracts = deploy(&admin, &config).await.expect("the contracts deploy");
        Self { chain, contracts }
    }

    /// A keyholder with its storage in `dir`, which has read the chain.
    pub(crate) async fn keyholder(&self, number: u8, dir: &Path) -> Keyholder {
        let ledger = Ledger::open(Chain::embedded(self.chain.clone(), None), self.contracts);
        let ledger = ledger.await.expect("the market opens");
        let keyholder = Keyholder::new(Inner {
            index: index(number),
            contracts: self.contracts,
            parameters: ledger.parameters().await.expect("the rules are on the chain"),
            signer: account(number),
            sealing: sealing(index(number)),
            store: Store::open(dir).expect("the storage opens"),
            view: ViewFollower::start(ledger.clone(), Duration::from_secs(3_600)),
            ledger,
            clock: Clock::system(),
        });
        keyholder.poll_chain().await.expect("the chain can be followed");
        keyholder
    }
}
