//! The data plane's messages as inputs of the core. One bad field refuses the whole message.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use culvert_proto::convert::{ConvertError, Problem, address, address_octets, child_sa_id, port, selectors};
use culvert_proto::dataplane::v1;
use ike::io::{Datagram, Dataplane, InstalledChildSa};
use ipsec_types::PolicyId;

pub(super) fn addresses(field: &str, all: &[Vec<u8>]) -> Result<Vec<IpAddr>, ConvertError> {
    all.iter().enumerate().map(|(i, octets)| address(&format!("{field}[{i}]"), octets)).collect()
}

/// What the data plane has installed.
pub(super) fn installed(all: Vec<v1::ChildSaStatus>) -> Result<Vec<InstalledChildSa>, ConvertError> {
    let one = |(i, status)| child_sa(status).map_err(|error: ConvertError| error.within(&format!("child_sas[{i}]")));
    all.into_iter().enumerate().map(one).collect()
}

fn child_sa(status: v1::ChildSaStatus) -> Result<InstalledChildSa, ConvertError> {
    Ok(InstalledChildSa {
        id: child_sa_id("child_sa", status.child_sa)?,
        policy: PolicyId(status.policy),
        remote: address("remote_address", &status.remote_address)?,
        local_selectors: selectors("local_selectors", status.local_selectors)?,
        remote_selectors: selectors("remote_selectors", status.remote_selectors)?,
        retiring: status.retiring,
    })
}

pub(super) fn datagrams(batch: v1::PuntResponse) -> Result<Vec<Datagram>, ConvertError> {
    batch
        .datagrams
        .into_iter()
        .enumerate()
        .map(|(i, message)| datagram(message).map_err(|error| error.within(&format!("datagrams[{i}]"))))
        .collect()
}

/// A datagram to be sent.
pub(super) fn outgoing(datagram: Datagram) -> v1::Datagram {
    v1::Datagram { payload: datagram.payload.into(), ..ends(datagram.local, datagram.remote) }
}

/// From where to where a keepalive goes.
pub(super) fn ends(local: SocketAddr, remote: SocketAddr) -> v1::Datagram {
    v1::Datagram {
        local_address: address_octets(local.ip()).into(),
        local_port: local.port().into(),
        remote_address: address_octets(remote.ip()).into(),
        remote_port: remote.port().into(),
        ..v1::Datagram::default()
    }
}

/// `None` for events that the core has no use for; they are logged.
pub(super) fn event(message: v1::Event) -> Result<Option<Dataplane>, ConvertError> {
    use v1::event::Event;
    let event = message.event.ok_or_else(|| ConvertError::new("event", Problem::Missing))?;
    Ok(Some(match event {
        Event::Acquire(acquire) => {
            let flow = acquire.flow.ok_or_else(|| ConvertError::new("acquire.flow", Problem::Missing))?;
            let flow = flow.try_into().map_err(|error: ConvertError| error.within("acquire.flow"))?;
            Dataplane::Acquire { id: acquire.id, policy: PolicyId(acquire.policy), flow }
        }
        Event::SoftExpire(expire) => Dataplane::SoftExpire(child_sa_id("soft_expire.child_sa", expire.child_sa)?),
        Event::HardExpire(expire) => Dataplane::HardExpire(child_sa_id("hard_expire.child_sa", expire.child_sa)?),
        Event::SpiMiss(miss) => {
            let remote = address("spi_miss.remote_address", &miss.remote_address)?;
            tracing::debug!("ESP from {remote} for SPI {:08x}, which no SA has", miss.spi);
            Dataplane::SpiMiss { local: address("spi_miss.local_address", &miss.local_address)?, remote, spi: miss.spi }
        }
        Event::PeerMoved(moved) => {
            let remote = socket_addr("peer_moved.remote", &moved.remote_address, moved.remote_port)?;
            Dataplane::PeerMoved { child: child_sa_id("peer_moved.child_sa", moved.child_sa)?, remote }
        }
        Event::LastInbound(last) => {
            Dataplane::LastInbound { child: child_sa_id("last_inbound.child_sa", last.child_sa)?, age: Duration::from_millis(last.age_ms) }
        }
    }))
}

fn datagram(message: v1::Datagram) -> Result<Datagram, ConvertError> {
    Ok(Datagram {
        local: socket_addr("local", &message.local_address, message.local_port)?,
        remote: socket_addr("remote", &message.remote_address, message.remote_port)?,
        payload: message.payload.into(),
    })
}

fn socket_addr(field: &str, octets: &[u8], number: u32) -> Result<SocketAddr, ConvertError> {
    Ok(SocketAddr::new(address(&format!("{field}_address"), octets)?, port(&format!("{field}_port"), number)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_comes_back_as_it_went() {
        let there = Datagram { local: "192.0.2.1:500".parse().unwrap(), remote: "192.0.2.2:4500".parse().unwrap(), payload: vec![1, 2, 3] };
        let back = datagrams(v1::PuntResponse { datagrams: vec![outgoing(there.clone())] });
        assert_eq!(back, Ok(vec![there]));
    }

    #[test]
    fn one_bad_field_refuses_the_batch_and_is_named() {
        let good =
            outgoing(Datagram { local: "192.0.2.1:500".parse().unwrap(), remote: "192.0.2.2:500".parse().unwrap(), payload: vec![] });
        let bad = v1::Datagram { remote_port: 65536, ..good.clone() };
        let error = datagrams(v1::PuntResponse { datagrams: vec![good, bad] }).unwrap_err();
        assert_eq!(error.field, "datagrams[1].remote_port");
    }

    #[test]
    fn an_event_without_content_is_refused() {
        assert!(event(v1::Event::default()).is_err());
        let acquire = v1::Event { event: Some(v1::event::Event::Acquire(v1::Acquire { id: 1, policy: 1, flow: None })) };
        assert_eq!(event(acquire).unwrap_err().field, "acquire.flow");
    }
}
