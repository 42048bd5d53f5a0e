//! The gRPC face of a cluster: takes an aggregator's question, has it summed, and answers column by column.

use crate::{
    aggregate::{COHORT_SUM, CohortSum},
    error::ClusterError,
    request::parse_job,
    selection::{Selection, Selections},
    session::Storage,
    table::{BODY_OF_ROW, BodiesTable, COLUMN, PART, ROW},
};
use ballista_core::extension::SessionStateExt as _;
use datafusion::{
    arrow::{
        array::{Array as _, AsArray as _, RecordBatch},
        datatypes::UInt32Type,
    },
    error::DataFusionError,
    prelude::{SessionContext, col, lit},
};
use locus_engine::SumJob;
use locus_service::{Access, AccessTable, MESSAGE_BYTES_MAX, Role, to_status};
use locus_store::SUM_BYTES;
use locus_wire::pb::engine::{
    SumBodiesRequest, SumBodiesResponse,
    engine_service_server::{EngineService, EngineServiceServer},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Who may ask: the aggregator alone, because a question costs the whole cluster.
pub(crate) const ACCESS: AccessTable = AccessTable {
    service: "locus.engine.v1.EngineService",
    methods: &[("SumBodies", Access::Only(&[Role::Aggregator]))],
};
/// Most objects of one plan, which names each in about 200 bytes and must stay below 16 MiB.
const OBJECTS_MAX: usize = 1 << 14;
/// Tries of a plan.
const TRIES_MAX: u32 = 4;
/// Answers that may wait for a slow reader.
const ANSWERS_MAX: usize = 8;

/// Answers questions.
pub(crate) struct Gateway {
    pub(crate) storage: Storage,
    pub(crate) selections: Selections,
    /// Address of the scheduler.
    pub(crate) scheduler_url: String,
    pub(crate) tasks: usize,
    pub(crate) query_max: Duration,
}

/// Where a column is in the question, and its sum.
type ColumnSum = (u32, Vec<u8>);

impl Gateway {
    /// Sums some columns of a job, which count from `first`.
    async fn sum_columns(&self, job: &SumJob, first: usize, selection: &str) -> Result<Vec<ColumnSum>, ClusterError> {
        let names = job.parts.iter().map(|part| (part.name, part.object_bytes)).collect();
        let columns = job.columns[first..].iter().copied().take(columns_at_once(job)).collect::<Vec<_>>();
        let expected = columns.len();
        let table = BodiesTable::new(&self.storage.bodies, job.panel, columns, names);
        let batches = timeout(self.query_max, self.run_again(table, selection)).await;
        let batches = batches.map_err(|_| ClusterError::TooSlow(self.query_max.as_secs()))?;
        let batches = batches.map_err(|error| ClusterError::Execution(Box::new(error)))?;
        let mut sums = Vec::with_capacity(expected);
        for batch in &batches {
            read_batch(batch, &mut sums).ok_or(ClusterError::Answer("columns are missing or of other types"))?;
        }
        if sums.len() != expected {
            return Err(ClusterError::Answer("there is not one sum for each column"));
        }
        let first = u32::try_from(first).map_err(|_| ClusterError::Answer("there are too many columns"))?;
        sums.iter_mut().for_each(|(column, _)| *column += first);
        Ok(sums)
    }

    /// Tries a plan that fails again: one whose executor is lost between two stages can fail, and changes nothing.
    async fn run_again(&self, table: BodiesTable, selection: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
        let mut tries = 1;
        loop {
            match self.run(table.clone(), selection).await {
                Err(error) if tries < TRIES_MAX => tracing::warn!(%error, tries, "a plan failed and is tried again"),
                done => return done,
            }
            tries += 1;
        }
    }

    async fn run(&self, table: BodiesTable, selection: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
        let state = self.storage.session(self.storage.session_config(self.tasks))?;
        let context = SessionContext::new_with_state(state.upgrade_for_ballista(self.scheduler_url.clone())?);
        // Becoming a session of Ballista replaces all functions.
        let sum = CohortSum::udaf(None);
        context.register_udaf(sum.clone());
        let sum = sum.call(vec![col(BODY_OF_ROW), col(ROW), col(PART), lit(selection)]).alias(COHORT_SUM);
        context.read_table(Arc::new(table))?.aggregate(vec![col(COLUMN)], vec![sum])?.collect().await
    }
}

/// Columns whose objects fit one plan.
fn columns_at_once(job: &SumJob) -> usize {
    (OBJECTS_MAX / job.parts.len().max(1)).max(1)
}

/// Appends the sums of a batch; `None` when it is not of the expected form.
fn read_batch(batch: &RecordBatch, sums: &mut Vec<ColumnSum>) -> Option<()> {
    let columns = batch.column_by_name(COLUMN)?.as_primitive_opt::<UInt32Type>()?;
    let bodies = batch.column_by_name(COHORT_SUM)?.as_fixed_size_binary_opt()?;
    if columns.null_count() + bodies.null_count() > 0 || usize::try_from(bodies.value_length()) != Ok(SUM_BYTES) {
        return None;
    }
    sums.extend(columns.values().iter().zip(bodies.iter().flatten()).map(|(column, sum)| (*column, sum.to_vec())));
    Some(())
}

/// Sums all columns, and sends the sums as they come.
async fn answer(gateway: &Gateway, job: &SumJob, answers: &mpsc::Sender<Result<SumBodiesResponse, Status>>) {
    let name = match gateway.selections.put(&Selection::new(&job.parts)).await {
        Ok(name) => name,
        Err(error) => return refuse(answers, &error).await,
    };
    for first in (0..job.columns.len()).step_by(columns_at_once(job)) {
        match gateway.sum_columns(job, first, &name).await {
            Ok(sums) => {
                for (column, sum) in sums {
                    // Nobody waits any more: what follows is not needed either.
                    if answers.send(Ok(SumBodiesResponse { column, sum: sum.into() })).await.is_err() {
                        return gateway.selections.delete(&name).await;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a question was not answered");
                refuse(answers, &error).await;
                break;
            }
        }
    }
    gateway.selections.delete(&name).await;
}

async fn refuse(answers: &mpsc::Sender<Result<SumBodiesResponse, Status>>, error: &ClusterError) {
    // Nobody waits any more.
    let _ = answers.send(Err(to_status(error))).await;
}

/// Builds the service.
pub(crate) fn service(gateway: Gateway) -> EngineServiceServer<Grpc> {
    EngineServiceServer::new(Grpc(Arc::new(gateway)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

pub(crate) struct Grpc(Arc<Gateway>);

#[tonic::async_trait]
impl EngineService for Grpc {
    type SumBodiesStream = ReceiverStream<Result<SumBodiesResponse, Status>>;

    async fn sum_bodies(&self, request: Request<SumBodiesRequest>) -> Result<Response<Self::SumBodiesStream>, Status> {
        let job = parse_job(request.get_ref()).map_err(|error| to_status(&error))?;
        let (sender, receiver) = mpsc::channel(ANSWERS_MAX);
        let gateway = self.0.clone();
        locus_service::spawn_for_request(async move { answer(&gateway, &job, &sender).await });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    #[test]
    fn every_call_has_an_access_rule() {
        let set = FileDescriptorSet::decode(locus_wire::DESCRIPTOR_SET).expect("it is committed");
        let file = set.file.iter().find(|file| file.package() == "locus.engine.v1").expect("it is described");
        let called: Vec<String> = file
            .service
            .iter()
            .flat_map(|service| service.method.iter().map(|method| format!("{}/{}", service.name(), method.name())))
            .collect();
        let ruled: Vec<String> = ACCESS.methods.iter().map(|(method, _)| format!("EngineService/{method}")).collect();
        assert_eq!(ruled, called);
    }
}
