//! Child SAs as both ends see them: the messages that install them here, and what scapy needs to know.

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::operation::Operation;
use serde_json::{Value, json};

use super::scapy::hex;
use super::{GATEWAY_WAN, Gateway, HOST, PEER, PROTECT, Side, address, inner, selector};

/// The window of the SAs here, in packets.
pub(crate) const WINDOW: u64 = 64;
/// The number of AES-GCM with a 16 octet ICV (RFC 5282).
const ENCR_AES_GCM_16: u32 = 20;

/// An AES-GCM key size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    Aes128,
    Aes256,
}

/// What there is to choose about an SA.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suite {
    pub(crate) cipher: Cipher,
    pub(crate) esn: bool,
    /// In UDP on port 4500 at both ends, or plain protocol 50.
    pub(crate) udp: bool,
}

impl Suite {
    /// What most tests are content with.
    pub(crate) const PLAIN: Self = Self { cipher: Cipher::Aes256, esn: false, udp: false };

    /// Every combination.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for cipher in [Cipher::Aes128, Cipher::Aes256] {
            for esn in [false, true] {
                all.extend([false, true].map(|udp| Self { cipher, esn, udp }));
            }
        }
        all
    }

    const fn key_bits(self) -> u32 {
        match self.cipher {
            Cipher::Aes128 => 128,
            Cipher::Aes256 => 256,
        }
    }
}

/// A pair of SAs between the gateway and its peer.
#[derive(Debug, Clone)]
pub(crate) struct ChildSa {
    pub(crate) id: u64,
    pub(crate) suite: Suite,
    pub(crate) inbound_spi: u32,
    pub(crate) outbound_spi: u32,
    pub(crate) inbound_key: Vec<u8>,
    pub(crate) outbound_key: Vec<u8>,
    /// The next number the peer sends.
    pub(crate) next: u64,
}

impl ChildSa {
    /// One that is not installed, on an SPI leased for it. Its keys are its own.
    pub(crate) fn prepare(gateway: &mut Gateway, suite: Suite) -> Self {
        let inbound_spi = gateway.controller.lease();
        let id = gateway.controller.next_child_sa();
        let low = u8::try_from(id & 0x7f).unwrap();
        let key = |first: u8| (first..).take(usize::try_from(suite.key_bits()).unwrap() / 8 + 4).collect();
        let (inbound_key, outbound_key) = (key(low), key(low + 100));
        Self { id, suite, inbound_spi, outbound_spi: 0xc000_0000 | u32::from(low), inbound_key, outbound_key, next: 1 }
    }

    /// Installed and active.
    pub(crate) fn installed(gateway: &mut Gateway, suite: Suite) -> Self {
        let sa = Self::prepare(gateway, suite);
        gateway.controller.done(sa.install());
        sa
    }

    /// The operation that installs it, for everything between 10.1.0.0/24 and 10.2.0.0/24.
    pub(crate) fn install(&self) -> Operation {
        Operation::Install(self.message())
    }

    /// The same, with its outbound half parked.
    pub(crate) fn install_parked(&self, fallback_ms: u64) -> Operation {
        Operation::Install(v1::Install { parked: Some(v1::Parked { fallback_ms }), ..self.message() })
    }

    pub(crate) fn message(&self) -> v1::Install {
        let keys = |key: &[u8]| Some(v1::Keys { encryption: key.to_vec(), integrity: Vec::new() });
        v1::Install {
            child_sa: self.id,
            policy: PROTECT,
            inbound_spi: self.inbound_spi,
            outbound_spi: self.outbound_spi,
            local_address: address(GATEWAY_WAN),
            remote_address: address(PEER),
            encapsulation: self.suite.udp.then_some(v1::UdpEncapsulation { local_port: 4500, remote_port: 4500 }),
            encryption: ENCR_AES_GCM_16,
            encryption_key_length: self.suite.key_bits(),
            integrity: 0,
            extended_sequence_numbers: self.suite.esn,
            replay_window: u32::try_from(WINDOW).unwrap(),
            inbound_keys: keys(&self.inbound_key),
            outbound_keys: keys(&self.outbound_key),
            local_selectors: vec![selector("10.1.0.0", "10.1.0.255")],
            remote_selectors: vec![selector("10.2.0.0", "10.2.0.255")],
            copy_dscp: true,
            ..v1::Install::default()
        }
    }

    pub(crate) fn retire(&self, linger_ms: u64) -> Operation {
        Operation::Retire(v1::Retire { child_sa: self.id, linger_ms })
    }

    /// The gateway's outbound SA, for scapy.
    pub(crate) fn sent_by_gateway(&self) -> Value {
        self.json(self.outbound_spi, &self.outbound_key, (GATEWAY_WAN, PEER))
    }

    /// The peer's outbound SA, for scapy.
    pub(crate) fn sent_by_peer(&self) -> Value {
        self.json(self.inbound_spi, &self.inbound_key, (PEER, GATEWAY_WAN))
    }

    /// The same, as it looks when a NAT has given the peer another address or port.
    pub(crate) fn sent_by_peer_at(&self, peer: &str, port: u16) -> Value {
        let sa = self.json(self.inbound_spi, &self.inbound_key, (peer, GATEWAY_WAN));
        with_ports(sa, [port, 4500])
    }

    /// The gateway's outbound SA, towards such a peer.
    pub(crate) fn sent_to_peer_at(&self, peer: &str, port: u16) -> Value {
        let sa = self.json(self.outbound_spi, &self.outbound_key, (GATEWAY_WAN, peer));
        with_ports(sa, [4500, port])
    }

    fn json(&self, spi: u32, key: &[u8], (source, destination): (&str, &str)) -> Value {
        let udp = if self.suite.udp { json!([4500, 4500]) } else { Value::Null };
        json!({
            "spi": spi, "cipher": "AES-GCM", "key": hex(key), "iv_len": 8, "auth": Value::Null, "auth_key": "", "icv_len": 16,
            "esn": self.suite.esn, "source": source, "destination": destination, "udp": udp,
        })
    }

    /// The gateway sends a packet through this SA; scapy opens it. Panics unless the sequence number is `number`.
    pub(crate) fn expect_sealed(&self, gateway: &mut Gateway, number: u64) -> Vec<u8> {
        let wire = gateway.wire.expect_packet(Side::Wan, "sealed packet");
        let opened = gateway.scapy.open(&self.sent_by_gateway(), number >> 32, &wire).unwrap_or_else(|e| panic!("{e} of {}", hex(&wire)));
        assert_eq!((opened.spi, opened.sequence), (self.outbound_spi, number & 0xffff_ffff));
        opened.inner
    }

    /// The number the peer sends next.
    pub(crate) const fn next_number(&self) -> u64 {
        self.next
    }

    /// The peer goes on from this number.
    pub(crate) const fn skip_to(&mut self, number: u64) {
        self.next = number;
    }

    /// The peer sends an inner packet under the next number; the outer packet is returned.
    pub(crate) fn send_sealed(&mut self, gateway: &mut Gateway, packet: &str) -> Vec<u8> {
        self.next += 1;
        let inner = gateway.scapy.build(packet);
        let wire = gateway.scapy.seal(&self.sent_by_peer(), self.next - 1, &inner, None);
        gateway.send_packet(Side::Wan, &wire);
        wire
    }

    /// The peer sends a packet through this SA; the host gets it.
    pub(crate) fn expect_opened(&mut self, gateway: &mut Gateway, text: &str) {
        let before = gateway.counters();
        self.send_sealed(gateway, &inner(super::PROTECTED, HOST, 64, text));
        let delivered = gateway.scapy.build(&inner(super::PROTECTED, HOST, 63, text));
        assert_eq!(hex(&gateway.wire.expect_packet(Side::Lan, "opened packet")), hex(&delivered));
        gateway.controller.await_counter(&before, "opened");
    }

    /// The host sends a packet, the gateway seals it under this number, and scapy opens it.
    pub(crate) fn expect_sent(&self, gateway: &mut Gateway, number: u64, text: &str) {
        let before = gateway.counters();
        gateway.send_built(Side::Lan, &inner(HOST, super::PROTECTED, 64, text));
        let expected = gateway.scapy.build(&inner(HOST, super::PROTECTED, 63, text));
        assert_eq!(hex(&self.expect_sealed(gateway, number)), hex(&expected));
        gateway.controller.await_counter(&before, "sealed");
    }
}

fn with_ports(mut sa: Value, ports: [u16; 2]) -> Value {
    sa["udp"] = json!(ports);
    sa
}
