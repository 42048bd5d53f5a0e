//! Back ends, one that stops working at a chosen operation, and a view of everything a panel holds.
#![allow(dead_code, unused_macros, unused_imports, reason = "every test file uses a part of this module")]

mod backends;
pub(crate) mod s3;

pub(crate) use backends::{Backend, client, on_every_backend};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use locus_commitment::BodyDigest;
use locus_genomics::PanelDigest;
use locus_store::{Column, Manifest, PanelShape, PanelStore, Store, read_windows};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};
use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What the operation at which the store stops has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing.
    Before,
    /// Everything, but the caller does not learn it.
    After,
}

/// Counts operations and fails from one of them on, like a process that is killed there.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    switch: Arc<Switch>,
    /// What the store below needs as long as it is used.
    kept: Kept,
}

/// Anything that is only dropped.
struct Kept(#[allow(dead_code, reason = "dropped, not read")] Box<dyn std::any::Any + Send + Sync>);

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

#[derive(Debug)]
struct Switch {
    stop_at: u64,
    stop: Stop,
    done: AtomicU64,
    bytes_read: AtomicU64,
}

impl Switch {
    fn new(stop_at: u64, stop: Stop) -> Self {
        Self { stop_at, stop, done: AtomicU64::new(0), bytes_read: AtomicU64::new(0) }
    }

    /// Counts an operation; says whether it takes effect.
    fn begin(&self) -> Result<Verdict> {
        let number = self.done.fetch_add(1, Ordering::SeqCst);
        if number < self.stop_at {
            return Ok(Verdict::Works);
        }
        if number == self.stop_at && self.stop == Stop::After {
            return Ok(Verdict::WorksUnseen);
        }
        Err(stopped())
    }
}

#[derive(Clone, Copy)]
enum Verdict {
    Works,
    WorksUnseen,
}

impl Verdict {
    fn seen<T>(self, result: Result<T>) -> Result<T> {
        match self {
            Verdict::Works => result,
            Verdict::WorksUnseen => Err(stopped()),
        }
    }
}

fn stopped() -> object_store::Error {
    object_store::Error::Generic { store: "FaultyStore", source: "stopped".into() }
}

impl FaultyStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, stop_at: u64, stop: Stop) -> Arc<Self> {
        Arc::new(Self { inner, switch: Arc::new(Switch::new(stop_at, stop)), kept: Kept(Box::new(())) })
    }

    /// A store that works, and drops `kept` when it is dropped.
    pub(crate) fn keeping(inner: Arc<dyn ObjectStore>, kept: impl Send + Sync + 'static) -> Arc<Self> {
        let switch = Arc::new(Switch::new(u64::MAX, Stop::Before));
        Arc::new(Self { inner, switch, kept: Kept(Box::new(kept)) })
    }

    /// A store that only counts.
    pub(crate) fn counting(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Self::new(inner, u64::MAX, Stop::Before)
    }

    pub(crate) fn operations(&self) -> u64 {
        self.switch.done.load(Ordering::SeqCst)
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.switch.bytes_read.load(Ordering::SeqCst)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let verdict = self.switch.begin()?;
        verdict.seen(self.inner.put_opts(location, payload, opts).await)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let verdict = self.switch.begin()?;
        let inner = verdict.seen(self.inner.put_multipart_opts(location, opts).await)?;
        Ok(Box::new(FaultyUpload { inner, switch: self.switch.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let verdict = self.switch.begin()?;
        verdict.seen(self.inner.get_opts(location, options).await)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let verdict = self.switch.begin()?;
        let bytes = ranges.iter().map(|range| range.end - range.start).sum();
        self.switch.bytes_read.fetch_add(bytes, Ordering::SeqCst);
        verdict.seen(self.inner.get_ranges(location, ranges).await)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, switch) = (self.inner.clone(), self.switch.clone());
        let delete_one = move |location: Path| {
            let (inner, switch) = (inner.clone(), switch.clone());
            async move {
                let verdict = switch.begin()?;
                let one = futures::stream::iter([Ok(location.clone())]).boxed();
                verdict.seen(inner.delete_stream(one).try_collect::<Vec<_>>().await)?;
                Ok(location)
            }
        };
        locations.and_then(delete_one).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.switch.begin() {
            Ok(Verdict::Works) => self.inner.list(prefix),
            Ok(Verdict::WorksUnseen) => futures::stream::iter([Err(stopped())]).boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let verdict = self.switch.begin()?;
        verdict.seen(self.inner.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let verdict = self.switch.begin()?;
        verdict.seen(self.inner.copy_opts(from, to, options).await)
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    switch: Arc<Switch>,
}

#[async_trait::async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.switch.begin() {
            Ok(verdict) => {
                let part = self.inner.put_part(data);
                async move { verdict.seen(part.await) }.boxed_part()
            }
            Err(error) => async move { Err(error) }.boxed_part(),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let verdict = self.switch.begin()?;
        verdict.seen(self.inner.complete().await)
    }

    async fn abort(&mut self) -> Result<()> {
        let verdict = self.switch.begin()?;
        verdict.seen(self.inner.abort().await)
    }
}

trait BoxedPart: Future<Output = Result<()>> + Send + Sized + 'static {
    fn boxed_part(self) -> UploadPart {
        Box::pin(self)
    }
}

impl<F: Future<Output = Result<()>> + Send + 'static> BoxedPart for F {}

/// A panel of two blocks and one plane.
pub(crate) fn shape() -> PanelShape {
    PanelShape::try_new(2, true).expect("two blocks are allowed")
}

pub(crate) fn panel(store: Arc<dyn ObjectStore>) -> PanelStore {
    Store::from_object_store(store).panel(PanelDigest([7; 32]), shape())
}

/// A copy of a store on a back end.
pub(crate) async fn copy_of(store: &Arc<dyn ObjectStore>, backend: Backend) -> Arc<dyn ObjectStore> {
    let copy = backend.empty();
    let metas: Vec<ObjectMeta> = store.list(None).try_collect().await.expect("it lists");
    for meta in metas {
        let found = store.get_opts(&meta.location, GetOptions::default()).await.expect("listed object");
        let bytes = found.bytes().await.expect("listed object");
        copy.put_opts(&meta.location, bytes.into(), PutOptions::default()).await.expect("it stores");
    }
    copy
}

/// Every live slot with the digests of its bodies as they are in storage, all checked, and sums
/// and files audited.
pub(crate) async fn content(panel: &PanelStore, manifest: &Manifest) -> BTreeMap<u32, Vec<BodyDigest>> {
    let report = panel.audit(manifest).await.expect("audit runs");
    assert!(report.faults.is_empty(), "version {}: {:?}", manifest.version(), report.faults);
    let live = manifest.live();
    let mut content: BTreeMap<u32, Vec<BodyDigest>> = BTreeMap::new();
    for part in manifest.parts() {
        let reader = panel.open(part).await.expect("part opens");
        for column in panel.shape().columns() {
            let digests = reader.digests(&[column], &[]).await.expect("digests read");
            let digests = digests.column(column).expect("column was asked for").to_vec();
            for range in part.slots() {
                for slot in range.iter().filter(|&slot| live.contains(slot)) {
                    let position = reader.position(slot).expect("slot is in its part");
                    let window = &read_windows(&[position])[0];
                    let runs = reader.read(column, window).await.expect("body reads");
                    runs[0].visit_checked(&digests, 1, |_| {}).expect("body is sound");
                    content.entry(slot).or_default().push(digests[position as usize]);
                }
            }
        }
    }
    content
}

/// The first column of the test panel.
pub(crate) fn first_column() -> Column {
    shape().columns().next().expect("a panel has a column")
}
