//! What the gateway tells a host whose packets it drops, read by scapy.

use serde_json::json;

use crate::harness::{ChildSa, GATEWAY_LAN, Gateway, HOST, PROTECTED, Side, Suite};

/// The next ICMP message to the host.
fn icmp(gateway: &mut Gateway) -> Vec<u8> {
    let icmp = |frame: &[u8]| (frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&1)).then(|| frame.to_vec());
    gateway.wire.expect(Side::Lan, "ICMP error", icmp)
}

#[test]
fn a_host_learns_what_fits_an_sa_by_icmp_error_and_that_fits() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    ChildSa::installed(&mut gateway, Suite::PLAIN);
    let before = gateway.counters();
    let ping = |len: u64, ttl: u8| format!("IP(src='{HOST}', dst='{PROTECTED}', flags='DF', ttl={ttl})/ICMP()/(b'x' * {})", len - 28);
    gateway.send_built(Side::Lan, &ping(1500, 64));
    let error = icmp(&mut gateway);
    let read = "[p[IP].src, p[IP].dst, p[ICMP].type, p[ICMP].code, p[ICMP].nexthopmtu, p[IPerror].dst, p[IPerror].len]";
    assert_eq!(gateway.scapy.read(&error, read), json!([GATEWAY_LAN, HOST, 3, 4, 1446, PROTECTED, 1500]));
    assert!(gateway.scapy.approves(&error));
    gateway.expect_counters(&before, &[("icmp_too_big", 1), ("drop_fragmentation_needed", 1), ("sealed", 0)]);
    let before = gateway.counters();
    gateway.send_built(Side::Lan, &ping(1446, 64));
    gateway.expect_counters(&before, &[("sealed", 1)]);
    let before = gateway.counters();
    gateway.send_built(Side::Lan, &ping(1446, 1));
    let error = icmp(&mut gateway);
    assert_eq!(gateway.scapy.read(&error, "[p[IP].src, p[ICMP].type, p[ICMP].code, p[IPerror].ttl]"), json!([GATEWAY_LAN, 11, 0, 1]));
    gateway.expect_counters(&before, &[("icmp_time_exceeded", 1), ("drop_ttl_exceeded", 1)]);
}
