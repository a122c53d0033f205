//! The keys that come with Access-Accept (RFC 2548 sections 2.4.2 and 2.4.3).
//!
//! ```text
//! Vendor-Specific:  Vendor-Id (311, four octets), then MS-MPPE-Send-Key (16) or MS-MPPE-Recv-Key (17):
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Vendor-Type  | Vendor-Length |             Salt
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!                      String, hidden: key length, key, padding to 16 octets
//! ```

use ipsec_types::Secret;
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::packet::{Attributes, RadiusError, kind};

const MICROSOFT: [u8; 4] = 311_u32.to_be_bytes();
const SEND_KEY: u8 = 16;
const RECV_KEY: u8 = 17;
/// Octets of an MSK at least (RFC 3748 section 7.10).
const MSK: usize = 64;
/// Octets of each half at least: what MSCHAPv2 has.
const LEAST: usize = 16;

/// MSK: what the gateway receives by, then what it sends by, and zeros up to 64 octets. `None` where there are no keys.
pub(super) fn msk(attributes: &[(u8, &[u8])], reveal: &dyn Fn(&[u8]) -> Option<Secret>) -> Result<Option<Secret>, RadiusError> {
    let malformed = RadiusError::Attribute(kind::VENDOR_SPECIFIC);
    let (mut send, mut receive) = (None, None);
    for (_, value) in attributes.iter().filter(|(found, _)| *found == kind::VENDOR_SPECIFIC) {
        // What other vendors write need not have this form.
        let Some(inner) = value.strip_prefix(&MICROSOFT) else { continue };
        for attribute in Attributes(inner) {
            let (found, hidden) = attribute.map_err(|_| malformed)?;
            let key = match found {
                SEND_KEY => &mut send,
                RECV_KEY => &mut receive,
                _ => continue,
            };
            let revealed = reveal(hidden).filter(|key| key.len() >= LEAST).ok_or(malformed)?;
            if key.replace(revealed).is_some() {
                return Err(malformed);
            }
        }
    }
    match (receive, send) {
        (Some(receive), Some(send)) => {
            let mut msk = Vec::with_capacity(MSK.max(receive.len() + send.len()));
            msk.extend(receive.expose());
            msk.extend(send.expose());
            if msk.len() < MSK {
                msk.resize(MSK, 0);
            }
            Ok(Some(Secret::new(msk)))
        }
        (None, None) => Ok(None),
        _ => Err(malformed),
    }
}

/// The key behind its salt: `None` where its length is none that there is.
pub(super) fn reveal(hidden: &[u8], request_authenticator: &[u8; 16], secret: &Secret) -> Option<Secret> {
    let (salt, cipher) = hidden.split_at_checked(2)?;
    if cipher.is_empty() || !cipher.len().is_multiple_of(16) {
        return None;
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(cipher.len()));
    let mut mask = Md5::new().chain_update(secret.expose()).chain_update(request_authenticator).chain_update(salt);
    for block in cipher.chunks_exact(16) {
        let key = Zeroizing::new(<[u8; 16]>::from(mask.finalize()));
        plain.extend(block.iter().zip(key.iter()).map(|(octet, key)| octet ^ key));
        mask = Md5::new().chain_update(secret.expose()).chain_update(block);
    }
    let (length, key) = plain.split_first()?;
    key.get(..usize::from(*length)).map(Secret::copy_from)
}
