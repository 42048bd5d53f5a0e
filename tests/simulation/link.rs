//! Connections between parties that break wherever the seed says.

use crate::random::Random;
use anyhow::{Result, bail};
use locus_service::Connector;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex, split},
    sync::mpsc::{self, Sender},
};
use tokio_util::sync::CancellationToken;

/// Buffer of a connection, in bytes.
const DUPLEX_BYTES: usize = 1 << 16;
/// Longest that a chunk waits in bad weather.
const DELAY_MAX_US: u64 = 2_000;
/// A connection that breaks does so within this many bytes.
const FUSE_BYTES_LOG2_MAX: u64 = 17;

/// How connections fare that are opened from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// They hold.
    Calm,
    /// Of a thousand so many break, in either direction after any number of bytes, and all are slow.
    Rough(u64),
}

#[derive(Debug)]
struct State {
    /// Where connections lead; nowhere while the service is down.
    target: Option<Sender<DuplexStream>>,
    weather: Weather,
    random: Random,
    /// Ends all connections that are open.
    cut: CancellationToken,
}

/// One party's way to another.
#[derive(Debug)]
pub(crate) struct Link {
    connector: Connector,
    state: Arc<Mutex<State>>,
}

impl Link {
    /// A way that leads nowhere yet. Must be made where a runtime runs.
    pub(crate) fn new(random: Random) -> Self {
        let state = State { target: None, weather: Weather::Calm, random, cut: CancellationToken::new() };
        let state = Arc::new(Mutex::new(state));
        let (sender, mut opened) = mpsc::channel(64);
        let shared = state.clone();
        tokio::spawn(async move {
            while let Some(client) = opened.recv().await {
                let (target, journey) = Journey::of(&shared);
                let Some(target) = target else { continue };
                let (near, far) = duplex(DUPLEX_BYTES);
                if target.send(far).await.is_ok() {
                    tokio::spawn(journey.carry(client, near));
                }
            }
        });
        Self { connector: Connector::InProcess(sender), state }
    }

    /// What the party that calls is given.
    pub(crate) fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// From now on the way leads to a service that has started.
    pub(crate) fn lead_to(&self, service: &Connector) -> Result<()> {
        let Connector::InProcess(target) = service else { bail!("services are in this process") };
        self.state().target = Some(target.clone());
        Ok(())
    }

    /// Breaks everything that is open; `is_down` says whether nobody answers from now on.
    pub(crate) fn cut(&self, is_down: bool) {
        let mut state = self.state();
        std::mem::take(&mut state.cut).cancel();
        if is_down {
            state.target = None;
        }
    }

    /// Changes the weather. Open connections break, so that it acts at once.
    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
        self.cut(false);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happens to one connection.
struct Journey {
    /// Bytes until it breaks, to the service and back.
    fuses: [Option<usize>; 2],
    delays: [Option<Random>; 2],
    cut: CancellationToken,
}

impl Journey {
    fn of(state: &Mutex<State>) -> (Option<Sender<DuplexStream>>, Self) {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut fuses, mut delays) = ([None, None], [None, None]);
        if let Weather::Rough(per_mille) = state.weather {
            let random = &mut state.random;
            for direction in 0..2 {
                delays[direction] = Some(random.fork());
                if random.below(1_000) < per_mille {
                    // Any order of magnitude is as likely.
                    let magnitude = random.below(FUSE_BYTES_LOG2_MAX);
                    fuses[direction] = usize::try_from(random.below(2 << magnitude)).ok();
                }
            }
        }
        (state.target.clone(), Self { fuses, delays, cut: state.cut.clone() })
    }

    async fn carry(self, client: DuplexStream, service: DuplexStream) {
        let ((from_client, to_client), (from_service, to_service)) = (split(client), split(service));
        let [there, back] = self.fuses;
        let [delay_there, delay_back] = self.delays;
        tokio::select! {
            () = self.cut.cancelled() => {}
            () = pass(from_client, to_service, there, delay_there) => {}
            () = pass(from_service, to_client, back, delay_back) => {}
        }
    }
}

/// Passes bytes on until either side closes or the fuse has burnt.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut fuse: Option<usize>,
    mut delay: Option<Random>,
) {
    let mut buffer = vec![0; 1 << 14];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if let Some(random) = &mut delay {
            tokio::time::sleep(Duration::from_micros(random.below(DELAY_MAX_US))).await;
        }
        let kept = fuse.map_or(read, |left| left.min(read));
        if to.write_all(&buffer[..kept]).await.is_err() || kept < read {
            return;
        }
        fuse = fuse.map(|left| left - kept);
    }
}
