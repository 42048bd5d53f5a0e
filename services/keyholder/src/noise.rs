//! Agreement on noise keys: the first holder of a share generates its key and sends it, sealed and
//! signed, to the second.

use crate::{
    error::KeyholderError,
    keyholder::{Keyholder, system_rng},
};
use locus_cohort::NOISE_EPOCH;
use locus_service::{Connector, connect};
use locus_sharing::{
    KeyholderIndex, NoiseKey, NoiseKeyAgreement, ShareIndex,
    seal::{SealedBox, SealingPublicKey},
    shares_of,
};
use locus_wire::{
    pb::keyholder::{ShareNoiseKeyRequest, keyholder_service_client::KeyholderServiceClient},
    relay,
};
use std::{collections::BTreeMap, time::Duration};

/// Pause between attempts to reach a peer.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

impl Keyholder {
    /// Sends every noise key that this keyholder generates to its other holder, until each has
    /// confirmed.
    pub(crate) async fn share_noise_keys(self, peers: BTreeMap<KeyholderIndex, Connector>) {
        let mut open: Vec<NoiseKeyAgreement> = shares_of(self.index())
            .into_iter()
            .map(|share| self.agreement(share))
            .filter(|agreement| agreement.generator() == self.index())
            .collect();
        while !open.is_empty() {
            let mut unconfirmed = Vec::new();
            for agreement in open {
                if let Err(error) = self.send_noise_key(&agreement, &peers).await {
                    tracing::debug!(share = agreement.share.get(), %error, "noise key not delivered yet");
                    unconfirmed.push(agreement);
                }
            }
            open = unconfirmed;
            if !open.is_empty() {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    fn agreement(&self, share: ShareIndex) -> NoiseKeyAgreement {
        NoiseKeyAgreement { network: self.network(), share, epoch: NOISE_EPOCH }
    }

    async fn send_noise_key(
        &self,
        agreement: &NoiseKeyAgreement,
        peers: &BTreeMap<KeyholderIndex, Connector>,
    ) -> Result<(), KeyholderError> {
        self.poll_chain().await?;
        if self.store().noise_key(agreement.share.get())?.is_none() {
            let key = NoiseKey::generate(&mut system_rng());
            self.store().put_noise_key(agreement.share.get(), key.as_bytes())?;
        }
        let key = self.noise_key(agreement.share)?;
        let recipient = agreement.recipient();
        let missing = KeyholderError::Committee(u32::from(recipient.get()));
        let public_key = self.view().keyholder(recipient.get()).map(|member| member.hpke_public_key.clone());
        let public_key = SealingPublicKey::parse(&public_key.ok_or(missing)?)?;
        let sealed = agreement.seal(&key, &public_key, &mut system_rng())?;
        let mut request = ShareNoiseKeyRequest {
            from_keyholder: u32::from(self.index().get()),
            share: u32::from(agreement.share.get()),
            epoch: agreement.epoch,
            sealed: sealed.into_bytes().into(),
            signature: Default::default(),
        };
        request.signature = self.sign(&relay::noise_key_digest(&self.network(), &request))?;
        let unreachable = |error: String| KeyholderError::Chain(format!("keyholder {recipient}: {error}"));
        let peer = peers.get(&recipient).ok_or_else(|| unreachable("no address configured".into()))?;
        let channel = connect(peer).await.map_err(|error| unreachable(error.to_string()))?;
        let mut client = KeyholderServiceClient::new(channel);
        client.share_noise_key(request).await.map_err(|status| unreachable(status.message().to_owned()))?;
        Ok(())
    }

    /// Takes a noise key from the keyholder that generates it. A key that is there already stays.
    pub(crate) async fn receive_noise_key(&self, request: &ShareNoiseKeyRequest) -> Result<(), KeyholderError> {
        self.poll_chain().await?;
        let digest = relay::noise_key_digest(&self.network(), request);
        let from = self.verify_peer(request.from_keyholder, &digest, &request.signature).await?;
        let share = u8::try_from(request.share).unwrap_or(0);
        let share = ShareIndex::try_new(share)?;
        let agreement = self.agreement(share);
        let roles_fit = agreement.generator() == from && agreement.recipient() == self.index();
        if !roles_fit || request.epoch != agreement.epoch {
            return Err(KeyholderError::Malformed("this noise key is not exchanged between these keyholders".into()));
        }
        let key = agreement.open(self.sealing_key(), &SealedBox::parse(request.sealed.to_vec())?)?;
        self.store().put_noise_key(share.get(), key.as_bytes())?;
        if !self.noise_key(share)?.is_same_as(&key) {
            return Err(KeyholderError::Disagreement(format!(
                "the noise key of share {share} is not the one agreed before: restore the sender's storage"
            )));
        }
        Ok(())
    }
}
