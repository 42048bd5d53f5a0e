//! Large sums on a cluster of the same operator. What it answers is not trusted: the engine holds every sum against the
//! tags of its rows, and sums here when the cluster is down or wrong.

use async_trait::async_trait;
use locus_engine::{BodySummer, BodySummerError, PartRows, SumJob};
use locus_service::{Connector, MESSAGE_BYTES_MAX, ServeError, ServiceChannel, connect_service};
use locus_store::BodySum;
use locus_wire::pb::engine::{
    self as pb, BodyColumn, SumBodiesRequest, SumBodiesResponse, engine_service_client::EngineServiceClient,
};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};

/// Pause before a question is put to the cluster again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Where large sums are computed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Address of the cluster's scheduler, which speaks `locus.engine.v1`.
    pub url: String,
    /// Bodies that must be read for a sum to be given to the cluster; fewer are summed here. 65,536 bodies are 2 GiB,
    /// where a cluster of two processors begins to be as fast as the aggregator's own.
    #[serde(default = "default_bodies_min")]
    pub bodies_min: u64,
    /// Longest wait for the cluster, tries included, in seconds; then the sum is computed here.
    #[serde(default = "default_wait_s")]
    pub wait_s: u64,
}

fn default_bodies_min() -> u64 {
    65_536
}

fn default_wait_s() -> u64 {
    120
}

/// A cluster as the aggregator sees it.
#[derive(Debug)]
pub struct Cluster {
    client: EngineServiceClient<ServiceChannel>,
    wait: Duration,
}

impl Cluster {
    /// Reaches a cluster, which need not be up yet. `wait` is the longest wait for a sum, tries included.
    ///
    /// # Errors
    /// An address that is none.
    pub fn connect(connector: &Connector, wait: Duration) -> Result<Self, ServeError> {
        let client = EngineServiceClient::new(connect_service(connector)?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { client, wait })
    }

    async fn sum_once(&self, request: SumBodiesRequest) -> Result<Vec<Box<BodySum>>, Status> {
        let columns = request.columns.len();
        let mut answers = self.client.clone().sum_bodies(request).await?.into_inner();
        let mut sums: Vec<Option<Box<BodySum>>> = vec![None; columns];
        while let Some(answer) = answers.message().await? {
            let (column, sum) = parse_answer(&answer)?;
            match sums.get_mut(column) {
                Some(place @ None) => *place = Some(sum),
                _ => return Err(Status::data_loss("a column that was not asked for, or asked for once")),
            }
        }
        let sums: Option<Vec<Box<BodySum>>> = sums.into_iter().collect();
        sums.ok_or_else(|| Status::data_loss("the cluster answered without some columns"))
    }
}

#[async_trait]
impl BodySummer for Cluster {
    async fn sum(&self, job: &SumJob) -> Result<Vec<Box<BodySum>>, BodySummerError> {
        let request = request(job);
        let deadline = Instant::now() + self.wait;
        loop {
            let status = match timeout_at(deadline, self.sum_once(request.clone())).await {
                Ok(Ok(sums)) => return Ok(sums),
                Ok(Err(status)) => status,
                Err(_) => return Err(BodySummerError(format!("no answer within {} s", self.wait.as_secs()))),
            };
            if !is_worth_retrying(&status) || Instant::now() + RETRY_PAUSE >= deadline {
                return Err(BodySummerError(format!("{}: {}", status.code(), status.message())));
            }
            tracing::debug!(code = %status.code(), "asking the cluster again");
            sleep(RETRY_PAUSE).await;
        }
    }
}

/// The retry table of `locus.engine.v1`. A scheduler that dies ends its calls with `UNKNOWN`.
fn is_worth_retrying(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::Unknown)
}

fn request(job: &SumJob) -> SumBodiesRequest {
    let column =
        |column: &locus_store::Column| BodyColumn { block: column.block.0, plane: u32::from(column.plane.code()) };
    SumBodiesRequest {
        panel_digest: job.panel.0.to_vec().into(),
        columns: job.columns.iter().map(column).collect(),
        parts: job.parts.iter().map(part_rows).collect(),
    }
}

fn part_rows(rows: &PartRows) -> pb::PartRows {
    pb::PartRows {
        origin: String::from(rows.name.origin),
        part: rows.name.part,
        object_bytes: rows.object_bytes,
        rows: rows.rows.0.to_vec().into(),
        subtracted: rows.subtracted,
    }
}

fn parse_answer(answer: &SumBodiesResponse) -> Result<(usize, Box<BodySum>), Status> {
    let sum = BodySum::parse(&answer.sum).ok_or_else(|| Status::data_loss("a sum of another length"))?;
    Ok((answer.column as usize, sum))
}
