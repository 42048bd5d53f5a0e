//! Three keyholders in one process: sums, products, sums opened with noise, checks of bits.

mod support;

use locus_commitment::{Address, DatasetContext, DatasetId, Digest32, NetworkId};
use locus_genomics::PanelDigest;
use locus_sharing::*;
use std::collections::BTreeSet;
use support::TestRng;

fn noise_key(share: ShareIndex) -> NoiseKey {
    NoiseKey::from_bytes([share.get(); 32])
}

fn session(attempt: u64) -> PrssSession {
    PrssSession { tau: Digest32([7; 32]), attempt }
}

fn prss(attempt: u64) -> [Prss; 3] {
    KeyholderIndex::ALL.map(|keyholder| {
        let keys = [keyholder.released_share(), keyholder.other_share()].map(noise_key);
        Prss::new(keyholder, &keys[0], &keys[1], session(attempt))
    })
}

fn context() -> DatasetContext {
    DatasetContext {
        network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
        registrant: Address([2; 20]),
        dataset: DatasetId([3; 32]),
        panel: PanelDigest([4; 32]),
        version: 1,
    }
}

/// Splits values into shares 1, 2, 3 with a fixed stream, and gives every keyholder its two.
fn deal<W: RingWord>(values: &[W], seed: u64) -> [SharedVector<W>; 3] {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = W::from_u64(state ^ (state >> 29));
        word.times(W::from_u64(0x9e37_79b9_7f4a_7c15)).times(word)
    };
    let first: Vec<W> = values.iter().map(|_| next()).collect();
    let second: Vec<W> = values.iter().map(|_| next()).collect();
    let third = values.iter().zip(first.iter().zip(&second)).map(|(value, (x, y))| value.minus(*x).minus(*y)).collect();
    let shares = [first, second, third];
    KeyholderIndex::ALL.map(|keyholder| {
        let share = |share: ShareIndex| shares[share.position()].clone();
        SharedVector::new(keyholder, share(keyholder.released_share()), share(keyholder.other_share()))
            .expect("one length")
    })
}

fn open<W: RingWord>(vectors: &[SharedVector<W>; 3]) -> Vec<W> {
    // Both holders of every share agree on it.
    for keyholder in KeyholderIndex::ALL {
        let next = keyholder.receives_from();
        assert!(vectors[keyholder.position()].other() == vectors[next.position()].released());
    }
    let mut sum = vec![W::default(); vectors[0].len()];
    for vector in vectors {
        sum.iter_mut().zip(vector.released()).for_each(|(sum, share)| *sum = sum.plus(*share));
    }
    sum
}

fn multiply<W: RingWord>(
    left: &[SharedVector<W>; 3],
    right: &[SharedVector<W>; 3],
    prss: &mut [Prss; 3],
    gate: u32,
) -> [SharedVector<W>; 3] {
    let sent = KeyholderIndex::ALL.map(|keyholder| {
        let place = keyholder.position();
        let mut part = ProductPart::new(keyholder, left[place].len());
        part.add_product(&left[place], &right[place]).expect("one length");
        part.mask(&mut prss[place], gate).expect("a fresh gate")
    });
    KeyholderIndex::ALL.map(|keyholder| {
        let received = sent[keyholder.receives_from().position()].clone();
        SharedVector::of_parts(keyholder, sent[keyholder.position()].clone(), received).expect("one length")
    })
}

#[test]
fn products_sums_and_complements_are_those_of_the_values() {
    let (x, y) = ([0u64, 1, 5, u64::MAX, 1 << 63], [7u64, 1, 0, u64::MAX, 2]);
    let (left, right) = (deal(&x, 1), deal(&y, 2));
    let product = multiply(&left, &right, &mut prss(1), 0);
    assert_eq!(open(&product), [0, 1, 0, 1, 0]);
    let mut sum = left.clone();
    for (vector, term) in sum.iter_mut().zip(&right) {
        vector.add(term).expect("one length");
        vector.complement();
    }
    assert_eq!(open(&sum), [1u64.wrapping_sub(7), u64::MAX, 1u64.wrapping_sub(5), 3, (1u64 << 63).wrapping_sub(1)]);
    let wide = multiply(&deal(&[3u128 << 100, 5], 3), &deal(&[1u128 << 27, 1 << 127], 4), &mut prss(1), 0);
    assert_eq!(open(&wide), [3u128 << 127, 5u128 << 127]);
}

#[test]
fn a_gate_moves_8_bytes_a_person_and_keyholder() {
    let people = 100;
    let mut sources = prss(1);
    let mut sent = 0;
    for (keyholder, source) in KeyholderIndex::ALL.iter().zip(&mut sources) {
        let part = ProductPart::<u64>::new(*keyholder, people);
        sent += part.mask(source, 0).expect("a fresh gate").len() * SharedVector::<u64>::PRODUCT_BYTES;
    }
    assert_eq!(sent, 24 * people);
    assert!(sent <= 64 * people);
}

#[test]
fn what_is_sent_has_no_pattern_whatever_the_values_are() {
    let balance = |words: &[u64]| f64::from(words.iter().map(|word| word.count_ones()).sum::<u32>());
    for keyholder in KeyholderIndex::ALL {
        // Shares that are all zero: without the mask the message would be zeros.
        let nothing = SharedVector::<u64>::zeros(keyholder, 4096);
        let mut part = ProductPart::new(keyholder, 4096);
        part.add_product(&nothing, &nothing).expect("one length");
        let message = part.mask(&mut prss(1)[keyholder.position()], 0).expect("a fresh gate");
        assert!((balance(&message) - 131_072.0).abs() < 5.0 * 256.0);
        // The receiver knows one of the two streams of the mask; the other one still hides it.
        let receiver = keyholder.sends_to();
        assert!(receiver.holds(keyholder.released_share()) && !receiver.holds(keyholder.other_share()));
        let own_zeros = prss(1)[receiver.position()].zeros::<u64>(0, 4096).expect("fresh");
        let left: Vec<u64> = message.iter().zip(own_zeros.iter()).map(|(x, y)| x.wrapping_add(*y)).collect();
        assert!((balance(&left) - 131_072.0).abs() < 5.0 * 256.0);
    }
}

#[test]
fn zeros_add_up_to_zero_and_have_no_pattern() {
    let mut sources = prss(1);
    let zeros: Vec<Vec<u64>> =
        sources.iter_mut().map(|source| source.zeros(5, 4096).expect("fresh").to_vec()).collect();
    let sum = |place: usize| zeros.iter().fold(0u64, |sum, part| sum.wrapping_add(part[place]));
    assert!((0..4096).all(|place| sum(place) == 0));
    for part in &zeros {
        let ones: u32 = part.iter().map(|word| word.count_ones()).sum();
        assert!((f64::from(ones) - 131_072.0).abs() < 5.0 * 256.0, "{ones} of 262,144 bits");
        assert_eq!(part.iter().collect::<BTreeSet<_>>().len(), 4096);
    }
}

#[test]
fn random_vectors_are_shared_consistently() {
    let mut sources = prss(1);
    let vectors = sources.each_mut().map(|source| source.random::<u64>(3, 16).expect("fresh"));
    assert_eq!(open(&vectors).iter().collect::<BTreeSet<_>>().len(), 16);
}

#[test]
fn a_sum_opens_with_the_noise_of_all_three() {
    let shared = deal(&[1u64, 0, 1, 1], 5);
    let mut sources = prss(1);
    let parts = [0, 1, 2].map(|place| {
        let noise = [-2, 10, -30][place];
        SumPart::new(&shared[place], noise, &mut sources[place], 9).expect("a fresh gate")
    });
    assert_eq!(open_sum(parts), 3 - 22);
}

#[test]
fn no_stream_serves_two_messages_however_often_keyholders_restart() {
    let mut recorded = BTreeSet::new();
    let mut uses = 0;
    // Killed before each round in turn; every restart is a new attempt.
    for (attempt, rounds_done) in (1u64..).zip([0u32, 1, 2, 3, 4, 4]) {
        let mut sources = prss(attempt);
        let shared = deal(&[1u64, 0], attempt);
        let mut value = shared.clone();
        for gate in 0..rounds_done {
            value = multiply(&value, &shared, &mut sources, gate);
        }
        for source in &sources {
            for name in source.stream_names() {
                uses += 1;
                recorded.insert(name);
            }
        }
    }
    // Each stream of a gate is used by the two holders of its share, for one message each.
    assert_eq!(recorded.len() * 2, uses);
    let again = prss(2).each_mut().map(|source| source.zeros::<u64>(0, 1).map(|_| source.stream_names()));
    assert!(
        again.iter().flatten().flatten().all(|name| recorded.contains(name)),
        "the same attempt has the same streams"
    );
}

#[test]
fn a_gate_that_is_run_again_in_one_attempt_is_refused() {
    let mut source = prss(1).into_iter().next().expect("three");
    assert!(source.zeros::<u64>(4, 2).is_ok());
    assert_eq!(source.zeros::<u64>(4, 2).err(), Some(SharingError::GateReused { gate: 4 }));
    assert_eq!(source.zeros::<u64>(4, 1).err(), Some(SharingError::GateReused { gate: 4 }));
    assert!(source.random::<u64>(4, 2).is_ok(), "random values are another stream");
    assert!(source.random::<u64>(4, 2).is_err());
}

#[test]
fn attack_reusing_an_attempt_reveals_the_difference_of_two_shares() {
    // Control: with one attempt number for two runs the masks cancel. A new attempt hides it.
    let values = [deal(&[5u64], 1), deal(&[5u64 + 1_000], 1)];
    let message = |shared: &[SharedVector<u64>; 3], attempt: u64| {
        let mut part = ProductPart::new(KeyholderIndex::ALL[2], 1);
        part.add(&shared[2]).expect("one length");
        part.mask(&mut prss(attempt)[2], 0).expect("fresh")[0]
    };
    let difference =
        |attempts: [u64; 2]| message(&values[1], attempts[1]).wrapping_sub(message(&values[0], attempts[0]));
    let true_difference = values[1][2].released()[0].wrapping_sub(values[0][2].released()[0]);
    assert_eq!(difference([1, 1]), true_difference);
    assert_ne!(difference([1, 2]), true_difference);
}

fn check_bits(people: &[[SharedVector<u64>; 3]], rules: &BitRules) -> Result<(), SharingError> {
    let mut sources = prss(1);
    let begun = sources.each_mut().map(|source| BitCheck::begin(source, 0).expect("fresh"));
    let parts = KeyholderIndex::ALL.map(|keyholder| {
        let place = keyholder.position();
        let sender = KeyholderIndex::ALL.into_iter().find(|other| CoinPart::recipient(*other) == keyholder);
        let received = begun[sender.expect("somebody").position()].1;
        let received = CoinPart::from_bytes(&received.to_bytes());
        let rows: Vec<&SharedVector<u64>> = people.iter().map(|person| &person[place]).collect();
        begun[place].0.part(received, &rows, rules, &mut sources[place], 1)
    });
    let [first, second, third] = parts;
    verify_bits([&first?, &second?, &third?])
}

#[test]
fn valid_bits_pass_and_every_invalid_value_is_found() {
    let valid = [deal(&[1u64, 0, 0, 1, 1], 1), deal(&[0u64, 0, 1, 0, 1], 2), deal(&[0u64, 1, 0, 0, 0], 3)];
    let one_hot = |group: std::ops::Range<usize>| BitRules { one_hot: vec![group], ..Default::default() };
    assert_eq!(check_bits(&valid, &one_hot(0..3)), Ok(()));
    let invalid: [[u64; 5]; 7] = [
        [2, 0, 0, 0, 0],
        [1, 0, 0, 0, 1_000],
        [1, 0, 0, 1 << 63, 0],
        [1, 0, 0, u64::MAX, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [1 << 63, (1 << 63) + 1, 0, 0, 0],
    ];
    for (seed, bits) in (10..).zip(invalid) {
        let mut people = valid.to_vec();
        people.insert(1, deal(&bits, seed));
        assert_eq!(check_bits(&people, &one_hot(0..3)), Err(SharingError::InvalidBits), "{bits:?}");
    }
    assert_eq!(check_bits(&valid, &one_hot(3..9)), Err(SharingError::VectorLength { expected: 9, got: 5 }));
}

#[test]
fn a_square_that_is_not_the_numbers_is_found() {
    let bits = |number: u64, square: u64| -> Vec<u64> {
        (0..3).map(|place| number >> place & 1).chain((0..6).map(|place| square >> place & 1)).collect()
    };
    let rules = BitRules { one_hot: Vec::new(), squares: vec![(0..3, 3..9)] };
    let valid: Vec<_> = (0..8).map(|number| deal(&bits(number, number * number), number)).collect();
    assert_eq!(check_bits(&valid, &rules), Ok(()));
    for (number, square) in [(0, 1), (5, 24), (7, 48), (3, 0), (6, 63)] {
        let mut people = valid.clone();
        people.push(deal(&bits(number, square), 20));
        // Control: they are bits, so only the rule tells.
        assert_eq!(check_bits(&people, &BitRules::default()), Ok(()));
        assert_eq!(check_bits(&people, &rules), Err(SharingError::InvalidBits), "{number}: {square}");
    }
    let beyond = BitRules { squares: vec![(0..3, 3..10)], ..Default::default() };
    assert_eq!(check_bits(&valid, &beyond), Err(SharingError::VectorLength { expected: 10, got: 9 }));
}

#[test]
fn attribute_shares_add_up_and_are_bound_to_dataset_and_bits() {
    let master = MasterSecret::from_bytes([9; 32]);
    let digest = GenotypeDigest::of_packed(b"genome");
    let secrets = DatasetSecrets::derive(&master, &context(), &digest);
    let schema = Digest32([5; 32]);
    let bits = [1u64, 0, 0, 1, 0, 1, 1, 0, 0, 1, 1];
    let share = |context: &DatasetContext, schema: &Digest32, bits: &[u64]| {
        AttributeShares::new(&master, context, &secrets.seeds, schema, bits).expect("bits")
    };
    let shares = share(&context(), &schema, &bits);
    let vectors = |shares: &AttributeShares, context: &DatasetContext, count: usize| {
        KeyholderIndex::ALL.map(|keyholder| {
            let seeds = shares_of(keyholder).map(|share| (share, secrets.seeds.of(share)));
            shares.entry_for(keyholder).shares(keyholder, context, seeds, count).expect("its own seeds")
        })
    };
    let shared = vectors(&shares, &context(), bits.len());
    assert_eq!(open(&shared), bits);
    for holder in KeyholderIndex::ALL {
        let next = holder.receives_from();
        let digest =
            |words: &[u64]| attribute_share_digest(&context(), shares.commitment(), holder.other_share(), words);
        assert_eq!(digest(shared[holder.position()].other()), digest(shared[next.position()].released()));
    }
    // A retry gives the same; other bits, dataset or schema give unrelated shares.
    assert_eq!(share(&context(), &schema, &bits).commitment(), shares.commitment());
    let mut other_bits = bits;
    other_bits[10] = 0;
    let other_context = DatasetContext { version: 2, ..context() };
    for (context, other) in [
        (context(), share(&context(), &schema, &other_bits)),
        (other_context, share(&other_context, &schema, &bits)),
        (context(), share(&context(), &Digest32([6; 32]), &bits)),
    ] {
        assert_ne!(other.commitment(), shares.commitment());
        let others = vectors(&other, &context, bits.len());
        for (vector, before) in others.iter().zip(&shared) {
            assert!(vector.released().iter().zip(before.released()).all(|(left, right)| left != right));
        }
    }
    let too_long = AttributeShares::new(&master, &context(), &secrets.seeds, &schema, &[0; ATTRIBUTE_BITS_MAX + 1]);
    assert!(matches!(too_long.err(), Some(SharingError::TooManyBits { .. })));
    let no_bit = AttributeShares::new(&master, &context(), &secrets.seeds, &schema, &[0, 2]);
    assert_eq!(no_bit.err(), Some(SharingError::NotABit { place: 1 }));
}

#[test]
fn attributes_that_differ_between_keyholders_are_seen_by_the_digests_of_both_shares() {
    let master = MasterSecret::from_bytes([9; 32]);
    let secrets = DatasetSecrets::derive(&master, &context(), &GenotypeDigest::of_packed(b"genome"));
    let share = |bits: &[u64]| {
        AttributeShares::new(&master, &context(), &secrets.seeds, &Digest32([5; 32]), bits).expect("bits")
    };
    let (told, other) = (share(&[1, 0, 1]), share(&[1, 1, 1]));
    // Everybody is told the first bits, except one.
    let vectors = |deceived: Option<KeyholderIndex>| {
        KeyholderIndex::ALL.map(|keyholder| {
            let shares = if deceived == Some(keyholder) { &other } else { &told };
            let seeds = shares_of(keyholder).map(|share| (share, secrets.seeds.of(share)));
            shares.entry_for(keyholder).shares(keyholder, &context(), seeds, 3).expect("its own seeds")
        })
    };
    let disagreements = |vectors: &[SharedVector<u64>; 3]| -> Vec<ShareIndex> {
        let digest = |holder: KeyholderIndex, share: ShareIndex| {
            let vector = &vectors[holder.position()];
            let words = if holder.released_share() == share { vector.released() } else { vector.other() };
            attribute_share_digest(&context(), told.commitment(), share, words)
        };
        let differs = |share: &ShareIndex| {
            let [first, second] = holders_of(*share);
            digest(first, *share) != digest(second, *share)
        };
        ShareIndex::ALL.into_iter().filter(differs).collect()
    };
    let honest = vectors(None);
    assert!(disagreements(&honest).is_empty());
    assert_eq!(open(&honest), [1, 0, 1]);
    for deceived in KeyholderIndex::ALL {
        let mixed = vectors(Some(deceived));
        assert_eq!(disagreements(&mixed), shares_of(deceived));
        // Control: nobody who compares nothing sees it, and a person has weights that are no bits.
        let sum = |place: usize| mixed.iter().fold(0u64, |sum, vector| sum.wrapping_add(vector.released()[place]));
        assert!((0..3).any(|place| sum(place) > 1), "keyholder {deceived}");
    }
}

#[test]
fn attribute_packages_open_only_for_their_header() {
    let master = MasterSecret::from_bytes([9; 32]);
    let schema = Digest32([5; 32]);
    let private_key = seal::SealingPrivateKey::from_seed(&[1; 32]);
    for keyholder in KeyholderIndex::ALL {
        let header = AttributePackageHeader {
            network: context().network,
            registration: 7,
            keyholder,
            first_ordinal: 0,
            count: 2,
            schema,
            bit_count: 3,
        };
        let shares = [1, 2].map(|number| {
            let context = DatasetContext { dataset: DatasetId([number; 32]), ..context() };
            let secrets = DatasetSecrets::derive(&master, &context, &GenotypeDigest::of_packed(b"genome"));
            AttributeShares::new(&master, &context, &secrets.seeds, &schema, &[1, 0, 1]).expect("bits")
        });
        let entries: Vec<AttributeEntry> = shares.iter().map(|share| share.entry_for(keyholder)).collect();
        let package = AttributePackage::try_new(header, entries.clone()).expect("two entries");
        let sealed = package.seal(&private_key.public_key(), &mut TestRng::new(1)).expect("a small package");
        let opened = AttributePackage::open(header, &private_key, &sealed).expect("its own header");
        let commitments =
            |entries: &[AttributeEntry]| entries.iter().map(AttributeEntry::commitment).collect::<Vec<_>>();
        assert_eq!(commitments(opened.entries()), commitments(&entries));
        for other in [
            AttributePackageHeader { schema: Digest32([6; 32]), ..header },
            AttributePackageHeader { bit_count: 4, ..header },
            AttributePackageHeader { registration: 8, ..header },
            AttributePackageHeader { first_ordinal: 1, ..header },
        ] {
            assert!(AttributePackage::open(other, &private_key, &sealed).is_err());
        }
        assert!(AttributePackage::try_new(header, entries[..1].to_vec()).is_err());
    }
}
