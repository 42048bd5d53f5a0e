use super::*;
use locus_commitment::Address;

fn info() -> NetworkInfo {
    let member = |byte: u8| CommitteeMember { signer: Address([byte; 20]), hpke_public_key: vec![byte; 1216] };
    NetworkInfo {
        contracts: Contracts {
            network: NetworkId { chain_id: 1, registry: Address([1; 20]) },
            token: Address([2; 20]),
            offer_book: Address([3; 20]),
            escrow: Address([4; 20]),
            verifier: Address([5; 20]),
        },
        parameters: NetworkParameters::standard(),
        committee: [member(6), member(7), member(8)],
        committee_epoch: 9,
        token_name: "Locus Test Token".to_owned(),
        settles_on_cohorts: true,
    }
}

#[test]
fn network_descriptions_survive_the_wire() {
    assert_eq!(NetworkInfo::try_from(&pb::GetNetworkResponse::from(&info())), Ok(info()));
}

#[test]
fn a_network_description_with_a_wrong_field_is_refused() {
    let changes: [(&str, fn(&mut pb::GetNetworkResponse)); 15] = [
        ("token_name", |message| message.token_name.clear()),
        ("token_name", |message| message.token_name = "x".repeat(65)),
        ("network", |message| message.network = None),
        ("network.chain_id", |message| message.network = Some(Default::default())),
        ("token", |message| message.token = vec![2; 19].into()),
        ("offer_book", |message| message.offer_book = vec![].into()),
        ("escrow", |message| message.escrow = vec![2; 32].into()),
        ("verifier", |message| message.verifier = vec![2; 21].into()),
        ("keyholders", |message| message.keyholders.truncate(2)),
        ("keyholders.index", |message| message.keyholders.swap(0, 1)),
        ("keyholders.signer", |message| message.keyholders[2].signer = vec![].into()),
        ("keyholders.hpke_public_key", |message| message.keyholders[0].hpke_public_key = vec![1; 1215].into()),
        ("flooding_sigma_log2", |message| message.flooding_sigma_log2 = 256 + 21),
        ("network parameters", |message| message.flooding_sigma_log2 = 20),
        ("network parameters", |message| message.cohort_size_min = 99),
    ];
    for (number, (field, change)) in changes.into_iter().enumerate() {
        let mut message = pb::GetNetworkResponse::from(&info());
        change(&mut message);
        let refused = NetworkInfo::try_from(&message).err().map(|error| error.field);
        assert_eq!(refused, Some(field), "change {number}");
    }
}
