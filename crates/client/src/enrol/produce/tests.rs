use super::*;
use crate::{
    enrol::{
        Contributor, EnrolInput,
        batch::{BatchIdentity, split},
    },
    progress::NoProgress,
    testing::{self, TestAccreditor, TestCohort},
};
use locus_commitment::{DatasetContext, DatasetId, PersonTag};
use locus_ledger::{leaves_hash, recover};
use locus_rlwe::{BlockKeys, check_share_values, verify_check_slots};
use locus_sharing::seal::SealedBox;
use locus_wire::convert::field;
use std::ops::Range;

fn messages(job: &UploadJob) -> (Vec<Part>, SignedBatch) {
    let mut parts = Vec::new();
    let signed = job
        .produce(
            &mut |message| {
                parts.extend(message.part);
                Ok(())
            },
            &NoProgress,
        )
        .expect("produced");
    (parts, signed)
}

fn bodies(parts: &[Part]) -> Vec<&pb::BodyChunk> {
    parts.iter().filter_map(|part| if let Part::Bodies(chunk) = part { Some(chunk) } else { None }).collect()
}

fn identity() -> BatchIdentity {
    testing::TestCohort::read(1, 1, true).job().batch.identity
}

#[test]
fn the_same_input_twice_gives_the_same_bytes() {
    let cohort = TestCohort::read(70, 4090, false);
    let runs = [cohort.job(), cohort.job()].map(|job| messages(&job));
    assert_eq!(runs[0].0.len(), runs[1].0.len());
    for (one, other) in runs[0].0.iter().zip(&runs[1].0) {
        // Sealing draws fresh randomness; everything else is the same.
        match (one, other) {
            (Part::Seeds(one), Part::Seeds(other)) => assert_eq!(one.dataset_count, other.dataset_count),
            (one, other) => assert_eq!(one, other),
        }
    }
    assert_eq!(runs[0].1.registration, runs[1].1.registration);
    assert_eq!(runs[0].1.leaves, runs[1].1.leaves);
}

#[test]
fn another_identity_or_genotype_changes_every_body_and_commitment() {
    let cohort = TestCohort::read(4, 50, false);
    let base = messages(&cohort.job());
    let identity = cohort.job().batch.identity;
    let mut changed = identity.clone();
    changed.version = 2;
    let mut elsewhere = identity.clone();
    elsewhere.network.chain_id = 1;
    let mut someone_else = identity.clone();
    someone_else.registrant = testing::account(33).address();
    let jobs = [changed, elsewhere, someone_else].map(|identity| cohort.job_of(identity, 0..4));
    // One person fewer makes another batch, whose datasets share nothing with the first.
    let smaller = cohort.job_of(identity, 0..3);
    for job in jobs.iter().chain([&smaller]) {
        let (parts, signed) = messages(job);
        assert_ne!(job.batch.batch_nonce, cohort.job().batch.batch_nonce);
        for (leaf, other) in signed.leaves.iter().zip(&base.1.leaves) {
            assert_ne!(leaf.dataset, other.dataset);
            assert_ne!(leaf.commitments.bodies, other.commitments.bodies);
            assert_ne!(leaf.commitments.shares, other.commitments.shares);
            assert_ne!(leaf.commitments.genotypes, other.commitments.genotypes);
        }
        let (one, other) = (&bodies(&parts)[0].bodies, &bodies(&base.0)[0].bodies);
        assert_ne!(one[..BODY_BYTES], other[..BODY_BYTES]);
    }
}

#[test]
fn messages_come_in_the_order_and_sizes_that_the_archive_takes() {
    let cohort = TestCohort::read(70, 4090, false);
    let (parts, _) = messages(&cohort.job());
    let Part::Header(header) = &parts[0] else { panic!("the header comes first") };
    assert_eq!((header.dataset_count, header.version), (70, 1));
    let places: Vec<_> = bodies(&parts)
        .iter()
        .map(|chunk| (chunk.block, chunk.plane, chunk.first_ordinal, chunk.bodies.len() / BODY_BYTES))
        .collect();
    let expected: Vec<_> = [(0, 0), (0, 1), (1, 0), (1, 1)]
        .into_iter()
        .flat_map(|(block, plane)| [(block, plane, 0, 64), (block, plane, 64, 6)])
        .collect();
    assert_eq!(places, expected);
    let kinds: Vec<u8> = parts
        .iter()
        .map(|part| match part {
            Part::Header(_) => 0,
            Part::Bodies(_) => 1,
            Part::Datasets(_) => 2,
            Part::Seeds(_) => 3,
            Part::Finish(_) => 4,
        })
        .collect();
    assert!(kinds.is_sorted() && kinds.iter().filter(|kind| **kind == 4).count() == 1);
    let columns = 4;
    let packages = 70u32.div_ceil(enrol_chunk_datasets_max(columns));
    assert_eq!(kinds.iter().filter(|kind| **kind == 3).count(), 3 * usize::try_from(packages).expect("few"));
    let uploaded: usize = parts
        .iter()
        .map(|part| prost::Message::encoded_len(&pb::UploadDatasetsRequest { part: Some(part.clone()) }))
        .max()
        .expect("messages");
    assert!(uploaded < 4 << 20);
}

/// What the archive and the keyholders check together.
#[test]
fn every_dataset_opens_against_its_commitments() {
    let cohort = TestCohort::read(66, 4090, false);
    let job = cohort.job();
    let (parts, signed) = messages(&job);
    let mut digests: Vec<Vec<BodyDigest>> = vec![Vec::new(); 66];
    let mut checks: Vec<Vec<[u64; 16]>> = vec![Vec::new(); 66];
    for chunk in bodies(&parts) {
        for (ordinal, body) in (usize::try_from(chunk.first_ordinal).expect("small")..).zip(chunk.bodies.as_chunks().0)
        {
            digests[ordinal].push(BodyDigest::of_body(body));
            let word = |slot: usize| u64::from_le_bytes(body[8 * slot..8 * slot + 8].try_into().expect("8 bytes"));
            checks[ordinal].push(std::array::from_fn(word));
        }
    }
    let Some(Part::Datasets(records)) = parts.iter().find(|part| matches!(part, Part::Datasets(_))) else {
        panic!("records are sent")
    };
    for (ordinal, (record, leaf)) in (0..).zip(records.datasets.iter().zip(&signed.leaves)) {
        assert_eq!(DatasetLeaf::try_from(record.leaf.as_ref().expect("a leaf")), Ok(*leaf));
        assert_eq!(leaf.dataset, DatasetId::derive(job.batch.identity.registrant, job.batch.batch_nonce, ordinal));
        let place = usize::try_from(ordinal).expect("small");
        assert_eq!(leaf.commitments.bodies, DatasetBodyDigest::of_bodies(&digests[place]));
        assert_eq!(leaf.person, PersonTag::of_accredited(&[42; 32], format!("P{ordinal}").as_bytes()));
    }
    check_seeds(&job, &parts, records, &checks);
}

fn check_seeds(job: &UploadJob, parts: &[Part], records: &pb::DatasetChunk, checks: &[Vec<[u64; 16]>]) {
    let columns = [(0, Plane::Calls), (0, Plane::Missing), (1, Plane::Calls), (1, Plane::Missing)];
    let private = testing::keyholder_sealing_keys();
    for message in parts.iter().filter_map(|part| if let Part::Seeds(seeds) = part { Some(seeds) } else { None }) {
        let keyholder =
            KeyholderIndex::try_new(field::keyholder("k", message.keyholder).expect("1 to 3")).expect("1 to 3");
        let header = job.package_header(keyholder, message.first_ordinal, message.dataset_count);
        let sealed = SealedBox::parse(message.sealed.to_vec()).expect("sealed");
        let package = SeedPackage::open(header, &private[keyholder.position()], &sealed).expect("opens");
        for (ordinal, seeds) in (message.first_ordinal..).zip(package.datasets()) {
            let place = usize::try_from(ordinal).expect("small");
            let context: DatasetContext = header.dataset_context(ordinal);
            for seed in &seeds.0 {
                let commitment = seed.commitment(&context).0.0;
                let start = 32 * seed.share.position();
                assert_eq!(commitment[..], records.datasets[place].share_commitments[start..start + 32]);
            }
            // The three shares decrypt the check slots of every body to nothing but noise.
            for ((block, plane), check) in columns.iter().zip(&checks[place]) {
                let values = locus_sharing::ShareIndex::ALL.map(|share| {
                    let seed = job.batch.datasets[place].keys.secrets().seeds.of(share);
                    let bits = BlockKeys::new(&context, share, seed).expand(PanelBlockIndex(*block), *plane);
                    check_share_values(Mask::v1(), &bits)
                });
                assert_eq!(verify_check_slots(check, &values), Ok(()));
            }
        }
    }
}

#[test]
fn registration_and_accreditation_are_signed_by_their_accounts() {
    let job = TestCohort::read(3, 10, true).job();
    let (parts, signed) = messages(&job);
    let contracts = testing::network_info().contracts;
    let hash = contracts.registration_signing_hash(&signed.registration);
    assert_eq!(recover(&hash, &signed.registrant_signature), Ok(testing::account(31).address()));
    let digest = contracts.registration_digest(&signed.registration);
    let accreditation = contracts.accreditation_signing_hash(&digest);
    assert_eq!(recover(&accreditation, &signed.accreditor_signature), Ok(TestAccreditor.address()));
    assert_eq!(signed.registration.leaves_hash, leaves_hash(&signed.leaves));
    let Some(Part::Finish(finish)) = parts.last() else { panic!("finish comes last") };
    assert_eq!(finish.registrant_signature, signed.registrant_signature);
}

#[test]
fn a_person_enrols_one_genome_under_the_tag_of_the_account() {
    let cohort = TestCohort::read(7, 10, true);
    let mut alone = identity();
    alone.accreditor = None;
    let job = cohort.job_of(alone, 6..7);
    let (parts, signed) = messages(&job);
    assert_eq!(signed.leaves.len(), 1);
    assert_eq!(signed.leaves[0].person, PersonTag::of_registrant(testing::account(31).address()));
    assert!(signed.accreditor_signature.is_empty());
    assert_eq!(bodies(&parts)[0].bodies.len(), BODY_BYTES);
    assert_eq!(job.batch.datasets[0].sample, "P6");
    // The same person as part of a cohort file and alone is the same genome, but not the same keys.
    let whole = messages(&cohort.job());
    assert_ne!(whole.1.leaves[6].commitments, signed.leaves[0].commitments);
}

#[test]
fn a_stopped_receiver_ends_the_pass() {
    let job = TestCohort::read(3, 10, true).job();
    let mut taken = 0;
    let stopped = job.produce(
        &mut |_| {
            taken += 1;
            if taken > 1 { Err(EnrolError::Stopped) } else { Ok(()) }
        },
        &NoProgress,
    );
    assert!(matches!(stopped, Err(EnrolError::Stopped)) && taken == 2);
}

#[test]
fn what_cannot_be_enrolled_is_refused_by_name() {
    let cohort = TestCohort::read(5, 10, false);
    let biobank = Contributor::Biobank { accreditor: Arc::new(TestAccreditor) };
    let refused =
        |input: &EnrolInput, contributor: &Contributor| split(input, contributor).err().map(|error| error.to_string());
    let ranges: Vec<Range<u32>> = split(&cohort.input, &biobank).expect("a biobank");
    assert_eq!(ranges, [Range { start: 0, end: 5 }]);
    let mut twice = cohort.input.clone();
    twice.samples[3] = "P1".into();
    assert!(refused(&twice, &biobank).is_some_and(|text| text.contains("P1 occurs twice")));
    assert_eq!(refused(&twice, &Contributor::Person { individual: 1 }), None);
    let nobody = Contributor::Person { individual: 5 };
    assert!(refused(&cohort.input, &nobody).is_some_and(|text| text.contains("it has 5")));
    let mut unnamed = cohort.input.clone();
    unnamed.samples.pop();
    assert!(refused(&unnamed, &biobank).is_some_and(|text| text.contains("names 4 individuals")));
    let mut other = cohort.input.clone();
    other.panel = Arc::new(testing::panel(11, false));
    assert!(refused(&other, &biobank).is_some_and(|text| text.contains("not aligned")));
}

#[test]
fn missing_calls_are_never_encrypted_as_reference() {
    let cohort = TestCohort::read(5, 200, false);
    let mut claimed = cohort.input.clone();
    claimed.panel = Arc::new(testing::panel(200, true));
    let master = locus_sharing::MasterSecret::from_bytes([1; 32]);
    let prepared = PreparedBatch::prepare(identity(), &master, &claimed, 0..5, Some(&TestAccreditor), &NoProgress);
    assert!(matches!(prepared, Err(EnrolError::MissingCalls { sample }) if sample == "P0"));
}
