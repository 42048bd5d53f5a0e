//! Two hand-overs side by side.

use super::super::StoreError;
use crate::succession::{Kind, Record, SuccessionError};
use locus_sharing::KeyholderIndex;
use std::mem;
use zeroize::Zeroizing;

type Source<'a> = Box<dyn FnMut() -> Result<Option<Record>, SuccessionError> + 'a>;

/// What both keyholders gave, by kind and key.
pub(crate) struct Merged<'a> {
    givers: [KeyholderIndex; 2],
    sources: [Source<'a>; 2],
    heads: [Option<Record>; 2],
    has_begun: bool,
}

/// What they gave under one key.
pub(super) struct Pair {
    pub(super) kind: Kind,
    pub(super) key: Vec<u8>,
    /// Of each, in the order of their numbers.
    pub(super) values: [Option<Zeroizing<Vec<u8>>>; 2],
}

impl Pair {
    /// What was given, by one or both.
    pub(super) fn given(&self) -> impl Iterator<Item = &[u8]> {
        self.values.iter().flatten().map(|value| value.as_slice())
    }

    /// The key, which must have this many bytes.
    pub(super) fn key<const BYTES: usize>(&self) -> Result<[u8; BYTES], StoreError> {
        self.key.as_slice().try_into().map_err(|_| StoreError::Damaged("handed over"))
    }
}

impl<'a> Merged<'a> {
    /// Records of two givers, each ascending.
    pub(crate) fn new(givers: [KeyholderIndex; 2], sources: [Source<'a>; 2]) -> Self {
        Self { givers, sources, heads: [None, None], has_begun: false }
    }

    /// Who gave, ascending.
    pub(super) fn givers(&self) -> [KeyholderIndex; 2] {
        self.givers
    }

    /// The next key of either.
    pub(super) fn next(&mut self) -> Result<Option<Pair>, SuccessionError> {
        if !mem::replace(&mut self.has_begun, true) {
            for (head, source) in self.heads.iter_mut().zip(&mut self.sources) {
                *head = source()?;
            }
        }
        let Some(place) = self.heads.iter().flatten().map(|record| (record.kind(), record.key.clone())).min() else {
            return Ok(None);
        };
        let (kind, key) = place;
        let mut values = [None, None];
        for ((head, source), value) in self.heads.iter_mut().zip(&mut self.sources).zip(&mut values) {
            let is_next = head.as_ref().is_some_and(|record| record.kind() == kind && record.key == key);
            if is_next {
                let record = mem::replace(head, source()?);
                *value = record.map(|mut record| Zeroizing::new(mem::take(&mut record.value)));
            }
        }
        Ok(Some(Pair { kind, key, values }))
    }
}
