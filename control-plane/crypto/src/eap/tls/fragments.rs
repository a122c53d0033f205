//! TLS messages in EAP packets (RFC 5216 sections 2.1.5 and 3.1): Type-Data is
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Flags     |      TLS Message Length, where L is set
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               |       TLS Data...
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! A message that does not fit into one packet goes out in fragments; the other side answers each but the last with nothing.

use ike::provider::EapTlsData;

/// A message may be so long, in octets: a flight with several large certificates is a quarter of it.
pub(super) const LONGEST: usize = 64 << 10;
/// TLS Data in one packet. With all headers around it an IKE message still fits into what every IPv6 link carries, 1280 octets.
const FRAGMENT: usize = 1024;

/// What the other side says, until it is whole.
#[derive(Default)]
pub(super) struct Incoming {
    /// Of a message in fragments.
    total: usize,
    held: Vec<u8>,
}

/// What came of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The first Request: TLS may begin.
    Start,
    /// Nothing: go on with what you have to say.
    Acknowledgement,
    /// A fragment; the next one is wanted.
    More,
    /// A whole message.
    Message(Vec<u8>),
}

impl Incoming {
    /// Takes Type-Data.
    ///
    /// # Errors
    /// What is wrong with its lengths. Nothing is allocated for a message that says it is too long, nor beyond what has come.
    pub(super) fn take(&mut self, data: &[u8]) -> Result<Heard, String> {
        let EapTlsData { flags, total, data } =
            EapTlsData::parse(data).ok_or("an EAP-TLS packet without flags, or without the length they announce")?;
        if let Some(total) = total.filter(|&total| total as usize > LONGEST) {
            return Err(format!("a TLS message of {total} octets, where {LONGEST} are the most"));
        }
        let total = total.map(|total| total as usize);
        if flags.start {
            let alone = data.is_empty() && !flags.more && self.total == 0;
            return if alone { Ok(Heard::Start) } else { Err("an EAP-TLS start with something else".to_owned()) };
        }
        match (self.total, total) {
            (0, None) if !flags.more && data.is_empty() => return Ok(Heard::Acknowledgement),
            (0, None) if !flags.more => return Ok(Heard::Message(data.to_vec())),
            (0, None) => return Err("the first fragment of a TLS message does not say how long it is".to_owned()),
            (0, Some(total)) => self.total = total,
            (begun, Some(total)) if begun != total => return Err(format!("a TLS message that was of {begun} octets is of {total}")),
            _ => {}
        }
        let (total, so_far) = (self.total, self.held.len() + data.len());
        if so_far > total || (so_far == total) == flags.more || data.is_empty() {
            return Err(format!(
                "{so_far} octets have come of a TLS message of {total}, {} the last",
                if flags.more { "without" } else { "with" }
            ));
        }
        self.held.extend_from_slice(data);
        if flags.more {
            return Ok(Heard::More);
        }
        self.total = 0;
        Ok(Heard::Message(std::mem::take(&mut self.held)))
    }
}

/// What is to be said, in packets.
#[derive(Default)]
pub(super) struct Outgoing {
    message: Vec<u8>,
    said: usize,
}

impl Outgoing {
    pub(super) const fn new(message: Vec<u8>) -> Self {
        Self { message, said: 0 }
    }

    /// Whether there is more to say.
    pub(super) const fn is_done(&self) -> bool {
        self.said >= self.message.len()
    }

    /// The next packet's Type-Data; that of an acknowledgement at the end.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let rest = self.message.get(self.said..).unwrap_or_default();
        let (data, more) = rest.split_at_checked(FRAGMENT).map_or((rest, false), |(data, after)| (data, !after.is_empty()));
        // RFC 9190 section 2.4: no length where one packet has it all.
        let total = (more && self.said == 0).then(|| u32::try_from(self.message.len()).unwrap_or(u32::MAX));
        let packet = EapTlsData::emit(total, more, data);
        self.said += data.len();
        packet
    }
}

/// The first Request (RFC 5216 section 2.1.1).
pub(super) fn start() -> Vec<u8> {
    vec![EapTlsData::START]
}

#[cfg(test)]
mod tests {
    use super::*;

    const L: u8 = 0x80;
    const M: u8 = 0x40;

    fn packet(flags: u8, total: Option<u32>, data: &[u8]) -> Vec<u8> {
        let total = total.map(u32::to_be_bytes);
        [&[flags][..], total.as_ref().map_or(&[][..], <[u8; 4]>::as_slice), data].concat()
    }

    #[test]
    fn what_is_said_in_fragments_is_heard_whole() {
        for len in [1, FRAGMENT - 1, FRAGMENT, FRAGMENT + 1, 2 * FRAGMENT, 10_000, LONGEST] {
            let message: Vec<u8> = (0..len).map(|i| (i % 251).to_le_bytes()[0]).collect();
            let (mut outgoing, mut incoming) = (Outgoing::new(message.clone()), Incoming::default());
            let mut packets = 0;
            let heard = loop {
                packets += 1;
                match incoming.take(&outgoing.next()).unwrap() {
                    Heard::More => assert!(!outgoing.is_done()),
                    heard => break heard,
                }
            };
            assert!(heard == Heard::Message(message) && outgoing.is_done(), "{len}");
            assert_eq!(packets, len.div_ceil(FRAGMENT));
            assert_eq!(incoming.take(&outgoing.next()), Ok(Heard::Acknowledgement));
        }
        assert_eq!(Incoming::default().take(&start()), Ok(Heard::Start));
    }

    /// A length in one packet says nothing new, but may be there (RFC 5216 section 3.1).
    #[test]
    fn a_message_in_one_packet_may_say_how_long_it_is() {
        assert_eq!(Incoming::default().take(&packet(L, Some(3), b"abc")), Ok(Heard::Message(b"abc".to_vec())));
        assert_eq!(Incoming::default().take(&packet(0, None, b"abc")), Ok(Heard::Message(b"abc".to_vec())));
    }

    #[test]
    fn every_other_length_is_refused() {
        let longest = u32::try_from(LONGEST).unwrap();
        let cases: &[&[Vec<u8>]] = &[
            &[vec![]],
            &[vec![L]],
            &[vec![L, 0, 0, 0]],
            &[packet(L | M, Some(longest + 1), b"abc")],
            &[packet(L | M, Some(u32::MAX), b"abc")],
            &[packet(L, Some(2), b"abc")],
            &[packet(L, Some(4), b"abc")],
            &[packet(L, Some(0), b"")],
            &[packet(L | M, Some(3), b"abc")],
            &[packet(L | M, Some(0), b"")],
            &[packet(L | M, Some(4), b"")],
            &[packet(M, None, b"abc")],
            &[packet(EapTlsData::START, None, b"abc")],
            &[packet(EapTlsData::START | M, None, b"")],
            &[packet(L | M, Some(6), b"abc"), packet(0, None, b"")],
            &[packet(L | M, Some(6), b"abc"), packet(0, None, b"de")],
            &[packet(L | M, Some(6), b"abc"), packet(0, None, b"defg")],
            &[packet(L | M, Some(6), b"abc"), packet(M, None, b"def")],
            &[packet(L | M, Some(6), b"abc"), packet(L, Some(7), b"def")],
            &[packet(L | M, Some(6), b"abc"), packet(EapTlsData::START, None, b"")],
        ];
        for packets in cases {
            let mut incoming = Incoming::default();
            let (last, first) = packets.split_last().unwrap();
            first.iter().for_each(|packet| assert_eq!(incoming.take(packet), Ok(Heard::More)));
            assert!(incoming.take(last).is_err(), "{packets:?}");
        }
    }
}
