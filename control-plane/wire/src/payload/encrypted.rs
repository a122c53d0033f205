//! The Encrypted payload (RFC 7296 section 3.14, RFC 5282 section 3).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                     Initialization Vector                     |
//! |         (length is block size for encryption algorithm)       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                    Encrypted IKE Payloads                     ~
//! +               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               |             Padding (0-255 octets)            |
//! +-+-+-+-+-+-+-+-+                               +-+-+-+-+-+-+-+-+
//! |                                               |  Pad Length   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                    Integrity Checksum Data                    ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use crate::reader::FRAME_LEN;
use crate::writer::Writer;
use crate::{EmitError, Header, Part, PayloadType};

/// An Encrypted payload, sealed. Where its parts lie depends on the algorithms of the IKE SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// Type of the first payload inside; [`PayloadType::NONE`] where it holds none.
    pub first: PayloadType,
    /// Everything behind the generic header: initialization vector, ciphertext, integrity checksum data.
    pub body: Vec<u8>,
}

impl Encrypted {
    /// What of `datagram`, the message this payload was read from, stands before the body: header, unencrypted payloads and the generic
    /// header of this one. These are the associated data of an AEAD (RFC 5282 section 5.1). An integrity checksum covers all of
    /// `datagram` but itself instead.
    pub fn associated_data<'a>(&self, datagram: &'a [u8]) -> &'a [u8] {
        // The payload is the last one, so its body is the tail of the datagram.
        datagram.len().checked_sub(self.body.len()).and_then(|len| datagram.get(..len)).unwrap_or_default()
    }

    /// Begins a message whose only payload is an Encrypted one: the header and the generic header for a body of `body_len` octets, with
    /// room for it. The octets returned are the associated data; what follows them is initialization vector, ciphertext and integrity
    /// checksum data, `body_len` in all.
    ///
    /// # Errors
    /// [`EmitError::Oversize`] where the body does not fit a payload.
    pub fn frame(header: &Header, first: PayloadType, body_len: usize) -> Result<Vec<u8>, EmitError> {
        let oversize = EmitError::Oversize(Part::Payload(PayloadType::SK));
        let payload_len = body_len.checked_add(FRAME_LEN).and_then(|len| u16::try_from(len).ok()).ok_or(oversize)?;
        let length = Header::LEN + usize::from(payload_len);
        let mut writer = Writer::with_capacity(length);
        header.emit(PayloadType::SK, length, &mut writer)?;
        writer.slice(&[first.0, 0]);
        writer.u16(payload_len);
        Ok(writer.finish())
    }
}
