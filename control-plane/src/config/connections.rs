//! `[connections.NAME]` and `[policies.NAME]`: the PAD and the SPD (RFC 4301 section 4.4).

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ike::config::{Child, Connection, DpdAction, LocalAuth, Pool, Psk, RemoteAuth, StartAction, Unique, Version};
use ipsec_types::{ChildProposal, DscpSet, Identity, Mode, Policy, PolicyAction};

use super::authentication::{self, Files};
use super::authorities::Authorities;
use super::diagnostic::Report;
use super::secrets::Known;
use super::section::{Found, Place, Section};
use super::selectors::{self, Dynamic, Ends, Selected};
use super::spd::Spd;
use super::{eap, exchanges, handling, lifetimes, pools, ppk, proposals, rounds, version};

/// strongSwan's, and what RFC 3948 section 4 recommends.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// One connection, `None` where a fault leaves nothing to go on with or no child needs a peer; and what its children let pass or drop.
pub(super) fn read(
    name: String,
    mut section: Section<'_>,
    spd: &mut Spd,
    files: Files<'_>,
    authorities: &Authorities,
    all_pools: &[Arc<Pool>],
    known: Known<'_>,
) -> (Option<(Connection, Place)>, Vec<Policy>) {
    const UNIQUE: &[(&str, Unique)] = &[("no", Unique::No), ("never", Unique::Never), ("replace", Unique::Replace), ("keep", Unique::Keep)];
    let place = Found { value: (), span: section.span(), path: section.path("local") };
    let version = version::read(&mut section);
    let (local_addrs, local_faulty) = addresses(&mut section, "local_addrs");
    let (remote_addrs, remote_faulty) = addresses(&mut section, "remote_addrs");
    let common = |local: &IpAddr| remote_addrs.iter().any(|remote| remote.is_ipv4() == local.is_ipv4());
    let read = !local_faulty && !remote_faulty && !local_addrs.is_empty() && !remote_addrs.is_empty();
    if read && !local_addrs.iter().any(common) {
        let remedy = "write addresses of one family in both, or leave local_addrs out";
        section.fault("local_addrs", "none of them can speak to remote_addrs: IPv4 and IPv6 do not mix", remedy);
    }
    let proposals = proposals::ike(&mut section, version.value);
    let unique = section.choice("unique", UNIQUE).map_or_else(Unique::default, |found| found.value);
    let dpd_delay = section.duration("dpd_delay").map(|found| found.value).filter(|delay| !delay.is_zero());
    let keep_alive = section.duration("keep_alive").map_or(Some(KEEP_ALIVE), |found| Some(found.value).filter(|delay| !delay.is_zero()));
    let encap = section.boolean("encap").filter(|found| found.value);
    let retransmission = exchanges::retransmission(&mut section);
    let fragmentation = exchanges::fragmentation(&mut section);
    let childless = exchanges::childless(&mut section);
    let mobike = section.boolean("mobike").is_some_and(|found| found.value);
    let aggressive = version::aggressive(&mut section, &version);
    let follow_redirects = section.boolean("follow_redirects").is_none_or(|found| found.value);
    let lifetime = lifetimes::ike(&mut section);
    let reauthentication = lifetimes::reauthentication(&mut section);

    let ppk = ppk::policy(&mut section, known.ppks);

    let (mut children, mut places, mut shunts) = (Vec::new(), Vec::new(), Vec::new());
    let ends = Ends { local: &local_addrs, remote: &remote_addrs, faulty: local_faulty || remote_faulty };
    let (pools, virtual_addresses) = (pools::of_connection(&mut section, all_pools), pools::wanted(&mut section));
    let (may_be_ours, given) = (pools::possible(&virtual_addresses), pools.iter().map(|pool| pool.addresses).collect::<Vec<_>>());
    let dynamic = Dynamic { local: &may_be_ours, remote: &given };
    let pull = section.boolean("pull");
    for (child, inner) in section.sections("children") {
        match read_child(child, inner, spd, version.value, &ends, dynamic) {
            Entry::Child(child, dscp) => {
                children.push(*child);
                places.push(dscp);
            }
            Entry::Shunt(policy) => shunts.extend(policy),
        }
    }
    handling::share_classes(&section, &mut children, &places);
    let by_ah = children.iter().find(|child| child.proposals.iter().any(|proposal| matches!(proposal, ChildProposal::Ah(_))));
    if let (Some(encap), Some(child)) = (&encap, by_ah) {
        let problem = format!("child '{}' has ah_proposals, and AH does not travel in UDP", child.name);
        section.fault_at(encap, problem, "leave encap out, or write esp_proposals there");
    }
    if children.is_empty() && shunts.is_empty() {
        section.fault("children", "this connection protects nothing", format!("add [connections.{name}.children.NAME]"));
    }
    let needs_peer = shunts.is_empty() || !children.is_empty();

    let before = section.faults();
    let mut local = authentication::local(&mut section, files, known.eap);
    let local_identity = local.identity.take().or_else(|| local_addrs.first().copied().map(address_identity));
    if local_identity.is_none() && !local_faulty && needs_peer {
        section.fault("local.id", "this gateway has no identity", "write local.id = \"gw.example.org\", or local_addrs");
    }
    let mut remote = authentication::remote(&mut section, files, authorities, known.eap);
    if section.faults() == before {
        eap::tls(&section, &mut local, &mut remote);
    }
    let local_more = rounds::local(&mut section, local_identity.as_ref(), &mut remote, files, known.eap);
    let remote_more = rounds::remote(&mut section, &mut local, files, authorities, known.eap);
    let (local_auth, remote_auth, remote_identity) = (local.auth, remote.auth, remote.identity);
    let begins = |child: &Child| {
        (child.start_action, child.close_action, child.dpd_action) != (StartAction::None, StartAction::None, DpdAction::Clear)
    };
    if section.faults() == before {
        let begins = children.iter().any(begins);
        eap::check(&section, &local_auth, &remote_auth, begins);
        let ours: Vec<&LocalAuth> = std::iter::once(&local_auth).chain(local_more.iter().map(|round| &round.auth)).collect();
        let theirs: Vec<&RemoteAuth> = std::iter::once(&remote_auth).chain(remote_more.iter().map(|round| &round.auth)).collect();
        rounds::check(&section, &ours, &theirs, begins);
    }
    if let Some(found) = ppk.as_ref().filter(|found| found.value.id.is_none() && children.iter().any(begins)) {
        section.fault_at(found, "this gateway begins by itself, and has to name a PPK", "write the name of one, or let no child begin");
    }
    if section.faults() == before {
        let ours: Vec<&LocalAuth> = std::iter::once(&local_auth).chain(local_more.iter().map(|round| &round.auth)).collect();
        let theirs: Vec<&RemoteAuth> = std::iter::once(&remote_auth).chain(remote_more.iter().map(|round| &round.auth)).collect();
        let (auth, has_ppk) = ((&ours[..], &theirs[..]), ppk.is_some());
        let rest = version::Rest { proposals: &proposals, children: &children, auth, has_ppk, pull: pull.as_ref() };
        version::check(&section, &version, &rest);
    }
    section.finish();
    let Some(local_identity) = local_identity.filter(|_| needs_peer) else { return (None, shunts) };
    let connection = Connection {
        name,
        version: version.value,
        local_addrs,
        remote_addrs,
        proposals,
        local_identity,
        local_auth,
        remote_auth,
        local_more,
        remote_more,
        remote_identity,
        pools,
        virtual_addresses,
        pull: pull.is_none_or(|found| found.value),
        ppk: ppk.map(|found| found.value),
        children,
        unique,
        dpd_delay,
        keep_alive,
        retransmission,
        lifetime,
        reauthentication,
        force_encapsulation: encap.is_some(),
        fragmentation,
        childless,
        mobike,
        aggressive,
        follow_redirects,
    };
    (Some((connection, place)), shunts)
}

/// An entry of the SPD that needs no peer: swanctl's words for it, or RFC 4301's.
pub(super) fn policy(name: String, mut section: Section<'_>, spd: &mut Spd) -> Option<Policy> {
    const MODES: &[(&str, PolicyAction)] = &[("pass", PolicyAction::Bypass), ("drop", PolicyAction::Discard)];
    const ACTIONS: &[(&str, PolicyAction)] = &[("bypass", PolicyAction::Bypass), ("discard", PolicyAction::Discard)];
    let (mode, action) = (section.choice("mode", MODES), section.choice("action", ACTIONS));
    if let (Some(mode), Some(action)) = (&mode, &action)
        && mode.value != action.value
    {
        section.fault_at(action, "this contradicts mode", "leave action out");
    }
    if mode.is_none() && action.is_none() && !section.has("action") {
        section.missing("mode", "write mode = \"pass\" or mode = \"drop\"");
    }
    let action = mode.or(action);
    let Selected { local, remote, .. } = selectors::pair(&mut section, None, Dynamic::default());
    let priority = priority(&mut section);
    let id = spd.enter(&section, priority);
    section.finish();
    Some(Policy { id, name, priority: 0, action: action?.value, local, remote, dscp: DscpSet::ALL })
}

/// Notes a connection that no pre-shared key fits.
pub(super) fn check_key(connection: &Connection, place: &Place, psks: &[Psk], secrets: Option<&Path>, report: &Report<'_>) {
    let by_key = matches!(connection.local_auth, LocalAuth::Psk) || matches!(connection.remote_auth, RemoteAuth::Psk);
    // A side that is at fault has no other way to authenticate, though it may want one.
    if !by_key || report.is_about(&place.path) {
        return;
    }
    // As the core chooses: a key that names the peer, or this gateway alone, or nobody. One that names this gateway and another peer is
    // theirs.
    let names = |psk: &Psk, id: &Identity| psk.owners.iter().any(|owner| owner.admits(id) || id.admits(owner));
    let remote = connection.remote_identity.as_ref();
    let everybodys = |psk: &Psk| psk.owners.iter().all(|owner| owner.same(&connection.local_identity));
    let fits = |psk: &Psk| everybodys(psk) || remote.is_none_or(|remote| names(psk, remote));
    if psks.iter().any(fits) {
        return;
    }
    let remote = remote.map_or_else(|| "any peer".to_owned(), |id| format!("'{id}'"));
    let remedy = match secrets {
        Some(file) => format!("add [ike.{}] with secret and ids to {}", connection.name, file.display()),
        None => "write secrets = \"secrets.toml\" at the top and put [ike.NAME] with secret and ids there".to_owned(),
    };
    report.add(&place.span, &place.path, format!("no pre-shared key for '{}' and {remote}", connection.local_identity), remedy);
}

/// What a section of children holds.
enum Entry {
    /// What a Child SA protects, and where its `dscp` stands.
    Child(Box<Child>, Option<Place>),
    /// What needs none: swanctl's modes `pass` and `drop`. `None` where it is faulty.
    Shunt(Option<Policy>),
}

/// What becomes of the traffic of a child, in swanctl's words.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Protect(Mode),
    Shunt(PolicyAction),
}

fn read_child(name: String, mut section: Section<'_>, spd: &mut Spd, version: Version, ends: &Ends<'_>, dynamic: Dynamic<'_>) -> Entry {
    const MODES: &[(&str, Fate)] = &[
        ("tunnel", Fate::Protect(Mode::Tunnel)),
        ("transport", Fate::Protect(Mode::Transport)),
        ("pass", Fate::Shunt(PolicyAction::Bypass)),
        ("drop", Fate::Shunt(PolicyAction::Discard)),
    ];
    let mode = match section.choice("mode", MODES).map(|mode| mode.value) {
        Some(Fate::Shunt(action)) => return Entry::Shunt(read_shunt(name, section, spd, action)),
        Some(Fate::Protect(mode)) => mode,
        None => Mode::Tunnel,
    };
    let any_remote = ends.remote.is_empty() && !ends.faulty;
    const ACTIONS: &[(&str, StartAction)] = &[("none", StartAction::None), ("trap", StartAction::Trap), ("start", StartAction::Start)];
    const DPD_ACTIONS: &[(&str, DpdAction)] = &[("clear", DpdAction::Clear), ("trap", DpdAction::Trap), ("restart", DpdAction::Restart)];
    let selected = selectors::pair(&mut section, (mode == Mode::Transport).then_some(ends), dynamic);
    let proposals = proposals::child(&mut section, version);
    let (dont_fragment, copy_dscp) = handling::outer_header(&mut section, mode);
    let tfc = handling::tfc(&mut section, mode, &proposals);
    let dscp = handling::dscp(&mut section);
    let mut action = |key| {
        let found = section.choice(key, ACTIONS);
        if let Some(found) = found.as_ref().filter(|found| any_remote && found.value != StartAction::None) {
            section.fault_at(found, "the connection has no remote_addrs to call", format!("write remote_addrs, or {key} = \"none\""));
        }
        if let Some(found) = found.as_ref().filter(|found| selected.remote_dynamic && found.value != StartAction::None) {
            let problem = "the peer asks for the address that remote_ts stands for when it connects: this gateway cannot begin";
            section.fault_at(found, problem, format!("write remote_ts, or {key} = \"none\""));
        }
        found.map_or(StartAction::None, |found| found.value)
    };
    let (start_action, close_action) = (action("start_action"), action("close_action"));
    let dpd_action = section.choice("dpd_action", DPD_ACTIONS);
    if let Some(found) = dpd_action.as_ref().filter(|found| any_remote && found.value != DpdAction::Clear) {
        section.fault_at(found, "the connection has no remote_addrs to call", "write remote_addrs, or dpd_action = \"clear\"");
    }
    let dpd_action = dpd_action.map(|found| found.value).unwrap_or_default();
    let replay_window = section.integer("replay_window", 0..=MAX_REPLAY_WINDOW).map_or(1024, |found| found.value);
    let lifetime = lifetimes::child(&mut section);
    let priority = priority(&mut section);
    let policy = spd.enter(&section, priority);
    section.finish();
    let place = dscp.as_ref().map(|found| found.with(()));
    let child = Child {
        name,
        policy,
        priority: 0,
        proposals,
        local_selectors: selected.local,
        remote_selectors: selected.remote,
        local_dynamic: selected.local_dynamic,
        remote_dynamic: selected.remote_dynamic,
        start_action,
        dpd_action,
        close_action,
        mode,
        dont_fragment,
        copy_dscp,
        tfc,
        dscp: dscp.map_or(DscpSet::ALL, |found| found.value),
        replay_window,
        lifetime,
    };
    Entry::Child(Box::new(child), place)
}

/// A child without a Child SA. It is in force from the start; `start_action`, which strongSwan wants to be `trap` for that, changes nothing.
fn read_shunt(name: String, mut section: Section<'_>, spd: &mut Spd, action: PolicyAction) -> Option<Policy> {
    let before = section.faults();
    let Selected { local, remote, .. } = selectors::pair(&mut section, None, Dynamic::default());
    section.choice("start_action", &[("none", ()), ("trap", ()), ("start", ())]);
    let priority = priority(&mut section);
    let id = spd.enter(&section, priority);
    let sound = section.faults() == before;
    section.finish();
    sound.then_some(Policy { id, name, priority: 0, action, local, remote, dscp: DscpSet::ALL })
}

/// The widest window the data plane takes, in packets.
const MAX_REPLAY_WINDOW: u32 = 1 << 20;

fn address_identity(address: IpAddr) -> Identity {
    match address {
        IpAddr::V4(address) => Identity::Ipv4(address),
        IpAddr::V6(address) => Identity::Ipv6(address),
    }
}

/// Outer addresses, and whether some were faulty; `%any` and nothing at all mean any.
fn addresses(section: &mut Section<'_>, key: &'static str) -> (Vec<IpAddr>, bool) {
    const EXAMPLE: &str = "\"192.0.2.1\"";
    let before = section.faults();
    let list = section.list_with(key, EXAMPLE, |section, text| match text.value.parse::<IpAddr>() {
        Ok(address) => match unusable(address) {
            None => Some(text.with(Some(address))),
            Some(why) => {
                section.fault_at(&text, format!("'{address}' {why}"), format!("write an address of a gateway, for example {EXAMPLE}"));
                None
            }
        },
        Err(_) if text.value == "%any" => Some(text.with(None)),
        Err(_) => {
            let problem = format!("'{}' is no address, and names are not looked up", text.value);
            section.fault_at(&text, problem, format!("write for example {EXAMPLE}"));
            None
        }
    });
    let addresses = list.unwrap_or_default().into_iter().filter_map(|found| found.value).collect();
    (addresses, section.faults() > before)
}

/// Why IKE cannot use an address.
fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            Some("is link-local, and IKE needs an address that says which link it is on")
        }
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Some("is an IPv4 address in IPv6 notation"),
        _ if address.is_unspecified() => Some("is no address of anybody: leave the field out, or write \"%any\", for any"),
        _ if address.is_multicast() => Some("is a group's address"),
        IpAddr::V4(address) if address.is_broadcast() => Some("is everybody's address"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn priority(section: &mut Section<'_>) -> Option<u32> {
    section.integer("priority", 0..=u32::MAX).map(|found| found.value).filter(|priority| *priority != 0)
}
