//! Answers as text and as JSON.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use culvert_proto::control::v1::{
    ChildSa, ExplainRequest, ExplainResponse, Failure, IkeSa, InitiateResponse, LastFailure, ListSasResponse, PoliciesResponse, Policy,
    Pool, PoolsResponse, Port, PortsResponse, RekeyResponse, ReloadResponse, StatsResponse, TerminateResponse, VersionResponse, Want,
    WatchEvent, Worker, WorkersResponse,
};
use serde::Serialize;

use crate::args::{ICMP, ICMPV6};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

/// One JSON document on a line.
pub(crate) fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    writeln!(out, "{}", serde_json::to_string(value)?)
}

pub(crate) fn sas(out: &mut impl Write, format: Format, answer: &ListSasResponse) -> io::Result<()> {
    if format == Format::Json {
        return json(out, answer);
    }
    if answer.ike_sas.is_empty() {
        writeln!(out, "no IKE SAs")?;
    }
    for sa in &answer.ike_sas {
        write!(out, "{}", describe_ike_sa(sa))?;
        if !sa.child_sas.is_empty() {
            writeln!(out, "{}", child_table(&sa.child_sas))?;
        }
    }
    answer.wants.iter().try_for_each(|want| writeln!(out, "{}", describe_want(want)))
}

/// Such as `site-b/net: next try in 3 s, 4th failure: no answer from 192.0.2.2:500 ...`.
pub(crate) fn describe_want(want: &Want) -> String {
    let next = match (want.negotiating, want.insists, want.next_try_ms) {
        (true, _, _) => "is being negotiated".to_owned(),
        (false, true, ms) => format!("next try in {}", in_seconds(ms)),
        (false, false, 0) => "tried again with the next packet".to_owned(),
        (false, false, ms) => format!("tried again with the next packet, not before {} have passed", in_seconds(ms)),
    };
    let failed = want.last_failure.as_ref().map(|failure| format!(", {} failure: {}", ordinal(want.failures), failure.summary));
    format!("{}/{}: {next}{}", want.connection, want.child, failed.unwrap_or_default())
}

/// Never 0, which would be now.
fn in_seconds(ms: u64) -> String {
    format!("{} s", ms.div_ceil(1000).max(1))
}

fn ordinal(number: u32) -> String {
    let suffix = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

fn describe_ike_sa(sa: &IkeSa) -> String {
    let role = if sa.initiator { "initiator" } else { "responder" };
    let nat = match (sa.nat_local, sa.nat_remote) {
        (false, false) => "",
        (true, false) => ", NAT before this gateway",
        (false, true) => ", NAT before the peer",
        (true, true) => ", NAT before both",
    };
    let ppk = match (&*sa.ppk_id, &*sa.ppk_missing) {
        ("", "") => String::new(),
        ("", why) => format!(", WITHOUT ITS PPK: {why}"),
        (id, _) => format!(", PPK '{id}'"),
    };
    let lists = [
        ("ours inside", &sa.local_virtual_addresses),
        ("theirs inside", &sa.remote_virtual_addresses),
        ("name servers", &sa.dns),
        ("networks", &sa.networks),
    ];
    let given = lists.iter().filter(|(_, items)| !items.is_empty()).map(|(what, items)| format!("  {what}: {}\n", items.join(", ")));
    format!(
        "{} #{}: {}, {role}, IKEv{}, {:016x}_i {:016x}_r, {} old\n  local  '{}' at {}\n  remote '{}' at {}{nat}\n  {}{ppk}\n{}",
        sa.connection,
        sa.id,
        sa.state,
        sa.version,
        sa.initiator_spi,
        sa.responder_spi,
        age(sa.age_ms),
        sa.local_identity,
        sa.local_address,
        sa.remote_identity,
        sa.remote_address,
        if sa.proposal.is_empty() { "negotiating" } else { &sa.proposal },
        given.collect::<String>(),
    )
}

/// Child SAs, each with what its IKE SA is.
pub(crate) fn children(out: &mut impl Write, format: Format, answer: &ListSasResponse) -> io::Result<()> {
    #[derive(Serialize)]
    struct Listed<'a> {
        connection: &'a str,
        ike_sa: u64,
        #[serde(flatten)]
        child: &'a ChildSa,
    }
    #[derive(Serialize)]
    struct Document<'a> {
        child_sas: Vec<Listed<'a>>,
        wants: &'a [Want],
    }
    let both = || answer.ike_sas.iter().flat_map(|sa| sa.child_sas.iter().map(move |child| (sa, child)));
    if format == Format::Json {
        let listed = both().map(|(sa, child)| Listed { connection: &sa.connection, ike_sa: sa.id, child });
        return json(out, &Document { child_sas: listed.collect(), wants: &answer.wants });
    }
    let mut table = plain_table(&CHILD_HEADER);
    let mut none = true;
    for (sa, child) in both() {
        none = false;
        table.add_row(child_row(format!("{}/{}", sa.connection, child.name), child));
    }
    if none {
        writeln!(out, "no Child SAs")?;
    } else {
        writeln!(out, "{table}")?;
    }
    answer.wants.iter().try_for_each(|want| writeln!(out, "{}", describe_want(want)))
}

const CHILD_HEADER: [&str; 9] = ["CHILD", "ID", "STATE", "SPI IN/OUT", "TRAFFIC", "PROTECTION", "AGE", "IN", "OUT"];

/// The Child SAs of an IKE SA, indented under it.
fn child_table(children: &[ChildSa]) -> Table {
    let mut header = CHILD_HEADER;
    header[0] = "  CHILD";
    let mut table = plain_table(&header);
    for child in children {
        table.add_row(child_row(format!("  {}", child.name), child));
    }
    table
}

fn child_row(name: String, child: &ChildSa) -> Vec<String> {
    vec![
        name,
        format!("{}", child.id),
        child.state.clone(),
        format!("{:08x}/{:08x}", child.inbound_spi, child.outbound_spi),
        traffic(&child.local_selectors, &child.remote_selectors),
        protection(child),
        age(child.age_ms),
        format!("{} pkts {} B", child.inbound_packets, child.inbound_octets),
        format!("{} pkts {} B", child.outbound_packets, child.outbound_octets),
    ]
}

/// Such as `ESP tunnel AES_GCM_16_128/EXT_SEQ plain`.
fn protection(child: &ChildSa) -> String {
    let ChildSa { protocol, mode, proposal, encapsulation, .. } = child;
    format!("{} {mode} {proposal} {encapsulation}", protocol.to_uppercase())
}

/// What an SPD entry selects.
fn selected(policy: &Policy) -> String {
    let traffic = traffic(&policy.local_selectors, &policy.remote_selectors);
    if policy.dscp.is_empty() { traffic } else { format!("{traffic} dscp {}", policy.dscp) }
}

fn traffic(local: &[String], remote: &[String]) -> String {
    format!("{} === {}", local.join(" "), remote.join(" "))
}

pub(crate) fn policies(out: &mut impl Write, format: Format, answer: &PoliciesResponse) -> io::Result<()> {
    if format == Format::Json {
        return json(out, answer);
    }
    if answer.policies.is_empty() {
        return writeln!(out, "no policies: everything is dropped");
    }
    let mut table = plain_table(&["POLICY", "ID", "PRIORITY", "ACTION", "TRAFFIC", "CHILD SAS", "PACKETS", "OCTETS"]);
    for policy in &answer.policies {
        table.add_row(vec![
            policy.name.clone(),
            policy.id.to_string(),
            policy.priority.to_string(),
            policy.action.clone(),
            selected(policy),
            policy.child_sas.to_string(),
            policy.packets.to_string(),
            policy.octets.to_string(),
        ]);
    }
    writeln!(out, "{table}")
}

/// Each pool on a line, and under it who has which address.
pub(crate) fn pools(out: &mut impl Write, format: Format, answer: &PoolsResponse) -> io::Result<()> {
    if format == Format::Json {
        return json(out, answer);
    }
    if answer.pools.is_empty() {
        return writeln!(out, "no connection has a pool");
    }
    for pool in &answer.pools {
        let Pool { name, addresses, size, online, offline, .. } = pool;
        writeln!(out, "{name}: {addresses}, {size} addresses, {online} online, {offline} offline")?;
        let mut table = plain_table(&["  ADDRESS", "STATE", "IDENTITY"]);
        for lease in &pool.leases {
            let who = if lease.identity.is_empty() { "a peer of an earlier process" } else { &lease.identity };
            let state = if lease.online { "online" } else { "offline" };
            table.add_row(vec![format!("  {}", lease.address), state.to_owned(), who.to_owned()]);
        }
        if !pool.leases.is_empty() {
            writeln!(out, "{table}")?;
        }
    }
    Ok(())
}

pub(crate) fn ports(out: &mut impl Write, format: Format, answer: &PortsResponse) -> io::Result<()> {
    match format {
        Format::Json => json(out, answer),
        Format::Text => writeln!(out, "{}", port_table(&answer.ports)),
    }
}

fn port_table(ports: &[Port]) -> Table {
    let mut table = plain_table(&["PORT", "ROLE", "MAC", "ADDRESSES", "MTU", "LINK", "RX", "TX", "RX MISSED", "TX DROPPED"]);
    for port in ports {
        table.add_row(vec![
            port.name.clone(),
            port.role.clone(),
            port.mac.clone(),
            port.addresses.join(" "),
            port.mtu.to_string(),
            (if port.link_up { "up" } else { "down" }).to_owned(),
            format!("{} pkts {} B", port.rx_packets, port.rx_octets),
            format!("{} pkts {} B", port.tx_packets, port.tx_octets),
            port.rx_missed.to_string(),
            port.tx_dropped.to_string(),
        ]);
    }
    table
}

pub(crate) fn workers(out: &mut impl Write, format: Format, answer: &WorkersResponse) -> io::Result<()> {
    match format {
        Format::Json => json(out, answer),
        Format::Text => writeln!(out, "{}", worker_table(&answer.workers)),
    }
}

fn worker_table(workers: &[Worker]) -> Table {
    let header = ["WORKER", "CORE", "THREAD", "LOAD", "PACKETS", "HANDED OFF", "LOST (HAND-OFF/PUNT/TX/NOTICES)", "COMMANDS WAITING"];
    let mut table = plain_table(&header);
    for worker in workers {
        let lost = [worker.hand_off_drops, worker.punt_drops, worker.transmit_drops, worker.notices_lost];
        table.add_row(vec![
            worker.index.to_string(),
            worker.core.to_string(),
            worker.thread.to_string(),
            format!("{}.{} %", worker.load_permille / 10, worker.load_permille % 10),
            worker.packets.to_string(),
            worker.handed_off.to_string(),
            lost.map(|count| count.to_string()).join("/"),
            worker.commands_queued.to_string(),
        ]);
    }
    table
}

pub(crate) fn stats(out: &mut impl Write, format: Format, answer: &StatsResponse, all: bool) -> io::Result<()> {
    if format == Format::Json {
        return json(out, answer);
    }
    let mut table = plain_table(&["COUNTER", "VALUE", "MEANING"]);
    align_right(&mut table, 1);
    for (plane, counters) in [("control", &answer.control_plane), ("data", &answer.data_plane)] {
        for counter in counters.iter().filter(|counter| all || counter.value > 0) {
            table.add_row(vec![format!("{plane}.{}", counter.name), counter.value.to_string(), counter.meaning.clone()]);
        }
    }
    writeln!(out, "{table}")?;
    if !answer.data_plane_attached {
        return writeln!(out, "\nno data plane is attached");
    }
    writeln!(out, "\n{}", port_table(&answer.ports))?;
    writeln!(out, "\n{}", worker_table(&answer.workers))
}

pub(crate) fn initiated(out: &mut impl Write, format: Format, child: &str, answer: &InitiateResponse) -> io::Result<()> {
    match format {
        Format::Json => json(out, answer),
        Format::Text => writeln!(out, "{child}: installed as Child SA {} of IKE SA {}", answer.child_sa, answer.ike_sa),
    }
}

pub(crate) fn terminated(out: &mut impl Write, format: Format, answer: &TerminateResponse) -> io::Result<()> {
    match format {
        Format::Json => json(out, answer),
        Format::Text => writeln!(out, "{} deleted", answer.terminated),
    }
}

pub(crate) fn rekeyed(out: &mut impl Write, format: Format, answer: &RekeyResponse) -> io::Result<()> {
    if format == Format::Json {
        return json(out, answer);
    }
    let all = |what: &str, ids: &[u64]| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        if ids.is_empty() { None } else { Some(format!("{what} {}", ids.join(" "))) }
    };
    let new: Vec<String> = [all("IKE SA", &answer.ike_sas), all("Child SA", &answer.child_sas)].into_iter().flatten().collect();
    writeln!(out, "rekeyed; now {}", new.join(" and "))
}

pub(crate) fn reloaded(out: &mut impl Write, format: Format, answer: &ReloadResponse) -> io::Result<()> {
    match format {
        Format::Json => json(out, answer),
        Format::Text => {
            let ReloadResponse { connections, children, policies } = answer;
            writeln!(out, "in force: {connections} connections, {children} children, {policies} policies")
        }
    }
}

pub(crate) fn explained(out: &mut impl Write, format: Format, asked: &ExplainRequest, answer: &ExplainResponse) -> io::Result<()> {
    if format == Format::Json {
        return json(out, answer);
    }
    let is_icmp = [ICMP, ICMPV6].map(u32::from).contains(&asked.protocol);
    let ports = if is_icmp {
        format!("ICMP type {} code {}", asked.destination_port >> 8, asked.destination_port & 0xff)
    } else {
        format!("protocol {}, ports {} -> {}", asked.protocol, asked.source_port, asked.destination_port)
    };
    writeln!(out, "{} -> {}, {ports}, arriving on {}", asked.source, asked.destination, or_none(&answer.port))?;
    let mut line = |name: &str, text: &str| writeln!(out, "  {name:<13}{text}");
    line("fate", &format!("{}: {} ({})", answer.fate, or_none(&answer.verdict), or_none(&answer.meaning)))?;
    match &answer.policy {
        Some(policy) => {
            let traffic = selected(policy);
            line("policy", &format!("{}: {} {traffic}, priority {}", policy.name, policy.action, policy.priority))?;
        }
        None => line("policy", "none selects it")?,
    }
    if let Some(child) = &answer.child_sa {
        let spis = format!("SPIs {:08x} in, {:08x} out", child.inbound_spi, child.outbound_spi);
        let name = if answer.connection.is_empty() { child.name.clone() } else { format!("{}/{}", answer.connection, child.name) };
        line("SA", &format!("Child SA {} {name}, {spis}, {}", child.id, protection(child)))?;
    }
    if answer.length > 0 {
        let sent = if answer.sent_length > 0 { format!(", {} as sent", answer.sent_length) } else { String::new() };
        line("length", &format!("{} octets{sent}", answer.length))?;
    }
    if answer.mtu > 0 {
        let cut = if answer.length > answer.mtu && answer.fate == "forwarded" { ": it crosses in pieces" } else { "" };
        line("MTU", &format!("{} octets fit{cut}", answer.mtu))?;
    }
    if let Some(hop) = &answer.next_hop {
        let mac = if hop.mac.is_empty() { "whose MAC address is not known yet" } else { &hop.mac };
        line("next hop", &format!("{} on {}, {mac}", hop.address, hop.port))?;
    }
    if answer.acquire > 0 {
        line("waits for", &format!("the answer to Acquire {}", answer.acquire))?;
    }
    if answer.refused_for_ms > 0 {
        line("refused", &format!("no SA is asked for in the next {}", in_seconds(answer.refused_for_ms)))?;
    }
    if let Some(want) = &answer.want {
        writeln!(out, "  {:<13}{}", "IKE", describe_want(want))?;
        want.last_failure.as_ref().map_or(Ok(()), |failure| explanation(out, failure))?;
    }
    let Some(LastFailure { age_ms, remote, failure: Some(failure) }) = &answer.last_failure else { return Ok(()) };
    writeln!(out, "  {:<13}{} ago, with {remote}: {}", "last failure", age(*age_ms), failure.summary)?;
    explanation(out, failure)
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

pub(crate) fn event(out: &mut impl Write, format: Format, event: &WatchEvent) -> io::Result<()> {
    if format == Format::Json {
        return json(out, event);
    }
    let name = match (event.connection.as_str(), event.child.as_str()) {
        ("", "") => String::new(),
        (connection, "") => format!(" {connection}"),
        (connection, child) => format!(" {connection}/{child}"),
    };
    writeln!(out, "{} {}{name}: {}", clock(event.time_ms), event.kind, event.text)?;
    event.failure.as_ref().map_or(Ok(()), |failure| explanation(out, failure))
}

pub(crate) fn version(out: &mut impl Write, format: Format, planes: Option<&VersionResponse>) -> io::Result<()> {
    #[derive(Serialize)]
    struct Versions<'a> {
        command: &'a str,
        control_plane: Option<&'a str>,
        data_plane: Option<&'a str>,
    }
    let versions = Versions {
        command: env!("CARGO_PKG_VERSION"),
        control_plane: planes.map(|planes| planes.control_plane.as_str()),
        data_plane: planes.map(|planes| planes.data_plane.as_str()).filter(|version| !version.is_empty()),
    };
    if format == Format::Json {
        return json(out, &versions);
    }
    writeln!(out, "culvert {}", versions.command)?;
    writeln!(out, "control plane {}", versions.control_plane.unwrap_or("is not running"))?;
    writeln!(out, "data plane {}", versions.data_plane.unwrap_or("is not attached"))
}

/// What stands behind the line that says what happened: each part on lines of its own.
pub(crate) fn explanation(out: &mut impl Write, failure: &Failure) -> io::Result<()> {
    let parts = [("ours", &failure.ours), ("theirs", &failure.theirs), ("would match", &failure.would_match), ("remedy", &failure.remedy)];
    for (name, text) in parts.into_iter().filter(|(_, text)| !text.is_empty()) {
        for (number, line) in wrap(text, 100).iter().enumerate() {
            writeln!(out, "  {:<13}{line}", if number == 0 { name } else { "" })?;
        }
    }
    Ok(())
}

/// `text` in lines of at most `width` columns, but for words that are longer.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Time of day in UTC, to the millisecond.
pub(crate) fn clock(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, unix_ms % 1000)
}

fn age(ms: u64) -> String {
    let seconds = Duration::from_millis(ms).as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    table
}

fn align_right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ike_sa_shows_who_and_how() {
        let sa = IkeSa {
            connection: "site-b".into(),
            id: 7,
            version: 2,
            state: "established".into(),
            initiator: true,
            initiator_spi: 0x0123_4567_89ab_cdef,
            responder_spi: 1,
            local_identity: "a.example".into(),
            local_address: "192.0.2.1:500".into(),
            remote_identity: "b.example".into(),
            remote_address: "192.0.2.2:500".into(),
            proposal: "AES_GCM_16_128".into(),
            age_ms: 1500,
            nat_remote: true,
            ppk_id: "site-b.ppk".into(),
            remote_virtual_addresses: vec!["10.3.0.1".into(), "fd99::1".into()],
            ..IkeSa::default()
        };
        let text = describe_ike_sa(&sa);
        assert!(text.starts_with("site-b #7: established, initiator, IKEv2, 0123456789abcdef_i 0000000000000001_r, 1 s old\n"), "{text}");
        assert!(text.contains("remote 'b.example' at 192.0.2.2:500, NAT before the peer\n"), "{text}");
        assert!(text.contains("  AES_GCM_16_128, PPK 'site-b.ppk'\n"), "{text}");
        let text = describe_ike_sa(&IkeSa { version: 1, ..sa.clone() });
        assert!(text.starts_with("site-b #7: established, initiator, IKEv1, "), "{text}");
        let text = describe_ike_sa(&IkeSa { ppk_id: String::new(), ppk_missing: "the peer has none".into(), ..sa });
        assert!(text.contains("  AES_GCM_16_128, WITHOUT ITS PPK: the peer has none\n"), "{text}");
        assert!(text.ends_with("\n  theirs inside: 10.3.0.1, fd99::1\n"), "{text}");
    }

    #[test]
    fn the_next_try_is_shown_with_what_failed() {
        let failure = Failure { summary: "no answer from 192.0.2.2:500".into(), ..Failure::default() };
        let (connection, child) = ("site-b".to_owned(), "net".to_owned());
        let want =
            Want { connection, child, insists: true, next_try_ms: 2100, failures: 4, last_failure: Some(failure), ..Want::default() };
        assert_eq!(describe_want(&want), "site-b/net: next try in 3 s, 4th failure: no answer from 192.0.2.2:500");
        assert_eq!([1, 2, 3, 11, 12, 22, 113].map(ordinal), ["1st", "2nd", "3rd", "11th", "12th", "22nd", "113th"]);
        let waits = describe_want(&Want { negotiating: true, last_failure: None, ..want.clone() });
        assert_eq!(waits, "site-b/net: is being negotiated");
    }

    #[test]
    fn ages_and_clocks_are_readable() {
        assert_eq!((age(119_999), age(120_000), age(7_200_000)), ("119 s".into(), "2 min".into(), "2 h".into()));
        assert_eq!(clock(86_400_000 + 3_723_004), "01:02:03.004");
    }
}
