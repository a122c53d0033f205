//! What the tests of this crate share.

extern crate std;

use ipsec_types::{EncryptionAlgorithm, Secret, SequenceNumbers, Spi, TrafficSelector};
use packet::ipv4::{Ipv4, Ipv4Header, PROTOCOL_ESP};
use packet::{Buffer, VecBuffer};
use std::vec;
use std::vec::Vec;

use crate::open::{self, IpsecPacket, OpenError, Opened};
use crate::seal::{self, SealError};
use crate::{DontFragment, Ends, InboundSa, OutboundSa, ReplayWindow, SaKey, Selectors, Template, Tunnel, UdpPorts, WindowSize};

pub(crate) const SPI: u32 = 0x1122_3344;
pub(crate) const UDP: Option<UdpPorts> = Some(UdpPorts { source: 4500, destination: 4501 });

pub(crate) fn tunnel(udp: Option<UdpPorts>) -> Tunnel {
    let ends = Ends::V4 { source: [192, 0, 2, 1].into(), destination: [192, 0, 2, 2].into() };
    Tunnel { ends, udp, dont_fragment: DontFragment::Copy, copy_dscp: true }
}

pub(crate) fn key() -> SaKey {
    SaKey::from_keymat(EncryptionAlgorithm::AesGcm256, &Secret::new(vec![0x5a; 36])).unwrap()
}

pub(crate) fn outbound(numbers: SequenceNumbers) -> OutboundSa {
    OutboundSa::new(Spi::new(SPI).unwrap(), key(), numbers)
}

pub(crate) fn inbound(numbers: SequenceNumbers, window: u32) -> (InboundSa, ReplayWindow) {
    let selectors = |text: &str| -> Vec<TrafficSelector> { text.split(' ').map(|text| text.parse().unwrap()).collect() };
    let selectors = Selectors::new(selectors("10.77.1.0/24 fd77:1::/64"), selectors("10.77.2.0/24 fd77:2::/64"));
    let size = WindowSize::new(window).unwrap();
    (InboundSa::new(Spi::new(SPI).unwrap(), key(), numbers, size, selectors), ReplayWindow::new(size))
}

pub(crate) const INNER: Ipv4Header = Ipv4Header {
    traffic_class: 0,
    identification: 0x4711,
    dont_fragment: true,
    ttl: 63,
    protocol: 17,
    source: core::net::Ipv4Addr::new(10, 77, 1, 10),
    destination: core::net::Ipv4Addr::new(10, 77, 2, 10),
};

/// An inner packet of `len` octets.
pub(crate) fn inner(header: Ipv4Header, len: usize) -> Vec<u8> {
    let mut packet = header.to_octets(len - 20).unwrap().to_vec();
    packet.extend((20..len).map(|i| u8::try_from(i % 251).unwrap()));
    packet
}

pub(crate) fn seal_one(sa: &OutboundSa, tunnel: &Tunnel, inner: &[u8]) -> Result<VecBuffer, SealError> {
    let mut buffer = VecBuffer::from_packet(inner);
    let template = Template::new(sa, tunnel);
    let plan = seal::parse_and_prepare(sa.take_one().unwrap(), &template, &mut buffer)?;
    esp_crypto::seal_burst(&mut [plan.job(&mut buffer).unwrap()]);
    seal::finish(&template, &mut buffer).unwrap();
    Ok(buffer)
}

pub(crate) fn open_one(sa: &InboundSa, window: &mut ReplayWindow, buffer: &mut VecBuffer) -> Result<Opened, OpenError> {
    let packet = IpsecPacket::parse(buffer.bytes())?;
    let plan = open::prepare(sa, window, &packet, buffer)?;
    let verified = esp_crypto::open_burst(&mut [plan.job(buffer).unwrap()]);
    plan.finish(verified.contains(0), window, buffer)
}

/// An authentic ESP packet, plain and without ESN, around any plaintext: payload, padding and trailer as given.
pub(crate) fn forge(sequence: u32, traffic_class: u8, plaintext: &[u8]) -> VecBuffer {
    let outer = Ipv4Header { traffic_class, protocol: PROTOCOL_ESP, ..INNER };
    let iv = [7; 8];
    let (mut data, mut icv) = (plaintext.to_vec(), [0; 16]);
    let (key, facts) = key().for_sa(Spi::new(SPI).unwrap(), SequenceNumbers::Standard);
    let aad = esp_crypto::Aad::new(SPI, sequence);
    let job = esp_crypto::SealJob::new(&key, facts.nonce(iv), aad, &mut data, &mut icv).unwrap();
    esp_crypto::seal_burst(&mut [job]);
    let esp = [&SPI.to_be_bytes()[..], &sequence.to_be_bytes(), &iv, &data, &icv].concat();
    VecBuffer::from_packet(&[&outer.to_octets(esp.len()).unwrap()[..], &esp].concat())
}

pub(crate) fn outer(buffer: &VecBuffer) -> Ipv4<'_> {
    Ipv4::parse(buffer.bytes()).unwrap()
}
