//! A part: at most 1024 rows of one origin with all columns of the panel, and the index that
//! describes it.

pub(crate) mod column;
pub(crate) mod index;
pub(crate) mod reader;
pub(crate) mod writer;
