//! The packets a peer would send: inner packets sealed with our own ESP, to be replayed to the inbound side.

use esp::{OutboundSa, SaKey, Template, Tunnel, seal};
use ipsec_types::{EncryptionAlgorithm, Secret, SequenceNumbers, Spi};
use packet::{Buffer, VecBuffer};

use crate::error::{Context, Failure};

/// Seals each packet under the next sequence number.
pub(crate) fn seal(packets: &[Vec<u8>], spi: u32, keymat: &[u8], tunnel: Tunnel) -> Result<Vec<Vec<u8>>, Failure> {
    let spi = Spi::new(spi).context("SPI")?;
    let key = SaKey::from_keymat(EncryptionAlgorithm::AesGcm128, &Secret::new(keymat.to_vec())).context("key")?;
    let sa = OutboundSa::new(spi, key, SequenceNumbers::Standard);
    packets.iter().map(|packet| seal_one(packet, &sa, &tunnel)).collect()
}

fn seal_one(packet: &[u8], sa: &OutboundSa, tunnel: &Tunnel) -> Result<Vec<u8>, Failure> {
    let mut buffer = VecBuffer::from_packet(packet);
    let template = Template::new(sa, tunnel);
    let plan = seal::parse_and_prepare(sa.take_one().context("sequence number")?, &template, &mut buffer).context("ESP")?;
    esp_crypto::seal_burst(&mut [plan.job(&mut buffer).context("ESP: the packet changed under its plan")?]);
    seal::finish(&template, &mut buffer).context("ESP: the packet changed under the cipher")?;
    Ok(buffer.bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use esp::{InboundSa, ReplayWindow, Selectors, WindowSize, open};
    use ipsec_types::{AddressRange, TrafficSelector};

    use super::*;
    use crate::traffic::{MIXES, packets};
    use crate::variant::Variant;

    const SPI: u32 = 0x0010_0000;
    const KEYMAT: [u8; 20] = [3; 20];

    #[test]
    fn a_receiver_with_replay_protection_opens_every_packet_once() {
        for variant in [Variant::Plain, Variant::Udp, Variant::V6] {
            opens_every_packet_once(variant);
        }
    }

    fn opens_every_packet_once(variant: Variant) {
        let any = || {
            [variant.local_host(), variant.remote_host()].map(|host| TrafficSelector::addresses_only(AddressRange::single(host))).to_vec()
        };
        let key = SaKey::from_keymat(EncryptionAlgorithm::AesGcm128, &Secret::new(KEYMAT.to_vec())).unwrap();
        let sa = InboundSa::new(Spi::new(SPI).unwrap(), key, SequenceNumbers::Standard, WindowSize::DEFAULT, Selectors::new(any(), any()));
        for mix in MIXES {
            let inner = packets(mix, variant.remote_host(), variant.local_host()).unwrap();
            let outer = seal(&inner, SPI, &KEYMAT, variant.peers_tunnel().unwrap()).unwrap();
            let mut window = ReplayWindow::new(sa.window_size());
            for (inner, outer) in inner.iter().zip(&outer) {
                let mut buffer = VecBuffer::from_packet(outer);
                let packet = open::IpsecPacket::parse(buffer.bytes()).unwrap();
                let plan = open::prepare(&sa, &window, &packet, &mut buffer).unwrap();
                let verified = esp_crypto::open_burst(&mut [plan.job(&mut buffer).unwrap()]);
                plan.finish(verified.contains(0), &mut window, &mut buffer).unwrap();
                assert_eq!(buffer.bytes(), inner);
            }
        }
    }
}
