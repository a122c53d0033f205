//! What arrives at an SA of ESP or AH in either mode, told by octets: packets nobody with the key has made, and packets that are sealed as they should be
//! around any plaintext, behind any IP header. The fuzz target `esp` runs it, too.

use esp::open::{self, IpsecPacket, OpenError, Opened};
use esp::{InboundSa, ReplayWindow, SaKey, Selectors, WindowSize};
use esp_crypto::{Aad, AeadKey, MacKey, SealJob};
use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm, Mode, Protection, SaKeys, Secret, SequenceNumbers, Spi, TrafficSelector};
use packet::{Buffer, VecBuffer};

const SPI: u32 = 0x1122_3344;
const SALT: [u8; 4] = [0x5a; 4];
/// Packets of one story at most.
const MOST_PACKETS: usize = 16;

/// Receives the packets that `octets` tell. None may panic, no sequence number may be accepted twice, and what is opened is what was sealed.
pub(crate) fn exercise(octets: &[u8]) {
    let Some((&kind, mut rest)) = octets.split_first() else { return };
    let mut receiver = Receiver::new(kind);
    for _ in 0..MOST_PACKETS {
        let Some(packet) = take_packet(&mut rest) else { break };
        receiver.receive(packet);
    }
}

/// One packet of a story: how it is made, its sequence number where that matters, and its octets.
struct Told<'a> {
    how: u8,
    sequence: u32,
    octets: &'a [u8],
}

fn take_packet<'a>(rest: &mut &'a [u8]) -> Option<Told<'a>> {
    let (&[how, high, low, len], tail) = rest.split_first_chunk()?;
    let (octets, tail) = tail.split_at(tail.len().min(usize::from(len)));
    *rest = tail;
    // Small numbers, and those around the wrap of the low half.
    let sequence = u32::from(low) | if high & 1 == 0 { 0 } else { 0xffff_ff00 };
    Some(Told { how, sequence, octets })
}

struct Receiver {
    key: AeadKey,
    ah: bool,
    mode: Mode,
    extended: bool,
    /// Against replays.
    protected: bool,
    sa: InboundSa,
    window: ReplayWindow,
    accepted: Vec<u64>,
}

impl Receiver {
    fn new(kind: u8) -> Self {
        let keymat = [&[0x5a; 32][..], &SALT].concat();
        let (ah, mode) = (kind & 32 != 0, if kind & 16 == 0 { Mode::Tunnel } else { Mode::Transport });
        let esp = |encryption| Protection::Esp { encryption, integrity: None };
        let (protection, key) = match (ah, kind & 1) {
            (false, 0) => (esp(EncryptionAlgorithm::AesGcm256), AeadKey::aes_gcm(&keymat[..32])),
            (false, _) => (esp(EncryptionAlgorithm::ChaCha20Poly1305), AeadKey::chacha20_poly1305(&keymat[..32])),
            (true, 0) => {
                (Protection::Ah { integrity: IntegrityAlgorithm::AesCmac }, AeadKey::authentication(MacKey::AesCmac(&keymat[..16])))
            }
            (true, _) => {
                (Protection::Ah { integrity: IntegrityAlgorithm::HmacSha256 }, AeadKey::authentication(MacKey::HmacSha256(&keymat[..32])))
            }
        };
        let extended = kind & 2 != 0;
        let numbers = if extended { SequenceNumbers::Extended } else { SequenceNumbers::Standard };
        let window_size = WindowSize::new([0, 1, 64, 1024][usize::from(kind >> 2 & 3)]).unwrap();
        // Most inner packets are permitted: half of the addresses of either family, any protocol and port. In transport mode all are.
        let selectors = |texts: [&str; 2]| -> Vec<TrafficSelector> { texts.map(|text| text.parse().unwrap()).into() };
        let selectors = match mode {
            Mode::Tunnel => Selectors::new(selectors(["0.0.0.0/1", "::/1"]), selectors(["0.0.0.0/0", "::/0"])),
            Mode::Transport => Selectors::new(selectors(["0.0.0.0/0", "::/0"]), selectors(["0.0.0.0/0", "::/0"])),
        };
        let keys = match protection {
            Protection::Esp { .. } => SaKeys { encryption: Secret::new(keymat), integrity: None },
            Protection::Ah { integrity } => {
                SaKeys { encryption: Secret::new(Vec::new()), integrity: Some(Secret::copy_from(&keymat[..integrity.key_len()])) }
            }
        };
        let sa_key = SaKey::new(protection, &keys).unwrap();
        let sa = InboundSa::new(Spi::new(SPI).unwrap(), sa_key, numbers, window_size, selectors).in_mode(mode);
        let window = ReplayWindow::new(sa.window_size());
        let protected = window_size != WindowSize::OFF;
        Self { key: key.unwrap(), ah, mode, extended, protected, sa, window, accepted: Vec::new() }
    }

    fn receive(&mut self, told: Told<'_>) {
        let clear = [SPI.to_be_bytes(), told.sequence.to_be_bytes()].concat();
        let (wire, sealed) = match (told.how & 3, self.ah) {
            // As it came from the wire.
            (0, _) => (told.octets.to_vec(), None),
            // The clear part is in order.
            (1, false) => (outer(told.how, 50, &[], &[&clear, told.octets].concat()), None),
            (1, true) => (outer(told.how, 51, &[], &[&[4, 4, 0, 0], &clear[..], told.octets].concat()), None),
            // And the ICV; the trailer is as told, or what is in front of AH.
            (2, false) => (self.seal(&told, told.octets), Some(told.octets.to_vec())),
            (2, true) => self.authenticate(&told),
            // And the trailer.
            (_, false) => {
                let plaintext = with_trailer(self.mode, told.octets);
                (self.seal(&told, &plaintext), Some(plaintext))
            }
            (_, true) => self.authenticate(&Told { octets: &[&[0], told.octets].concat(), ..told }),
        };
        let mut buffer = VecBuffer::from_packet(&wire);
        let opened = self.open(&mut buffer);
        if let Ok(opened) = opened {
            let plaintext = sealed.expect("nobody else has the key");
            assert!(!self.protected || !self.accepted.contains(&opened.number), "{} is accepted twice", opened.number);
            self.accepted.push(opened.number);
            assert_eq!(buffer.len(), opened.inner.total_len());
            match self.mode {
                Mode::Tunnel => {
                    // But for the octets that carry ECN, and the checksum over them.
                    let inner = plaintext.get(..opened.inner.total_len()).expect("an inner packet is part of the plaintext");
                    assert_eq!(buffer.bytes().get(12..), inner.get(12..));
                }
                Mode::Transport => {
                    let header_len = wire.len() - wire_payload_len(&wire);
                    let payload = buffer.bytes().get(header_len..).expect("the header stays");
                    assert!(payload.len() <= plaintext.len() && (told.how & 8 != 0 || plaintext.starts_with(payload)));
                }
            }
        }
        let again = self.open(&mut VecBuffer::from_packet(&wire));
        assert!(!self.protected || again.is_err(), "opened again: {again:?}");
    }

    fn open(&mut self, buffer: &mut VecBuffer) -> Result<Opened, OpenError> {
        let packet = IpsecPacket::parse(buffer.bytes())?;
        let plan = open::prepare(&self.sa, &self.window, &packet, buffer)?;
        let verified = plan.job(buffer).is_some_and(|job| esp_crypto::open_burst(&mut [job]).contains(0));
        plan.finish(verified, &mut self.window, buffer)
    }

    /// What a peer with the key sends: any plaintext, with the number that the receiver will take the sequence number for.
    fn seal(&self, told: &Told<'_>, plaintext: &[u8]) -> Vec<u8> {
        let number = self.window.number(self.sa.sequence_numbers(), told.sequence).unwrap_or_else(|_| told.sequence.into());
        let aad = if self.extended { Aad::extended(SPI, number) } else { Aad::new(SPI, told.sequence) };
        let iv = number.to_be_bytes();
        let nonce = [&SALT[..], &iv].concat().try_into().unwrap();
        let (mut data, mut icv) = (plaintext.to_vec(), [0; 16]);
        esp_crypto::seal_burst(&mut [SealJob::new(&self.key, nonce, aad, &mut data, &mut icv).unwrap()]);
        outer(told.how, 50, &[], &[&SPI.to_be_bytes()[..], &told.sequence.to_be_bytes(), &iv, &data, &icv].concat())
    }

    /// The same with AH: the first octet told counts those of options or extension headers in front, the next one says what follows.
    fn authenticate(&self, told: &Told<'_>) -> (Vec<u8>, Option<Vec<u8>>) {
        let number = self.window.number(self.sa.sequence_numbers(), told.sequence).unwrap_or_else(|_| told.sequence.into());
        let aad = if self.extended { Aad::extended(SPI, number) } else { Aad::new(SPI, told.sequence) };
        let (count, rest) = told.octets.split_first().unwrap_or((&0, &[]));
        let ipv6 = told.how & 4 != 0;
        let (front, rest) = rest.split_at(rest.len().min(if ipv6 { usize::from(count % 9) * 8 } else { usize::from(count % 11) * 4 }));
        let (front, rest) = (&front[..front.len() / 8 * 8], rest);
        let (next_header, payload) = rest.split_first().unwrap_or((&59, &[]));
        let icv_len = self.key.icv_len();
        let ah_len = (12 + icv_len).next_multiple_of(if ipv6 { 8 } else { 4 });
        let fixed = [*next_header, u8::try_from(ah_len / 4 - 2).unwrap(), 0, 0];
        let head = [&fixed[..], &SPI.to_be_bytes(), &told.sequence.to_be_bytes(), &vec![0; ah_len - 12]].concat();
        let mut wire = outer(told.how & !8, 51, front, &[&head[..], payload].concat());
        let header_len = wire.len() - head.len() - payload.len();
        let mut covered = wire.clone();
        // Where the headers in front cannot be followed, nobody's ICV is right.
        let _ = packet::ah::zero_mutable(&mut covered[..header_len]);
        let icv = &mut wire[header_len + 12..header_len + 12 + icv_len];
        esp_crypto::seal_burst(&mut [SealJob::new(&self.key, [0; 12], aad, &mut covered, icv).unwrap()]);
        (wire, Some(payload.to_vec()))
    }
}

/// What is behind the IP header, its options and extension headers.
fn wire_payload_len(wire: &[u8]) -> usize {
    packet::ip::Ip::parse(wire).map_or(0, |ip| wire.len() - ip.header_len())
}

/// An inner packet as the first octet calls it, padded and with a trailer. In transport mode the first octet is the protocol.
fn with_trailer(mode: Mode, inner: &[u8]) -> Vec<u8> {
    let next_header = match (mode, inner.first()) {
        (Mode::Transport, Some(first)) => *first,
        (_, Some(first)) if first >> 4 == 4 => 4,
        (_, Some(first)) if first >> 4 == 6 => 41,
        _ => 59,
    };
    let padding = u8::try_from(inner.len().wrapping_add(2).wrapping_neg() & 3).unwrap();
    [inner, &[1, 2, 3][..padding.into()], &[padding, next_header]].concat()
}

/// An IPv4 or IPv6 packet around ESP, plain or in UDP, or around AH, with some DS field, and with options or extension headers in `front`: of the latter the
/// last says what follows.
fn outer(how: u8, protocol: u8, front: &[u8], rest: &[u8]) -> Vec<u8> {
    let (ipv6, in_udp, class) = (how & 4 != 0, how & 8 != 0 && protocol == 50, how >> 4);
    let mut payload = [front, rest].concat();
    if in_udp {
        let length = u16::try_from(rest.len() + 8).unwrap().to_be_bytes();
        payload.splice(0..0, [[0x11, 0x94], [0x11, 0x94], length, [0, 0]].concat());
    }
    let protocol = if in_udp { 17 } else { protocol };
    if ipv6 {
        // Hop-by-hop options, or what the first of them is told to be.
        let first = if front.is_empty() { protocol } else { [0, 43, 60, 44][usize::from(class & 3)] };
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let mut header = vec![0x60 | class >> 4, class << 4, 0, 0, length[0], length[1], first, 64];
        header.extend([
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
        ]);
        return [header, payload].concat();
    }
    let words = u8::try_from(front.len() / 4).unwrap();
    let length = u16::try_from(payload.len() + 20).unwrap().to_be_bytes();
    let mut header = vec![0x45 + words, class, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    let checksum = packet::checksum::internet(&[&header[..], front].concat()).to_be_bytes();
    header[10..12].copy_from_slice(&checksum);
    [header, payload].concat()
}
