//! AH, transport mode and traffic flow confidentiality through the whole process, with scapy as the peer.

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::failure::Reason;
use culvert_proto::dataplane::v1::operation::Operation;
use culvert_proto::dataplane::v1::outcome::Outcome;
use culvert_proto::dataplane::v1::policy::Action;
use serde_json::{Value, json};

use crate::harness::{ChildSa, GATEWAY_WAN, Gateway, HOST, PEER, PROTECT, PROTECTED, Side, Suite, hex, inner, policy, selector};

/// HMAC-SHA2-256-128 (RFC 4868 section 2.7), whose ICV is 16 octets.
const AUTH_HMAC_SHA2_256_128: u32 = 12;

/// What an SA is like, beside [`Suite::PLAIN`].
#[derive(Debug, Clone, Copy)]
struct Kind {
    ah: bool,
    transport: bool,
    udp: bool,
    esn: bool,
}

const TRANSPORT_ESP: Kind = Kind { ah: false, transport: true, udp: false, esn: true };
const TRANSPORT_ESP_IN_UDP: Kind = Kind { udp: true, ..TRANSPORT_ESP };
const TRANSPORT_AH: Kind = Kind { ah: true, transport: true, udp: false, esn: true };
const TUNNEL_AH: Kind = Kind { ah: true, transport: false, udp: false, esn: true };

/// An SA of a kind, made of one of the other kind.
struct Sa {
    base: ChildSa,
    kind: Kind,
}

impl Sa {
    fn installed(gateway: &mut Gateway, kind: Kind) -> Self {
        let suite = Suite { esn: kind.esn, udp: kind.udp, ..Suite::PLAIN };
        let sa = Self { base: ChildSa::prepare(gateway, suite), kind };
        gateway.controller.done(Operation::Install(sa.message()));
        let listed = gateway.controller.child_sa(sa.base.id).unwrap();
        assert_eq!((listed.protocol(), listed.mode()), (sa.message().protocol(), sa.message().mode()));
        sa
    }

    fn message(&self) -> v1::Install {
        let mut message = self.base.message();
        if self.kind.ah {
            message.set_protocol(v1::SecurityProtocol::Ah);
            (message.encryption, message.encryption_key_length, message.integrity) = (0, 0, AUTH_HMAC_SHA2_256_128);
            let keys = |key: &[u8]| Some(v1::Keys { encryption: Vec::new(), integrity: key[..32].to_vec() });
            (message.inbound_keys, message.outbound_keys) = (keys(&self.base.inbound_key), keys(&self.base.outbound_key));
        }
        if self.kind.transport {
            message.set_mode(v1::Mode::Transport);
            message.local_selectors = vec![selector(GATEWAY_WAN, GATEWAY_WAN)];
            message.remote_selectors = vec![selector(PEER, PEER)];
        }
        message
    }

    /// As scapy has to know it.
    fn json(&self, mut sa: Value) -> Value {
        sa["transport"] = json!(self.kind.transport);
        if self.kind.ah {
            let key = sa["key"].as_str().unwrap()[..64].to_owned();
            sa["protocol"] = json!("ah");
            (sa["auth"], sa["auth_key"], sa["icv_len"]) = (json!("SHA2-256-128"), json!(key), json!(16));
        }
        sa
    }

    /// The peer sends a packet under its next number.
    fn send(&mut self, gateway: &mut Gateway, packet: &str, fault: Option<&str>) -> Vec<u8> {
        let number = self.base.next_number();
        self.base.skip_to(number + 1);
        let packet = gateway.scapy.build(packet);
        let wire = gateway.scapy.seal(&self.json(self.base.sent_by_peer()), number, &packet, fault);
        gateway.send_packet(Side::Wan, &wire);
        wire
    }

    /// What scapy takes out of the next packet from the gateway, which has this number.
    fn expect(&self, gateway: &mut Gateway, number: u64) -> Vec<u8> {
        let wire = gateway.wire.expect_packet(Side::Wan, "sealed packet");
        let opened =
            gateway.scapy.open(&self.json(self.base.sent_by_gateway()), 0, &wire).unwrap_or_else(|e| panic!("{e} of {}", hex(&wire)));
        assert_eq!((opened.spi, opened.sequence), (self.base.outbound_spi, number));
        opened.inner
    }
}

/// A gateway that protects what it says to its peer.
fn gateway() -> Gateway {
    let mut gateway = Gateway::start();
    let own = v1::Policy { local: vec![selector(GATEWAY_WAN, GATEWAY_WAN)], ..policy(PROTECT, Action::Protect, selector(PEER, PEER)) };
    gateway.controller.set_policies(vec![own]);
    gateway
}

#[test]
fn the_gateway_answers_its_peer_in_transport_mode() {
    let mut gateway = gateway();
    for kind in [TRANSPORT_ESP, TRANSPORT_ESP_IN_UDP, TRANSPORT_AH] {
        let mut sa = Sa::installed(&mut gateway, kind);
        for (number, len) in (1..).zip([0, 1, 56, 1300]) {
            let before = gateway.counters();
            let ping = |ends: &str, kind: u8| format!("IP({ends})/ICMP(type={kind}, id=7, seq={number})/(b'x' * {len})");
            sa.send(&mut gateway, &ping(&format!("src='{PEER}', dst='{GATEWAY_WAN}', id=9"), 8), None);
            let answer = sa.expect(&mut gateway, number);
            let expected = gateway.scapy.build(&ping(&format!("src='{GATEWAY_WAN}', dst='{PEER}', ttl=64"), 0));
            assert_eq!((hex(&answer[12..]), answer[8..10].to_vec()), (hex(&expected[12..]), vec![64, 1]), "{kind:?} {len}");
            gateway.expect_counters(&before, &[("sealed", 1), ("icmp_echo_replies", 1)]);
        }
        for (fault, counter) in [("icv", "drop_integrity"), ("payload", "drop_integrity"), ("spi", "drop_spi_unknown")] {
            let before = gateway.counters();
            let wire = sa.send(&mut gateway, &format!("IP(src='{PEER}', dst='{GATEWAY_WAN}')/ICMP()"), Some(fault));
            gateway.expect_counters(&before, &[(counter, 1)]);
            drop(wire);
        }
        // In the clear there is no answer where the policy is to protect.
        let before = gateway.counters();
        gateway.send_built(Side::Wan, &format!("IP(src='{PEER}', dst='{GATEWAY_WAN}')/ICMP()"));
        gateway.expect_counters(&before, &[("icmp_echo_in_the_clear", 1), ("icmp_echo_replies", 0)]);
        // Other protocols than ICMP the gateway has no use for; and what is not from the peer is not from the SA's end.
        let before = gateway.counters();
        sa.send(&mut gateway, &format!("IP(src='{PEER}', dst='{GATEWAY_WAN}')/UDP(sport=1, dport=2)/b'x'"), None);
        gateway.expect_counters(&before, &[("drop_unwanted_by_gateway", 1)]);
        let before = gateway.counters();
        sa.send(&mut gateway, &format!("IP(src='192.0.2.77', dst='{GATEWAY_WAN}')/ICMP()"), None);
        gateway.expect_counters(&before, &[("drop_not_end_to_end", 1)]);
        // Nor is a host that calls itself by the gateway's address.
        let before = gateway.counters();
        gateway.send_built(Side::Lan, &format!("IP(src='{GATEWAY_WAN}', dst='{PEER}')/UDP(sport=1, dport=2)/b'x'"));
        gateway.expect_counters(&before, &[("drop_not_end_to_end", 1), ("sealed", 0)]);
        gateway.controller.done(sa.base.retire(0));
    }
    gateway.wire.expect_silence();
}

/// A request that fills the link is answered, too: the answer is sealed whole, and what came of it is cut (RFC 4303 section 3.3.4).
#[test]
fn a_long_answer_in_transport_mode_is_cut_after_it_was_sealed() {
    let mut gateway = gateway();
    for kind in [TRANSPORT_ESP, TRANSPORT_AH] {
        let sa = Sa::installed(&mut gateway, kind);
        let ping = format!("IP(src='{PEER}', dst='{GATEWAY_WAN}', id=9)/ICMP(id=7, seq=1)/(b'x' * 1460)");
        let number = sa.base.next_number();
        let packet = gateway.scapy.build(&ping);
        let wire = gateway.scapy.seal(&sa.json(sa.base.sent_by_peer()), number, &packet, None);
        let cut = format!("b''.join(bytes(p) for p in fragment(IP(bytes.fromhex('{}')), 800)[{{}}:{{}}])", hex(&wire));
        let first = gateway.scapy.build(&cut.replacen("{}", "0", 1).replacen("{}", "1", 1));
        let second = gateway.scapy.build(&cut.replacen("{}", "1", 1).replacen("{}", "2", 1));
        for piece in [first, second] {
            gateway.send_packet(Side::Wan, &piece);
        }
        let pieces: Vec<Vec<u8>> = (0..2).map(|_| gateway.wire.expect_packet(Side::Wan, "piece")).collect();
        let join = format!("defragment([IP(bytes.fromhex(o)) for o in {}])[0]", json!(pieces.iter().map(|p| hex(p)).collect::<Vec<_>>()));
        let whole = gateway.scapy.build(&join);
        let opened = gateway.scapy.open(&sa.json(sa.base.sent_by_gateway()), 0, &whole).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((opened.inner.len(), &opened.inner[28..]), (packet.len(), &packet[28..]), "{kind:?}");
        gateway.controller.done(sa.base.retire(0));
    }
}

#[test]
fn packets_cross_under_ah_in_tunnel_mode() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let mut sa = Sa::installed(&mut gateway, TUNNEL_AH);
    for number in 1..4 {
        let before = gateway.counters();
        gateway.send_built(Side::Lan, &inner(HOST, PROTECTED, 64, "out"));
        let expected = gateway.scapy.build(&inner(HOST, PROTECTED, 63, "out"));
        assert_eq!(hex(&sa.expect(&mut gateway, number)), hex(&expected));
        sa.send(&mut gateway, &inner(PROTECTED, HOST, 64, "in"), None);
        let expected = gateway.scapy.build(&inner(PROTECTED, HOST, 63, "in"));
        assert_eq!(hex(&gateway.wire.expect_packet(Side::Lan, "opened packet")), hex(&expected));
        gateway.expect_counters(&before, &[("sealed", 1), ("opened", 1)]);
    }
    let faults = [("icv", "drop_integrity"), ("payload", "drop_integrity"), ("runt", "drop_esp_runt"), ("spi", "drop_spi_unknown")];
    for (fault, counter) in faults {
        let before = gateway.counters();
        sa.send(&mut gateway, &inner(PROTECTED, HOST, 64, "fault"), Some(fault));
        gateway.expect_counters(&before, &[(counter, 1), ("opened", 0)]);
    }
    let wire = sa.send(&mut gateway, &inner(PROTECTED, HOST, 64, "once"), None);
    gateway.wire.expect_packet(Side::Lan, "opened packet");
    let before = gateway.counters();
    gateway.send_packet(Side::Wan, &wire);
    gateway.expect_counters(&before, &[("drop_replay", 1), ("opened", 0)]);
    gateway.wire.expect_silence();
}

#[test]
fn ah_does_not_travel_in_udp_and_has_no_dummies() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let refused = |gateway: &mut Gateway, change: fn(&mut v1::Install)| {
        let sa = Sa { base: ChildSa::prepare(gateway, Suite::PLAIN), kind: TUNNEL_AH };
        let mut message = sa.message();
        change(&mut message);
        match gateway.controller.run(Operation::Install(message)) {
            Outcome::Failure(failure) => (failure.reason(), failure.detail),
            other => panic!("{other:?}"),
        }
    };
    let (reason, detail) =
        refused(&mut gateway, |message| message.encapsulation = Some(v1::UdpEncapsulation { local_port: 4500, remote_port: 4500 }));
    assert!(reason == Reason::Invalid && detail.starts_with("encapsulation: "), "{detail}");
    let (reason, detail) = refused(&mut gateway, |message| message.tfc = Some(v1::Tfc { dummies_per_second: 1, ..v1::Tfc::default() }));
    assert!(reason == Reason::Invalid && detail.starts_with("tfc: "), "{detail}");
    let sa = Sa::installed(&mut gateway, TUNNEL_AH);
    let retarget = v1::Retarget {
        child_sa: sa.base.id,
        local_address: sa.message().local_address,
        remote_address: sa.message().remote_address,
        encapsulation: Some(v1::UdpEncapsulation { local_port: 4500, remote_port: 4500 }),
    };
    let outcome = gateway.controller.run(Operation::Retarget(retarget));
    assert!(matches!(&outcome, Outcome::Failure(failure) if failure.detail.starts_with("encapsulation: ")), "{outcome:?}");
}

/// Dummies and packets cannot be told apart by whoever sees them: all are of one length. Their receiver can.
#[test]
fn an_sa_hides_how_long_and_how_many_its_packets_are() {
    const DUMMIES: u64 = 5;
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let sa = ChildSa::prepare(&mut gateway, Suite::PLAIN);
    let tfc = Some(v1::Tfc { pad_to: 600, pad_to_mtu: false, dummies_per_second: 20 });
    gateway.controller.done(Operation::Install(v1::Install { tfc, ..sa.message() }));
    let before = gateway.counters();
    let (mut dummies, mut numbers) = (0, Vec::new());
    gateway.send_built(Side::Lan, &inner(HOST, PROTECTED, 64, "hidden"));
    let packet = gateway.scapy.build(&inner(HOST, PROTECTED, 63, "hidden"));
    let mut seen = false;
    while dummies < DUMMIES || !seen {
        let wire = gateway.wire.expect_packet(Side::Wan, "sealed packet");
        // 20 + 8 + 8 + 600 + 2 + 2 + 16.
        assert_eq!(wire.len(), 656);
        numbers.push(u32::from_be_bytes(wire[24..28].try_into().unwrap()));
        match gateway.scapy.open(&sa.sent_by_gateway(), 0, &wire) {
            Ok(opened) if opened.inner.starts_with(&packet) => seen = true,
            other => {
                let text = format!("{other:?}");
                assert!(!text.contains("ntegrity"), "{text}");
                dummies += 1;
            }
        }
    }
    assert_eq!(numbers, (1..=u32::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
    let after = gateway.counters();
    assert_eq!(after.of("sealed") - before.of("sealed"), 1);
    assert!(after.of("dummy_sent") - before.of("dummy_sent") >= DUMMIES);
    let listed = gateway.controller.child_sa(sa.id).unwrap();
    assert!(listed.outbound_packets > DUMMIES, "dummies count: {listed:?}");
}
