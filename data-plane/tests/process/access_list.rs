//! The SPD as an access list: ordered entries that protect, pass and drop ranges of addresses, protocols and ports, in IPv4 and IPv6; each packet with its
//! counter, before there is an SA and after, out and in. The borders of every range are tried from both sides.

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::operation::Operation;
use culvert_proto::dataplane::v1::policy::Action;

use crate::harness::{ChildSa, Counters, Gateway, HOST, HOST6, Options, PATIENCE, PEER, PEER6, PROTECTED, Side, Suite, selector, within};

const UDP: u32 = 17;
const TCP: u32 = 6;

/// Who speaks to whom, and scapy's name for the header.
struct Family {
    ip: &'static str,
    /// Behind the gateway, and the first and last address of its side.
    host: &'static str,
    local: (&'static str, &'static str),
    /// Behind the peer, likewise.
    remote_host: &'static str,
    remote: (&'static str, &'static str),
    /// Who is spoken to in the clear.
    open: &'static str,
}

const FOUR: Family = Family {
    ip: "IP",
    host: HOST,
    local: ("10.1.0.0", "10.1.0.255"),
    remote_host: PROTECTED,
    remote: ("10.2.0.0", "10.2.0.255"),
    open: PEER,
};

const SIX: Family = Family {
    ip: "IPv6",
    host: HOST6,
    local: ("fd00:1::", "fd00:1::ffff"),
    remote_host: "fd00:2::10",
    remote: ("fd00:2::", "fd00:2::ffff"),
    open: PEER6,
};

impl Family {
    /// The list: UDP from ports 1000 to 1999 to ports 2000 to 2999 is protected, but for port 2500, which is dropped before; TCP to port 443 of one host
    /// passes.
    fn policies(&self) -> Vec<v1::Policy> {
        let side = |(first, last), protocol, (first_port, last_port)| {
            vec![v1::TrafficSelector { protocol, first_port, last_port, ..selector(first, last) }]
        };
        let any = (0, 65_535);
        let policy = |id, priority, action: Action, local, remote| v1::Policy {
            id,
            name: id.to_string(),
            priority,
            action: action.into(),
            local,
            remote,
            dscp: Vec::new(),
        };
        vec![
            policy(1, 30, Action::Protect, side(self.local, UDP, (1000, 1999)), side(self.remote, UDP, (2000, 2999))),
            policy(2, 20, Action::Discard, side(self.local, UDP, any), side(self.remote, UDP, (2500, 2500))),
            policy(3, 40, Action::Bypass, side(self.local, TCP, any), side((self.open, self.open), TCP, (443, 443))),
        ]
    }

    fn packet(&self, source: &str, destination: &str, transport: &str, ports: (u16, u16)) -> String {
        format!("{}(src='{source}', dst='{destination}')/{transport}(sport={}, dport={})/b'x'", self.ip, ports.0, ports.1)
    }

    /// From the host.
    fn out(&self, ports: (u16, u16)) -> String {
        self.packet(self.host, self.remote_host, "UDP", ports)
    }

    /// To the host.
    fn into(&self, ports: (u16, u16)) -> String {
        self.packet(self.remote_host, self.host, "UDP", ports)
    }
}

/// How packets may end here.
const FATES: &[&str] = &[
    "acquire_queued",
    "sealed",
    "opened",
    "bypassed_outbound",
    "bypassed_inbound",
    "drop_no_policy",
    "drop_policy_discard",
    "drop_cleartext_protected",
    "drop_selector_mismatch",
    "drop_no_route",
];

/// Waits for a fate; none of the others is met.
fn expect_fate(gateway: &mut Gateway, before: &Counters, fate: &str, times: u64) {
    within(PATIENCE, fate, || (gateway.counters().of(fate) >= before.of(fate) + times).then_some(()));
    let after = gateway.counters();
    let met: Vec<_> = FATES.iter().map(|name| (*name, after.of(name) - before.of(name))).filter(|(_, n)| *n > 0).collect();
    assert_eq!(met, [(fate, times)]);
}

fn try_all(gateway: &mut Gateway, side: Side, list: &[(String, &str)]) {
    for (packet, fate) in list {
        let before = gateway.counters();
        gateway.send_built(side, packet);
        expect_fate(gateway, &before, fate, 1);
    }
}

fn access_list(family: &Family, ipv6: bool) {
    let mut gateway = Gateway::start_with(&Options { ipv6, ..Options::default() });
    gateway.controller.set_policies(family.policies());
    let tcp = |port| family.packet(family.host, family.open, "TCP", (1000, port));
    let outbound = |inside: &'static str| {
        vec![
            (family.out((1000, 2000)), inside),
            (family.out((1999, 2999)), inside),
            (family.out((999, 2000)), "drop_no_policy"),
            (family.out((2000, 2000)), "drop_no_policy"),
            (family.out((1000, 1999)), "drop_no_policy"),
            (family.out((1000, 3000)), "drop_no_policy"),
            (family.out((1000, 2499)), inside),
            (family.out((1000, 2500)), "drop_policy_discard"),
            (family.out((1000, 2501)), inside),
            (tcp(443), "bypassed_outbound"),
            (tcp(442), "drop_no_policy"),
            (tcp(444), "drop_no_policy"),
            (family.packet(family.host, family.remote_host, "TCP", (1000, 2000)), "drop_no_policy"),
        ]
    };
    try_all(&mut gateway, Side::Lan, &outbound("acquire_queued"));

    let mut sa = ChildSa::prepare(&mut gateway, Suite::PLAIN);
    let [protect, ..] = &family.policies()[..] else { panic!() };
    let message = v1::Install { local_selectors: protect.local.clone(), remote_selectors: protect.remote.clone(), ..sa.message() };
    let before = gateway.counters();
    gateway.controller.done(Operation::Install(message));
    expect_fate(&mut gateway, &before, "sealed", 4);
    try_all(&mut gateway, Side::Lan, &outbound("sealed"));

    // What comes out of the SA is held against its selectors (RFC 4301 section 5.2 step 4).
    for (ports, fate) in [
        ((2000, 1000), "opened"),
        ((2999, 1999), "opened"),
        ((1999, 1000), "drop_selector_mismatch"),
        ((3000, 1000), "drop_selector_mismatch"),
        ((2000, 999), "drop_selector_mismatch"),
        ((2000, 2000), "drop_selector_mismatch"),
    ] {
        let before = gateway.counters();
        sa.send_sealed(&mut gateway, &family.into(ports));
        expect_fate(&mut gateway, &before, fate, 1);
    }
    // And what comes in the clear, against the list.
    let answer = |port| family.packet(family.open, family.host, "TCP", (port, 1000));
    let inbound = [
        (family.into((2000, 1000)), "drop_cleartext_protected"),
        (family.into((2999, 1999)), "drop_cleartext_protected"),
        (family.into((3000, 1000)), "drop_no_policy"),
        (family.into((2000, 2000)), "drop_no_policy"),
        (family.into((2500, 1000)), "drop_policy_discard"),
        (answer(443), "bypassed_inbound"),
        (answer(444), "drop_no_policy"),
    ];
    try_all(&mut gateway, Side::Wan, &inbound);
    // In their order; those that waited counted once, and the SA's packets both ways.
    let counted: Vec<_> = gateway.controller.stats().policies.iter().map(|policy| (policy.id, policy.packets)).collect();
    assert_eq!(counted, [(2, 3), (1, 4 + 4 + 6 + 2), (3, 3)]);
}

#[test]
fn ipv4_ports_are_permitted_and_denied_to_the_last_one() {
    access_list(&FOUR, false);
}

#[test]
fn ipv6_ports_are_permitted_and_denied_to_the_last_one() {
    access_list(&SIX, true);
}
