//! `ppk_id` and `ppk_required`: post-quantum preshared keys (RFC 8784), whose secrets are `[ppk.NAME]` of the file of secrets.

use ike::config::{Ppk, PpkPolicy};

use super::secrets::PPK_ID_EXAMPLE;
use super::section::{Found, Section};

/// RFC 8784 section 6: "at least 256 bits of entropy".
const ENOUGH: usize = 32;

/// The PPK of a connection. `known` are those that the file of secrets holds, where it is without faults.
pub(super) fn policy(section: &mut Section<'_>, known: Option<&[Ppk]>) -> Option<Found<PpkPolicy>> {
    let id = section.text("ppk_id", PPK_ID_EXAMPLE);
    let required = section.boolean("ppk_required");
    let Some(id) = id else {
        if let Some(required) = required.filter(|required| required.value) {
            let remedy = format!("write ppk_id = {PPK_ID_EXAMPLE}, or \"%any\" for any that a peer names");
            section.fault_at(&required, "no PPK is named", remedy);
        }
        return None;
    };
    let name = Some(id.value).filter(|name| *name != "%any");
    if let Some(known) = known {
        check(section, &id, name, known);
    }
    Some(id.with(PpkPolicy { id: name.map(str::to_owned), required: required.is_some_and(|required| required.value) }))
}

fn check(section: &Section<'_>, id: &Found<&str>, name: Option<&str>, known: &[Ppk]) {
    let meant = || known.iter().filter(|ppk| name.is_none_or(|name| name == ppk.id));
    if meant().next().is_none() {
        let problem =
            name.map_or_else(|| "there is no PPK among the secrets".to_owned(), |name| format!("there is no secret of PPK '{name}'"));
        let remedy = format!("add [ppk.NAME] with id = \"{}\" and secret to the file of secrets", name.unwrap_or("site-b.ppk"));
        section.fault_at(id, problem, remedy);
    }
    for short in meant().filter(|ppk| ppk.secret.expose().len() < ENOUGH) {
        let problem =
            format!("the secret of PPK '{}' has {} octets: too few against a quantum computer", short.id, short.secret.expose().len());
        section.warn_at(id, problem, format!("let it be {ENOUGH} random octets or more, for example 0x and openssl rand -hex {ENOUGH}"));
    }
}
