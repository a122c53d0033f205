//! Against scapy's ESP and AH, which share no code with ours: it opens what we seal, we open what it seals, and each fault it makes ends in its own reason to
//! drop. `tests/scapy/esp_peer.py` is the peer; without `/usr/bin/python3` and python3-scapy (`scripts/setup` installs them) the test fails.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use esp::open::{self, IpsecPacket, OpenError};
use esp::{DontFragment, Ends, InboundSa, OutboundSa, ReplayWindow, SaKey, Selectors, Template, Tunnel, UdpPorts, WindowSize, seal};
use ipsec_types::{CipherMode, EncryptionAlgorithm, IntegrityAlgorithm, Mode, Protection, SaKeys, Secret, SequenceNumbers, Spi};
use packet::ipv4::Ipv4Header;
use packet::ipv6::Ipv6Header;
use packet::{Buffer, VecBuffer};
use serde_json::{Value, json};

const SPI: u32 = 0x1122_3344;
const WINDOW: u64 = 64;

#[test]
fn scapy_opens_what_we_seal() {
    let mut peer = Peer::start();
    for suite in Suite::all() {
        let sa = suite.outbound();
        for start in suite.starts() {
            sa.skip_to(start);
            for number in start..start + 8 {
                let inner = inner(20 + usize::try_from(number % 97).unwrap() * 15);
                let wire = suite.seal(&sa, &inner);
                let answer = peer.ask(&json!({"op": "open", "sa": suite.json(), "high": number >> 32, "wire": hex(&wire)}));
                assert_eq!(answer, json!({"inner": hex(&inner), "spi": SPI, "sequence": number & 0xffff_ffff}), "{suite:?} {number}");
            }
        }
    }
}

#[test]
fn we_open_what_scapy_seals() {
    let mut peer = Peer::start();
    for suite in Suite::all() {
        let mut receiver = suite.receiver();
        for start in suite.starts() {
            // A receiver knows the high half from what it has seen; here it has seen the number before.
            if start > 1 {
                assert!(receiver.window.accept(start - 1).is_ok());
            }
            for number in start..start + 8 {
                let inner = inner(20 + usize::try_from(number % 97).unwrap() * 15);
                let wire = peer.seal(&suite, number, &inner, None);
                assert_eq!(receiver.open(&wire), Ok(inner), "{suite:?} {number}");
            }
        }
    }
}

/// Both IP versions in both, with several traffic classes, DF set and clear: scapy opens what we seal, holds the outer header against its own, and seals the
/// same for us.
#[test]
fn all_four_mixes_of_ip_versions_are_understood_both_ways() {
    let mut peer = Peer::start();
    for outer in [OUTER4, OUTER6] {
        for udp in [false, true] {
            let protection = Protection::Esp { encryption: EncryptionAlgorithm::AesGcm128, integrity: None };
            let suite = Suite { protection, mode: Mode::Tunnel, esn: false, udp, outer };
            let (sa, mut receiver) = (suite.outbound(), suite.receiver());
            // Every bit of a class set and clear, and every ECN field.
            for class in (0..=255).step_by(37) {
                for inner in [inner_with(class, true, 60), inner_with(class, false, 61), inner6(class, 67)] {
                    let number = sa.last_taken() + 1;
                    let wire = suite.seal(&sa, &inner);
                    let answer = peer.ask(&json!({"op": "open", "sa": suite.json(), "high": 0, "wire": hex(&wire)}));
                    assert_eq!(answer, json!({"inner": hex(&inner), "spi": SPI, "sequence": number}), "{suite:?} {class}");
                    let wire = peer.seal(&suite, number, &inner, None);
                    assert_eq!(receiver.open(&wire), Ok(inner), "{suite:?} {class}");
                }
            }
        }
    }
}

/// Whatever the packet's own header is like: short and long, with several classes, DF set and clear; with options and extension headers, of which routers
/// may change some.
#[test]
fn in_transport_mode_a_packet_is_understood_both_ways() {
    let mut peer = Peer::start();
    for suite in Suite::in_transport_mode() {
        let (sa, mut receiver) = (suite.outbound(), suite.receiver());
        for packet in suite.own_packets() {
            let number = sa.last_taken() + 1;
            let wire = suite.seal(&sa, &packet);
            let answer = peer.ask(&json!({"op": "open", "sa": suite.json(), "high": 0, "wire": hex(&wire)}));
            assert_eq!(answer, json!({"inner": hex(&packet), "spi": SPI, "sequence": number}), "{suite:?}");
            let wire = peer.seal(&suite, number, &packet, None);
            assert_eq!(receiver.open(&wire), Ok(packet), "{suite:?}");
        }
    }
}

#[test]
fn both_ip_versions_are_understood_both_ways_with_ah() {
    let mut peer = Peer::start();
    for suite in Suite::with_ah().into_iter().filter(|suite| suite.mode == Mode::Tunnel) {
        let (sa, mut receiver) = (suite.outbound(), suite.receiver());
        let start = if suite.esn { (3 << 32) - 2 } else { 1 };
        sa.skip_to(start);
        assert!(start == 1 || receiver.window.accept(start - 1).is_ok());
        for inner in [inner_with(0xb8, true, 60), inner_with(0, false, 61), inner6(0x2e, 67)] {
            let number = sa.last_taken() + 1;
            let wire = suite.seal(&sa, &inner);
            let answer = peer.ask(&json!({"op": "open", "sa": suite.json(), "high": number >> 32, "wire": hex(&wire)}));
            assert_eq!(answer, json!({"inner": hex(&inner), "spi": SPI, "sequence": number & 0xffff_ffff}), "{suite:?}");
            let wire = peer.seal(&suite, number, &inner, None);
            assert_eq!(receiver.open(&wire), Ok(inner), "{suite:?}");
        }
    }
}

#[test]
fn each_fault_has_its_own_reason_to_drop() {
    let mut peer = Peer::start();
    for suite in Suite::all() {
        let mut receiver = suite.receiver();
        let inner = inner(84);
        let first = peer.seal(&suite, 1, &inner, None);
        assert_eq!(receiver.open(&first), Ok(inner.clone()));
        let faults = [
            ("icv", OpenError::Integrity),
            ("payload", OpenError::Integrity),
            ("runt", OpenError::Runt),
            ("spi", OpenError::WrongSpi),
            // AH ends here.
            ("padding", OpenError::BadPadding),
            ("next_header", OpenError::BadNextHeader(6)),
            ("dummy", OpenError::Dummy),
        ];
        let count = if suite.protection.encryption().is_some() { faults.len() } else { 4 };
        for (number, (fault, reason)) in (2..).zip(faults).take(count) {
            let wire = peer.seal(&suite, number, &inner, Some(fault));
            assert_eq!(receiver.open(&wire), Err(reason), "{suite:?} {fault}");
        }
        assert_eq!(receiver.open(&first), Err(OpenError::Replay), "{suite:?}");
        let ahead = peer.seal(&suite, WINDOW + 1, &inner, None);
        assert_eq!(receiver.open(&ahead), Ok(inner.clone()));
        // Number 1 is now the first below the window. With ESN a number below the window means one 2^32 higher (RFC 4303 appendix A2), so that an old
        // packet fails its integrity check instead.
        let too_old = if suite.esn { OpenError::Integrity } else { OpenError::OutOfWindow };
        assert_eq!(receiver.open(&first), Err(too_old), "{suite:?}");
        let last_within = peer.seal(&suite, 2, &inner, None);
        assert_eq!(receiver.open(&last_within), Ok(inner), "{suite:?}");
    }
}

/// RFC 4303 appendix A: both halves of an SA pair go over the edge of 2^32, with packets that come late and more lost than the window is wide. The
/// ICVs of the HMAC suites are computed with Python's own library: those of scapy leave the high half out.
#[test]
fn a_pair_of_sas_goes_over_the_edge_of_32_bits() {
    const EDGE: u64 = 1 << 32;
    use OpenError::{Integrity, Replay};
    // What arrives, and what becomes of it. With ESN a number below the window means one 2^32 higher.
    let late = [
        (EDGE - 60, Ok(())),
        (EDGE - 2, Ok(())),
        (EDGE, Ok(())),
        (EDGE - 1, Ok(())),
        (EDGE + 3, Ok(())),
        (EDGE - 2, Err(Replay)),
        (EDGE - 60, Err(Replay)),
        (EDGE - 61, Err(Integrity)),
        (EDGE - 59, Ok(())),
        (EDGE + 1, Ok(())),
        (EDGE, Err(Replay)),
    ];
    let lost = [
        (EDGE - 40, Ok(())),
        (EDGE + 3 * WINDOW, Ok(())),
        (EDGE - 39, Err(Integrity)),
        (EDGE + 1, Err(Integrity)),
        (EDGE + 2 * WINDOW, Err(Integrity)),
        (EDGE + 2 * WINDOW + 1, Ok(())),
        (EDGE + 3 * WINDOW + 1, Ok(())),
    ];
    let mut peer = Peer::start();
    for suite in Suite::all().into_iter().filter(|suite| suite.esn && !suite.udp) {
        for arrivals in [&late[..], &lost[..]] {
            let (outbound, mut receiver) = (suite.outbound(), suite.receiver());
            assert!(receiver.window.accept(EDGE - 100).is_ok());
            outbound.skip_to(EDGE - 70);
            // Whatever is lost on the way has had its number.
            let sent: Vec<Vec<u8>> = (0..300).map(|_| suite.seal(&outbound, &inner(84))).collect();
            for &(number, expected) in arrivals {
                let wire = peer.seal(&suite, number, &inner(84), None);
                assert_eq!(receiver.open(&wire), expected.map(|()| inner(84)), "{suite:?} {}", number.cast_signed() - EDGE.cast_signed());
                let wire = &sent[usize::try_from(number - (EDGE - 70)).unwrap()];
                let answer = peer.ask(&json!({"op": "open", "sa": suite.json(), "high": number >> 32, "wire": hex(wire)}));
                assert_eq!(answer, json!({"inner": hex(&inner(84)), "spi": SPI, "sequence": number & 0xffff_ffff}), "{suite:?} {number}");
            }
        }
    }
}

/// With ESN, what is out of the window as such is a number before the first: the window still reaches below zero.
#[test]
fn an_extended_number_before_the_first_is_out_of_window() {
    let mut peer = Peer::start();
    for suite in Suite::all().into_iter().filter(|s| s.esn) {
        let mut receiver = suite.receiver();
        let wire = peer.seal(&suite, 0xffff_fff0, &inner(84), None);
        assert_eq!(receiver.open(&wire), Err(OpenError::OutOfWindow));
    }
}

#[derive(Debug)]
struct Suite {
    protection: Protection,
    mode: Mode,
    esn: bool,
    udp: bool,
    outer: (&'static str, &'static str),
}

const OUTER4: (&str, &str) = ("192.0.2.1", "192.0.2.2");
const OUTER6: (&str, &str) = ("2001:db8::1", "2001:db8::2");

impl Suite {
    const TRANSFORMS: [(EncryptionAlgorithm, Option<IntegrityAlgorithm>); 22] = [
        (EncryptionAlgorithm::AesGcm128, None),
        (EncryptionAlgorithm::AesGcm256, None),
        (EncryptionAlgorithm::ChaCha20Poly1305, None),
        (EncryptionAlgorithm::AesCcm8Icv128, None),
        (EncryptionAlgorithm::AesCcm12Icv192, None),
        (EncryptionAlgorithm::AesCcm16Icv256, None),
        (EncryptionAlgorithm::AesGmac128, None),
        (EncryptionAlgorithm::AesGmac256, None),
        (EncryptionAlgorithm::TripleDes, Some(IntegrityAlgorithm::HmacSha1)),
        (EncryptionAlgorithm::TripleDes, Some(IntegrityAlgorithm::HmacMd5)),
        (EncryptionAlgorithm::TripleDes, Some(IntegrityAlgorithm::AesCmac)),
        (EncryptionAlgorithm::AesCbc128, Some(IntegrityAlgorithm::AesXcbc)),
        (EncryptionAlgorithm::AesCbc256, Some(IntegrityAlgorithm::AesCmac)),
        (EncryptionAlgorithm::Null, Some(IntegrityAlgorithm::AesXcbc)),
        (EncryptionAlgorithm::AesCbc128, Some(IntegrityAlgorithm::HmacSha1)),
        (EncryptionAlgorithm::AesCbc128, Some(IntegrityAlgorithm::HmacSha256)),
        (EncryptionAlgorithm::AesCbc192, Some(IntegrityAlgorithm::HmacSha384)),
        (EncryptionAlgorithm::AesCbc256, Some(IntegrityAlgorithm::HmacSha512)),
        (EncryptionAlgorithm::AesCtr128, Some(IntegrityAlgorithm::HmacSha256)),
        (EncryptionAlgorithm::AesCtr256, Some(IntegrityAlgorithm::HmacSha1)),
        (EncryptionAlgorithm::Null, Some(IntegrityAlgorithm::HmacSha1)),
        (EncryptionAlgorithm::Null, Some(IntegrityAlgorithm::HmacSha256)),
    ];

    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (encryption, integrity) in Self::TRANSFORMS {
            let protection = Protection::Esp { encryption, integrity };
            for esn in [false, true] {
                for udp in [false, true] {
                    all.push(Self { protection, mode: Mode::Tunnel, esn, udp, outer: OUTER4 });
                }
            }
        }
        all.extend(Self::with_ah().into_iter().filter(|suite| suite.mode == Mode::Tunnel));
        all
    }

    fn with_ah() -> Vec<Self> {
        let mut all = Vec::new();
        for protection in IntegrityAlgorithm::ALL.iter().map(|&integrity| Protection::Ah { integrity }) {
            for (mode, outer, esn) in Self::ways() {
                all.push(Self { protection, mode, esn, udp: false, outer });
            }
        }
        all
    }

    /// Transport mode with a few transforms: one of each alignment, and one that encrypts nothing.
    fn in_transport_mode() -> Vec<Self> {
        let transforms = [
            (EncryptionAlgorithm::AesGcm256, None),
            (EncryptionAlgorithm::AesCbc128, Some(IntegrityAlgorithm::HmacSha256)),
            (EncryptionAlgorithm::TripleDes, Some(IntegrityAlgorithm::HmacSha1)),
            (EncryptionAlgorithm::Null, Some(IntegrityAlgorithm::HmacSha512)),
        ];
        let mut all = Self::with_ah();
        for protection in transforms.map(|(encryption, integrity)| Protection::Esp { encryption, integrity }) {
            for (mode, outer, esn) in Self::ways() {
                all.extend([false, true].map(|udp| Self { protection, mode, esn, udp, outer }));
            }
        }
        all.retain(|suite| suite.mode == Mode::Transport);
        all
    }

    /// Modes, IP versions, and widths of sequence numbers.
    fn ways() -> Vec<(Mode, (&'static str, &'static str), bool)> {
        let mut ways = Vec::new();
        for mode in [Mode::Tunnel, Mode::Transport] {
            for outer in [OUTER4, OUTER6] {
                ways.extend([false, true].map(|esn| (mode, outer, esn)));
            }
        }
        ways
    }

    /// Where to begin: at the first number, and with ESN also just before the low half wraps.
    fn starts(&self) -> Vec<u64> {
        if self.esn { vec![1, (1 << 32) - 4, (7 << 32) - 4] } else { vec![1, (1 << 32) - 8] }
    }

    fn keymat(&self) -> Vec<u8> {
        (1..).take(self.protection.encryption().map_or(0, EncryptionAlgorithm::keymat_len)).collect()
    }

    fn integrity_key(&self) -> Option<Vec<u8>> {
        self.protection.integrity().map(|integrity| (101..).take(integrity.key_len()).collect())
    }

    fn key(&self) -> SaKey {
        let keys = SaKeys { encryption: Secret::new(self.keymat()), integrity: self.integrity_key().map(Secret::new) };
        SaKey::new(self.protection, &keys).unwrap()
    }

    /// scapy's names.
    fn names(&self) -> (&'static str, Option<&'static str>) {
        let cipher = match self.protection.encryption().map_or(CipherMode::Null, EncryptionAlgorithm::mode) {
            CipherMode::Null => "NULL",
            CipherMode::Cbc => "AES-CBC",
            CipherMode::TripleDesCbc => "3DES",
            CipherMode::Ctr => "AES-CTR",
            CipherMode::Ccm => "AES-CCM",
            CipherMode::Gcm => "AES-GCM",
            CipherMode::Gmac => "AES-GMAC",
            CipherMode::ChaCha20Poly1305 => "CHACHA20-POLY1305",
        };
        let integrity = match self.protection.integrity() {
            None => None,
            Some(IntegrityAlgorithm::AesXcbc) => Some("AES-XCBC-96"),
            Some(IntegrityAlgorithm::AesCmac) => Some("AES-CMAC-96"),
            Some(IntegrityAlgorithm::HmacMd5) => Some("HMAC-MD5-96"),
            Some(IntegrityAlgorithm::HmacSha1) => Some("HMAC-SHA1-96"),
            Some(IntegrityAlgorithm::HmacSha256) => Some("SHA2-256-128"),
            Some(IntegrityAlgorithm::HmacSha384) => Some("SHA2-384-192"),
            Some(IntegrityAlgorithm::HmacSha512) => Some("SHA2-512-256"),
        };
        (cipher, integrity)
    }

    const fn numbers(&self) -> SequenceNumbers {
        if self.esn { SequenceNumbers::Extended } else { SequenceNumbers::Standard }
    }

    fn outbound(&self) -> OutboundSa {
        OutboundSa::new(Spi::new(SPI).unwrap(), self.key(), self.numbers()).in_mode(self.mode)
    }

    fn tunnel(&self) -> Tunnel {
        let udp = self.udp.then_some(UdpPorts { source: 4500, destination: 61_234 });
        let ends = Ends::new(self.outer.0.parse().unwrap(), self.outer.1.parse().unwrap()).unwrap();
        Tunnel { ends, udp, dont_fragment: DontFragment::Copy, copy_dscp: true }
    }

    /// Our ESP packet around this one, under the next number.
    fn seal(&self, sa: &OutboundSa, inner: &[u8]) -> Vec<u8> {
        let (template, mut buffer) = (Template::new(sa, &self.tunnel()), VecBuffer::from_packet(inner));
        let plan = seal::parse_and_prepare(sa.take_one().unwrap(), &template, &mut buffer).unwrap();
        esp_crypto::seal_burst(&mut [plan.job(&mut buffer).unwrap()]);
        seal::finish(&template, &mut buffer).unwrap();
        buffer.bytes().to_vec()
    }

    fn receiver(&self) -> Receiver {
        let selector = |text: &str| text.split(' ').map(|text| text.parse().unwrap()).collect();
        let size = WindowSize::new(u32::try_from(WINDOW).unwrap()).unwrap();
        let selectors = match self.mode {
            Mode::Tunnel => Selectors::new(selector("10.77.1.0/24 fd77:1::/64"), selector("10.77.2.0/24 fd77:2::/64")),
            Mode::Transport => Selectors::new(selector(self.outer.0), selector(self.outer.1)),
        };
        let sa = InboundSa::new(Spi::new(SPI).unwrap(), self.key(), self.numbers(), size, selectors).in_mode(self.mode);
        Receiver { window: ReplayWindow::new(sa.window_size()), sa }
    }

    /// Packets from end to end.
    fn own_packets(&self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        if let (Ok(source), Ok(destination)) = (self.outer.0.parse(), self.outer.1.parse()) {
            for (traffic_class, dont_fragment, len) in [(0, false, 20), (0xb8, true, 21), (3, false, 600)] {
                let header = Ipv4Header { traffic_class, identification: 7, dont_fragment, ttl: 64, protocol: 17, source, destination };
                packets.push([&header.to_octets(8 + len).unwrap()[..], &udp_segment(len)].concat());
            }
            // Router alert and record route.
            let header =
                Ipv4Header { traffic_class: 0, identification: 7, dont_fragment: false, ttl: 64, protocol: 17, source, destination };
            let options = [148, 4, 0, 0, 7, 7, 4, 192, 0, 2, 9, 0];
            let mut packet = [&header.to_octets(options.len() + 28).unwrap()[..], &options, &udp_segment(20)].concat();
            packet[0] = 0x48;
            packet[10..12].fill(0);
            let checksum = packet::checksum::internet(&packet[..32]);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
            packets.push(packet);
            return packets;
        }
        let (source, destination) = (self.outer.0.parse().unwrap(), self.outer.1.parse().unwrap());
        let six = |next_header, payload: &[u8]| {
            let header = Ipv6Header { traffic_class: 0x2e, next_header, hop_limit: 64, source, destination };
            [&header.to_octets(payload.len()).unwrap()[..], payload].concat()
        };
        let udp_segment = |len| {
            let mut segment = udp_segment(len);
            packet::udp::fill_checksum(source.into(), destination.into(), &mut segment);
            segment
        };
        packets.extend([20, 21, 600].map(|len| six(17, &udp_segment(len))));
        // Hop-by-hop options, of which the first may change on the way. Destination options scapy would put in front of ESP; we put them behind it.
        let hop_by_hop = [17, 1, 0x3e, 6, 1, 2, 3, 4, 5, 6, 1, 4, 0, 0, 0, 0];
        packets.push(six(0, &[&hop_by_hop[..], &udp_segment(20)].concat()));
        packets
    }

    fn json(&self) -> Value {
        let udp = if self.udp { json!([4500, 61_234]) } else { Value::Null };
        let ((cipher, auth), ends) = (self.names(), self.outer);
        let (iv_len, aead_icv_len) = self.protection.encryption().map_or((0, None), |cipher| (cipher.esp_iv_len(), cipher.aead_icv_len()));
        let (key, auth_key) = (hex(&self.keymat()), hex(&self.integrity_key().unwrap_or_default()));
        let icv_len = self.protection.integrity().map(IntegrityAlgorithm::icv_len).or(aead_icv_len).unwrap();
        let protocol = if self.protection.encryption().is_some() { "esp" } else { "ah" };
        json!({
            "spi": SPI, "cipher": cipher, "key": key, "iv_len": iv_len, "auth": auth, "auth_key": auth_key, "icv_len": icv_len,
            "esn": self.esn, "source": ends.0, "destination": ends.1, "udp": udp, "protocol": protocol, "transport": self.mode == Mode::Transport,
        })
    }
}

struct Receiver {
    sa: InboundSa,
    window: ReplayWindow,
}

impl Receiver {
    fn open(&mut self, wire: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut buffer = VecBuffer::from_packet(wire);
        let packet = IpsecPacket::parse(buffer.bytes())?;
        let plan = open::prepare(&self.sa, &self.window, &packet, &mut buffer)?;
        let verified = esp_crypto::open_burst(&mut [plan.job(&mut buffer).unwrap()]);
        plan.finish(verified.contains(0), &mut self.window, &mut buffer)?;
        Ok(buffer.bytes().to_vec())
    }
}

/// scapy in a process of its own.
struct Peer {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scapy/esp_peer.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("/usr/bin/python3 is missing: run scripts/setup");
        let (requests, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, requests, answers }
    }

    fn ask(&mut self, request: &Value) -> Value {
        let gone = "the scapy peer has ended: is python3-scapy installed? run scripts/setup";
        writeln!(self.requests.as_mut().unwrap(), "{request}").expect(gone);
        let mut line = String::new();
        assert_ne!(self.answers.read_line(&mut line).expect(gone), 0, "{gone}");
        serde_json::from_str(&line).unwrap()
    }

    fn seal(&mut self, suite: &Suite, number: u64, inner: &[u8], fault: Option<&str>) -> Vec<u8> {
        let answer = self.ask(&json!({"op": "seal", "sa": suite.json(), "number": number, "inner": hex(inner), "fault": fault}));
        unhex(answer["wire"].as_str().unwrap_or_else(|| panic!("{answer}")))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // End of input ends the peer.
        self.requests = None;
        let _ = self.child.wait();
    }
}

/// A UDP packet of `len` octets; cut short below 28.
fn inner(len: usize) -> Vec<u8> {
    inner_with(0xb8, true, len)
}

fn inner_with(traffic_class: u8, dont_fragment: bool, len: usize) -> Vec<u8> {
    let header = Ipv4Header {
        traffic_class,
        identification: 7,
        dont_fragment,
        ttl: 63,
        protocol: 17,
        source: [10, 77, 1, 10].into(),
        destination: [10, 77, 2, 10].into(),
    };
    let mut packet = header.to_octets(len - 20).unwrap().to_vec();
    let udp_len = u16::try_from(len - 20).unwrap().to_be_bytes();
    packet.extend([0x03, 0xe8, 0x07, 0xd0, udp_len[0], udp_len[1], 0, 0].into_iter().chain((0..=250).cycle()).take(len - 20));
    packet
}

/// The same in IPv6; `len` is 48 at least.
fn inner6(traffic_class: u8, len: usize) -> Vec<u8> {
    let (source, destination) = ("fd77:1::10".parse().unwrap(), "fd77:2::10".parse().unwrap());
    let header = Ipv6Header { traffic_class, next_header: 17, hop_limit: 63, source, destination };
    let udp_len = u16::try_from(len - 40).unwrap().to_be_bytes();
    let segment = [&[0x03, 0xe8, 0x07, 0xd0, udp_len[0], udp_len[1], 0, 0][..], &vec![0x5a; len - 48]].concat();
    [&header.to_octets(segment.len()).unwrap()[..], &segment].concat()
}

/// A UDP datagram with so many octets of data, and no checksum.
fn udp_segment(len: usize) -> Vec<u8> {
    let udp_len = u16::try_from(8 + len).unwrap().to_be_bytes();
    [&[0x03, 0xe8, 0x07, 0xd0, udp_len[0], udp_len[1], 0, 0][..], &vec![0x5a; len]].concat()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}
