//! Why a peer gets no address of this side's network, for people.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use ike_wire::Configuration;

use crate::error::Detail;
use crate::policy::ConnectionRef;

/// Every address of the pools is in use.
pub(crate) fn no_address(connection: &ConnectionRef, request: &Configuration) -> Box<Detail> {
    let asked = request.attributes.iter().filter(|attribute| attribute.kind.is_address()).map(|attribute| attribute.kind.to_string());
    Detail {
        summary: format!("no address is left for a peer of connection {}", connection.name),
        ours: pools(connection),
        theirs: format!("asks for {}", asked.collect::<Vec<_>>().join(", ")),
        remedy: "let a pool of the connection have more addresses, or add one of the family that is asked for".into(),
        ..Detail::default()
    }
    .bounded()
}

/// Nor that one, which somebody else has chosen for the peer. `ours`: it is one of the connection's pools.
pub(crate) fn chosen_address(connection: &ConnectionRef, address: IpAddr, ours: bool) -> Box<Detail> {
    let (why, remedy) = match ours {
        true => (
            "another peer has, or no host may have",
            "let one address be for one user at the RADIUS server, and those it chooses in a pool of their own",
        ),
        false => (
            "is in no pool of the connection",
            "let a pool of the connection have it, or the RADIUS server choose another one (Framed-IP-Address)",
        ),
    };
    Detail {
        summary: format!("the RADIUS server has chosen an address for the peer of connection {} that {why}: {address}", connection.name),
        ours: pools(connection),
        remedy: remedy.into(),
        ..Detail::default()
    }
    .bounded()
}

/// A peer without the question for an address.
pub(crate) fn address_required(connection: &ConnectionRef, theirs: &str) -> Box<Detail> {
    Detail {
        summary: format!("connection {} gives addresses to its peers, and this one asks for none", connection.name),
        theirs: theirs.into(),
        remedy: "let the peer ask for an address (strongSwan: vips = 0.0.0.0), or write remote_ts in a child of the connection".into(),
        ..Detail::default()
    }
    .bounded()
}

fn pools(connection: &ConnectionRef) -> String {
    let pools = connection.pools.iter().map(|pool| format!("{}: {}", pool.name, pool.addresses)).collect::<Vec<_>>();
    format!("pools {}", pools.join(", "))
}
