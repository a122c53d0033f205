//! Octets from a peer, read front to back and never past their end.

use crate::{Fault, ParseError, Part};

/// What is left of one structure. Knows which, so that every error names its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    part: Part,
    rest: &'a [u8],
}

/// Payload, proposal, transform and traffic selector begin alike: two octets of their own, then the length of the whole.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           lead (2)            |   Length, these 4 included    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Debug)]
pub(crate) struct Framed<'a> {
    pub(crate) lead: [u8; 2],
    pub(crate) body: Reader<'a>,
}

/// Octets of the beginning that [`Framed`] structures share.
pub(crate) const FRAME_LEN: usize = 4;

impl<'a> Reader<'a> {
    pub(crate) const fn new(part: Part, octets: &'a [u8]) -> Self {
        Self { part, rest: octets }
    }

    /// The next `N` octets.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.truncated(N))?;
        self.rest = rest;
        Ok(*field)
    }

    /// The next `len` octets.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], ParseError> {
        let (field, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.truncated(len))?;
        self.rest = rest;
        Ok(field)
    }

    /// All that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ParseError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ParseError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ParseError> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next structure that frames itself; errors inside it name `part`.
    pub(crate) fn framed(&mut self, part: Part) -> Result<Framed<'a>, ParseError> {
        let mut head = Self::new(part, self.rest);
        let lead = head.array()?;
        let said = usize::from(head.u16()?);
        let len = said.checked_sub(FRAME_LEN).ok_or_else(|| head.fault(Fault::Length { said, actual: FRAME_LEN }))?;
        let body = Self::new(part, head.take(len)?);
        self.rest = head.rest;
        Ok(Framed { lead, body })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<(), ParseError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.fault(Fault::Trailing(self.rest.len()))) }
    }

    /// An error at this structure.
    pub(crate) const fn fault(&self, fault: Fault) -> ParseError {
        ParseError::Malformed { part: self.part, fault }
    }

    const fn truncated(&self, needed: usize) -> ParseError {
        self.fault(Fault::Truncated { needed, left: self.rest.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Part = Part::Transform;

    fn malformed(fault: Fault) -> ParseError {
        ParseError::Malformed { part: PART, fault }
    }

    #[test]
    fn reads_to_exactly_the_end_and_not_one_past() {
        let mut reader = Reader::new(PART, &[1, 2, 3]);
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.u16(), Err(malformed(Fault::Truncated { needed: 2, left: 1 })));
        assert_eq!(reader.u8(), Ok(3));
        assert!(reader.is_empty());
        assert_eq!(reader.take(0), Ok(&[][..]));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_frame_may_not_be_shorter_than_its_head_nor_longer_than_its_parent() {
        let frame = |octets: &[u8]| Reader::new(Part::Proposal, octets).framed(PART).map(|f| f.body.rest().len());
        assert_eq!(frame(&[0, 0, 0, 4]), Ok(0));
        assert_eq!(frame(&[0, 0, 0, 5, 9, 9]), Ok(1));
        assert_eq!(frame(&[0, 0, 0, 3]), Err(malformed(Fault::Length { said: 3, actual: 4 })));
        assert_eq!(frame(&[0, 0, 0, 5]), Err(malformed(Fault::Truncated { needed: 1, left: 0 })));
    }

    #[test]
    fn what_is_left_over_is_an_error() {
        assert_eq!(Reader::new(PART, &[0]).finish(), Err(malformed(Fault::Trailing(1))));
    }
}
