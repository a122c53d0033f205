//! Every transform, every short length: what is sealed has the layout of RFC 4303 and opens again, and nothing else does.

#![expect(clippy::unwrap_used, reason = "tests")]

use esp::open::{self, IpsecPacket, OpenError};
use esp::{DontFragment, Ends, InboundSa, OutboundSa, ReplayWindow, SaKey, Selectors, Template, Tunnel, WindowSize, seal};
use hmac::{Hmac, KeyInit, Mac};
use ipsec_types::{
    AddressRange, EncryptionAlgorithm, IntegrityAlgorithm, Protection, SaKeys, Secret, SequenceNumbers, Spi, TrafficSelector,
};
use md5::Md5;
use packet::ipv4::Ipv4Header;
use packet::{Buffer, VecBuffer};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

const SPI: u32 = 0x1234_5678;
/// Octets of the outer IPv4 header.
const OUTER: usize = 20;
const TUNNEL: Tunnel = Tunnel {
    ends: Ends::V4 { source: std::net::Ipv4Addr::new(192, 0, 2, 1), destination: std::net::Ipv4Addr::new(192, 0, 2, 2) },
    udp: None,
    dont_fragment: DontFragment::Copy,
    copy_dscp: true,
};

#[derive(Debug, Clone, Copy)]
struct Transforms {
    encryption: EncryptionAlgorithm,
    integrity: Option<IntegrityAlgorithm>,
    numbers: SequenceNumbers,
}

impl Transforms {
    /// Every cipher with everything it goes with.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for &encryption in EncryptionAlgorithm::ALL {
            for &numbers in SequenceNumbers::ALL {
                if encryption.is_aead() {
                    all.push(Self { encryption, integrity: None, numbers });
                } else {
                    let with = |&integrity| Self { encryption, integrity: Some(integrity), numbers };
                    all.extend(IntegrityAlgorithm::ALL.iter().map(with));
                }
            }
        }
        all
    }

    fn integrity_key(self) -> Option<Vec<u8>> {
        self.integrity.map(|integrity| (0x40..).take(integrity.key_len()).collect())
    }

    fn key(self) -> SaKey {
        let encryption = Secret::new((1..).take(self.encryption.keymat_len()).collect());
        let protection = Protection::Esp { encryption: self.encryption, integrity: self.integrity };
        SaKey::new(protection, &SaKeys { encryption, integrity: self.integrity_key().map(Secret::new) }).unwrap()
    }

    fn outbound(self, first: u64) -> OutboundSa {
        let sa = OutboundSa::new(Spi::new(SPI).unwrap(), self.key(), self.numbers);
        sa.skip_to(first);
        sa
    }

    fn inbound(self, first: u64) -> (InboundSa, ReplayWindow) {
        let any = || vec![TrafficSelector::addresses_only(AddressRange::ALL_IPV4)];
        let selectors = Selectors::new(any(), any());
        let sa = InboundSa::new(Spi::new(SPI).unwrap(), self.key(), self.numbers, WindowSize::DEFAULT, selectors);
        let mut window = ReplayWindow::new(sa.window_size());
        window.accept(first - 1).unwrap();
        (sa, window)
    }

    /// The first number of a test: with ESN the low half wraps on the way.
    const fn first(self) -> u64 {
        match self.numbers {
            SequenceNumbers::Standard => 2,
            SequenceNumbers::Extended => (5 << 32) - 100,
        }
    }

    /// The ICV by another way: over header, IV, ciphertext, and with ESN the high half (RFC 4303 section 2.2.1). Those of AES are in tests/scapy.rs.
    fn expected_icv(self, number: u64, authenticated: &[u8]) -> Option<Vec<u8>> {
        fn hmac<M: Mac + KeyInit>(key: &[u8], parts: [&[u8]; 2]) -> Vec<u8> {
            let mut hmac = <M as KeyInit>::new_from_slice(key).unwrap();
            parts.iter().for_each(|part| hmac.update(part));
            hmac.finalize().into_bytes().to_vec()
        }
        let high = &number.to_be_bytes()[..4];
        let parts = [authenticated, if self.numbers == SequenceNumbers::Extended { high } else { &[] }];
        let (key, integrity) = self.integrity_key().zip(self.integrity)?;
        let full = match integrity {
            IntegrityAlgorithm::HmacMd5 => hmac::<Hmac<Md5>>(&key, parts),
            IntegrityAlgorithm::HmacSha1 => hmac::<Hmac<Sha1>>(&key, parts),
            IntegrityAlgorithm::HmacSha256 => hmac::<Hmac<Sha256>>(&key, parts),
            IntegrityAlgorithm::HmacSha384 => hmac::<Hmac<Sha384>>(&key, parts),
            IntegrityAlgorithm::HmacSha512 => hmac::<Hmac<Sha512>>(&key, parts),
            IntegrityAlgorithm::AesXcbc | IntegrityAlgorithm::AesCmac => return None,
        };
        Some(full[..integrity.icv_len()].to_vec())
    }

    fn icv_len(self) -> usize {
        self.integrity.map(IntegrityAlgorithm::icv_len).or_else(|| self.encryption.aead_icv_len()).unwrap()
    }
}

/// An inner packet with `len` octets behind its header.
fn inner(len: usize) -> Vec<u8> {
    let header = Ipv4Header {
        traffic_class: 0,
        identification: 1,
        dont_fragment: true,
        ttl: 64,
        protocol: 17,
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 1, 1].into(),
    };
    let mut packet = header.to_octets(len).unwrap().to_vec();
    packet.extend((0..len).map(|i| u8::try_from(i).unwrap()));
    packet
}

fn seal_one(sa: &OutboundSa, inner: &[u8]) -> Vec<u8> {
    let mut buffer = VecBuffer::from_packet(inner);
    let template = Template::new(sa, &TUNNEL);
    let plan = seal::parse_and_prepare(sa.take_one().unwrap(), &template, &mut buffer).unwrap();
    esp_crypto::seal_burst(&mut [plan.job(&mut buffer).unwrap()]);
    seal::finish(&template, &mut buffer).unwrap();
    buffer.bytes().to_vec()
}

fn open_one(sa: &InboundSa, window: &mut ReplayWindow, wire: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut buffer = VecBuffer::from_packet(wire);
    let packet = IpsecPacket::parse(buffer.bytes())?;
    let plan = open::prepare(sa, window, &packet, &mut buffer)?;
    let verified = esp_crypto::open_burst(&mut [plan.job(&mut buffer).unwrap()]);
    plan.finish(verified.contains(0), window, &mut buffer)?;
    Ok(buffer.bytes().to_vec())
}

#[test]
fn every_transform_seals_what_it_opens_and_nothing_else_opens() {
    for transforms in Transforms::all() {
        let outbound = transforms.outbound(transforms.first());
        let (inbound, mut window) = transforms.inbound(transforms.first());
        for len in 0..=200 {
            let inner = inner(len);
            let number = outbound.last_taken() + 1;
            let wire = seal_one(&outbound, &inner);
            assert_eq!(wire.len(), TUNNEL.outer_len(outbound.layout(), inner.len()), "{transforms:?} {len}");

            let (authenticated, icv) = wire[OUTER..].split_at(wire.len() - OUTER - transforms.icv_len());
            let encrypted = authenticated.len() - 8 - transforms.encryption.esp_iv_len();
            assert!(encrypted.is_multiple_of(transforms.encryption.esp_alignment()), "{transforms:?} {len}");
            assert!(
                encrypted - inner.len() - 2 < transforms.encryption.esp_alignment(),
                "{transforms:?} {len}: no more padding than it takes"
            );
            if let Some(expected) = transforms.expected_icv(number, authenticated) {
                assert_eq!(icv, expected, "{transforms:?} {len}");
            }

            // One bit of the ESP packet behind its SPI, another for each length.
            let mut forged = wire.clone();
            let at = OUTER + 4 + len * 7 % (wire.len() - OUTER - 4);
            forged[at] ^= 1 << (len % 8);
            let refused = open_one(&inbound, &mut window, &forged);
            let of_number = at < OUTER + 8;
            assert!(
                refused == Err(OpenError::Integrity) || of_number && matches!(refused, Err(OpenError::Replay | OpenError::OutOfWindow)),
                "{transforms:?} {len} {at}: {refused:?}"
            );
            assert_eq!(open_one(&inbound, &mut window, &wire), Ok(inner), "{transforms:?} {len}");
        }
    }
}

/// With ESN the half that is not sent counts: the same octets under another high half are no packet of the SA.
#[test]
fn the_high_half_is_authenticated() {
    for transforms in Transforms::all().into_iter().filter(|transforms| transforms.numbers == SequenceNumbers::Extended) {
        let first = 7 << 32;
        let wire = seal_one(&transforms.outbound(first), &inner(40));
        let (inbound, mut other) = transforms.inbound(8 << 32);
        assert_eq!(open_one(&inbound, &mut other, &wire), Err(OpenError::Integrity), "{transforms:?}");
        let (inbound, mut window) = transforms.inbound(first);
        assert_eq!(open_one(&inbound, &mut window, &wire), Ok(inner(40)), "{transforms:?}");
    }
}

#[test]
fn packets_of_different_transforms_go_in_one_burst() {
    let all = Transforms::all();
    for some in all.chunks(esp_crypto::MAX_BURST) {
        let outbound: Vec<OutboundSa> = some.iter().map(|transforms| transforms.outbound(transforms.first())).collect();
        let mut buffers: Vec<_> = (0..some.len()).map(|len| VecBuffer::from_packet(&inner(len * 11 % 256))).collect();
        let mut jobs = Vec::new();
        for (sa, buffer) in outbound.iter().zip(&mut buffers) {
            let plan = seal::parse_and_prepare(sa.take_one().unwrap(), &Template::new(sa, &TUNNEL), buffer).unwrap();
            jobs.push(plan.job(buffer).unwrap());
        }
        esp_crypto::seal_burst(&mut jobs);
        let inbound: Vec<_> = some.iter().map(|transforms| transforms.inbound(transforms.first())).collect();
        let mut plans = Vec::new();
        for ((sa, window), buffer) in inbound.iter().zip(&mut buffers) {
            let packet = IpsecPacket::parse(buffer.bytes()).unwrap();
            plans.push(open::prepare(sa, window, &packet, buffer).unwrap());
        }
        let mut jobs: Vec<_> = plans.iter().zip(&mut buffers).map(|(plan, buffer)| plan.job(buffer).unwrap()).collect();
        let verified = esp_crypto::open_burst(&mut jobs);
        assert_eq!(u128::from(verified.bits()), (1_u128 << some.len()) - 1);
    }
}

/// A packet one octet short of the least that its transforms put around nothing.
#[test]
fn the_shortest_packet_is_that_of_the_transforms() {
    for transforms in Transforms::all() {
        let (inbound, mut window) = transforms.inbound(transforms.first());
        let shortest = 8 + transforms.encryption.esp_iv_len() + 2 + transforms.icv_len();
        for (len, expected) in [(shortest - 1, OpenError::Runt), (shortest, OpenError::Integrity)] {
            let header = Ipv4Header {
                traffic_class: 0,
                identification: 0,
                dont_fragment: true,
                ttl: 64,
                protocol: 50,
                source: [192, 0, 2, 1].into(),
                destination: [192, 0, 2, 2].into(),
            };
            let low = u32::try_from(transforms.first() & 0xffff_ffff).unwrap();
            let mut wire = header.to_octets(len).unwrap().to_vec();
            wire.extend(SPI.to_be_bytes());
            wire.extend(low.to_be_bytes());
            wire.resize(OUTER + len, 0);
            assert_eq!(open_one(&inbound, &mut window, &wire), Err(expected), "{transforms:?} {len}");
        }
    }
}
