//! `[radius.NAME]`: RADIUS servers, in the words of strongSwan's plugin eap-radius.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ike::config::Retransmission;
use ipsec_types::Secret;

use super::section::Section;
use crate::radius::{Client, PATIENCE, Server};

/// What the file says of servers.
#[derive(Debug)]
pub(super) enum Servers {
    None,
    /// Something that has been noted already.
    Faulty,
    Some(Arc<Client>),
}

const PORT: u16 = 1812;
/// Octets of a shared secret that RFC 2865 section 3 prefers, at least.
const SECRET: usize = 16;
const DEAD_TIME: Duration = Duration::from_secs(60);
/// Octets of an attribute.
const LONGEST_NAME: usize = 253;

/// Every `[radius.NAME]` in the order of the file; `secrets` are theirs, `None` where the file of secrets has faults.
pub(super) fn read(root: &mut Section<'_>, mut secrets: Option<&mut BTreeMap<String, Secret>>) -> Servers {
    let sections = root.sections("radius");
    if sections.is_empty() {
        return if root.has("radius") { Servers::Faulty } else { Servers::None };
    }
    let named = sections.len();
    let servers: Vec<Server> = sections.into_iter().filter_map(|(name, section)| server(name, section, secrets.as_deref_mut())).collect();
    if servers.len() == named { Servers::Some(Arc::new(Client::new(servers))) } else { Servers::Faulty }
}

fn server(name: String, mut section: Section<'_>, secrets: Option<&mut BTreeMap<String, Secret>>) -> Option<Server> {
    let before = section.faults();
    let address = section.parsed::<IpAddr>("address", "\"192.0.2.10\"");
    if address.is_none() {
        section.missing("address", "write address = \"192.0.2.10\", the server's address; names are not looked up");
    }
    let port = section.integer("auth_port", 1..=u16::MAX.into()).and_then(|found| u16::try_from(found.value).ok());
    let source = section.parsed::<IpAddr>("source", "\"192.0.2.1\"");
    if let (Some(address), Some(source)) = (&address, &source)
        && address.value.is_ipv4() != source.value.is_ipv4()
    {
        section.fault_at(
            source,
            "IPv4 and IPv6 do not mix: this is not of the family of address",
            "write an address of this gateway of that family, or leave it out",
        );
    }
    let nas_identifier = section.text("nas_identifier", "\"gw-a.example\"");
    if let Some(found) = nas_identifier.as_ref().filter(|found| !(1..=LONGEST_NAME).contains(&found.value.len())) {
        section.fault_at(found, "RADIUS takes names of 1 to 253 octets", "write for example \"gw-a.example\"");
    }
    let retransmission = retransmission(&mut section);
    let dead_time = section.duration("dead_time").map_or(DEAD_TIME, |found| found.value);
    let secret = secrets.and_then(|secrets| {
        let secret = secrets.remove(&name);
        if secret.is_none() {
            section.fault("secret", "there is no secret for this server", format!("add [radius.{name}] with secret to the secrets file"));
        }
        secret
    });
    if secret.as_ref().is_some_and(|secret| secret.len() < SECRET) {
        section.warn(
            format!("its secret is shorter than {SECRET} octets: whoever hears a packet may find it out by trying"),
            format!("agree with the server upon one of {SECRET} octets or more, such as openssl rand -hex 32 prints"),
        );
    }
    let sound = section.faults() == before;
    section.finish();
    let nas_identifier = nas_identifier.map(|found| found.value.to_owned());
    let address = SocketAddr::new(address?.value, port.unwrap_or(PORT));
    let source = source.map(|found| found.value);
    let server = Server { name, address, source, secret: secret?, nas_identifier, retransmission, dead_time, standing: Default::default() };
    sound.then_some(server)
}

/// `retransmit_timeout`, `retransmit_base` and `retransmit_tries`, by default strongSwan's: 2 s, 1.4, 4 transmissions; 14 s in all.
fn retransmission(section: &mut Section<'_>) -> Retransmission {
    let timeout = section.duration("retransmit_timeout");
    if let Some(found) = timeout.as_ref().filter(|found| found.value < Duration::from_millis(100)) {
        section.fault_at(found, "this would flood the server", "write at least \"100ms\"");
    }
    let tries = section.integer("retransmit_tries", 1..=20);
    let base = section.hundredths("retransmit_base", 100..=1000);
    let place = timeout.as_ref().map(|found| found.with(())).or_else(|| tries.as_ref().map(|found| found.with(())));
    let place = place.or_else(|| base.as_ref().map(|found| found.with(())));
    let retransmission = Retransmission {
        timeout: timeout.map_or(Duration::from_secs(2), |found| found.value),
        base_percent: base.map_or(140, |found| found.value),
        tries: tries.map_or(4, |found| found.value),
    };
    let mut wait = retransmission.timeout;
    let mut all = Duration::ZERO;
    for _ in 0..retransmission.tries {
        all = all.saturating_add(wait);
        wait = wait.checked_mul(retransmission.base_percent).map_or(Duration::MAX, |wait| wait / 100);
    }
    if let Some(place) = place.filter(|_| all > PATIENCE) {
        let problem =
            format!("a silent server would be asked for {} s, and no peer waits longer than {} s", all.as_secs(), PATIENCE.as_secs());
        section.fault_at(&place, problem, "write a smaller retransmit_timeout, retransmit_tries or retransmit_base");
    }
    retransmission
}
