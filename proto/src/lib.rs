//! What Culvert's processes agree on: the gRPC contracts and their conversion to domain types.
//!
//! [`dataplane`] is spoken by the control plane to the data plane, [`control`] by operators to the control plane. Generated structures
//! are loose; [`convert`] turns them into the checked types of `ipsec-types` at once, and nothing else in Culvert knows both.

pub mod convert;

/// The contract between the planes.
pub mod dataplane {
    /// Version 1.
    #[expect(missing_docs, reason = "generated code; its documentation is the .proto file")]
    pub mod v1 {
        tonic::include_proto!("culvert.dataplane.v1");
    }
}

/// The contract between operators and the control plane.
pub mod control {
    /// Version 1.
    #[expect(missing_docs, reason = "generated code; its documentation is the .proto file")]
    pub mod v1 {
        tonic::include_proto!("culvert.control.v1");
    }
}

/// The descriptors of both contracts, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

impl std::fmt::Debug for dataplane::v1::Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(write-only)")
    }
}
