//! The back ends on which tests run.

use super::{FaultyStore, s3::S3Server};
use object_store::{
    BackoffConfig, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    memory::InMemory,
};
use std::{sync::Arc, time::Duration};

/// A kind of back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// This process's memory.
    Memory,
    /// A folder.
    Local,
    /// A server that speaks S3, over TCP.
    S3,
}

impl Backend {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Local, Self::S3];

    /// A new store of this kind, which is gone when it is dropped.
    pub(crate) fn empty(self) -> Arc<dyn ObjectStore> {
        if self == Self::Memory {
            return Arc::new(InMemory::new());
        }
        if self == Self::S3 {
            let server = S3Server::empty();
            return FaultyStore::keeping(client(&server), server);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let local = LocalFileSystem::new_with_prefix(folder.path()).expect("a folder");
        FaultyStore::keeping(Arc::new(local.with_automatic_cleanup(true)), folder)
    }
}

/// A client that gives up soon, so that tests of outages do not last.
pub(crate) fn client(server: &S3Server) -> Arc<dyn ObjectStore> {
    let builder = server.options().into_iter().fold(AmazonS3Builder::new(), |builder, (key, value)| {
        builder.with_config(key.parse::<AmazonS3ConfigKey>().expect("an option of S3"), value)
    });
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(2), max_backoff: Duration::from_millis(20), base: 2. };
    let retry = RetryConfig { backoff, max_retries: 8, retry_timeout: Duration::from_secs(2) };
    Arc::new(builder.with_bucket_name(super::s3::BUCKET).with_retry(retry).build().expect("a client"))
}

/// Makes a test on every back end of each of these functions.
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {
        on_every_backend!(@ memory Memory $($test)+);
        on_every_backend!(@ local Local $($test)+);
        on_every_backend!(@ s3 S3 $($test)+);
    };
    (@ $module:ident $backend:ident $($test:ident)+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(crate::common::Backend::$backend).await;
                }
            )+
        }
    };
}

pub(crate) use on_every_backend;
