//! The Encrypted payload: sealing and opening (RFC 7296 section 3.14, RFC 5282).

use alloc::vec;
use alloc::vec::Vec;

use ike_wire::{Encrypted, Header, Message, ParseError, Payload, emit_payloads, parse_payloads};

use crate::error::Failure;
use crate::provider::{IvKind, Random, SkKey, SkSuite};

/// Proof that a message came from the holder of the IKE SA's keys and was not changed. Only [`open`] makes one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SkVerified(());

/// Payloads that were inside an Encrypted payload.
pub(crate) struct Opened {
    pub(crate) payloads: Vec<Payload>,
    pub(crate) verified: SkVerified,
}

/// Why an Encrypted payload gave nothing.
pub(crate) enum OpenError {
    /// Nobody proved anything: to be ignored.
    Unauthentic,
    /// The peer itself sent what cannot be read.
    Malformed(SkVerified, ParseError),
}

/// Makes IVs and seals; one for each IKE SA.
pub(crate) struct Sealer {
    counter: u64,
}

impl Sealer {
    pub(crate) const fn new() -> Self {
        Self { counter: 0 }
    }

    /// A message whose only payload is an Encrypted one holding `payloads`.
    pub(crate) fn seal(
        &mut self,
        suite: &dyn SkSuite,
        key: &dyn SkKey,
        random: &mut dyn Random,
        header: &Header,
        payloads: &[Payload],
    ) -> Result<Vec<u8>, Failure> {
        let local = |what: &str| Failure::Local(alloc::format!("the message cannot be built: {what}"));
        let chain = emit_payloads(payloads).map_err(|error| local(&alloc::format!("{error}")))?;
        let iv = self.iv(suite, random);
        // Padding brings payloads and Pad Length to whole blocks; shorter padding hides nothing less.
        let text_len = (chain.octets.len() + 1).next_multiple_of(suite.block_len().max(1));
        let pad_len = u8::try_from(text_len - chain.octets.len() - 1).map_err(|_| local("block length"))?;
        let body_len = iv.len() + text_len + suite.icv_len();
        let mut datagram = Encrypted::frame(header, chain.first, body_len).map_err(|error| local(&alloc::format!("{error}")))?;
        let mut text = chain.octets;
        text.resize(text_len - 1, 0);
        text.push(pad_len);
        let mut icv = vec![0; suite.icv_len()];
        key.seal(&datagram, &iv, &mut text, &mut icv).map_err(|error| local(&alloc::format!("{error}")))?;
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

/// Checks and decrypts the Encrypted payload that ends `message`, which was read from `datagram`.
pub(crate) fn open(suite: &dyn SkSuite, key: &dyn SkKey, message: &Message, datagram: &[u8]) -> Result<Opened, OpenError> {
    let encrypted = message.encrypted().ok_or(OpenError::Unauthentic)?;
    let aad = encrypted.associated_data(datagram);
    let (iv, rest) = encrypted.body.split_at_checked(suite.iv_len()).ok_or(OpenError::Unauthentic)?;
    let text_len = rest.len().checked_sub(suite.icv_len()).filter(|len| *len > 0).ok_or(OpenError::Unauthentic)?;
    let (text, icv) = rest.split_at_checked(text_len).ok_or(OpenError::Unauthentic)?;
    let mut text = text.to_vec();
    key.open(aad, iv, &mut text, icv).map_err(|_| OpenError::Unauthentic)?;
    let verified = SkVerified(());
    let padding = usize::from(text.last().copied().unwrap_or_default()) + 1;
    let clear = text.len().checked_sub(padding).and_then(|len| text.get(..len)).unwrap_or_default();
    let payloads = parse_payloads(encrypted.first, clear).map_err(|error| OpenError::Malformed(verified, error))?;
    Ok(Opened { payloads, verified })
}
