//! Answers on disk: one file an order, complete or absent.

use crate::error::AggregatorError;
use locus_ledger::OrderId;
use locus_wire::pb::query::AnswerQueryResponse;
use prost::Message as _;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// The folder of kept answers.
#[derive(Debug, Clone)]
pub(crate) struct KeptAnswers {
    dir: PathBuf,
}

impl KeptAnswers {
    /// Opens or creates the folder.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Keeps an answer, durable when this returns.
    pub(crate) fn keep(&self, order: &OrderId, messages: &[AnswerQueryResponse]) -> io::Result<()> {
        let path = self.path(order);
        let partial = path.with_extension("partial");
        let mut file = File::create(&partial)?;
        for message in messages {
            file.write_all(&message.encode_length_delimited_to_vec())?;
        }
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        File::open(&self.dir)?.sync_all()
    }

    /// The kept answer of an order.
    pub(crate) fn read(&self, order: &OrderId) -> Result<Option<Vec<AnswerQueryResponse>>, AggregatorError> {
        let bytes = match fs::read(self.path(order)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut rest = bytes.as_slice();
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let message = AnswerQueryResponse::decode_length_delimited(&mut rest);
            messages.push(message.map_err(|_| AggregatorError::Damaged)?);
        }
        Ok(Some(messages))
    }

    fn path(&self, order: &OrderId) -> PathBuf {
        self.dir.join(format!("{order}.answer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_commitment::Digest32;
    use locus_wire::pb::query::{AnswerProgress, answer_query_response::Event};

    #[test]
    fn a_kept_answer_reads_back_and_a_cut_one_is_noticed() {
        let dir = tempfile::tempdir().expect("a folder");
        let kept = KeptAnswers::open(dir.path()).expect("it opens");
        let order = OrderId(Digest32([1; 32]));
        assert!(kept.read(&order).expect("nothing is no error").is_none());
        let message = |done| AnswerQueryResponse {
            event: Some(Event::Progress(AnswerProgress { stage: "summing".into(), done, total: 2 })),
        };
        let messages = vec![message(1), message(2)];
        kept.keep(&order, &messages).expect("it is kept");
        assert_eq!(kept.read(&order).expect("it reads"), Some(messages));
        let path = kept.path(&order);
        let bytes = fs::read(&path).expect("the file is there");
        fs::write(&path, &bytes[..bytes.len() - 1]).expect("it can be cut");
        assert!(matches!(kept.read(&order), Err(AggregatorError::Damaged)));
    }
}
