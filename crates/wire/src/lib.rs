#![doc = include_str!("../SPEC.md")]

pub mod convert;
pub mod limits;
pub mod relay;

/// Generated messages, clients and servers.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::unwrap_used)]
pub mod pb {
    pub mod locus {
        pub mod genomics {
            pub mod v1 {
                include!("generated/locus.genomics.v1.rs");
            }
        }
        pub mod engine {
            pub mod v1 {
                include!("generated/locus.engine.v1.rs");
            }
        }
        pub mod archive {
            pub mod v1 {
                include!("generated/locus.archive.v1.rs");
            }
        }
        pub mod exchange {
            pub mod v1 {
                include!("generated/locus.exchange.v1.rs");
            }
        }
        pub mod query {
            pub mod v1 {
                include!("generated/locus.query.v1.rs");
            }
        }
        pub mod keyholder {
            pub mod v1 {
                include!("generated/locus.keyholder.v1.rs");
            }
        }
    }
    pub use locus::{
        archive::v1 as archive, engine::v1 as engine, exchange::v1 as exchange, genomics::v1 as genomics,
        keyholder::v1 as keyholder, query::v1 as query,
    };
}

/// Encoded descriptor set of all packages, for gRPC reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptor_set.bin");
