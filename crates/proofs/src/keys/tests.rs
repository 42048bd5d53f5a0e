use super::*;
use crate::{
    groth16::{Circuit as _, tests::FifthPower},
    testing::{key_of, system_rng},
};
use std::cell::Cell;

fn store() -> (tempfile::TempDir, KeyStore, Shape) {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::new(folder.path().join("keys"));
    (folder, store, Shape::of(&FifthPower::new(3, 7)))
}

#[test]
fn a_development_key_is_made_once_and_proves_after_loading() {
    let (_folder, store, shape) = store();
    let stages = Cell::new(0);
    let made = store.development_key(&shape, |_| stages.set(stages.get() + 1)).unwrap();
    assert_eq!(stages.get(), 2);
    let found = store.development_key(&shape, |_| stages.set(stages.get() + 1)).unwrap();
    assert_eq!((stages.get(), &found), (2, &made), "the second time it is read");
    assert_eq!(found.verifying_key, key_of(&shape).verifying_key);
    let proving = store.proving_key(&found).unwrap();
    let circuit = FifthPower::new(5, 1);
    let proof = proving.prove(&circuit, &mut system_rng()).unwrap();
    assert!(made.verifying_key.verify(&circuit.public_inputs(), &proof));
}

#[test]
fn a_key_that_several_make_at_once_is_whole() {
    let (folder, store, shape) = store();
    let make = || store.development_key(&shape, |_| ()).unwrap().id();
    let ids = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect::<Vec<_>>()
    });
    let kept = store.circuit_key(&shape.name, Some(ids[0])).unwrap();
    assert!(ids.iter().all(|id| *id == kept.id()));
    store.proving_key(&kept).unwrap();
    let files = std::fs::read_dir(folder.path().join("keys")).unwrap();
    assert_eq!(files.count(), 2, "nothing but the two halves of the key is left");
}

#[test]
fn a_development_key_is_flagged_and_refused_for_production() {
    let (_folder, store, shape) = store();
    let development = store.development_key(&shape, |_| ()).unwrap();
    assert!(matches!(development.for_production(), Err(ProofsError::DevelopmentKey(_))));
    let ceremony = ProvingKey::setup(&shape, &ToxicWaste::generate(&mut system_rng())).unwrap();
    let ceremony = store.store("ceremony", KeyOrigin::Ceremony, &ceremony).unwrap();
    assert!(ceremony.for_production().is_ok());
    let relabelled = CircuitKey { origin: KeyOrigin::Ceremony, ..development.clone() };
    assert_ne!(relabelled.id(), development.id(), "the flag is part of the key's name");
}

#[test]
fn a_key_is_loaded_only_under_its_name_and_id() {
    let (_folder, store, shape) = store();
    let key = store.development_key(&shape, |_| ()).unwrap();
    assert_eq!(store.circuit_key("fifth-power", Some(key.id())).unwrap(), key);
    let other = KeyId(Digest32([7; 32]));
    assert!(matches!(store.circuit_key("fifth-power", Some(other)), Err(ProofsError::KeyMismatch { .. })));
    assert!(matches!(store.circuit_key("absent", None), Err(ProofsError::Io { .. })));
    fs::rename(store.path("fifth-power", "vk"), store.path("renamed", "vk")).unwrap();
    assert!(matches!(store.circuit_key("renamed", None), Err(ProofsError::KeyMismatch { .. })));
    assert!(store.store("../escape", KeyOrigin::Development, &key_of(&shape)).is_err());
}

#[test]
fn a_flipped_byte_anywhere_in_either_file_is_noticed() {
    let (_folder, store, shape) = store();
    let key = store.development_key(&shape, |_| ()).unwrap();
    let path = store.path("fifth-power", "pk");
    let good = fs::read(&path).unwrap();
    for place in (0..good.len()).step_by(97).chain([good.len() - 1]) {
        let mut bad = good.clone();
        bad[place] ^= 4;
        fs::write(&path, &bad).unwrap();
        assert!(matches!(store.proving_key(&key), Err(ProofsError::KeyMismatch { .. })), "byte {place}");
    }
    let bytes = key.to_bytes();
    assert_eq!(CircuitKey::parse(&bytes).unwrap(), key);
    for place in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[place] ^= 1;
        assert!(CircuitKey::parse(&bad).map_or(true, |parsed| parsed.id() != key.id()), "byte {place}");
        assert!(CircuitKey::parse(&bytes[..place]).is_err(), "cut at {place}");
    }
}

#[test]
fn a_key_of_another_circuit_refuses_to_prove() {
    let shape = Shape::of(&FifthPower::new(3, 7));
    let other = crate::encryption::encryption_shape(crate::encryption::EncryptionShape::try_new(32).unwrap());
    let wrong = ProvingKey::setup(&other, &ToxicWaste::development("other")).unwrap();
    let refused = wrong.prove(&FifthPower::new(3, 7), &mut system_rng());
    assert!(matches!(refused, Err(ProofsError::WrongKey)));
    assert_eq!(shape.public_inputs, 2);
}
