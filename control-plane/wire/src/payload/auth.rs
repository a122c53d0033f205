//! The Authentication payload (RFC 7296 section 3.8).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Auth Method   |                RESERVED                       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                      Authentication Data                      ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;
use core::fmt;

use crate::ParseError;
use crate::number::numbers;
use crate::reader::Reader;
use crate::writer::Writer;

numbers! {
    /// Auth Method.
    AuthMethod(u8) {
        RSA_SIGNATURE = 1, "RSA digital signature";
        SHARED_KEY = 2, "shared key message integrity code";
        DSS_SIGNATURE = 3, "DSS digital signature";
        ECDSA_SHA256_P256 = 9, "ECDSA with SHA-256 on P-256";
        ECDSA_SHA384_P384 = 10, "ECDSA with SHA-384 on P-384";
        ECDSA_SHA512_P521 = 11, "ECDSA with SHA-512 on P-521";
        NULL = 13, "NULL authentication";
        DIGITAL_SIGNATURE = 14, "digital signature";
    }
}

/// Proof of an identity.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// How it is proved.
    pub method: AuthMethod,
    /// Authentication Data. Not printed: with a shared key it lets a reader of logs try passwords.
    pub data: Vec<u8>,
}

impl Auth {
    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let method = AuthMethod(body.u8()?);
        let _reserved = body.array::<3>()?;
        Ok(Self { method, data: body.rest().to_vec() })
    }

    pub(crate) fn emit(&self, writer: &mut Writer) {
        writer.u8(self.method.0);
        writer.slice(&[0; 3]);
        writer.slice(&self.data);
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("method", &self.method).field("data", &format_args!("{} octets", self.data.len())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_not_printed() {
        let auth = Auth { method: AuthMethod::SHARED_KEY, data: alloc::vec![0xa5; 32] };
        assert_eq!(alloc::format!("{auth:?}"), "Auth { method: AuthMethod(shared key message integrity code), data: 32 octets }");
    }
}
