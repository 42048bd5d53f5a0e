//! Sealing, seed packages and noise keys: round trips, and every binding broken once.

mod support;

use locus_commitment::{Address, DatasetContext, NetworkId, ShareSetCommitment};
use locus_genomics::PanelDigest;
use locus_sharing::{
    DatasetSecrets, DatasetSeeds, GenotypeDigest, KeyholderIndex, MasterSecret, NoiseKey, NoiseKeyAgreement,
    SeedPackage, SeedPackageHeader, ShareIndex, SharingError, holders_of,
    seal::{
        ENCAPSULATION_BYTES, INFO_BYTES_MAX, SEALED_BYTES_MAX, SEALING_PUBLIC_KEY_BYTES, SealBinding, SealedBox,
        SealingPrivateKey, SealingPublicKey, TAG_BYTES, open, seal,
    },
    shares_of,
};
use proptest::prelude::*;
use support::TestRng;

const BINDING: SealBinding<'static> = SealBinding { info: b"kind", associated_data: b"ids" };

fn network() -> NetworkId {
    NetworkId { chain_id: 31_337, registry: Address([1; 20]) }
}

fn keyholder(number: u8) -> KeyholderIndex {
    KeyholderIndex::try_new(number).expect("1 to 3")
}

fn header(keyholder_number: u8, first_ordinal: u32, count: u32) -> SeedPackageHeader {
    SeedPackageHeader {
        network: network(),
        registrant: Address([2; 20]),
        batch_nonce: 7,
        panel: PanelDigest([4; 32]),
        version: 1,
        keyholder: keyholder(keyholder_number),
        first_ordinal,
        count,
    }
}

fn secrets_of(context: &DatasetContext) -> DatasetSecrets {
    DatasetSecrets::derive(&MasterSecret::from_bytes([9; 32]), context, &GenotypeDigest::of_packed(b"genome"))
}

fn package(header: SeedPackageHeader) -> SeedPackage {
    let ordinals = header.first_ordinal..header.first_ordinal + header.count;
    let datasets = ordinals
        .map(|ordinal| DatasetSeeds::for_keyholder(&secrets_of(&header.dataset_context(ordinal)), header.keyholder))
        .collect();
    SeedPackage::try_new(header, datasets).expect("header and seeds agree")
}

fn bytes_of(package: &SeedPackage) -> Vec<[u8; 32]> {
    let seeds = package.datasets().iter().flat_map(|dataset| &dataset.0);
    seeds.flat_map(|part| [*part.seed.as_bytes(), part.blinding.0]).collect()
}

#[test]
fn a_sealed_message_opens_with_its_key_and_binding() {
    let rng = &mut TestRng::new(1);
    let private = SealingPrivateKey::generate(rng);
    for length in [0, 1, 31, 32_768] {
        let plaintext = vec![5; length];
        let sealed = seal(&private.public_key(), BINDING, &plaintext, rng).expect("seals");
        assert_eq!(sealed.as_bytes().len(), ENCAPSULATION_BYTES + length + TAG_BYTES);
        let received = SealedBox::parse(sealed.into_bytes()).expect("has a valid length");
        assert_eq!(*open(&private, BINDING, &received).expect("opens"), plaintext);
    }
}

#[test]
fn a_sealed_message_opens_neither_with_another_key_nor_another_binding_nor_altered() {
    let rng = &mut TestRng::new(2);
    let private = SealingPrivateKey::generate(rng);
    let sealed = seal(&private.public_key(), BINDING, b"seeds", rng).expect("seals");
    let refused = Some(SharingError::Open);
    assert_eq!(open(&SealingPrivateKey::generate(rng), BINDING, &sealed).err(), refused);
    let other_kind = SealBinding { info: b"other", ..BINDING };
    let other_ids = SealBinding { associated_data: b"idt", ..BINDING };
    let shifted = SealBinding { info: b"kin", associated_data: b"dids" };
    for binding in [other_kind, other_ids, shifted] {
        assert_eq!(open(&private, binding, &sealed).err(), refused);
    }
    let length = sealed.as_bytes().len();
    for place in [0, 1087, 1088, ENCAPSULATION_BYTES - 1, ENCAPSULATION_BYTES, length - 1] {
        let mut altered = sealed.as_bytes().to_vec();
        altered[place] ^= 1;
        let altered = SealedBox::parse(altered).expect("same length");
        assert_eq!(open(&private, BINDING, &altered).err(), refused, "byte {place}");
    }
}

#[test]
fn sealing_twice_gives_different_bytes() {
    let rng = &mut TestRng::new(3);
    let public = SealingPrivateKey::generate(rng).public_key();
    let first = seal(&public, BINDING, b"seeds", rng).expect("seals");
    assert_ne!(first, seal(&public, BINDING, b"seeds", rng).expect("seals"));
}

#[test]
fn a_key_file_seed_always_gives_the_same_key_pair() {
    let public = SealingPrivateKey::from_seed(&[3; 32]).public_key();
    assert_eq!(public, SealingPrivateKey::from_seed(&[3; 32]).public_key());
    assert_ne!(public, SealingPrivateKey::from_seed(&[4; 32]).public_key());
    assert_eq!(public.digest().to_string(), "e41157bbf37e627a17666ccf4079b276c8ba695aecde199ac46d44e98077884d");
}

#[test]
fn public_keys_are_parsed_with_checks() {
    let public = SealingPrivateKey::from_seed(&[3; 32]).public_key();
    let bytes = public.to_bytes();
    assert_eq!(SealingPublicKey::parse(&bytes), Ok(public));
    assert_eq!(SealingPublicKey::parse(&bytes[1..]), Err(SharingError::BadPublicKey));
    let mut unreduced = bytes;
    unreduced[..3].fill(0xff); // two 12-bit coefficients of 4095, above the modulus 3329
    assert_eq!(SealingPublicKey::parse(&unreduced), Err(SharingError::BadPublicKey));
}

#[test]
fn sealed_messages_have_length_limits() {
    let short = SealedBox::parse(vec![0; ENCAPSULATION_BYTES + TAG_BYTES - 1]);
    assert!(matches!(short, Err(SharingError::SealedLength { .. })));
    assert!(matches!(SealedBox::parse(vec![0; SEALED_BYTES_MAX + 1]), Err(SharingError::SealedLength { .. })));
    let info = vec![0; INFO_BYTES_MAX + 1];
    let binding = SealBinding { info: &info, associated_data: b"" };
    let rng = &mut TestRng::new(4);
    let private = SealingPrivateKey::generate(rng);
    assert!(matches!(seal(&private.public_key(), binding, b"", rng), Err(SharingError::InfoLength { .. })));
}

#[test]
fn each_keyholder_gets_exactly_its_two_shares_of_every_dataset() {
    let rng = &mut TestRng::new(5);
    let mut commitments = Vec::new();
    for number in 1..=3 {
        let private = SealingPrivateKey::generate(rng);
        let header = header(number, 40, 3);
        let sent = package(header);
        let sealed = sent.seal(&private.public_key(), rng).expect("seals");
        let received = SeedPackage::open(header, &private, &sealed).expect("opens");
        assert_eq!(bytes_of(&received), bytes_of(&sent));
        for (dataset, ordinal) in received.datasets().iter().zip(40..) {
            let shares = dataset.0.each_ref().map(|seed| seed.share);
            assert_eq!(shares, shares_of(keyholder(number)));
            let context = header.dataset_context(ordinal);
            commitments.extend(dataset.0.iter().map(|seed| (ordinal, seed.share, seed.commitment(&context))));
        }
    }
    for ordinal in 40..43 {
        let of_share = |share: ShareIndex| {
            let mut held = commitments.iter().filter(|entry| entry.0 == ordinal && entry.1 == share);
            let first = held.next().expect("held once").2;
            assert_eq!(held.next().expect("held twice").2, first, "both holders open one commitment");
            first
        };
        let context = header(1, 40, 3).dataset_context(ordinal);
        let expected = secrets_of(&context).share_set_commitment(&context);
        assert_eq!(ShareSetCommitment::new(&ShareIndex::ALL.map(of_share)), expected);
    }
}

#[test]
fn a_seed_package_does_not_open_under_a_changed_header() {
    let rng = &mut TestRng::new(6);
    let private = SealingPrivateKey::generate(rng);
    let original = header(1, 0, 2);
    let sealed = package(original).seal(&private.public_key(), rng).expect("seals");
    let changed = [
        SeedPackageHeader { network: NetworkId { chain_id: 1, ..network() }, ..original },
        SeedPackageHeader { network: NetworkId { registry: Address([9; 20]), ..network() }, ..original },
        SeedPackageHeader { registrant: Address([9; 20]), ..original },
        SeedPackageHeader { batch_nonce: 8, ..original },
        SeedPackageHeader { panel: PanelDigest([9; 32]), ..original },
        SeedPackageHeader { version: 2, ..original },
        SeedPackageHeader { keyholder: keyholder(2), ..original },
        SeedPackageHeader { first_ordinal: 1, ..original },
        SeedPackageHeader { count: 1, ..original },
    ];
    for header in changed {
        assert_eq!(SeedPackage::open(header, &private, &sealed).err(), Some(SharingError::Open), "{header:?}");
    }
    assert!(SeedPackage::open(original, &private, &sealed).is_ok());
}

#[test]
fn a_seed_package_refuses_wrong_ranges_counts_and_shares() {
    for (first, count) in [(0, 0), (0, 1025), (4095, 2), (u32::MAX, 1)] {
        let refused = Some(SharingError::PackageRange { first, count });
        assert_eq!(header(1, first, count).check().err(), refused);
    }
    assert!(header(1, 3072, 1024).check().is_ok());
    let context = header(1, 0, 1).dataset_context(0);
    let seeds = DatasetSeeds::for_keyholder(&secrets_of(&context), keyholder(2));
    let misplaced = SeedPackage::try_new(header(1, 0, 1), vec![seeds.clone()]).err();
    assert_eq!(misplaced, Some(SharingError::NotAHolder { keyholder: keyholder(1), share: ShareIndex::ALL[0] }));
    let too_few = SeedPackage::try_new(header(2, 0, 2), vec![seeds]).err();
    assert_eq!(too_few, Some(SharingError::PackageCount { expected: 2, got: 1 }));
}

#[test]
fn a_sealed_payload_of_the_wrong_length_is_no_seed_package() {
    let rng = &mut TestRng::new(7);
    let private = SealingPrivateKey::generate(rng);
    let header = header(1, 0, 2);
    let associated_data = header.to_bytes();
    let binding = SealBinding { info: b"locus/sharing/seed-package/v1", associated_data: &associated_data };
    for got in [0, 128, 255, 257, 384] {
        let sealed = seal(&private.public_key(), binding, &vec![0; got], rng).expect("seals");
        let refused = Some(SharingError::PayloadLength { expected: 256, got });
        assert_eq!(SeedPackage::open(header, &private, &sealed).err(), refused);
    }
}

#[test]
fn both_holders_of_a_share_end_up_with_the_same_noise_key() {
    let rng = &mut TestRng::new(8);
    for share in ShareIndex::ALL {
        let agreement = NoiseKeyAgreement { network: network(), share, epoch: 1 };
        assert_eq!([agreement.generator(), agreement.recipient()], holders_of(share));
        let private = SealingPrivateKey::generate(rng);
        let key = NoiseKey::generate(rng);
        let sealed = agreement.seal(&key, &private.public_key(), rng).expect("seals");
        let received = agreement.open(&private, &sealed).expect("opens");
        assert!(received.is_same_as(&key));
        assert_eq!(agreement.confirmation(&received), agreement.confirmation(&key));
        assert_ne!(agreement.confirmation(&NoiseKey::generate(rng)), agreement.confirmation(&key));
        let later = NoiseKeyAgreement { epoch: 2, ..agreement };
        let elsewhere = NoiseKeyAgreement { network: NetworkId { chain_id: 1, ..network() }, ..agreement };
        let other_share = ShareIndex::ALL[share.position().wrapping_add(1) % 3];
        let of_other_share = NoiseKeyAgreement { share: other_share, ..agreement };
        for other in [later, elsewhere, of_other_share] {
            assert_eq!(other.open(&private, &sealed).err(), Some(SharingError::Open));
            assert_ne!(other.confirmation(&key), agreement.confirmation(&key));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_never_open_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 1100..1600)) {
        let private = SealingPrivateKey::from_seed(&[3; 32]);
        let _ = SealingPublicKey::parse(&bytes[..SEALING_PUBLIC_KEY_BYTES.min(bytes.len())]);
        if let Ok(sealed) = SealedBox::parse(bytes) {
            prop_assert_eq!(open(&private, BINDING, &sealed).err(), Some(SharingError::Open));
        }
    }
}
