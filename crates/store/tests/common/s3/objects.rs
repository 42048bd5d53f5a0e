//! What an S3 server does with one bucket, in memory; each operation takes effect at once.

use bytes::Bytes;
use futures::TryStreamExt;
use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

/// Least bytes of every piece of a multipart upload but the last.
const PIECE_BYTES_MIN: usize = 5 << 20;
/// Names in one page of a list: fewer than S3's 1000, so that lists have pages.
const PAGE_NAMES_MAX: usize = 50;

struct Stored {
    bytes: Bytes,
    tag: ETag,
    written: SystemTime,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    /// Pieces of uploads that go on.
    uploads: BTreeMap<String, BTreeMap<i32, Bytes>>,
}

/// The objects of the bucket. Clones are the same bucket.
#[derive(Clone, Default)]
pub(crate) struct Objects {
    state: Arc<Mutex<State>>,
    changes: Arc<AtomicU64>,
}

impl Objects {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uploads in pieces that were neither completed nor given up.
    pub(crate) fn open_uploads(&self) -> usize {
        self.state().uploads.len()
    }

    fn number(&self) -> u64 {
        self.changes.fetch_add(1, Ordering::SeqCst)
    }

    /// Writes an object, if the condition admits it.
    fn write(&self, key: String, bytes: Bytes, only_new: Option<&ETagCondition>) -> S3Result<ETag> {
        let mut state = self.state();
        if only_new.is_some() && state.objects.contains_key(&key) {
            return Err(s3_error!(PreconditionFailed));
        }
        let tag = ETag::Strong(format!("{:032x}", self.number()));
        state.objects.insert(key, Stored { bytes, tag: tag.clone(), written: SystemTime::now() });
        Ok(tag)
    }
}

async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let parts: Vec<Bytes> = body.try_collect().await.map_err(|_| s3_error!(IncompleteBody))?;
    Ok(parts.concat().into())
}

fn length(bytes: usize) -> Option<i64> {
    i64::try_from(bytes).ok()
}

#[async_trait::async_trait]
impl S3 for Objects {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let bytes = collect(input.body).await?;
        let tag = self.write(input.key, bytes, input.if_none_match.as_ref())?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(tag), ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let state = self.state();
        let stored = state.objects.get(&request.input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        let full = stored.bytes.len();
        let mut output = GetObjectOutput {
            e_tag: Some(stored.tag.clone()),
            last_modified: Some(stored.written.into()),
            ..Default::default()
        };
        let mut bytes = stored.bytes.clone();
        if let Some(range) = request.input.range {
            let range = range.check(full as u64)?;
            output.content_range = Some(format!("bytes {}-{}/{full}", range.start, range.end - 1));
            let place = |at: u64| usize::try_from(at).map_err(|_| s3_error!(InvalidRange));
            bytes = bytes.slice(place(range.start)?..place(range.end)?);
        }
        output.content_length = length(bytes.len());
        output.body = Some(StreamingBlob::wrap(futures::stream::iter([Ok::<_, std::io::Error>(bytes)])));
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let state = self.state();
        let stored = state.objects.get(&request.input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: length(stored.bytes.len()),
            e_tag: Some(stored.tag.clone()),
            last_modified: Some(stored.written.into()),
            ..Default::default()
        }))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut state = self.state();
        let mut deleted = Vec::new();
        for object in request.input.delete.objects {
            state.objects.remove(&object.key);
            deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let prefix = input.prefix.unwrap_or_default();
        let after = input.continuation_token.or(input.start_after).unwrap_or_default();
        let state = self.state();
        let mut contents = Vec::new();
        let mut folders = BTreeSet::new();
        let mut last = None;
        let mut is_truncated = false;
        for (key, stored) in state.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after) {
            if contents.len() + folders.len() == PAGE_NAMES_MAX {
                is_truncated = true;
                break;
            }
            last = Some(key.clone());
            let rest = &key[prefix.len()..];
            let folder = input.delimiter.as_ref().and_then(|delimiter| Some(rest.split_once(delimiter.as_str())?.0));
            if let Some(folder) = folder {
                folders.insert(format!("{prefix}{folder}/"));
                continue;
            }
            contents.push(Object {
                key: Some(key.clone()),
                e_tag: Some(stored.tag.clone()),
                last_modified: Some(stored.written.into()),
                size: length(stored.bytes.len()),
                ..Default::default()
            });
        }
        let common = folders.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) }).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            contents: Some(contents),
            common_prefixes: Some(common),
            is_truncated: Some(is_truncated),
            next_continuation_token: last.filter(|_| is_truncated),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let id = format!("upload-{}", self.number());
        self.state().uploads.insert(id.clone(), BTreeMap::new());
        let (bucket, key) = (Some(request.input.bucket), Some(request.input.key));
        let output = CreateMultipartUploadOutput { bucket, key, upload_id: Some(id), ..Default::default() };
        Ok(S3Response::new(output))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bytes = collect(input.body).await?;
        let tag = ETag::Strong(format!("{:032x}", self.number()));
        let mut state = self.state();
        let upload = state.uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.insert(input.part_number, bytes);
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(tag), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let pieces = self.state().uploads.remove(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        if !listed.iter().filter_map(|part| part.part_number).eq(pieces.keys().copied()) {
            return Err(s3_error!(InvalidPart));
        }
        if pieces.values().rev().skip(1).any(|piece| piece.len() < PIECE_BYTES_MIN) {
            return Err(s3_error!(EntityTooSmall));
        }
        let bytes = pieces.into_values().collect::<Vec<_>>().concat().into();
        let tag = self.write(input.key.clone(), bytes, input.if_none_match.as_ref())?;
        let (bucket, key) = (Some(input.bucket), Some(input.key));
        let output = CompleteMultipartUploadOutput { bucket, key, e_tag: Some(tag), ..Default::default() };
        Ok(S3Response::new(output))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.state().uploads.remove(&request.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
