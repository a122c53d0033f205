//! The Certificate and Certificate Request payloads (RFC 7296 sections 3.6 and 3.7).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Cert Encoding |                                               |
//! +-+-+-+-+-+-+-+-+                                               +
//! ~              Certificate Data or Certification Authority      ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use crate::ParseError;
use crate::number::numbers;
use crate::reader::Reader;
use crate::writer::Writer;

numbers! {
    /// Cert Encoding (section 3.6).
    CertificateEncoding(u8) {
        PKCS7_X509 = 1, "PKCS #7 wrapped X.509 certificate";
        X509_SIGNATURE = 4, "X.509 certificate - signature";
        CRL = 7, "certificate revocation list";
        X509_HASH_AND_URL = 12, "hash and URL of X.509 certificate";
        X509_BUNDLE_HASH_AND_URL = 13, "hash and URL of X.509 bundle";
        OCSP = 14, "OCSP content";
        RAW_PUBLIC_KEY = 15, "raw public key";
    }
}

/// A certificate, or something like it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What the data are.
    pub encoding: CertificateEncoding,
    /// Certificate Data.
    pub data: Vec<u8>,
}

/// Which certificates the sender would trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// What certificates are asked for.
    pub encoding: CertificateEncoding,
    /// Certification Authority: for X.509, SHA-1 hashes of trusted public keys, one after the other.
    pub authority: Vec<u8>,
}

impl Certificate {
    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self { encoding: CertificateEncoding(body.u8()?), data: body.rest().to_vec() })
    }

    pub(crate) fn emit(&self, writer: &mut Writer) {
        writer.u8(self.encoding.0);
        writer.slice(&self.data);
    }
}

impl CertificateRequest {
    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self { encoding: CertificateEncoding(body.u8()?), authority: body.rest().to_vec() })
    }

    pub(crate) fn emit(&self, writer: &mut Writer) {
        writer.u8(self.encoding.0);
        writer.slice(&self.authority);
    }
}
