//! The state of both planes as operators see it.

use std::collections::HashMap;

use culvert_proto::control::v1 as control;
use culvert_proto::control::v1::{
    ChildSa, Counter, ExplainResponse, IkeSa, Lease, ListSasResponse, NextHop, Policy, Pool, Port, StatsResponse, Want, Worker,
};
use culvert_proto::convert::{address, dscp, milliseconds};
use culvert_proto::dataplane::v1 as dataplane;
use ike::io::{ChildSaStatus, IkeSaStatus, LeaseStatus, PoolStatus, PpkStatus, SaState, WantStatus};
use ipsec_types::{DscpSet, Identity, IkeSpi, Protection, TrafficSelector};

use crate::driver::Missing;
use crate::telemetry::{LastFailure, explain};

/// IKE SAs with their Child SAs, these with the counters of the data plane.
pub(super) fn list(sas: &[IkeSaStatus], counted: &[dataplane::ChildSaStatus], wants: &[WantStatus]) -> ListSasResponse {
    let counted: HashMap<u64, &dataplane::ChildSaStatus> = counted.iter().map(|status| (status.child_sa, status)).collect();
    ListSasResponse { ike_sas: sas.iter().map(|sa| ike_sa(sa, &counted)).collect(), wants: wants.iter().map(want).collect() }
}

fn want(want: &WantStatus) -> Want {
    Want {
        connection: want.connection.clone(),
        child: want.child.clone(),
        negotiating: want.negotiating,
        insists: want.insists,
        next_try_ms: want.rest.map_or(0, milliseconds),
        failures: want.failures,
        last_failure: want.last_failure.as_ref().map(explain),
    }
}

/// What would become of a packet, in the words of both planes.
pub(super) fn explained(answer: dataplane::ExplainResponse, sas: &[IkeSaStatus], missing: &Missing) -> ExplainResponse {
    use dataplane::explain_response::Fate;
    let fate = match answer.fate() {
        Fate::Forwarded => "forwarded",
        Fate::Waits => "waits",
        Fate::Delivered => "delivered",
        Fate::Dropped => "dropped",
        Fate::Unspecified => "unknown",
    };
    let policy = answer.policy.map(policy);
    let want = missing.want.as_ref();
    let told = want.and_then(|want| want.last_failure.as_ref());
    let last = missing.last_failure.as_ref().filter(|last| told != Some(&last.failure));
    let crossed = answer.child_sa.as_ref();
    let known =
        crossed.and_then(|crossed| sas.iter().find_map(|sa| Some((sa, sa.children.iter().find(|child| child.id.0 == crossed.child_sa)?))));
    let child_sa = match known {
        Some((_, child)) => Some(child_sa(child, crossed)),
        // One that outlived its IKE SA.
        None => crossed.map(|crossed| ChildSa {
            name: policy.as_ref().map(|policy| policy.name.clone()).unwrap_or_default(),
            id: crossed.child_sa,
            state: "installed".to_owned(),
            protocol: protocol(crossed.protocol() == dataplane::SecurityProtocol::Ah),
            mode: mode(crossed.mode()),
            inbound_spi: crossed.inbound_spi,
            outbound_spi: crossed.outbound_spi,
            ..ChildSa::default()
        }),
    };
    let connection = known.map(|(sa, _)| &sa.connection).or(missing.connection.as_ref()).cloned().unwrap_or_default();
    let no_sa = answer.no_sa.unwrap_or_default();
    ExplainResponse {
        fate: fate.to_owned(),
        verdict: answer.verdict,
        meaning: answer.meaning,
        port: answer.port,
        policy,
        child_sa,
        connection,
        length: answer.length,
        sent_length: answer.sent_length,
        mtu: answer.mtu,
        next_hop: answer.next_hop.map(next_hop),
        acquire: no_sa.acquire,
        refused_for_ms: no_sa.refused_for_ms,
        want: want.map(self::want),
        last_failure: last.map(last_failure),
    }
}

fn last_failure(last: &LastFailure) -> control::LastFailure {
    let LastFailure { at, remote, failure } = last;
    control::LastFailure { age_ms: milliseconds(at.elapsed()), remote: remote.to_string(), failure: Some(explain(failure)) }
}

fn next_hop(hop: dataplane::NextHop) -> NextHop {
    let address = address("next_hop.address", &hop.address).map_or_else(|error| error.to_string(), |address| address.to_string());
    NextHop { port: hop.port, address, mac: hop.mac }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn ike_sa(sa: &IkeSaStatus, counted: &HashMap<u64, &dataplane::ChildSaStatus>) -> IkeSa {
    let identity = |id: &Option<Identity>| id.as_ref().map(ToString::to_string).unwrap_or_default();
    IkeSa {
        connection: sa.connection.clone(),
        id: sa.id.0,
        initiator_spi: sa.initiator_spi.value(),
        responder_spi: sa.responder_spi.map_or(0, IkeSpi::value),
        initiator: sa.initiator,
        version: sa.version.into(),
        state: match sa.state {
            SaState::Connecting => "connecting",
            SaState::Established => "established",
            SaState::Rekeyed => "rekeyed",
            SaState::Deleting => "deleting",
        }
        .to_owned(),
        local_address: sa.local.to_string(),
        remote_address: sa.remote.to_string(),
        local_identity: identity(&sa.local_identity),
        remote_identity: identity(&sa.remote_identity),
        proposal: sa.proposal.clone(),
        age_ms: milliseconds(sa.age),
        nat_local: sa.nat_local,
        nat_remote: sa.nat_remote,
        ppk_id: if let PpkStatus::Used(id) = &sa.ppk { id.clone() } else { String::new() },
        ppk_missing: if let PpkStatus::Missing(why) = &sa.ppk { why.clone() } else { String::new() },
        local_virtual_addresses: texts(&sa.virtual_addresses.local),
        remote_virtual_addresses: texts(&sa.virtual_addresses.remote),
        dns: texts(&sa.virtual_addresses.dns),
        networks: texts(&sa.virtual_addresses.networks),
        child_sas: sa.children.iter().map(|child| child_sa(child, counted.get(&child.id.0).copied())).collect(),
    }
}

fn child_sa(child: &ChildSaStatus, counted: Option<&dataplane::ChildSaStatus>) -> ChildSa {
    let count = |of: fn(&dataplane::ChildSaStatus) -> u64| counted.map_or(0, of);
    ChildSa {
        name: child.name.clone(),
        id: child.id.0,
        state: match child.state {
            SaState::Connecting => "installing",
            SaState::Established => "installed",
            SaState::Rekeyed => "rekeyed",
            SaState::Deleting => "deleting",
        }
        .to_owned(),
        inbound_spi: child.inbound_spi.value(),
        outbound_spi: child.outbound_spi.value(),
        protocol: protocol(matches!(child.protection, Protection::Ah { .. })),
        mode: mode(child.mode.into()),
        proposal: child.proposal.clone(),
        encapsulation: if child.udp_encapsulation { "udp" } else { "plain" }.to_owned(),
        local_selectors: texts(&child.local_selectors),
        remote_selectors: texts(&child.remote_selectors),
        age_ms: milliseconds(child.age),
        inbound_packets: count(|c| c.inbound_packets),
        inbound_octets: count(|c| c.inbound_octets),
        outbound_packets: count(|c| c.outbound_packets),
        outbound_octets: count(|c| c.outbound_octets),
    }
}

fn protocol(is_ah: bool) -> String {
    if is_ah { "ah" } else { "esp" }.to_owned()
}

fn mode(mode: dataplane::Mode) -> String {
    match mode {
        dataplane::Mode::Tunnel => "tunnel",
        dataplane::Mode::Transport => "transport",
    }
    .to_owned()
}

/// Counters of both planes; those of the data plane while it is attached.
pub(super) fn stats(control_plane: Vec<Counter>, data_plane: Option<dataplane::StatsResponse>) -> StatsResponse {
    let data_plane_attached = data_plane.is_some();
    let data_plane = data_plane.unwrap_or_default();
    let counter = |c: dataplane::Counter| Counter { name: c.name, value: c.value, meaning: c.meaning };
    StatsResponse {
        data_plane_attached,
        control_plane,
        data_plane: data_plane.counters.into_iter().map(counter).collect(),
        ports: data_plane.ports.into_iter().map(port).collect(),
        workers: data_plane.workers.iter().map(worker).collect(),
    }
}

/// The SPD.
pub(super) fn policies(policies: Vec<dataplane::PolicyStatus>) -> Vec<Policy> {
    policies.into_iter().map(policy).collect()
}

fn policy(policy: dataplane::PolicyStatus) -> Policy {
    let action = match policy.action() {
        dataplane::policy::Action::Protect => "protect",
        dataplane::policy::Action::Bypass => "bypass",
        dataplane::policy::Action::Discard => "discard",
        dataplane::policy::Action::Unspecified => "unknown",
    };
    let selectors = |list: Vec<dataplane::TrafficSelector>| list.into_iter().map(selector).collect();
    Policy {
        id: policy.id,
        name: policy.name,
        priority: policy.priority,
        action: action.to_owned(),
        local_selectors: selectors(policy.local),
        remote_selectors: selectors(policy.remote),
        dscp: classes(&policy.dscp),
        child_sas: policy.child_sas,
        packets: policy.packets,
        octets: policy.octets,
    }
}

fn classes(code_points: &[u32]) -> String {
    match dscp(code_points) {
        Ok(DscpSet::ALL) => String::new(),
        Ok(set) => set.to_string(),
        Err(error) => error.to_string(),
    }
}

/// In the syntax of the configuration; what the data plane cannot have meant is named, not left out.
fn selector(selector: dataplane::TrafficSelector) -> String {
    TrafficSelector::try_from(selector).map_or_else(|error| error.to_string(), |selector| selector.to_string())
}

/// A pool with its leases.
pub(super) fn pool(pool: &PoolStatus) -> Pool {
    let count = |online| pool.leases.iter().filter(|lease| lease.online == online).count() as u64;
    let lease = |lease: &LeaseStatus| Lease {
        address: lease.address.to_string(),
        identity: lease.identity.as_ref().map(ToString::to_string).unwrap_or_default(),
        online: lease.online,
    };
    Pool {
        name: pool.name.clone(),
        addresses: pool.addresses.to_string(),
        size: u64::try_from(pool.size).unwrap_or(u64::MAX),
        online: count(true),
        offline: count(false),
        leases: pool.leases.iter().map(lease).collect(),
    }
}

pub(super) fn port(port: dataplane::PortStatus) -> Port {
    Port {
        name: port.name,
        role: port.role,
        mac: port.mac,
        mtu: port.mtu,
        link_up: port.link_up,
        rx_packets: port.rx_packets,
        tx_packets: port.tx_packets,
        rx_missed: port.rx_missed,
        tx_dropped: port.tx_dropped,
        addresses: port.addresses,
        rx_octets: port.rx_octets,
        tx_octets: port.tx_octets,
    }
}

pub(super) fn worker(worker: &dataplane::WorkerStatus) -> Worker {
    Worker {
        index: worker.index,
        core: worker.core,
        iterations: worker.iterations,
        busy_iterations: worker.busy_iterations,
        packets: worker.packets,
        thread: worker.thread,
        load_permille: worker.load_permille,
        commands_queued: worker.commands_queued,
        handed_off: worker.handed_off,
        hand_off_drops: worker.hand_off_drops,
        punt_drops: worker.punt_drops,
        transmit_drops: worker.transmit_drops,
        notices_lost: worker.notices_lost,
    }
}
