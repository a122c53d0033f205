//! `local-2`, `remote-2` and so on: further rounds of authentication (RFC 4739), in swanctl's words.

use ike::config::{LocalAuth, LocalRound, RemoteAuth, RemoteRound};
use ipsec_types::Identity;

use super::authentication::{Files, Local, Remote, local_round, remote_round};
use super::authorities::Authorities;
use super::eap;
use super::section::Section;

/// The section of the first round, which has two names.
pub(super) fn first<'d>(connection: &mut Section<'d>, name: &'static str, other: &'static str) -> Option<Section<'d>> {
    let (plain, numbered) = (connection.section(name), connection.section(other));
    if plain.is_some() && numbered.is_some() {
        connection.fault(other, format!("{name} is the same round"), format!("leave one of them out; the next round is {name}-2"));
    }
    plain.or(numbered)
}

/// What we show after the first round, in which we are `identity` and the peer is `remote`.
pub(super) fn local(
    connection: &mut Section<'_>,
    identity: Option<&Identity>,
    remote: &mut Remote,
    files: Files<'_>,
    users: eap::Known<'_>,
) -> Vec<LocalRound> {
    let sections = further(connection, ["local-2", "local-3"]);
    let read = |section| {
        let mut round = local_round(section, files, users);
        eap::tls(connection, &mut round, remote);
        Some(LocalRound { identity: round.identity.or_else(|| identity.cloned())?, auth: round.auth })
    };
    sections.into_iter().filter_map(read).collect()
}

/// What the peer has to show after the first round, in which we are `local`.
pub(super) fn remote(
    connection: &mut Section<'_>,
    local: &mut Local,
    files: Files<'_>,
    authorities: &Authorities,
    users: eap::Known<'_>,
) -> Vec<RemoteRound> {
    let sections = further(connection, ["remote-2", "remote-3"]);
    let read = |section| {
        let mut round = remote_round(section, files, authorities, users);
        eap::tls(connection, local, &mut round);
        RemoteRound { identity: round.identity, auth: round.auth }
    };
    sections.into_iter().map(read).collect()
}

fn further<'d>(connection: &mut Section<'d>, names: [&'static str; 2]) -> Vec<Section<'d>> {
    let [second, third] = names;
    if connection.has(third) && !connection.has(second) {
        connection.fault(third, format!("there is no {second} before it"), format!("write {second}"));
    }
    let sections: Vec<Section<'d>> = names.into_iter().filter_map(|name| connection.section(name)).collect();
    for section in &sections {
        if section.text_is("auth", "psk") || !section.has("auth") {
            section.fault("auth", "a shared key is for the first round", "write auth = \"pubkey\", or an EAP method");
        }
    }
    sections
}

/// Notes rounds that cannot be in one IKE_AUTH. An EAP conversation takes several messages, in which the other side has nothing to show.
pub(super) fn check(section: &Section<'_>, ours: &[&LocalAuth], theirs: &[&RemoteAuth], begins: bool) {
    let until = |position: Option<usize>| position.map_or(usize::MAX, |position| position + 1);
    if theirs.len() > until(ours.iter().position(|way| matches!(way, LocalAuth::Eap(_)))) {
        section.fault(
            "remote-2",
            "the peer has shown everything when EAP of this gateway begins",
            "let local be \"pubkey\", and local-2 EAP",
        );
    }
    if ours.len() > until(theirs.iter().position(|way| matches!(way, RemoteAuth::Eap(_)))) {
        section.fault(
            "local-2",
            "this gateway has shown everything when EAP of the peer begins",
            "let remote be \"pubkey\", and remote-2 EAP",
        );
    }
    if begins && theirs.iter().skip(1).any(|way| matches!(way, RemoteAuth::Eap(_))) {
        section.fault(
            "remote-2.auth",
            "a peer that shows who it is by EAP has to begin itself",
            "write start_action = \"none\" and no other dpd_action and close_action in the children of this connection",
        );
    }
}
