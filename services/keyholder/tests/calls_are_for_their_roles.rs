//! Who may call a keyholder: every wrong certificate against every call, with the right one and no TLS at all
//! as controls.

use locus_keyholder::{ACCESS, KeyholderDeps, KeyholderHandle, KeyholderKeys, prepare};
use locus_ledger::{
    Chain, ChainConfig, CommitteeMember, Contracts, DeploymentConfig, EmbeddedChain, SystemClock, deploy,
};
use locus_privacy::NetworkParameterValues;
use locus_service::{
    Authority, Clock, Connector, Front, FrontConfig, IssuedFiles, Listen, Metrics, RateConfig, Role, Tls, TlsConfig,
    connect, public_connector, reason_of,
};
use locus_sharing::KeyholderIndex;
use locus_wire::pb::keyholder::{
    AdmitAttributesRequest, AttestDatasetsRequest, AttestRekeyingRequest, CheckAttributesRequest, CheckDatasetsRequest,
    CommitAnswerRequest, EraseSeedsRequest, EvaluateAnswerRequest, GetKeyholderRequest, GetStatementRequest,
    ImportPayoutsRequest, OpenRekeyingRequest, PrepareAnswerRequest, ReceiveRekeyingRequest, ReleaseAnswerRequest,
    SendRekeyingRequest, ShareNoiseKeyRequest, ShareRekeyingRequest, VerifyAttributesRequest,
    keyholder_service_client::KeyholderServiceClient,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tonic::{Code, Status};

const DOMAIN: &str = "market.test";
const DAY_S: u64 = 86_400;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn hosts() -> Vec<String> {
    vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
}

fn config(files: &IssuedFiles, authority: &Path) -> TlsConfig {
    TlsConfig {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        authority: authority.to_owned(),
        trust_domain: DOMAIN.to_owned(),
    }
}

struct Scene {
    keyholder: KeyholderHandle,
    url: String,
    /// Certificates of the market.
    authority: Authority,
    authority_file: PathBuf,
    _dir: tempfile::TempDir,
}

/// Keyholder 2 of a market, over TLS or without.
async fn scene(with_tls: bool, rates: RateConfig) -> Scene {
    let dir = tempfile::tempdir().expect("a folder");
    let chain = EmbeddedChain::in_memory(&ChainConfig::new(31_337), Arc::new(SystemClock));
    let folder = |index: KeyholderIndex| dir.path().join(format!("keyholder-{index}"));
    let keys = KeyholderIndex::ALL.map(|index| KeyholderKeys::load_or_create(&folder(index)).expect("keys"));
    let contracts = deployed(&chain, &keys).await;
    let index = KeyholderIndex::try_new(2).expect("an index");
    let [_, own, _] = keys;
    let deps = KeyholderDeps {
        index,
        keys: own,
        data_dir: folder(index),
        kek: None,
        proof_keys_dir: None,
        chain: Chain::embedded(chain, None),
        contracts,
        objects: None,
        clock: Clock::system(),
    };
    let authority = Authority::create(&dir.path().join("tls"), DOMAIN, now()).expect("an authority");
    let files = authority.issue(Role::Keyholder(2), &hosts(), 1, now()).expect("issued");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let front = FrontConfig { tls: Some(config(&files, &files.authority)), allow_plaintext: false, rates };
    let front = front.open(Role::Keyholder(2), listen, Metrics::new("keyholder")).expect("it opens");
    let front = if with_tls { front } else { Front::local(false) };
    let prepared = prepare(deps).await.expect("prepared");
    let keyholder = prepared.serve_on(Listen::Tcp(listen), BTreeMap::new, &front).await.expect("it serves");
    let url = keyholder.connector().to_string();
    Scene { keyholder, url, authority, authority_file: files.authority, _dir: dir }
}

async fn deployed(chain: &EmbeddedChain, keys: &[KeyholderKeys; 3]) -> Contracts {
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    let operator = locus_ledger::AccountKey::generate(&mut rng);
    let member = |keys: &KeyholderKeys| CommitteeMember {
        signer: keys.signer.address(),
        hpke_public_key: keys.sealing.public_key().to_bytes().to_vec(),
    };
    let config = DeploymentConfig {
        parameters: NetworkParameterValues { test_network: true, ..NetworkParameterValues::default() },
        committee: keys.each_ref().map(member),
        accreditors: vec![],
        researchers: vec![],
        token: None,
    };
    deploy(&Chain::embedded(chain.clone(), Some(&operator)), &config).await.expect("deployed")
}

impl Scene {
    /// A service with a certificate of the market.
    fn service(&self, role: Role) -> Connector {
        let files = self.authority.issue(role, &hosts(), 1, now()).expect("issued");
        let tls = Tls::load(&config(&files, &self.authority_file), role).expect("it loads");
        tls.connector(&self.url, Role::Keyholder(2))
    }

    /// Somebody who trusts the market and has no certificate.
    fn public(&self) -> Connector {
        public_connector(&self.url, Some(&self.authority_file)).expect("an authority")
    }
}

/// Makes every call of the service once, with messages that no handler accepts; what comes back, by name.
async fn outcomes(connector: &Connector) -> Vec<(&'static str, Result<(), Status>)> {
    let client = KeyholderServiceClient::new(connect(connector).await.expect("connected"));
    let mut outcomes = Vec::new();
    macro_rules! call {
        ($name:literal, $method:ident, $message:expr) => {
            outcomes.push(($name, client.clone().$method($message).await.map(drop)))
        };
    }
    call!("GetKeyholder", get_keyholder, GetKeyholderRequest {});
    call!("CheckDatasets", check_datasets, tokio_stream::iter([CheckDatasetsRequest::default()]));
    call!("AttestDatasets", attest_datasets, tokio_stream::iter([AttestDatasetsRequest::default()]));
    call!("ShareNoiseKey", share_noise_key, ShareNoiseKeyRequest { from_keyholder: 1, ..Default::default() });
    call!("PrepareAnswer", prepare_answer, PrepareAnswerRequest::default());
    call!("CommitAnswer", commit_answer, CommitAnswerRequest::default());
    call!("EvaluateAnswer", evaluate_answer, tokio_stream::iter([EvaluateAnswerRequest::default()]));
    call!("ReleaseAnswer", release_answer, ReleaseAnswerRequest::default());
    call!("ImportPayouts", import_payouts, tokio_stream::iter([ImportPayoutsRequest::default()]));
    call!("CheckAttributes", check_attributes, tokio_stream::iter([CheckAttributesRequest::default()]));
    call!("VerifyAttributes", verify_attributes, VerifyAttributesRequest::default());
    call!("AdmitAttributes", admit_attributes, AdmitAttributesRequest::default());
    call!("OpenRekeying", open_rekeying, OpenRekeyingRequest::default());
    call!("ShareRekeying", share_rekeying, ShareRekeyingRequest::default());
    call!("SendRekeying", send_rekeying, SendRekeyingRequest::default());
    call!("ReceiveRekeying", receive_rekeying, tokio_stream::iter([ReceiveRekeyingRequest::default()]));
    call!("AttestRekeying", attest_rekeying, AttestRekeyingRequest::default());
    call!("EraseSeeds", erase_seeds, EraseSeedsRequest::default());
    call!("GetStatement", get_statement, GetStatementRequest::default());
    assert_eq!(outcomes.len(), ACCESS.methods.len(), "every call is tried");
    outcomes
}

/// Calls that the guard lets through, by name.
fn admitted(outcomes: &[(&'static str, Result<(), Status>)]) -> Vec<&'static str> {
    let refused = |status: &Status| {
        matches!(reason_of(status).as_deref(), Some("OTHER_ROLE" | "CERTIFICATE_NEEDED" | "UNKNOWN_CALL"))
    };
    for (name, outcome) in outcomes {
        if let Err(status) = outcome
            && refused(status)
        {
            assert_eq!(status.code(), Code::PermissionDenied, "{name}");
        }
    }
    let passed = outcomes.iter().filter(|(_, outcome)| !outcome.as_ref().is_err_and(refused));
    passed.map(|(name, _)| *name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_makes_its_own_calls_and_no_others() {
    let scene = scene(true, RateConfig::default()).await;
    let open = ["GetKeyholder", "GetStatement"];
    assert_eq!(admitted(&outcomes(&scene.public()).await), open);
    let archive = outcomes(&scene.service(Role::Archive)).await;
    let (enrolment, attributes) =
        (["CheckDatasets", "AttestDatasets"], ["CheckAttributes", "VerifyAttributes", "AdmitAttributes"]);
    let rekeying = ["OpenRekeying", "ShareRekeying", "SendRekeying", "ReceiveRekeying", "AttestRekeying"];
    let ends = ["EraseSeeds", "GetStatement"];
    let of_archive = [&["GetKeyholder"], &enrolment[..], &attributes[..], &rekeying[..], &ends[..]].concat();
    assert_eq!(admitted(&archive), of_archive);
    let aggregator = outcomes(&scene.service(Role::Aggregator)).await;
    assert_eq!(
        admitted(&aggregator),
        [
            "GetKeyholder",
            "PrepareAnswer",
            "CommitAnswer",
            "EvaluateAnswer",
            "ReleaseAnswer",
            "ImportPayouts",
            "GetStatement"
        ]
    );
    let peer = outcomes(&scene.service(Role::Keyholder(1))).await;
    assert_eq!(admitted(&peer), ["GetKeyholder", "ShareNoiseKey", "GetStatement"]);
    assert_eq!(admitted(&outcomes(&scene.service(Role::Exchange)).await), open);
    // A keyholder speaks for itself alone.
    let third = outcomes(&scene.service(Role::Keyholder(3))).await;
    assert_eq!(admitted(&third), open);
    scene.keyholder.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_every_call_reaches_its_handler() {
    let scene = scene(false, RateConfig::default()).await;
    let all: Vec<&str> = ACCESS.methods.iter().map(|(name, _)| *name).collect();
    assert_eq!(admitted(&outcomes(&Connector::Url(scene.url.clone())).await), all);
    scene.keyholder.shutdown().await;
}

/// Whether a first call gets any answer from the service.
async fn is_answered(connector: &Connector) -> bool {
    let Ok(channel) = connect(connector).await else { return false };
    KeyholderServiceClient::new(channel).get_keyholder(GetKeyholderRequest {}).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_expired_foreign_or_somebody_elses_open_no_connection() {
    let scene = scene(true, RateConfig::default()).await;
    assert!(is_answered(&scene.service(Role::Aggregator)).await, "the control");

    let long_ago = now() - 10 * DAY_S;
    let expired = scene.authority.issue(Role::Aggregator, &hosts(), 1, long_ago).expect("issued");
    let expired = Tls::load(&config(&expired, &scene.authority_file), Role::Aggregator).expect("it loads");
    assert!(!is_answered(&expired.connector(&scene.url, Role::Keyholder(2))).await, "expired");

    let other_dir = tempfile::tempdir().expect("a folder");
    let other = Authority::create(other_dir.path(), DOMAIN, now()).expect("an authority");
    let foreign = other.issue(Role::Aggregator, &hosts(), 1, now()).expect("issued");
    let foreign = Tls::load(&config(&foreign, &scene.authority_file), Role::Aggregator).expect("it loads");
    assert!(!is_answered(&foreign.connector(&scene.url, Role::Keyholder(2))).await, "another authority");

    // The caller too refuses: a server of another role, and one that its authorities do not know.
    let files = scene.authority.issue(Role::Archive, &hosts(), 1, now()).expect("issued");
    let tls = Tls::load(&config(&files, &scene.authority_file), Role::Archive).expect("it loads");
    assert!(!is_answered(&tls.connector(&scene.url, Role::Keyholder(1))).await, "keyholder 2 is not keyholder 1");
    let stranger = public_connector(&scene.url, Some(&foreign_authority(&other_dir))).expect("an authority");
    assert!(!is_answered(&stranger).await, "an unknown authority");
    // Plain HTTP does not get through to a TLS port.
    let plain = scene.url.replace("https://", "http://");
    assert!(!is_answered(&Connector::Url(plain)).await, "no TLS");
    scene.keyholder.shutdown().await;
}

fn foreign_authority(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("ca.pem")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_loads_only_its_own_certificate_and_a_closed_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::create(dir.path(), DOMAIN, now()).expect("an authority");
    let files = authority.issue(Role::Aggregator, &hosts(), 1, now()).expect("issued");
    let good = config(&files, &files.authority);
    Tls::load(&good, Role::Aggregator).expect("its own");
    let refused = |config: &TlsConfig, role| Tls::load(config, role).expect_err("refused").to_string();
    assert!(refused(&good, Role::Archive).contains("spiffe://market.test/archive"));
    let other_domain = TlsConfig { trust_domain: "other.test".to_owned(), ..good.clone() };
    assert!(refused(&other_domain, Role::Aggregator).contains("spiffe://other.test/aggregator"));
    let swapped = authority.issue(Role::Archive, &hosts(), 1, now()).expect("issued");
    let other_key = TlsConfig { key: swapped.key, ..good.clone() };
    assert!(refused(&other_key, Role::Aggregator).contains("cannot be used"));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&good.key, open).expect("opened");
    assert!(refused(&good, Role::Aggregator).contains("chmod 600"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_is_held_back_with_advice_and_services_are_not() {
    let scene = scene(true, RateConfig { calls_per_s_max: 1, burst_max: 5 }).await;
    let mut client = KeyholderServiceClient::new(connect(&scene.public()).await.expect("connected"));
    let mut held_back = None;
    for _ in 0..8 {
        held_back = client.get_keyholder(GetKeyholderRequest {}).await.err().or(held_back);
    }
    let status = held_back.expect("eight calls at once are too many");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason_of(&status).as_deref(), Some("RATE_LIMITED"));
    let details = tonic_types::StatusExt::get_error_details(&status);
    let advice = details.retry_info().and_then(|info| info.retry_delay).expect("advice");
    assert!(advice <= std::time::Duration::from_secs(1), "{advice:?}");

    let channel = connect(&scene.service(Role::Archive)).await.expect("connected");
    let mut service = KeyholderServiceClient::new(channel);
    for _ in 0..8 {
        service.get_keyholder(GetKeyholderRequest {}).await.expect("services are not limited");
    }
    scene.keyholder.shutdown().await;
}
