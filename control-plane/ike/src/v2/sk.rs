//! The Encrypted payload, whole and in fragments: sealing and opening (RFC 7296 section 3.14, RFC 5282, RFC 7383).

use alloc::vec;
use alloc::vec::Vec;

use ike_wire::{Chain, EmitError, Encrypted, Fragment, FragmentNumber, Header, Message, ParseError, Payload, PayloadType};
use ike_wire::{emit_payloads, parse_payloads};
use zeroize::Zeroizing;

use crate::error::Failure;
use crate::provider::{IvKind, Random, SkKey, SkSuite};
use crate::window::Datagrams;

/// Proof that a message came from the holder of the IKE SA's keys and was not changed. Only [`open`] makes one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SkVerified(());

/// What was sealed: payloads, or a part of them.
pub(crate) struct Opened {
    /// Type of the first payload.
    pub(crate) first: PayloadType,
    /// There may be a password in it.
    pub(crate) octets: Zeroizing<Vec<u8>>,
    pub(crate) verified: SkVerified,
}

impl Opened {
    /// The payloads.
    ///
    /// # Errors
    /// Where the peer itself has sent what cannot be read.
    pub(crate) fn payloads(&self) -> Result<Vec<Payload>, ParseError> {
        parse_payloads(self.first, &self.octets)
    }
}

/// Makes IVs and seals; one for each IKE SA.
pub(crate) struct Sealer {
    counter: u64,
}

/// What the messages of an IKE SA are sealed with.
pub(crate) struct Seal<'a> {
    pub(crate) suite: &'a dyn SkSuite,
    pub(crate) key: &'a dyn SkKey,
    /// Octets of a message from which on it is cut into fragments; `None` for never.
    pub(crate) most: Option<usize>,
}

impl Seal<'_> {
    /// Octets of the body that holds so many of payloads: padding brings them and Pad Length to whole blocks, as shorter padding hides
    /// nothing less.
    fn body_len(&self, octets: usize) -> usize {
        let text_len = (octets + 1).next_multiple_of(self.suite.block_len().max(1));
        self.suite.iv_len() + text_len + self.suite.icv_len()
    }

    /// Octets of payloads in a fragment, at least one.
    fn chunk_len(&self, most: usize) -> usize {
        let around = Fragment::OVERHEAD + self.suite.iv_len() + self.suite.icv_len();
        let block = self.suite.block_len().max(1);
        let text_len = most.saturating_sub(around) / block * block;
        text_len.saturating_sub(1).max(1)
    }
}

impl Sealer {
    pub(crate) const fn new() -> Self {
        Self { counter: 0 }
    }

    /// A message whose only payload is an Encrypted one holding `payloads`, in fragments where it is too long.
    ///
    /// # Errors
    /// Where the payloads cannot be written.
    pub(crate) fn seal(
        &mut self,
        seal: &Seal<'_>,
        random: &mut dyn Random,
        header: &Header,
        payloads: &[Payload],
    ) -> Result<Datagrams, Failure> {
        let Chain { first, octets } = emit_payloads(payloads).map_err(unbuildable)?;
        let octets = Zeroizing::new(octets);
        let whole = |body_len| Encrypted::frame(header, first, body_len);
        let body_len = seal.body_len(octets.len());
        let length = Header::LEN + 4 + body_len;
        match seal.most.filter(|most| length > *most) {
            None => Ok(vec![self.seal_one(seal, random, whole, &octets)?]),
            Some(most) => self.seal_fragments(seal, random, header, (first, &octets), seal.chunk_len(most)),
        }
    }

    /// RFC 7383 section 2.5: "The content is treated as a binary blob and is split regardless of the boundaries of inner payloads."
    fn seal_fragments(
        &mut self,
        seal: &Seal<'_>,
        random: &mut dyn Random,
        header: &Header,
        (first, octets): (PayloadType, &[u8]),
        chunk_len: usize,
    ) -> Result<Datagrams, Failure> {
        let chunks = octets.chunks(chunk_len);
        let total = u16::try_from(chunks.len()).map_err(unbuildable)?;
        let numbers = (1..=total).filter_map(|number| FragmentNumber::new(number, total));
        let fragments = numbers.zip(chunks).map(|(number, chunk)| {
            let first = if number.number() == 1 { first } else { PayloadType::NONE };
            self.seal_one(seal, random, |body_len| Fragment::frame(header, first, number, body_len), chunk)
        });
        fragments.collect()
    }

    /// `frame` makes what stands before a body of so many octets.
    fn seal_one(
        &mut self,
        seal: &Seal<'_>,
        random: &mut dyn Random,
        frame: impl FnOnce(usize) -> Result<Vec<u8>, EmitError>,
        octets: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let iv = self.iv(seal.suite, random);
        let body_len = seal.body_len(octets.len());
        let text_len = body_len - seal.suite.iv_len() - seal.suite.icv_len();
        let pad_len = u8::try_from(text_len - octets.len() - 1).map_err(unbuildable)?;
        let mut datagram = frame(body_len).map_err(unbuildable)?;
        // In memory of its whole length, so that none of it stays behind elsewhere.
        let mut text = Vec::with_capacity(text_len);
        text.extend_from_slice(octets);
        text.resize(text_len - 1, 0);
        text.push(pad_len);
        let mut icv = vec![0; seal.suite.icv_len()];
        seal.key.seal(&datagram, &iv, &mut text, &mut icv).map_err(unbuildable)?;
        datagram.extend_from_slice(&iv);
        datagram.extend_from_slice(&text);
        datagram.extend_from_slice(&icv);
        Ok(datagram)
    }

    fn iv(&mut self, suite: &dyn SkSuite, random: &mut dyn Random) -> Vec<u8> {
        let mut iv = vec![0; suite.iv_len()];
        match suite.iv_kind() {
            IvKind::Unpredictable => random.fill(&mut iv),
            // RFC 5282 section 3.1: never the same IV twice under one key; 2^64 messages do not happen in the life of an IKE SA.
            IvKind::Unique => {
                self.counter += 1;
                iv.iter_mut().rev().zip(self.counter.to_le_bytes()).for_each(|(octet, count)| *octet = count);
            }
        }
        iv
    }
}

fn unbuildable(error: impl core::fmt::Display) -> Failure {
    Failure::Local(alloc::format!("the message cannot be built: {error}"))
}

/// Checks and decrypts the Encrypted payload, or the fragment of one, that ends `message`, which was read from `datagram`. `None` where
/// nobody proved anything: that is to be ignored.
pub(crate) fn open(suite: &dyn SkSuite, key: &dyn SkKey, message: &Message, datagram: &[u8]) -> Option<Opened> {
    let (first, aad, body) = match message.payloads.last()? {
        Payload::Encrypted(encrypted) => (encrypted.first, encrypted.associated_data(datagram), &encrypted.body),
        Payload::Fragment(fragment) => (fragment.first, fragment.associated_data(datagram), &fragment.body),
        _ => return None,
    };
    let (iv, rest) = body.split_at_checked(suite.iv_len())?;
    let text_len = rest.len().checked_sub(suite.icv_len()).filter(|len| *len > 0)?;
    let (text, icv) = rest.split_at_checked(text_len)?;
    let mut text = Zeroizing::new(text.to_vec());
    key.open(aad, iv, &mut text, icv).ok()?;
    let padding = usize::from(text.last().copied().unwrap_or_default()) + 1;
    let len = text.len().saturating_sub(padding);
    text.truncate(len);
    Some(Opened { first, octets: text, verified: SkVerified(()) })
}
