//! What arrives at an SA, told by octets: packets nobody with the key has made, and packets that are sealed as they should be around any
//! plaintext. The fuzz target `esp` runs it, too.

use esp::open::{self, IpsecPacket, OpenError, Opened};
use esp::{InboundSa, ReplayWindow, SaKey, Selectors, WindowSize};
use esp_crypto::{Aad, AeadKey, SealJob};
use ipsec_types::{EncryptionAlgorithm, Secret, SequenceNumbers, Spi, TrafficSelector};
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
        let (algorithm, key) = if kind & 1 == 0 {
            (EncryptionAlgorithm::AesGcm256, AeadKey::aes_gcm(&keymat[..32]))
        } else {
            (EncryptionAlgorithm::ChaCha20Poly1305, AeadKey::chacha20_poly1305(&keymat[..32]))
        };
        let extended = kind & 2 != 0;
        let numbers = if extended { SequenceNumbers::Extended } else { SequenceNumbers::Standard };
        let window_size = WindowSize::new([0, 1, 64, 1024][usize::from(kind >> 2 & 3)]).unwrap();
        // Most inner packets are permitted: half of the addresses of either family, any protocol and port.
        let selectors = |texts: [&str; 2]| -> Vec<TrafficSelector> { texts.map(|text| text.parse().unwrap()).into() };
        let selectors = Selectors::new(selectors(["0.0.0.0/1", "::/1"]), selectors(["0.0.0.0/0", "::/0"]));
        let sa_key = SaKey::from_keymat(algorithm, &Secret::new(keymat)).unwrap();
        let sa = InboundSa::new(Spi::new(SPI).unwrap(), sa_key, numbers, window_size, selectors);
        let window = ReplayWindow::new(sa.window_size());
        let protected = window_size != WindowSize::OFF;
        Self { key: key.unwrap(), extended, protected, sa, window, accepted: Vec::new() }
    }

    fn receive(&mut self, told: Told<'_>) {
        let (wire, sealed) = match told.how & 3 {
            // As it came from the wire.
            0 => (told.octets.to_vec(), None),
            // The clear part is in order.
            1 => (outer(told.how, &[&SPI.to_be_bytes()[..], &told.sequence.to_be_bytes(), told.octets].concat()), None),
            // And the ICV; the trailer is as told.
            2 => (self.seal(&told, told.octets), Some(told.octets.to_vec())),
            // And the trailer.
            _ => {
                let plaintext = with_trailer(told.octets);
                (self.seal(&told, &plaintext), Some(plaintext))
            }
        };
        let mut buffer = VecBuffer::from_packet(&wire);
        let opened = self.open(&mut buffer);
        if let Ok(opened) = opened {
            let plaintext = sealed.expect("nobody else has the key");
            assert!(!self.protected || !self.accepted.contains(&opened.number), "{} is accepted twice", opened.number);
            self.accepted.push(opened.number);
            assert_eq!(buffer.len(), opened.inner_len);
            // But for the octets that carry ECN, and the checksum over them.
            let inner = plaintext.get(..opened.inner_len).expect("an inner packet is part of the plaintext");
            assert_eq!(buffer.bytes().get(12..), inner.get(12..));
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
        outer(told.how, &[&SPI.to_be_bytes()[..], &told.sequence.to_be_bytes(), &iv, &data, &icv].concat())
    }
}

/// An inner packet as the first octet calls it, padded and with a trailer.
fn with_trailer(inner: &[u8]) -> Vec<u8> {
    let next_header = match inner.first() {
        Some(first) if first >> 4 == 4 => 4,
        Some(first) if first >> 4 == 6 => 41,
        _ => 59,
    };
    let padding = u8::try_from(inner.len().wrapping_add(2).wrapping_neg() & 3).unwrap();
    [inner, &[1, 2, 3][..padding.into()], &[padding, next_header]].concat()
}

/// An IPv4 or IPv6 packet around ESP, plain or in UDP, with some DS field.
fn outer(how: u8, esp: &[u8]) -> Vec<u8> {
    let (ipv6, in_udp, class) = (how & 4 != 0, how & 8 != 0, how >> 4);
    let mut payload = esp.to_vec();
    if in_udp {
        let length = u16::try_from(esp.len() + 8).unwrap().to_be_bytes();
        payload.splice(0..0, [[0x11, 0x94], [0x11, 0x94], length, [0, 0]].concat());
    }
    let protocol = if in_udp { 17 } else { 50 };
    if ipv6 {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let mut header = vec![0x60 | class >> 4, class << 4, 0, 0, length[0], length[1], protocol, 64];
        header.extend([
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
        ]);
        return [header, payload].concat();
    }
    let length = u16::try_from(payload.len() + 20).unwrap().to_be_bytes();
    let mut header = vec![0x45, class, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let checksum = !u16::try_from((sum >> 16) + (sum & 0xffff)).unwrap();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [header, payload].concat()
}
