//! The packet of RFC 7634 appendix A, from the outer header to the ICV.

#![expect(clippy::unwrap_used, reason = "tests")]

use esp::open::{self, IpsecPacket};
use esp::{InboundSa, ReplayWindow, SaKey, Selectors, WindowSize};
use ipsec_types::{EncryptionAlgorithm, Secret, SequenceNumbers, Spi};
use packet::{Buffer, VecBuffer};

const SOURCE_PACKET: &str = "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f1011\
    12131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637";
const ESP_PACKET: &str = "4500008c234500004032de5bcb007199cb0071050102030400000005101112131415161724039428b97f417e3c13753a4f05087b\
    67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da\
    9165b82829f641e076aaa8266b7fb0f7b11b369907e1ad43";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn the_packet_of_the_rfc_is_opened() {
    let keymat = Secret::new((0x80..=0xa3).collect());
    let key = SaKey::from_keymat(EncryptionAlgorithm::ChaCha20Poly1305, &keymat).unwrap();
    let selector = |text: &str| vec![text.parse().unwrap()];
    let selectors = Selectors::new(selector("198.51.100.0/24"), selector("192.0.2.0/24"));
    let sa = InboundSa::new(Spi::new(0x0102_0304).unwrap(), key, SequenceNumbers::Standard, WindowSize::DEFAULT, selectors);
    let mut window = ReplayWindow::new(sa.window_size());
    let mut buffer = VecBuffer::from_packet(&hex(ESP_PACKET));
    let packet = IpsecPacket::parse(buffer.bytes()).unwrap();
    assert_eq!(packet.spi, 0x0102_0304);
    let plan = open::prepare(&sa, &window, &packet, &mut buffer).unwrap();
    let verified = esp_crypto::open_burst(&mut [plan.job(&mut buffer).unwrap()]);
    let opened = plan.finish(verified.contains(0), &mut window, &mut buffer).unwrap();
    assert_eq!((opened.number, buffer.bytes()), (5, &hex(SOURCE_PACKET)[..]));
}
