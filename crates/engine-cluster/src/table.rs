//! The bodies of some parts as a table of a plan, and how the table travels to the scheduler.
//!
//! A listing of folders would not do: a manifest pins its objects one by one, and rows are told apart by the part that
//! they are in, which no name of a file says in one way.

use crate::{
    aggregate::BODY,
    request::{parse_table, table_message},
};
use async_trait::async_trait;
use ballista_core::serde::BallistaLogicalExtensionCodec;
use datafusion::{
    arrow::datatypes::{DataType, Field, Schema, SchemaRef},
    catalog::{Session, TableProvider},
    common::{TableReference, not_impl_err},
    config::TableParquetOptions,
    datasource::{
        TableType,
        file_format::FileFormatFactory,
        listing::PartitionedFile,
        object_store::ObjectStoreUrl,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    error::{DataFusionError, Result},
    execution::TaskContext,
    logical_expr::{Expr, Extension, LogicalPlan},
    physical_plan::ExecutionPlan,
    scalar::ScalarValue,
};
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use locus_genomics::PanelDigest;
use locus_store::{Column, PANEL_BLOCKS_MAX, PanelShape, PartName, Store};
use prost::Message as _;
use std::sync::Arc;

/// Address of the bodies in plans; every process of the cluster registers its own store under it, so that neither
/// addresses nor secrets of storage are in a plan.
pub(crate) const BODIES_URL: &str = "locus-bodies://store";
/// Columns of the table: the number of a row in its part, its body, and the places of its column and part in the
/// question.
pub(crate) const ROW: &str = "row";
pub(crate) const BODY_OF_ROW: &str = "body";
pub(crate) const COLUMN: &str = "column";
pub(crate) const PART: &str = "part";
/// What is read of the end of an object to find where its bodies are: footers of 1,024 rows have about 30 KiB.
const FOOTER_HINT_BYTES: usize = 48 << 10;

/// The objects of a question: those of each of its parts and columns.
#[derive(Debug, Clone)]
pub(crate) struct BodiesTable {
    pub(crate) panel: PanelDigest,
    pub(crate) columns: Vec<Column>,
    /// Each with the size of its objects.
    pub(crate) parts: Vec<(PartName, u64)>,
    store: Store,
    schema: TableSchema,
}

impl BodiesTable {
    pub(crate) fn new(store: &Store, panel: PanelDigest, columns: Vec<Column>, parts: Vec<(PartName, u64)>) -> Self {
        let file = [Field::new(ROW, DataType::UInt32, false), Field::new(BODY_OF_ROW, BODY, false)];
        let places = [COLUMN, PART].map(|name| Arc::new(Field::new(name, DataType::UInt32, false)));
        let schema = TableSchema::builder(Arc::new(Schema::new(file.to_vec())))
            .with_table_partition_cols(places.to_vec())
            .build();
        Self { panel, columns, parts, store: store.clone(), schema }
    }

    /// One file for each part and column, in groups that are read side by side.
    fn groups(&self, groups: usize) -> Result<Vec<FileGroup>> {
        // The names of a panel's objects do not depend on how many blocks it has.
        let shape = PanelShape::try_new(PANEL_BLOCKS_MAX, false).map_err(|error| external(&error))?;
        let panel = self.store.panel(self.panel, shape);
        let mut files = Vec::with_capacity(self.columns.len() * self.parts.len());
        for (&column, column_at) in self.columns.iter().zip(0_u32..) {
            for (&(part, object_bytes), part_at) in self.parts.iter().zip(0_u32..) {
                let mut file = PartitionedFile::new(panel.bodies_name(part, column), object_bytes);
                file.partition_values = vec![ScalarValue::UInt32(Some(column_at)), ScalarValue::UInt32(Some(part_at))];
                files.push(file);
            }
        }
        let each = files.len().div_ceil(groups.max(1)).max(1);
        Ok(files.chunks(each).map(|files| FileGroup::new(files.to_vec())).collect())
    }
}

fn external(error: &dyn std::error::Error) -> DataFusionError {
    DataFusionError::External(error.to_string().into())
}

#[async_trait]
impl TableProvider for BodiesTable {
    fn schema(&self) -> SchemaRef {
        self.schema.table_schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut options =
            TableParquetOptions { global: session.config_options().execution.parquet.clone(), ..Default::default() };
        options.global.metadata_size_hint = Some(FOOTER_HINT_BYTES);
        options.global.enable_page_index = false;
        let source = ParquetSource::new(self.schema.clone()).with_table_parquet_options(options);
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(BODIES_URL)?, Arc::new(source))
            .with_file_groups(self.groups(session.config().target_partitions())?)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Ballista's codec, with tables of bodies.
#[derive(Debug)]
pub(crate) struct BodiesCodec {
    ballista: BallistaLogicalExtensionCodec,
    store: Store,
}

impl BodiesCodec {
    pub(crate) fn new(store: &Store) -> Self {
        Self { ballista: BallistaLogicalExtensionCodec::default(), store: store.clone() }
    }
}

impl LogicalExtensionCodec for BodiesCodec {
    fn try_decode(&self, bytes: &[u8], inputs: &[LogicalPlan], context: &TaskContext) -> Result<Extension> {
        self.ballista.try_decode(bytes, inputs, context)
    }

    fn try_encode(&self, node: &Extension, bytes: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode(node, bytes)
    }

    fn try_decode_table_provider(
        &self,
        bytes: &[u8],
        _: &TableReference,
        _: SchemaRef,
        _: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        let table = parse_table(&self.store, bytes).map_err(|error| external(&error))?;
        Ok(Arc::new(table))
    }

    fn try_encode_table_provider(
        &self,
        _: &TableReference,
        node: Arc<dyn TableProvider>,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        match node.downcast_ref::<BodiesTable>() {
            Some(table) => table_message(table).encode(bytes).map_err(|error| external(&error)),
            None => not_impl_err!("only tables of bodies are part of plans"),
        }
    }

    fn try_decode_file_format(&self, bytes: &[u8], context: &TaskContext) -> Result<Arc<dyn FileFormatFactory>> {
        self.ballista.try_decode_file_format(bytes, context)
    }

    fn try_encode_file_format(&self, bytes: &mut Vec<u8>, node: Arc<dyn FileFormatFactory>) -> Result<()> {
        self.ballista.try_encode_file_format(bytes, node)
    }
}
