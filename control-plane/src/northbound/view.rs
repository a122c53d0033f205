//! The state of both planes as operators see it.

use std::collections::HashMap;

use culvert_proto::control::v1::{ChildSa, Counter, IkeSa, ListSasResponse, Port, StatsResponse, Worker};
use culvert_proto::convert::milliseconds;
use culvert_proto::dataplane::v1 as dataplane;
use ike::io::{ChildSaStatus, IkeSaStatus, SaState};
use ipsec_types::{Identity, IkeSpi};

/// IKE SAs with their Child SAs, these with the counters of the data plane.
pub(super) fn list(sas: &[IkeSaStatus], counted: &[dataplane::ChildSaStatus]) -> ListSasResponse {
    let counted: HashMap<u64, &dataplane::ChildSaStatus> = counted.iter().map(|status| (status.child_sa, status)).collect();
    ListSasResponse { ike_sas: sas.iter().map(|sa| ike_sa(sa, &counted)).collect() }
}

fn ike_sa(sa: &IkeSaStatus, counted: &HashMap<u64, &dataplane::ChildSaStatus>) -> IkeSa {
    let identity = |id: &Option<Identity>| id.as_ref().map(ToString::to_string).unwrap_or_default();
    IkeSa {
        connection: sa.connection.clone(),
        id: sa.id.0,
        initiator_spi: sa.initiator_spi.value(),
        responder_spi: sa.responder_spi.map_or(0, IkeSpi::value),
        initiator: sa.initiator,
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
        proposal: child.proposal.clone(),
        encapsulation: if child.udp_encapsulation { "udp" } else { "plain" }.to_owned(),
        local_selectors: child.local_selectors.iter().map(ToString::to_string).collect(),
        remote_selectors: child.remote_selectors.iter().map(ToString::to_string).collect(),
        age_ms: milliseconds(child.age),
        inbound_packets: count(|c| c.inbound_packets),
        inbound_octets: count(|c| c.inbound_octets),
        outbound_packets: count(|c| c.outbound_packets),
        outbound_octets: count(|c| c.outbound_octets),
    }
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

fn port(port: dataplane::PortStatus) -> Port {
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
    }
}

fn worker(worker: &dataplane::WorkerStatus) -> Worker {
    Worker {
        index: worker.index,
        core: worker.core,
        iterations: worker.iterations,
        busy_iterations: worker.busy_iterations,
        packets: worker.packets,
    }
}
