//! Peers that move: MOBIKE (RFC 4555).
//!
//! ```text
//! HDR, SK {..., N(MOBIKE_SUPPORTED), [N(ADDITIONAL_*_ADDRESS)]}  -->
//!                                                <--  HDR, SK {..., N(MOBIKE_SUPPORTED), [N(ADDITIONAL_*_ADDRESS)]}
//! (is at another address, or the peer does not answer)
//! HDR, SK {N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)}  -->
//!                                                <--  HDR, SK {N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)}
//!                                                <--  HDR, SK {N(COOKIE2)}
//! HDR, SK {N(COOKIE2)}                      -->
//!                                                (its Child SAs follow)
//! ```
//!
//! Whoever has begun the IKE SA decides between which addresses it is; nobody else's packets move anything then, neither of IKE nor of ESP.

use alloc::format;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ike_wire::{ExchangeType, Notify, NotifyType, Payload};
use ipsec_types::{IkeSpi, Mode};

use crate::context::Context;
use crate::diagnosis;
use crate::error::Failure;
use crate::v2::find::notification;
use crate::v2::init::{saying, says};
use crate::v2::keys::Role;
use crate::v2::nat::{self, HeaderSpis, NAT_T_PORT};
use crate::v2::{Active, Core, Established, Task};

/// What an IKE SA knows about the addresses of its two ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mobility {
    /// The peer's, besides the one that is in use.
    others: Vec<IpAddr>,
    /// The way was changed, and the peer has still to be told.
    pending: bool,
    /// What the peer last saw of our address, as a hash: another one says that a NAT on the way has forgotten us.
    seen: Option<Vec<u8>>,
}

/// Addresses of a side that are told or kept.
const MOST_ADDRESSES: usize = 8;
/// Repetitions of a request before another way is tried.
const REPETITIONS: u32 = 2;
/// Octets of our COOKIE2: "between 8 and 64" (section 4.2.5).
const COOKIE_LEN: usize = 16;

/// `N(MOBIKE_SUPPORTED), [N(ADDITIONAL_*_ADDRESS)]`, where the connection wants it and the peer can do with port 4500 (section 3.3).
pub(crate) fn announce(core: &Core, cx: &Context<'_>) -> Vec<Payload> {
    if !core.connection.mobike || !core.nat.supported {
        return Vec::new();
    }
    let others = own_addresses(core, cx).into_iter().filter(|address| *address != core.local.ip());
    let additional = others.map(|address| match address {
        IpAddr::V4(address) => Notify::new(NotifyType::ADDITIONAL_IP4_ADDRESS, address.octets().to_vec()),
        IpAddr::V6(address) => Notify::new(NotifyType::ADDITIONAL_IP6_ADDRESS, address.octets().to_vec()),
    });
    core::iter::once(saying(NotifyType::MOBIKE_SUPPORTED)).chain(additional.map(Payload::Notify)).collect()
}

/// The peer has said the same.
pub(crate) fn agree(core: &mut Core, payloads: &[Payload]) {
    core.extensions.mobike = core.connection.mobike && core.nat.supported && says(payloads, NotifyType::MOBIKE_SUPPORTED);
    if core.extensions.mobike {
        learn(core, payloads);
    }
}

/// The addresses of this side between which the connection may choose.
pub(crate) fn own_addresses(core: &Core, cx: &Context<'_>) -> Vec<IpAddr> {
    let attached = cx.shared.attachment.as_ref().map(|attachment| attachment.local_addresses.as_slice()).unwrap_or_default();
    let usable = |address: &&IpAddr| core.connection.local_addrs.is_empty() || core.connection.local_addrs.contains(address);
    attached.iter().filter(usable).copied().take(MOST_ADDRESSES).collect()
}

/// Takes in the peer's addresses: each message that has any has all of them (section 3.6).
fn learn(core: &mut Core, payloads: &[Payload]) {
    let addresses = payloads.iter().filter_map(|payload| match payload {
        Payload::Notify(notify) => address(notify),
        _ => None,
    });
    let addresses: Vec<IpAddr> = addresses.filter(usable).take(MOST_ADDRESSES).collect();
    if !addresses.is_empty() || says(payloads, NotifyType::NO_ADDITIONAL_ADDRESSES) {
        core.mobility.others = addresses;
    }
}

fn address(notify: &Notify) -> Option<IpAddr> {
    match notify.kind {
        NotifyType::ADDITIONAL_IP4_ADDRESS => <[u8; 4]>::try_from(notify.data.as_slice()).ok().map(|octets| Ipv4Addr::from(octets).into()),
        NotifyType::ADDITIONAL_IP6_ADDRESS => <[u8; 16]>::try_from(notify.data.as_slice()).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

/// Whether a gateway can be there.
pub(crate) fn usable(address: &IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(local || address.is_unspecified() || address.is_multicast() || address.is_loopback())
}

/// The peer's INFORMATIONAL request, besides what it deletes: gives back what belongs into the answer.
pub(crate) fn on_request(state: &Established, core: &mut Core, cx: &mut Context<'_>, payloads: &[Payload]) -> Vec<Payload> {
    // "the recipient of an INFORMATIONAL request MUST copy the notification as-is to the response" (section 3.7).
    let cookie = notification(payloads, |kind| kind == NotifyType::COOKIE2).cloned().map(Payload::Notify);
    let mut answer: Vec<Payload> = cookie.into_iter().collect();
    if !core.extensions.mobike {
        return answer;
    }
    learn(core, payloads);
    let (local, remote) = core.reply_to;
    if let Some(refusal) = unexpected_nat(payloads, local, remote) {
        answer.push(saying(refusal));
        return answer;
    }
    if core.first_role == Role::Responder && says(payloads, NotifyType::UPDATE_SA_ADDRESSES) {
        if !acceptable(state, core, local, remote) {
            answer.push(saying(NotifyType::UNACCEPTABLE_ADDRESSES));
            return answer;
        }
        (core.local, core.remote) = (local, remote);
        core.step(cx, "the peer has moved", alloc::vec![format!("to {remote}, it says; it is asked there before its Child SAs follow")]);
        core.mobility.pending = true;
        core.tasks.push_front(Task::CheckRoute);
    }
    if says(payloads, NotifyType::NAT_DETECTION_SOURCE_IP) {
        if core.mobility.pending {
            core.mobility.pending = false;
            core.nat = nat::detect(cx, spis(core), payloads, local, remote);
        }
        answer.extend(nat::notifications(cx, spis(core), local, remote, core.connection.force_encapsulation));
    }
    answer
}

/// NO_NATS_ALLOWED holds the addresses and ports with which the message was sent (section 3.9).
fn unexpected_nat(payloads: &[Payload], local: SocketAddr, remote: SocketAddr) -> Option<NotifyType> {
    let sent = notification(payloads, |kind| kind == NotifyType::NO_NATS_ALLOWED)?;
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let seen =
        [octets(remote.ip()), octets(local.ip()), remote.port().to_be_bytes().to_vec(), local.port().to_be_bytes().to_vec()].concat();
    (sent.data != seen).then_some(NotifyType::UNEXPECTED_NAT_DETECTED)
}

/// Whether the IKE SA may be between these addresses. What a Child SA in transport mode protects stays where it is, and a tunnel of the other
/// version of IP is another tunnel.
fn acceptable(state: &Established, core: &Core, local: SocketAddr, remote: SocketAddr) -> bool {
    let same_family = local.is_ipv4() == core.local.is_ipv4() && remote.is_ipv4() == core.remote.is_ipv4();
    let tunnels = state.children.iter().all(|child| child.mode == Mode::Tunnel);
    let moved = (local.ip(), remote.ip()) != (core.local.ip(), core.remote.ip());
    remote.port() != 0 && usable(&remote.ip()) && same_family && (tunnels || !moved)
}

fn spis(core: &Core) -> HeaderSpis {
    HeaderSpis(core.initiator_spi.value(), core.responder_spi.map_or(0, IkeSpi::value))
}

/// `HDR, SK {N(COOKIE2)}  -->`: does the peer receive where it says it is?
pub(crate) fn check_route(state: &mut Established, core: &mut Core, cx: &mut Context<'_>) -> Result<(), Failure> {
    let cookie = cx.octets(COOKIE_LEN);
    let notify = Notify::new(NotifyType::COOKIE2, cookie.clone());
    core.request(cx, &state.sk, ExchangeType::INFORMATIONAL, &[Payload::Notify(notify)])?;
    state.active = Some(Active::CheckRoute { cookie });
    Ok(())
}

/// It does. "If the values do not match, the IKE_SA MUST be closed."
pub(crate) fn on_route(
    state: &Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    cookie: &[u8],
    payloads: &[Payload],
) -> Result<(), Failure> {
    let same = notification(payloads, |kind| kind == NotifyType::COOKIE2).is_some_and(|notify| notify.data == cookie);
    if !same {
        return Err(Failure::PeerMisbehaved("its COOKIE2 is not ours: it may not be where it says (RFC 4555 section 3.7)".into()));
    }
    follow(state, core, cx);
    Ok(())
}

/// The Child SAs go where the IKE SA is.
fn follow(state: &Established, core: &mut Core, cx: &mut Context<'_>) {
    cx.shared.count("ike_sas_moved");
    core.step(cx, "Child SAs follow", alloc::vec![format!("between {} and {}", core.local, core.remote)]);
    state.retarget(core, cx);
    // Whether ESP travels in UDP is a matter of keys and SPIs to nobody; but an SA is made for one or the other.
    let encapsulates = core.encapsulates();
    for child in state.children.iter().filter(|child| child.is_live() && child.encapsulated != encapsulates) {
        core.tasks.push_back(Task::RekeyChild { child: child.id, request: None });
    }
}

/// `HDR, SK {N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)}  -->`
pub(crate) fn update(state: &mut Established, core: &mut Core, cx: &mut Context<'_>) -> Result<(), Failure> {
    let mut payloads = alloc::vec![saying(NotifyType::UPDATE_SA_ADDRESSES)];
    payloads.extend(nat::notifications(cx, spis(core), core.local, core.remote, core.connection.force_encapsulation));
    core.request(cx, &state.sk, ExchangeType::INFORMATIONAL, &payloads)?;
    state.active = Some(Active::UpdateAddresses);
    Ok(())
}

/// The peer has answered, or refused.
pub(crate) fn on_updated(state: &Established, core: &mut Core, cx: &mut Context<'_>, payloads: &[Payload]) {
    let refusal = notification(payloads, NotifyType::is_error).map(|notify| notify.kind);
    if let Some(kind) = refusal {
        cx.fail(Some(&core.connection.name), core.remote, diagnosis::refused(&core.connection, kind, diagnosis::Asked::Nothing));
        if !try_another_way(core, cx) {
            core.give_up();
        }
        return;
    }
    if says(payloads, NotifyType::NAT_DETECTION_SOURCE_IP) {
        core.nat = nat::detect(cx, spis(core), payloads, core.local, core.remote);
    }
    follow(state, core, cx);
}

/// What a sign of life asks for besides: whether a NAT before us still knows us (section 3.8).
pub(crate) fn probe(core: &Core, cx: &mut Context<'_>) -> Vec<Payload> {
    if core.extensions.mobike && core.first_role == Role::Initiator && core.nat.local {
        return nat::notifications(cx, spis(core), core.local, core.remote, core.connection.force_encapsulation).into();
    }
    Vec::new()
}

/// The answer to it: another address than last time is one that the peer has to be told of.
pub(crate) fn on_probed(core: &mut Core, payloads: &[Payload]) {
    let seen = notification(payloads, |kind| kind == NotifyType::NAT_DETECTION_DESTINATION_IP).map(|notify| notify.data.clone());
    let Some(seen) = seen.filter(|_| core.extensions.mobike && core.first_role == Role::Initiator) else { return };
    if core.mobility.seen.replace(seen.clone()).is_some_and(|before| before != seen) {
        core.tasks.push_front(Task::UpdateAddresses);
    }
}

/// The peer does not answer: the request goes another way, if there is one. Gives back whether it does.
pub(crate) fn on_silence(core: &mut Core, cx: &mut Context<'_>) -> bool {
    let tries = core.window.unanswered().map_or(0, |unanswered| unanswered.tries);
    let may =
        core.extensions.mobike && core.first_role == Role::Initiator && tries > REPETITIONS && (tries - 1).is_multiple_of(REPETITIONS);
    may && try_another_way(core, cx)
}

/// Every way once more, in turns.
fn try_another_way(core: &mut Core, cx: &mut Context<'_>) -> bool {
    let own = own_addresses(core, cx);
    let theirs = core::iter::once(core.remote.ip()).chain(core.mobility.others.iter().copied());
    let mut remotes: Vec<IpAddr> = theirs.chain(core.connection.remote_addrs.iter().copied()).collect();
    remotes.sort_unstable();
    remotes.dedup();
    let family = core.local.is_ipv4();
    let ways = own.iter().flat_map(|local| remotes.iter().map(move |remote| (*local, *remote)));
    let ways: Vec<(IpAddr, IpAddr)> = ways.filter(|(local, remote)| local.is_ipv4() == family && remote.is_ipv4() == family).collect();
    let now = (core.local.ip(), core.remote.ip());
    let behind = ways.iter().position(|way| *way == now).map_or(0, |at| at + 1);
    let next = ways.iter().cycle().skip(behind).take(ways.len()).find(|way| **way != now).copied();
    let Some((local, remote)) = next else { return false };
    core.local = SocketAddr::new(local, NAT_T_PORT);
    core.remote = SocketAddr::new(remote, NAT_T_PORT);
    core.mobility.pending = true;
    core.step(cx, "another way to the peer", alloc::vec![format!("{} -> {}", core.local, core.remote)]);
    true
}

/// The peer has answered by whatever way: now it can be told which one it is.
pub(crate) fn on_answer(core: &mut Core) {
    if core::mem::take(&mut core.mobility.pending) && core.first_role == Role::Initiator {
        core.tasks.push_front(Task::UpdateAddresses);
    }
}
