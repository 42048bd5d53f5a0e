//! Small panels, keys and markets for tests.

use crate::network::Network;
use locus_commitment::{Address, NetworkId};
use locus_genomics::{Assembly, Panel, Variant};
use locus_ledger::{AccountKey, CommitteeMember, Contracts};
use locus_privacy::{NetworkParameterValues, NetworkParameters};
use locus_sharing::seal::SealingPrivateKey;
use locus_wire::convert::NetworkInfo;

/// A panel of `variants` substitutions A to C at positions 1, 2, 3 of chromosome 1.
pub(crate) fn panel(variants: u32, complete_calls: bool) -> Panel {
    let list: Vec<Variant> = (1..=variants).map(|place| format!("1:{place}:A:C").parse().expect("an id")).collect();
    Panel::try_new("test", Assembly::GRCh38, complete_calls, list.iter().map(Variant::as_ref)).expect("a panel")
}

/// An account key of this number.
pub(crate) fn account(number: u8) -> AccountKey {
    AccountKey::from_bytes(&[number; 32]).expect("a key")
}

/// Signing keys of keyholders 1, 2 and 3.
pub(crate) fn keyholder_accounts() -> [AccountKey; 3] {
    [account(11), account(12), account(13)]
}

/// Sealing keys of keyholders 1, 2 and 3.
pub(crate) fn keyholder_sealing_keys() -> [SealingPrivateKey; 3] {
    [21, 22, 23].map(|number| SealingPrivateKey::from_seed(&[number; 32]))
}

/// A test market with these keyholders.
pub(crate) fn network_info() -> NetworkInfo {
    let [one, two, three] = keyholder_accounts();
    let [first, second, third] = keyholder_sealing_keys();
    let member = |account: AccountKey, sealing: SealingPrivateKey| CommitteeMember {
        signer: account.address(),
        hpke_public_key: sealing.public_key().to_bytes().to_vec(),
    };
    let values = NetworkParameterValues {
        cohort_size_min: 1,
        exact_batch_min: 1,
        exact_change_min: 1,
        test_network: true,
        ..Default::default()
    };
    NetworkInfo {
        contracts: Contracts {
            network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
            token: Address([2; 20]),
            offer_book: Address([3; 20]),
            escrow: Address([4; 20]),
            verifier: Address([5; 20]),
        },
        parameters: NetworkParameters::try_new(values).expect("values of a test network"),
        committee: [member(one, first), member(two, second), member(three, third)],
        committee_epoch: 3,
        token_name: "Test".to_owned(),
    }
}

/// The market of [`network_info`].
pub(crate) fn network() -> Network {
    Network::try_new(network_info()).expect("keyholder keys")
}
