//! Taking connections: a bounded number, each with its TLS handshake off the accepting loop.

use rustls::ServerConfig;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// Connections that a server has open; further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// Connections that may wait to be served.
const WAITING_MAX: usize = 64;
/// Longest that a TLS handshake may take.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Pause after the system could not give a connection, for example for want of file handles.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// A connection and its place among those that may be open.
pub(crate) struct Connection<Io> {
    io: Io,
    _place: OwnedSemaphorePermit,
}

impl<Io: Connected> Connected for Connection<Io> {
    type ConnectInfo = Io::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Connection<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Connection<Io> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Connections as they come in.
pub(crate) type Incoming<Io> = mpsc::Receiver<io::Result<Connection<Io>>>;

/// Accepts plain connections until `stop`.
pub(crate) fn accept_plain(listener: TcpListener, stop: CancellationToken) -> Incoming<TcpStream> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(accept(listener, stop, move |stream, place| {
        let sender = sender.clone();
        async move {
            // A server that has stopped takes no connection.
            let _ = sender.send(Ok(Connection { io: stream, _place: place })).await;
        }
    }));
    receiver
}

/// Accepts TLS connections until `stop`. Failed handshakes are logged and forgotten.
pub(crate) fn accept_tls(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    stop: CancellationToken,
) -> Incoming<TlsStream<TcpStream>> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(accept(listener, stop, move |stream, place| {
        let (sender, acceptor) = (sender.clone(), acceptor.clone());
        async move {
            match tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await {
                Ok(Ok(io)) => {
                    // A server that has stopped takes no connection.
                    let _ = sender.send(Ok(Connection { io, _place: place })).await;
                }
                Ok(Err(error)) => tracing::info!(%error, "a TLS handshake failed"),
                Err(_) => tracing::info!("a TLS handshake took too long"),
            }
        }
    }));
    receiver
}

async fn accept<F, W>(listener: TcpListener, stop: CancellationToken, welcome: F)
where
    F: Fn(TcpStream, OwnedSemaphorePermit) -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok((stream, _)) => Some((stream, place)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(REFUSED_PAUSE).await;
                    None
                }
            }
        };
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = next => next,
        };
        if let Some((stream, place)) = next {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "small messages may be delayed");
            }
            tokio::spawn(welcome(stream, place));
        }
    }
}
