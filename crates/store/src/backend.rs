//! One storage back end, opened from an address.

use crate::error::StoreError;
use bytes::Bytes;
use locus_genomics::PanelDigest;
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, aws::AmazonS3ConfigKey, azure::AzureConfigKey,
    gcp::GoogleConfigKey, local::LocalFileSystem, memory::InMemory, path::Path,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
    path::PathBuf,
    sync::Arc,
};
use url::Url;

/// A place where ciphertexts are kept. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    prefix: Path,
    local_root: Option<PathBuf>,
    name: Arc<str>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.name)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Opens the store at `url`: a directory or `file://` address (created if absent), `memory://`
/// (lost with the process), or `s3://`, `gs://`, `az://` with a prefix. `options` are the back
/// end's own (`region`, `access_key_id`, ...) and may hold secrets; they are never printed.
///
/// # Errors
/// An address or option that is not understood, or a directory that cannot be created.
pub fn open_store(url: &str, options: BTreeMap<String, String>) -> Result<Store, StoreError> {
    if !url.contains("://") {
        return open_directory(PathBuf::from(url), &options);
    }
    let parsed = Url::parse(url).map_err(|error| StoreError::Address { reason: error.to_string() })?;
    match parsed.scheme() {
        "file" => match parsed.to_file_path() {
            Ok(path) => open_directory(path, &options),
            Err(()) => Err(StoreError::Address { reason: "file:// address names no local path".to_owned() }),
        },
        "memory" => {
            refuse_options(&options, "memory", |_| false)?;
            Ok(Store::memory())
        }
        "s3" | "s3a" => open_remote(&parsed, options, |key| key.parse::<AmazonS3ConfigKey>().is_ok()),
        "gs" => open_remote(&parsed, options, |key| key.parse::<GoogleConfigKey>().is_ok()),
        "az" | "azure" | "adl" | "abfs" | "abfss" => {
            open_remote(&parsed, options, |key| key.parse::<AzureConfigKey>().is_ok())
        }
        other => Err(StoreError::Address { reason: format!("scheme {other}:// is not supported") }),
    }
}

fn open_directory(path: PathBuf, options: &BTreeMap<String, String>) -> Result<Store, StoreError> {
    refuse_options(options, "file", |_| false)?;
    let local_error = |source| StoreError::LocalFile { name: path.display().to_string(), source };
    std::fs::create_dir_all(&path).map_err(local_error)?;
    let root = std::fs::canonicalize(&path).map_err(local_error)?;
    let inner = LocalFileSystem::new_with_prefix(&root)
        .map_err(|error| StoreError::Address { reason: error.to_string() })?
        .with_automatic_cleanup(true);
    let name = format!("file://{}", root.display()).into();
    Ok(Store { inner: Arc::new(inner), prefix: Path::default(), local_root: Some(root), name })
}

fn open_remote(
    url: &Url,
    options: BTreeMap<String, String>,
    knows: impl Fn(&str) -> bool,
) -> Result<Store, StoreError> {
    refuse_options(&options, url.scheme(), knows)?;
    let (inner, prefix) = object_store::parse_url_opts(url, options)
        .map_err(|error| StoreError::Address { reason: error.to_string() })?;
    let host = url.host_str().unwrap_or_default();
    let name = format!("{}://{host}/{prefix}", url.scheme()).into();
    Ok(Store { inner: Arc::from(inner), prefix, local_root: None, name })
}

fn refuse_options(
    options: &BTreeMap<String, String>,
    scheme: &str,
    knows: impl Fn(&str) -> bool,
) -> Result<(), StoreError> {
    match options.keys().find(|key| !knows(&key.to_ascii_lowercase())) {
        Some(key) => Err(StoreError::UnknownOption { key: key.clone(), scheme: scheme.to_owned() }),
        None => Ok(()),
    }
}

impl Store {
    /// A store in this process's memory.
    pub fn memory() -> Self {
        Self::from_object_store(Arc::new(InMemory::new()))
    }

    /// A store over any other back end, for example one that injects faults.
    pub fn from_object_store(inner: Arc<dyn ObjectStore>) -> Self {
        let name = inner.to_string().into();
        Self { inner, prefix: Path::default(), local_root: None, name }
    }

    /// The back end, for an engine that reads objects by itself. Names of objects include the prefix of the address.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.inner.clone()
    }

    /// The ciphertexts of one panel.
    pub fn panel(&self, panel: PanelDigest, shape: crate::PanelShape) -> crate::PanelStore {
        crate::PanelStore::new(self.clone(), panel, shape)
    }

    /// The prefix of its address, with which all names begin.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    pub(crate) fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.inner
    }

    pub(crate) fn local_root(&self) -> Option<&PathBuf> {
        self.local_root.as_ref()
    }

    /// Creates object `name`, which must not exist.
    pub(crate) async fn create(&self, name: &Path, bytes: Vec<u8>) -> Result<(), StoreError> {
        let payload = PutPayload::from(bytes);
        let put = self.inner.put_opts(name, payload, PutMode::Create.into()).await;
        put.map(drop).map_err(|error| StoreError::backend(name, error))
    }

    /// Keeps a file under a name that follows from its bytes. Keeping it again changes nothing, except that a
    /// damaged file is replaced.
    pub(crate) async fn put_file(&self, name: &Path, bytes: Bytes) -> Result<(), StoreError> {
        match self.create(name, bytes.to_vec()).await {
            Err(StoreError::ObjectExists { .. }) => {
                let limit = bytes.len() as u64;
                if self.file(name, limit).await.ok().flatten().as_ref() == Some(&bytes) {
                    return Ok(());
                }
                let put = self.inner.put(name, PutPayload::from_bytes(bytes)).await;
                put.map_err(|error| StoreError::backend(name, error))?;
            }
            created => created?,
        }
        self.persist(vec![name.clone()]).await
    }

    /// The file `name`, if it is here and has at most `bytes_max` bytes.
    pub(crate) async fn file(&self, name: &Path, bytes_max: u64) -> Result<Option<Bytes>, StoreError> {
        match self.read_whole(name, bytes_max).await {
            Err(StoreError::MissingObject { .. }) => Ok(None),
            read => read.map(Some),
        }
    }

    /// The whole object `name`, refused without reading it when it is longer than `limit` bytes.
    pub(crate) async fn read_whole(&self, name: &Path, limit: u64) -> Result<Bytes, StoreError> {
        let found = self.inner.get(name).await.map_err(|error| StoreError::backend(name, error))?;
        let bytes = found.meta.size;
        if bytes > limit {
            return Err(StoreError::ObjectTooLarge { name: name.to_string(), bytes, limit });
        }
        found.bytes().await.map_err(|error| StoreError::backend(name, error))
    }

    /// Exactly these ranges of object `name`.
    pub(crate) async fn read_ranges(&self, name: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let found = self.inner.get_ranges(name, ranges).await.map_err(|error| StoreError::backend(name, error))?;
        let complete = found.len() == ranges.len()
            && found.iter().zip(ranges).all(|(bytes, range)| bytes.len() as u64 == range.end - range.start);
        if complete { Ok(found) } else { Err(StoreError::malformed(name, "object is shorter than its index says")) }
    }

    /// Exactly this range of object `name`.
    pub(crate) async fn read_range(&self, name: &Path, range: Range<u64>) -> Result<Bytes, StoreError> {
        let mut found = self.read_ranges(name, std::slice::from_ref(&range)).await?;
        found.pop().ok_or_else(|| StoreError::malformed(name, "object is shorter than its index says"))
    }

    /// The file that holds object `name`, when the store is a local directory.
    pub(crate) fn local_file(&self, name: &Path) -> Option<PathBuf> {
        let mut file = self.local_root.clone()?;
        file.extend(name.parts().map(|part| part.as_ref().to_owned()));
        Some(file)
    }

    /// Length and age of object `name`.
    pub(crate) async fn head(&self, name: &Path) -> Result<ObjectMeta, StoreError> {
        self.inner.head(name).await.map_err(|error| StoreError::backend(name, error))
    }

    /// Deletes object `name`; an object that is already gone is fine.
    pub(crate) async fn delete(&self, name: &Path) -> Result<(), StoreError> {
        match self.inner.delete(name).await.map_err(|error| StoreError::backend(name, error)) {
            Err(StoreError::MissingObject { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes objects of a local store survive a power failure: their bytes and the directory
    /// entries that lead to them. Other stores are durable when a write returns.
    pub(crate) async fn persist(&self, names: Vec<Path>) -> Result<(), StoreError> {
        let Some(root) = self.local_root.clone() else { return Ok(()) };
        let files: Vec<PathBuf> = names.iter().filter_map(|name| self.local_file(name)).collect();
        blocking(move || {
            let mut directories = BTreeSet::new();
            for file in files {
                sync(&file)?;
                let above = file.ancestors().skip(1).take_while(|folder| folder.starts_with(&root));
                directories.extend(above.map(PathBuf::from));
            }
            directories.iter().try_for_each(sync)
        })
        .await?
    }
}

fn sync(path: &PathBuf) -> Result<(), StoreError> {
    std::fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| StoreError::LocalFile { name: path.display().to_string(), source })
}

/// Runs `work`, which takes more than about 500 microseconds, off the async threads.
///
/// # Errors
/// [`StoreError::Interrupted`] when the runtime is shutting down.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_option_is_refused_instead_of_ignored() {
        let options = |key: &str| BTreeMap::from([(key.to_owned(), "x".to_owned())]);
        assert!(open_store("s3://bucket/prefix", options("region")).is_ok());
        assert!(matches!(open_store("s3://bucket/prefix", options("regoin")), Err(StoreError::UnknownOption { .. })));
        assert!(matches!(open_store("memory://", options("region")), Err(StoreError::UnknownOption { .. })));
    }

    #[test]
    fn the_prefix_of_an_address_is_kept() {
        let options = BTreeMap::from([("region".to_owned(), "x".to_owned())]);
        let store = open_store("s3://bucket/some/prefix", options).expect("valid address");
        assert_eq!(store.prefix().as_ref(), "some/prefix");
        assert_eq!(store.to_string(), "s3://bucket/some/prefix");
    }

    #[test]
    fn an_address_of_an_unknown_kind_is_refused() {
        for url in ["ftp://host/x", "https://example.org/x", "s3://"] {
            assert!(open_store(url, BTreeMap::new()).is_err(), "{url}");
        }
    }

    #[test]
    fn secrets_in_options_do_not_show() {
        let secret = "TOPSECRETVALUE";
        let options = [("access_key_id", "name"), ("secret_access_key", secret)];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let store = open_store("s3://bucket/p", options).expect("valid address");
        assert!(!format!("{store:?}{store}").contains(secret));
    }
}
