//! How much fits into one message, for the streams that carry a batch piece by piece.

/// Bytes that the payload of one message of an enrolment stream may have; the rest of the 4 MiB that
/// servers accept is left to framing.
const ENROL_MESSAGE_BYTES_MAX: u32 = 3 << 20;
/// Bytes that one body adds to a message of check values: 16 coefficients of both shares held.
const CHECK_VALUE_BYTES: u32 = 2 * 16 * 8;
/// Bytes that one dataset adds whatever the panel: leaf, share commitments, sealed seeds, framing.
const DATASET_OVERHEAD_BYTES: u32 = 512;
/// Most datasets of one enrolment message, however small the panel.
const ENROL_CHUNK_DATASETS_MAX: u32 = 256;

/// Most bodies of one `BodyChunk`: 2 MiB.
pub const BODY_CHUNK_DATASETS_MAX: u32 = 64;
/// Most records of one `DatasetChunk`.
pub const DATASET_CHUNK_DATASETS_MAX: u32 = 1024;

/// Most datasets of one `SealedSeeds`, one `EnrolChunk` and one `CheckValues` on a panel with
/// `columns` bodies a dataset (panel blocks times planes). A sealed package travels with the check
/// slots of exactly its datasets, so the panel decides how many fit.
pub const fn enrol_chunk_datasets_max(columns: u32) -> u32 {
    let dataset_bytes = columns.saturating_mul(CHECK_VALUE_BYTES).saturating_add(DATASET_OVERHEAD_BYTES);
    let fitting = ENROL_MESSAGE_BYTES_MAX / dataset_bytes;
    if fitting < 1 {
        1
    } else if fitting > ENROL_CHUNK_DATASETS_MAX {
        ENROL_CHUNK_DATASETS_MAX
    } else {
        fitting
    }
}

/// Bytes of a sealed message beside what it seals: encapsulated key and tag.
const SEALING_BYTES: u32 = 1120 + 16;
/// Most bytes of a sealed message.
const SEALED_BYTES_MAX: u32 = 1 << 20;
/// Most datasets of one sealed package, however few their bits.
const PACKAGE_DATASETS_MAX: u32 = 1024;

/// Most datasets of one `SealedAttributes` with `bits` bits each: a commitment and 8 bytes a bit are
/// sealed for each, in at most 1 MiB.
pub const fn attribute_chunk_datasets_max(bits: u32) -> u32 {
    let dataset_bytes = bits.saturating_mul(8).saturating_add(32);
    let fitting = (SEALED_BYTES_MAX - SEALING_BYTES) / dataset_bytes;
    if fitting < 1 {
        1
    } else if fitting > PACKAGE_DATASETS_MAX {
        PACKAGE_DATASETS_MAX
    } else {
        fitting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enrolment_message_stays_below_the_size_that_servers_accept() {
        for columns in [1, 2, 12, 46, 47, 512, 2048] {
            let datasets = enrol_chunk_datasets_max(columns);
            assert!((1..=ENROL_CHUNK_DATASETS_MAX).contains(&datasets));
            let bytes = datasets * (columns * CHECK_VALUE_BYTES + DATASET_OVERHEAD_BYTES);
            assert!(bytes <= ENROL_MESSAGE_BYTES_MAX, "{columns} columns: {bytes} bytes");
        }
        assert_eq!((attribute_chunk_datasets_max(3), attribute_chunk_datasets_max(4096)), (1024, 31));
        assert_eq!(enrol_chunk_datasets_max(1), 256);
        assert_eq!(enrol_chunk_datasets_max(2048), 5);
    }
}
