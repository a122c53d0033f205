//! A slow, plain ESP beside ours: written from RFC 4303, 4106, 7634 and 3948 with vectors and the crates `aes-gcm` and
//! `chacha20poly1305`, sharing nothing but the wire. Random bursts
//! of mixed SAs, sizes and alignments must come out the same to the octet.

#![expect(clippy::unwrap_used, reason = "tests")]

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;
use esp::open::{self, IpsecPacket, OpenError};
use esp::{
    DontFragment, Ends, InboundSa, OutboundSa, ReplayWindow, SaKey, Selectors, SequenceNumber, Template, Tunnel, UdpPorts, WindowSize, seal,
};
use ipsec_types::{AddressRange, EncryptionAlgorithm, Secret, SequenceNumbers, Spi, TrafficSelector};
use packet::{Buffer, VecBuffer};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Reference {
    spi: u32,
    algorithm: EncryptionAlgorithm,
    keymat: Vec<u8>,
    esn: bool,
    udp: Option<(u16, u16)>,
}

impl Reference {
    fn seal(&self, number: u64, inner: &[u8]) -> Vec<u8> {
        let mut plaintext = inner.to_vec();
        let mut padding = 0_u8;
        while !(plaintext.len() + 2).is_multiple_of(4) {
            padding += 1;
            plaintext.push(padding);
        }
        plaintext.push(padding);
        plaintext.push(4);

        let sequence = u32::try_from(number % (1 << 32)).unwrap();
        let mut esp = self.spi.to_be_bytes().to_vec();
        esp.extend(sequence.to_be_bytes());
        esp.extend(number.to_be_bytes());
        esp.extend(self.encrypt(&number.to_be_bytes(), &self.aad(number), &plaintext));

        let protocol = if self.udp.is_some() { 17 } else { 50 };
        if let Some((source, destination)) = self.udp {
            let length = u16::try_from(esp.len() + 8).unwrap();
            let header = [source, destination, length, 0];
            esp.splice(0..0, header.iter().flat_map(|field| field.to_be_bytes()));
        }
        let dont_fragment = inner[6] & 0x40 != 0;
        let id = if dont_fragment { 0 } else { (u64::from(sequence) + u64::from(self.spi)) % (1 << 16) };
        let id = u16::try_from(id).unwrap().to_be_bytes();
        let length = u16::try_from(esp.len() + 20).unwrap().to_be_bytes();
        let flags = if dont_fragment { 0x40 } else { 0 };
        let mut packet = vec![0x45, inner[1], length[0], length[1], id[0], id[1], flags, 0, 64, protocol, 0, 0];
        packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        let checksum = slow_checksum(&packet).to_be_bytes();
        packet[10..12].copy_from_slice(&checksum);
        packet.extend(esp);
        packet
    }

    /// The inner packet, or `None` for anything wrong behind the outer headers.
    fn open(&self, number: u64, wire: &[u8]) -> Option<Vec<u8>> {
        let esp = if self.udp.is_some() { &wire[28..] } else { &wire[20..] };
        let plaintext = self.decrypt(&esp[8..16], &self.aad(number), &esp[16..])?;
        let (rest, trailer) = plaintext.split_at(plaintext.len() - 2);
        let (payload, padding) = rest.split_at(rest.len().checked_sub(trailer[0].into())?);
        let pattern: Vec<u8> = (1..=trailer[0]).collect();
        (padding == pattern && trailer[1] == 4).then(|| payload.to_vec())
    }

    fn aad(&self, number: u64) -> Vec<u8> {
        let number = if self.esn { number.to_be_bytes().to_vec() } else { number.to_be_bytes()[4..].to_vec() };
        [self.spi.to_be_bytes().to_vec(), number].concat()
    }

    fn nonce(&self, iv: &[u8]) -> [u8; 12] {
        let salt = &self.keymat[self.keymat.len() - 4..];
        [salt, iv].concat().try_into().unwrap()
    }

    fn encrypt(&self, iv: &[u8], aad: &[u8], msg: &[u8]) -> Vec<u8> {
        let (nonce, payload) = (self.nonce(iv), Payload { msg, aad });
        let key = &self.keymat[..self.keymat.len() - 4];
        match self.algorithm {
            EncryptionAlgorithm::AesGcm128 => Aes128Gcm::new_from_slice(key).unwrap().encrypt(&nonce.into(), payload).unwrap(),
            EncryptionAlgorithm::AesGcm256 => Aes256Gcm::new_from_slice(key).unwrap().encrypt(&nonce.into(), payload).unwrap(),
            _ => ChaCha20Poly1305::new_from_slice(key).unwrap().encrypt(&nonce.into(), payload).unwrap(),
        }
    }

    fn decrypt(&self, iv: &[u8], aad: &[u8], msg: &[u8]) -> Option<Vec<u8>> {
        let (nonce, payload) = (self.nonce(iv), Payload { msg, aad });
        let key = &self.keymat[..self.keymat.len() - 4];
        match self.algorithm {
            EncryptionAlgorithm::AesGcm128 => Aes128Gcm::new_from_slice(key).unwrap().decrypt(&nonce.into(), payload).ok(),
            EncryptionAlgorithm::AesGcm256 => Aes256Gcm::new_from_slice(key).unwrap().decrypt(&nonce.into(), payload).ok(),
            _ => ChaCha20Poly1305::new_from_slice(key).unwrap().decrypt(&nonce.into(), payload).ok(),
        }
    }

    fn key(&self) -> SaKey {
        SaKey::from_keymat(self.algorithm, &Secret::copy_from(&self.keymat)).unwrap()
    }

    fn numbers(&self) -> SequenceNumbers {
        if self.esn { SequenceNumbers::Extended } else { SequenceNumbers::Standard }
    }

    fn tunnel(&self) -> Tunnel {
        Tunnel {
            ends: Ends::V4 { source: [192, 0, 2, 1].into(), destination: [192, 0, 2, 2].into() },
            udp: self.udp.map(|(source, destination)| UdpPorts { source, destination }),
            dont_fragment: DontFragment::Copy,
            copy_dscp: true,
        }
    }

    fn outbound(&self, first: u64) -> OutboundSa {
        let sa = OutboundSa::new(Spi::new(self.spi).unwrap(), self.key(), self.numbers());
        sa.skip_to(first);
        sa
    }

    fn inbound(&self) -> InboundSa {
        let any = || vec![TrafficSelector::addresses_only(AddressRange::ALL_IPV4)];
        InboundSa::new(Spi::new(self.spi).unwrap(), self.key(), self.numbers(), WindowSize::DEFAULT, Selectors::new(any(), any()))
    }
}

fn slow_checksum(header: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in header.chunks(2) {
        sum += u32::from(pair[0]) * 256 + u32::from(pair[1]);
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    !u16::try_from(sum).unwrap()
}

/// An inner packet whose header fields come from `seed`.
fn inner(seed: [u8; 8], len: usize) -> Vec<u8> {
    let length = u16::try_from(len).unwrap().to_be_bytes();
    let mut packet = vec![0x45, seed[0], length[0], length[1], seed[1], seed[2], seed[3] & 0x40, 0, seed[4].max(1), seed[5], 0, 0];
    packet.extend([10, 0, 0, seed[6], 10, 0, 1, seed[7]]);
    let checksum = slow_checksum(&packet).to_be_bytes();
    packet[10..12].copy_from_slice(&checksum);
    packet.extend((20..len).map(|at| u8::try_from(at % 256).unwrap() ^ seed[0]));
    packet
}

fn reference() -> impl Strategy<Value = Reference> {
    let algorithm =
        prop::sample::select(vec![EncryptionAlgorithm::AesGcm128, EncryptionAlgorithm::AesGcm256, EncryptionAlgorithm::ChaCha20Poly1305]);
    let keymat = algorithm.prop_flat_map(|algorithm| (Just(algorithm), prop::collection::vec(any::<u8>(), algorithm.keymat_len())));
    (256u32.., keymat, any::<bool>(), any::<Option<(u16, u16)>>()).prop_map(|(spi, (algorithm, keymat), esn, udp)| Reference {
        spi,
        algorithm,
        keymat,
        esn,
        udp,
    })
}

/// Which SA, header seed, length, alignment.
fn packets() -> impl Strategy<Value = Vec<(usize, [u8; 8], usize, usize)>> {
    prop::collection::vec((0..3usize, any::<[u8; 8]>(), 20..1600usize, 0..64usize), 1..=32)
}

fn first_number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(1), 1..1_000_000u64, (1u64 << 32) - 40..(1 << 32) - 32]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_sealed_burst_is_the_reference_to_the_octet(
        references in prop::collection::vec(reference(), 3), packets in packets(), first in first_number(),
    ) {
        let outbound: Vec<OutboundSa> = references.iter().map(|r| r.outbound(first)).collect();
        let mut expected = Vec::new();
        let mut plans = Vec::new();
        let mut buffers = Vec::new();
        for &(sa, seed, len, shift) in &packets {
            let inner = inner(seed, len);
            let mut buffer = VecBuffer::new(&inner, esp::MAX_HEADROOM + shift, esp::MAX_TAILROOM);
            let number: SequenceNumber<'_> = outbound[sa].take_one().unwrap();
            expected.push(references[sa].seal(number.value(), &inner));
            let template = Template::new(number.sa(), &references[sa].tunnel());
            plans.push(seal::parse_and_prepare(number, &template, &mut buffer).unwrap());
            buffers.push(buffer);
        }
        let mut jobs: Vec<_> = plans.into_iter().zip(&mut buffers).map(|(plan, buffer)| plan.job(buffer).unwrap()).collect();
        esp_crypto::seal_burst(&mut jobs);
        for (buffer, expected) in buffers.iter().zip(expected) {
            prop_assert_eq!(buffer.bytes(), expected);
        }
    }

    #[test]
    fn a_burst_of_the_reference_opens_packet_by_packet(
        references in prop::collection::vec(reference(), 3), packets in packets(), first in first_number(), damaged in any::<u32>(),
    ) {
        let inbound: Vec<InboundSa> = references.iter().map(Reference::inbound).collect();
        let mut windows: Vec<ReplayWindow> = inbound.iter().map(|sa| ReplayWindow::new(sa.window_size())).collect();
        for window in windows.iter_mut().filter(|_| first > 1) {
            // A receiver that knows nothing takes a high number with ESN for one before the first.
            prop_assert!(window.accept(first - 1).is_ok());
        }
        let mut numbers = [first; 3];
        let mut expected = Vec::new();
        let mut buffers = Vec::new();
        for (at, &(sa, seed, len, shift)) in packets.iter().enumerate() {
            let inner = inner(seed, len);
            let mut wire = references[sa].seal(numbers[sa], &inner);
            let good = damaged >> at & 1 == 0;
            if !good {
                let last = wire.len() - 1 - usize::from(seed[1]) % (wire.len() - 44);
                wire[last] ^= seed[2].max(1);
            }
            prop_assert_eq!(references[sa].open(numbers[sa], &wire).is_some(), good, "the reference agrees with itself");
            expected.push(if good { Ok((numbers[sa], inner)) } else { Err(OpenError::Integrity) });
            buffers.push(VecBuffer::new(&wire, shift, 0));
            numbers[sa] += 1;
        }
        let mut plans = Vec::new();
        for (buffer, &(sa, ..)) in buffers.iter_mut().zip(&packets) {
            let packet = IpsecPacket::parse(buffer.bytes()).unwrap();
            prop_assert_eq!(packet.spi, references[sa].spi);
            plans.push(open::prepare(&inbound[sa], &windows[sa], &packet, buffer).unwrap());
        }
        let mut jobs: Vec<_> = plans.iter().zip(&mut buffers).map(|(plan, buffer)| plan.job(buffer).unwrap()).collect();
        let verified = esp_crypto::open_burst(&mut jobs);
        for (at, (plan, expected)) in plans.into_iter().zip(expected).enumerate() {
            let window = &mut windows[packets[at].0];
            let opened = plan.finish(verified.contains(at), window, &mut buffers[at]);
            prop_assert_eq!(opened.map(|o| (o.number, buffers[at].bytes().to_vec())), expected);
        }
    }
}
