//! Who may make which call.

use locus_service::{Access, AccessTable};

/// Everything that contributors do here is public or carries their signatures.
pub const ACCESS: AccessTable = AccessTable {
    service: "locus.archive.v1.ArchiveService",
    methods: &[
        ("PutPanel", Access::Anyone),
        ("GetPanel", Access::Anyone),
        ("ListPanels", Access::Anyone),
        ("UploadDatasets", Access::Anyone),
        ("PublishRegistration", Access::Anyone),
        ("EnrolAttributes", Access::Anyone),
        ("ListSchemas", Access::Anyone),
        ("GetSchema", Access::Anyone),
        ("PutDisclosure", Access::Anyone),
        ("GetDisclosure", Access::Anyone),
        ("EraseDatasets", Access::Anyone),
        ("RekeyDatasets", Access::Anyone),
    ],
};
