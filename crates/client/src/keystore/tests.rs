use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn create(root: &tempfile::TempDir, new: NewKeys) -> Keystore {
    Keystore::create(&root.path().join("keys"), new, 1_700_000_000).expect("created")
}

fn root() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn keys_read_back_as_they_were_made() {
    let root = root();
    let made = create(&root, NewKeys { accreditor: true });
    let read = Keystore::open(made.folder()).expect("opened");
    assert_eq!(read.metadata(), made.metadata());
    assert_eq!(read.address(), made.address());
    assert_eq!(read.sealing_key_digest(), made.sealing_key_digest());
    assert!(read.master().is_same_as(made.master()));
    let tags = [&made, &read].map(|keys| keys.accreditor().expect("an accreditor").person_tag("HG00096"));
    assert_eq!(tags[0], tags[1]);
}

#[test]
fn two_keystores_share_nothing() {
    let (one, other) = (root(), root());
    let keys = [&one, &other].map(|root| create(root, NewKeys { accreditor: true }));
    assert_ne!(keys[0].address(), keys[1].address());
    assert_ne!(keys[0].sealing_key_digest(), keys[1].sealing_key_digest());
    assert!(!keys[0].master().is_same_as(keys[1].master()));
    let tags = [0, 1].map(|which: usize| keys[which].accreditor().expect("an accreditor").person_tag("HG00096"));
    assert_ne!(tags[0], tags[1]);
}

#[test]
fn every_file_is_closed_to_others_and_the_metadata_hold_no_secret() {
    let root = root();
    let keys = create(&root, NewKeys { accreditor: true });
    assert_eq!(fs::metadata(keys.folder()).expect("there").permissions().mode() & 0o777, 0o700);
    let metadata = fs::read_to_string(keys.folder().join(METADATA_FILE)).expect("read");
    let mut secret_files = 0;
    for entry in fs::read_dir(keys.folder()).expect("listed") {
        let path = entry.expect("an entry").path();
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600, "{}", path.display());
        if !path.ends_with(METADATA_FILE) {
            let secret = fs::read_to_string(&path).expect("read");
            assert!(!metadata.contains(secret.trim()), "{}", path.display());
            secret_files += 1;
        }
    }
    assert_eq!(secret_files, 5);
    assert_eq!(fs::read_dir(root.path()).expect("listed").count(), 1, "no staging folder is left");
}

#[test]
fn an_exposed_key_file_or_folder_is_refused() {
    let root = root();
    let keys = create(&root, NewKeys::default());
    for (file, mode) in [(ACCOUNT_FILE, 0o640), (MASTER_FILE, 0o604), (SEALING_FILE, 0o644)] {
        let path = keys.folder().join(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
        assert!(matches!(Keystore::open(keys.folder()), Err(KeystoreError::File(FileError::Exposed { .. }))), "{file}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
    }
    fs::set_permissions(keys.folder(), fs::Permissions::from_mode(0o755)).expect("changed");
    assert!(matches!(Keystore::open(keys.folder()), Err(KeystoreError::File(FileError::Exposed { .. }))));
    fs::set_permissions(keys.folder(), fs::Permissions::from_mode(0o700)).expect("changed");
    assert!(Keystore::open(keys.folder()).is_ok());
}

#[test]
fn keys_are_never_written_over() {
    let root = root();
    let keys = create(&root, NewKeys::default());
    let again = Keystore::create(keys.folder(), NewKeys::default(), 0);
    assert!(matches!(again, Err(KeystoreError::Exists { .. })));
    let occupied = root.path().join("occupied");
    fs::create_dir(&occupied).expect("made");
    fs::write(occupied.join("file"), b"mine").expect("written");
    assert!(matches!(Keystore::create(&occupied, NewKeys::default(), 0), Err(KeystoreError::File(_))));
    assert_eq!(fs::read(occupied.join("file")).expect("read"), b"mine");
    assert_eq!(fs::read_dir(root.path()).expect("listed").count(), 2, "no staging folder is left");
}

#[test]
fn keys_of_different_keystores_are_not_mixed() {
    let (one, other) = (root(), root());
    let keys = [&one, &other].map(|root| create(root, NewKeys { accreditor: true }));
    for file in [ACCOUNT_FILE, SEALING_FILE, ACCREDITOR_FILE] {
        let path = keys[0].folder().join(file);
        let own = fs::read(&path).expect("read");
        fs::write(&path, fs::read(keys[1].folder().join(file)).expect("read")).expect("written");
        let refused = Keystore::open(keys[0].folder()).err();
        assert!(matches!(refused, Some(KeystoreError::Mismatch { file: named }) if named == file), "{file}");
        fs::write(&path, own).expect("written");
    }
}

#[test]
fn damaged_files_are_refused_with_their_name() {
    let root = root();
    let keys = create(&root, NewKeys::default());
    let path = keys.folder().join(MASTER_FILE);
    let own = fs::read(&path).expect("read");
    for damaged in [&b""[..], b"xyz\n", &own[..62], &[own.as_slice(), b"00"].concat()] {
        fs::write(&path, damaged).expect("written");
        let error = Keystore::open(keys.folder()).err().expect("refused");
        assert!(error.to_string().contains(MASTER_FILE), "{error}");
    }
    fs::write(&path, own).expect("written");
    fs::write(keys.folder().join(METADATA_FILE), b"{\"format\":2}").expect("written");
    assert!(matches!(Keystore::open(keys.folder()), Err(KeystoreError::Metadata { .. })));
    assert!(matches!(Keystore::open(root.path()), Err(KeystoreError::Missing { .. })));
}

#[test]
fn only_accreditor_keys_vouch() {
    let keys = create(&root(), NewKeys::default());
    assert!(matches!(keys.accreditor(), Err(KeystoreError::NotAnAccreditor)));
}
