//! Octets for a peer.

use alloc::vec::Vec;

use crate::{EmitError, Part};

/// The message so far.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    octets: Vec<u8>,
}

impl Writer {
    pub(crate) const fn new() -> Self {
        Self { octets: Vec::new() }
    }

    /// With room for a message whose length is known: it is allocated once.
    pub(crate) fn with_capacity(len: usize) -> Self {
        Self { octets: Vec::with_capacity(len) }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.octets.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.slice(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.slice(&value.to_be_bytes());
    }

    pub(crate) fn slice(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// A count field of one octet.
    pub(crate) fn count(&mut self, count: usize, part: Part) -> Result<(), EmitError> {
        self.u8(u8::try_from(count).map_err(|_| EmitError::Oversize(part))?);
        Ok(())
    }

    /// A structure that begins with two octets of its own and the length of the whole; see [`Framed`](crate::reader::Framed).
    pub(crate) fn framed(
        &mut self,
        part: Part,
        lead: [u8; 2],
        body: impl FnOnce(&mut Self) -> Result<(), EmitError>,
    ) -> Result<(), EmitError> {
        let start = self.octets.len();
        self.slice(&lead);
        self.u16(0);
        body(self)?;
        let framed = self.octets.get_mut(start..).unwrap_or_default();
        let len = u16::try_from(framed.len()).map_err(|_| EmitError::Oversize(part))?;
        if let Some([_, _, field @ ..]) = framed.first_chunk_mut::<4>() {
            *field = len.to_be_bytes();
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_full_at_65535_octets() {
        let frame = |body: usize| {
            let mut writer = Writer::new();
            writer.framed(Part::Proposal, [7, 8], |w| {
                w.slice(&alloc::vec![9; body]);
                Ok(())
            })?;
            Ok(writer.finish())
        };
        assert_eq!(frame(1), Ok(alloc::vec![7, 8, 0, 5, 9]));
        assert_eq!(frame(65_531).map(|octets| octets[2..4].to_vec()), Ok(alloc::vec![0xff, 0xff]));
        assert_eq!(frame(65_532), Err(EmitError::Oversize(Part::Proposal)));
    }
}
