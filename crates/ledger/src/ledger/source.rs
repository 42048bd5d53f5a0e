//! Events of the market's contracts, read from the chain and decoded.

use super::{
    Ledger, LedgerError,
    words::{digest, settlement_of, small_amount},
};
use crate::{
    bindings::{escrow::QueryEscrow, offers::OfferBook, registry::DatasetRegistry},
    eip712::{evm, keys_of, own},
    types::{
        Audience, CommitteeMember, DatasetLeaf, Demands, Offer, OfferPrices, Order, OrderId, QueryClass,
        RegistrationId, TierSet, tier_from_code,
    },
    view::{BlockRef, EventSource, LocatedEvent, MarketEvent},
};
use alloy_primitives::U256;
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::{BlockNumberOrTag, Filter, Log};
use alloy_sol_types::{SolEvent as _, SolEventInterface as _};
use locus_commitment::{
    Address, DatasetBodyDigest, DatasetCommitments, DatasetId, Digest32, GenotypeCommitment, PersonTag,
    ShareSetCommitment,
};
use locus_genomics::PanelDigest;
use locus_privacy::Rho;
use std::collections::BTreeMap;

impl EventSource for Ledger {
    type Error = LedgerError;

    async fn head(&self) -> Result<BlockRef, LedgerError> {
        self.block_at(BlockNumberOrTag::Latest).await.map(|(block, _)| block)
    }

    async fn finalized(&self) -> Result<BlockRef, LedgerError> {
        self.block_at(BlockNumberOrTag::Finalized).await.map(|(block, _)| block)
    }

    async fn block(&self, number: u64) -> Result<BlockRef, LedgerError> {
        self.block_at(BlockNumberOrTag::Number(number)).await.map(|(block, _)| block)
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<LocatedEvent>, LedgerError> {
        let contracts = [self.contracts.network.registry, self.contracts.offer_book, self.contracts.escrow].map(evm);
        let filter = Filter::new().address(contracts.to_vec()).from_block(from).to_block(to);
        let logs = self.chain.ask(self.chain.provider.get_logs(&filter)).await?;
        let mut times = BTreeMap::new();
        let mut events = Vec::new();
        for log in logs.into_iter().filter(|log| !log.removed) {
            let Some(event) = self.decode(&log)? else { continue };
            let block = log.block_number.ok_or(LedgerError::UnexpectedAnswer)?;
            let time_unix_s = match (log.block_timestamp, times.get(&block)) {
                (Some(time), _) => time,
                (None, Some(time)) => *time,
                (None, None) => self.block_at(BlockNumberOrTag::Number(block)).await?.1,
            };
            times.insert(block, time_unix_s);
            let log_index = log.log_index.ok_or(LedgerError::UnexpectedAnswer)?;
            events.push(LocatedEvent { block, time_unix_s, log_index, event });
        }
        events.sort_by_key(|event| (event.block, event.log_index));
        events.dedup();
        Ok(events)
    }

    /// Looks for the first block with a registry by bisection, where the node keeps old states; else
    /// all blocks are read. A node that lies about it is found out: registrations are numbered from 1.
    async fn first_block(&self) -> Result<u64, LedgerError> {
        let (mut without, mut with) = (0, self.head().await?.number);
        while with - without > 1 {
            let middle = without + (with - without) / 2;
            let code = self.chain.provider.get_code_at(evm(self.contracts.network.registry)).number(middle);
            match self.chain.ask(code.into_future()).await {
                Ok(code) if code.is_empty() => without = middle,
                Ok(_) => with = middle,
                Err(LedgerError::Transport(error)) if error.as_error_resp().is_some() => return Ok(0),
                Err(error) => return Err(error),
            }
        }
        Ok(without)
    }

    fn is_too_many(&self, error: &LedgerError) -> bool {
        error.is_too_many_logs()
    }
}

impl Ledger {
    /// When a block was made.
    pub async fn block_time_unix_s(&self, number: u64) -> Result<u64, LedgerError> {
        self.block_at(BlockNumberOrTag::Number(number)).await.map(|(_, time)| time)
    }

    async fn block_at(&self, tag: BlockNumberOrTag) -> Result<(BlockRef, u64), LedgerError> {
        let found = self.chain.ask(self.chain.provider.get_block_by_number(tag).into_future()).await?;
        let block = found.ok_or(LedgerError::UnexpectedAnswer)?;
        let header = block.header;
        Ok((BlockRef { number: header.number, hash: Digest32(header.hash.0) }, header.timestamp))
    }

    /// Decodes a log; `None` for events that the view does not need.
    fn decode(&self, log: &Log) -> Result<Option<MarketEvent>, LedgerError> {
        let unreadable = |_| LedgerError::UnexpectedAnswer;
        let contract = own(log.inner.address);
        if contract == self.contracts.network.registry {
            let known = DatasetRegistry::DatasetRegistryEvents::decode_log(&log.inner).map_err(unreadable)?;
            return Ok(registry_event(known.data));
        }
        if contract == self.contracts.offer_book {
            // Event EIP712DomainChanged of the base contract carries nothing of ours.
            if log.topic0() == Some(&OfferBook::EIP712DomainChanged::SIGNATURE_HASH) {
                return Ok(None);
            }
            let known = OfferBook::OfferBookEvents::decode_log(&log.inner).map_err(unreadable)?;
            return offer_event(known.data);
        }
        let known = QueryEscrow::QueryEscrowEvents::decode_log(&log.inner).map_err(unreadable)?;
        escrow_event(known.data)
    }
}

fn registry_event(event: DatasetRegistry::DatasetRegistryEvents) -> Option<MarketEvent> {
    use DatasetRegistry::DatasetRegistryEvents as Events;
    Some(match event {
        Events::PanelPublished(event) => MarketEvent::PanelPublished {
            panel: PanelDigest(event.panelDigest.0),
            name: event.name,
            variant_count: event.variantCount,
            complete_calls: event.completeCalls,
        },
        Events::DatasetsRegistered(event) => MarketEvent::DatasetsRegistered {
            registration: RegistrationId(event.registrationId),
            registrant: own(event.registrant),
            panel: PanelDigest(event.panelDigest.0),
            version: event.version,
            first_slot: event.firstSlot,
            accreditor: Some(own(event.accreditor)).filter(|accreditor| *accreditor != Address([0; 20])),
            leaves: event
                .leaves
                .into_iter()
                .map(|leaf| DatasetLeaf {
                    dataset: DatasetId(leaf.datasetId.0),
                    person: PersonTag(leaf.personTag.0),
                    commitments: DatasetCommitments {
                        bodies: DatasetBodyDigest(digest(leaf.bodyDigest)),
                        shares: ShareSetCommitment(digest(leaf.shareCommitment)),
                        genotypes: GenotypeCommitment(digest(leaf.genotypeCommitment)),
                    },
                })
                .collect(),
        },
        Events::DatasetsRekeyed(event) => MarketEvent::DatasetsRekeyed {
            registration: RegistrationId(event.registrationId),
            generation: event.generation,
            keys: event.keys.iter().map(keys_of).collect(),
        },
        Events::DatasetsRevoked(event) => MarketEvent::DatasetsRevoked {
            registration: RegistrationId(event.registrationId),
            ordinals: event.ordinals,
        },
        Events::DatasetsErased(event) => MarketEvent::DatasetsErased {
            registration: RegistrationId(event.registrationId),
            keyholder: event.keyholder,
            ordinals: event.ordinals,
        },
        Events::AccreditorSet(event) => {
            MarketEvent::AccreditorChanged { account: own(event.account), listed: event.listed }
        }
        Events::ResearcherSet(event) => {
            MarketEvent::ResearcherChanged { account: own(event.account), listed: event.listed }
        }
        Events::KeyholderSet(event) => MarketEvent::KeyholderChanged {
            keyholder: event.index,
            member: CommitteeMember { signer: own(event.signer), hpke_public_key: event.hpkePublicKey.to_vec() },
        },
        _ => return None,
    })
}

fn offer_event(event: OfferBook::OfferBookEvents) -> Result<Option<MarketEvent>, LedgerError> {
    use OfferBook::OfferBookEvents as Events;
    Ok(Some(match event {
        Events::OfferPosted(event) => {
            let offer = event.offer;
            let audience = match offer.audience {
                0 => Audience::Anyone,
                1 => Audience::AccreditedResearchers,
                2 => Audience::Named(offer.buyers.iter().map(|buyer| own(*buyer)).collect()),
                _ => return Err(LedgerError::Value("audience of an offer")),
            };
            MarketEvent::OfferPosted {
                offer: Offer {
                    registration: RegistrationId(offer.registrationId),
                    prices: OfferPrices {
                        counts: small_amount(offer.priceCounts),
                        filtered_counts: small_amount(offer.priceFilteredCounts),
                        association: small_amount(offer.priceAssociation),
                    },
                    data_use: offer.dataUse,
                    tiers: TierSet(offer.tiers),
                    audience,
                    block_start: offer.blockStart,
                    block_end: offer.blockEnd,
                    condition_digest: digest(offer.conditionDigest),
                    demands: Demands(offer.demands),
                    disclosure_digest: digest(offer.disclosureDigest),
                    expiry_unix_s: offer.expiry,
                    nonce: offer.nonce,
                },
            }
        }
        Events::OfferWithdrawn(event) => {
            MarketEvent::OfferWithdrawn { registration: RegistrationId(event.registrationId), nonce: event.nonce }
        }
        _ => return Ok(None),
    }))
}

fn escrow_event(event: QueryEscrow::QueryEscrowEvents) -> Result<Option<MarketEvent>, LedgerError> {
    use QueryEscrow::QueryEscrowEvents as Events;
    Ok(Some(match event {
        Events::OrderOpened(event) => {
            let order = event.order;
            MarketEvent::OrderOpened {
                order_id: OrderId(digest(event.orderId)),
                order: Order {
                    researcher: own(order.researcher),
                    panel: PanelDigest(order.panelDigest.0),
                    selection_digest: digest(order.selectionDigest),
                    predicate_digest: digest(order.predicateDigest),
                    query_class: QueryClass::from_code(order.queryClass).ok_or(LedgerError::Value("query class"))?,
                    purpose: order.purpose,
                    condition_digest: digest(order.conditionDigest),
                    tier: tier_from_code(order.tier).ok_or(LedgerError::Value("tier"))?,
                    rho: Rho::from_nano(order.rhoNano),
                    max_price: small_amount(order.maxPrice),
                    hpke_key_digest: digest(order.hpkeKeyDigest),
                    deadline_unix_s: order.deadline,
                    nonce: order.nonce,
                },
            }
        }
        Events::OrderSettled(event) => MarketEvent::OrderSettled { settlement: settlement_of(&event.settlement) },
        Events::OrderRefunded(event) => MarketEvent::OrderRefunded { order_id: OrderId(digest(event.orderId)) },
        Events::PayoutClaimed(event) => {
            MarketEvent::PayoutClaimed { account: own(event.account), amount: claimed(event.amount)? }
        }
        _ => return Ok(None),
    }))
}

fn claimed(amount: U256) -> Result<u128, LedgerError> {
    u128::try_from(amount).map_err(|_| LedgerError::Value("claimed amount"))
}
