//! Names of all objects of a panel, and what a listed name belongs to.

use crate::{
    batch_id::BatchId,
    shape::{Column, SHARD_SLOTS},
};
use locus_genomics::PanelDigest;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

/// Who wrote a set of rows: an uploaded batch, or a compaction of one shard. All objects of one
/// origin are written once and deleted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Origin {
    /// An uploaded batch.
    Batch(BatchId),
    /// One generation of a shard.
    Shard {
        /// The shard: registry slots `1024 * shard ..`.
        shard: u32,
        /// The generation, from 1.
        generation: u32,
    },
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Batch(batch) => format!("batch={batch}"),
            Origin::Shard { shard, generation } => format!("shard={shard:05}/gen={generation}"),
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let origin = match text.split_once('/') {
            None => text.strip_prefix("batch=").and_then(BatchId::parse).map(Origin::Batch),
            Some((shard, generation)) => shard_origin(shard, generation),
        };
        origin.filter(|origin| String::from(*origin) == text).ok_or("not the name of a batch or shard generation")
    }
}

fn shard_origin(shard: &str, generation: &str) -> Option<Origin> {
    let shard = shard.strip_prefix("shard=")?.parse().ok()?;
    let generation = generation.strip_prefix("gen=")?.parse().ok()?;
    Some(Origin::Shard { shard, generation })
}

/// What a listed object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// A manifest version.
    Manifest(u64),
    /// An object of an origin, and of which part if it is not of all of them; `claim` says whether
    /// it is the object that reserves the origin.
    Data { origin: Origin, part: Option<PartName>, claim: bool },
    /// Not one of ours.
    Unknown,
}

/// Object names of one panel.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    root: Path,
}

impl Names {
    /// Names below `prefix` for `panel`.
    pub(crate) fn new(prefix: &Path, panel: PanelDigest) -> Self {
        Self { root: prefix.clone().join(format!("panel={panel}")) }
    }

    /// Everything of the panel.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Folder of all manifest versions.
    pub(crate) fn manifests(&self) -> Path {
        self.root.clone().join("manifest")
    }

    /// One manifest version; 20 digits, so that names sort like numbers.
    pub(crate) fn manifest(&self, version: u64) -> Path {
        self.manifests().join(format!("{version:020}.json"))
    }

    /// The object whose creation reserves an origin, and without which it cannot be committed.
    pub(crate) fn claim(&self, origin: Origin) -> Path {
        match origin {
            Origin::Batch(batch) => self.batch(batch).join("claim.json"),
            Origin::Shard { shard, generation } => self.shard(shard).join(format!("gen={generation}.claim")),
        }
    }

    /// The object that says that a batch is complete and checked.
    pub(crate) fn seal(&self, batch: BatchId) -> Path {
        self.batch(batch).join("seal.json")
    }

    /// The bodies of one column of a part.
    pub(crate) fn bodies(&self, part: PartName, column: Column) -> Path {
        self.column_object(part, column, "parquet")
    }

    /// The stored sum over one column of a part.
    pub(crate) fn total(&self, part: PartName, column: Column) -> Path {
        self.column_object(part, column, "total")
    }

    /// The body digests of a part, dataset by dataset.
    pub(crate) fn digests(&self, part: PartName) -> Path {
        self.part_object(part, "digests")
    }

    /// The description of a part.
    pub(crate) fn index(&self, part: PartName) -> Path {
        self.part_object(part, "index.json")
    }

    fn batch(&self, batch: BatchId) -> Path {
        self.root.clone().join(format!("batch={batch}"))
    }

    fn shard(&self, shard: u32) -> Path {
        self.root.clone().join(format!("shard={shard:05}"))
    }

    fn part_object(&self, part: PartName, kind: &str) -> Path {
        match part.origin {
            Origin::Batch(batch) => self.batch(batch).join(format!("rows={:05}.{kind}", part.first_row())),
            Origin::Shard { shard, generation } => self.shard(shard).join(format!("gen={generation}.{kind}")),
        }
    }

    fn column_object(&self, part: PartName, column: Column, kind: &str) -> Path {
        let of_column = |folder: Path| {
            folder.join(format!("block={:04}", column.block.0)).join(format!("plane={}", column.plane.code()))
        };
        match part.origin {
            Origin::Batch(batch) => of_column(self.batch(batch)).join(format!("rows={:05}.{kind}", part.first_row())),
            Origin::Shard { shard, generation } => {
                of_column(self.root.clone()).join(format!("shard={shard:05}")).join(format!("gen={generation}.{kind}"))
            }
        }
    }

    /// What the object `name` is.
    pub(crate) fn classify(&self, name: &Path) -> Listed {
        let Some(parts) = name.prefix_match(&self.root) else { return Listed::Unknown };
        let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let listed = match parts.as_slice() {
            ["manifest", file] => manifest_version(file).map(Listed::Manifest),
            [batch, rest @ ..] if batch.starts_with("batch=") && !rest.is_empty() => batch
                .strip_prefix("batch=")
                .and_then(BatchId::parse)
                .map(|batch| batch_object(Origin::Batch(batch), rest)),
            [shard, file] => generation_object(shard, file),
            [block, plane, shard, file] if block.starts_with("block=") && plane.starts_with("plane=") => {
                generation_object(shard, file)
            }
            _ => None,
        };
        listed.unwrap_or(Listed::Unknown)
    }
}

fn manifest_version(file: &str) -> Option<u64> {
    let digits = file.strip_suffix(".json")?;
    let version = digits.parse().ok()?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(version)
}

fn generation_object(shard: &str, file: &str) -> Option<Listed> {
    let (generation, kind) = file.split_once('.')?;
    let origin = shard_origin(shard, generation)?;
    let claim = kind == "claim";
    let part = (!claim).then_some(PartName { origin, part: 0 });
    Some(Listed::Data { origin, part, claim })
}

fn batch_object(origin: Origin, rest: &[&str]) -> Listed {
    let first_row = rest.last().and_then(|file| file.strip_prefix("rows=")?.split_once('.')?.0.parse::<u32>().ok());
    let part = first_row.map(|row| PartName { origin, part: row / SHARD_SLOTS });
    Listed::Data { origin, part, claim: *rest == ["claim.json"] }
}

/// Names a part: at most [`SHARD_SLOTS`] rows of one origin, with all their columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartName {
    /// Who wrote it.
    pub origin: Origin,
    /// Which part of a batch; 0 for a shard generation.
    pub part: u32,
}

impl PartName {
    /// Ordinal of the part's first row in its batch.
    pub(crate) fn first_row(self) -> u32 {
        self.part.saturating_mul(SHARD_SLOTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_genomics::{PanelBlockIndex, Plane};

    fn names() -> Names {
        Names::new(&Path::from("data/locus"), PanelDigest([7; 32]))
    }

    #[test]
    fn every_object_name_leads_back_to_its_origin() {
        let names = names();
        let column = Column { block: PanelBlockIndex(12), plane: Plane::Missing };
        let batch = Origin::Batch(BatchId([3; 32]));
        let shard = Origin::Shard { shard: 123_456, generation: 9 };
        for (origin, part) in [(batch, 2), (shard, 0)] {
            let part = PartName { origin, part };
            for name in [names.bodies(part, column), names.total(part, column), names.digests(part), names.index(part)]
            {
                let listed = Listed::Data { origin, part: Some(part), claim: false };
                assert_eq!(names.classify(&name), listed, "{name}");
            }
            assert_eq!(names.classify(&names.claim(origin)), Listed::Data { origin, part: None, claim: true });
            assert_eq!(Origin::try_from(String::from(origin)), Ok(origin));
        }
        let seal = names.seal(BatchId([3; 32]));
        assert_eq!(names.classify(&seal), Listed::Data { origin: batch, part: None, claim: false });
        assert_eq!(names.classify(&names.manifest(42)), Listed::Manifest(42));
    }

    #[test]
    fn names_are_spelled_as_documented() {
        let names = names();
        let column = Column { block: PanelBlockIndex(3), plane: Plane::Calls };
        let panel = "data/locus/panel=".to_owned() + &"07".repeat(32);
        let batch = PartName { origin: Origin::Batch(BatchId([3; 32])), part: 2 };
        let shard = PartName { origin: Origin::Shard { shard: 7, generation: 3 }, part: 0 };
        let folder = format!("{panel}/batch={}", "03".repeat(32));
        assert_eq!(names.bodies(batch, column).as_ref(), format!("{folder}/block=0003/plane=0/rows=02048.parquet"));
        assert_eq!(names.index(batch).as_ref(), format!("{folder}/rows=02048.index.json"));
        assert_eq!(names.total(shard, column).as_ref(), format!("{panel}/block=0003/plane=0/shard=00007/gen=3.total"));
        assert_eq!(names.digests(shard).as_ref(), format!("{panel}/shard=00007/gen=3.digests"));
        assert_eq!(names.manifest(5).as_ref(), format!("{panel}/manifest/00000000000000000005.json"));
    }

    #[test]
    fn foreign_objects_are_not_taken_for_ours() {
        let names = names();
        for foreign in ["notes.txt", "manifest/5.json", "batch=zz/claim.json", "shard=1/readme", "manifest/a/b"] {
            let name = foreign.split('/').fold(names.root().clone(), |path, part| path.join(part));
            assert_eq!(names.classify(&name), Listed::Unknown, "{foreign}");
        }
        assert_eq!(names.classify(&Path::from("elsewhere/manifest/1.json")), Listed::Unknown);
    }
}
