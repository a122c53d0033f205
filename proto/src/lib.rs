//! What Culvert's processes agree on: the gRPC contracts and their conversion to domain types.
//!
//! [`dataplane`] is spoken by the control plane to the data plane, [`control`] by operators to the control plane. Generated structures
//! are loose; [`convert`] turns them into the checked types of `ipsec-types` at once, and nothing else in Culvert knows both.

use std::fmt;

use zeroize::Zeroize;

pub mod convert;

/// The contract between the planes.
pub mod dataplane {
    /// Version 1.
    #[expect(missing_docs, reason = "generated code; its documentation is the .proto file")]
    #[expect(unused_qualifications, clippy::all, reason = "generated code is not ours to write")]
    pub mod v1 {
        tonic::include_proto!("culvert.dataplane.v1");
    }
}

/// The contract between operators and the control plane.
pub mod control {
    /// Version 1.
    #[expect(missing_docs, reason = "generated code; its documentation is the .proto file")]
    #[expect(unused_qualifications, clippy::use_self, reason = "generated code is not ours to write")]
    pub mod v1 {
        tonic::include_proto!("culvert.control.v1");
    }
}

/// The descriptors of both contracts, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// An IKE SPI in JSON: as text, since JSON readers round large numbers.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn hex_u64<S: serde::Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:016x}"))
}

/// Prints nothing of the keys.
impl fmt::Debug for dataplane::v1::Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(write-only)")
    }
}

/// Zeroes the keys. Copies that the transport made while it sent or received the message are out of reach from here.
impl Drop for dataplane::v1::Keys {
    fn drop(&mut self) {
        self.encryption.zeroize();
        self.integrity.zeroize();
    }
}
