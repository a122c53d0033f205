//! A RADIUS server's half of the arithmetic: what it writes so that a gateway believes it.

use hmac::{Hmac, KeyInit, Mac};
use ipsec_types::Secret;
use md5::{Digest, Md5};

pub(crate) const ACCEPT: u8 = 2;
pub(crate) const EAP_MESSAGE: u8 = 79;
pub(crate) const MESSAGE_AUTHENTICATOR: u8 = 80;
pub(crate) const VENDOR_SPECIFIC: u8 = 26;

/// Attributes as they stand in a packet.
pub(crate) fn attribute(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind, u8::try_from(value.len() + 2).expect("a value that fits")], value].concat()
}

/// An answer to a request with these octets: its attributes, and Message-Authenticator where it is not among them already as zeros.
pub(crate) fn answer(request: &[u8], code: u8, attributes: &[u8], secret: &Secret) -> Vec<u8> {
    let zeros = attribute(MESSAGE_AUTHENTICATOR, &[0; 16]);
    let attributes = [&zeros, attributes].concat();
    unprotected(request, code, &attributes, secret, true)
}

/// The same; `protect`: the first attribute is Message-Authenticator, and is filled in.
pub(crate) fn unprotected(request: &[u8], code: u8, attributes: &[u8], secret: &Secret, protect: bool) -> Vec<u8> {
    let length = u16::try_from(20 + attributes.len()).unwrap_or(u16::MAX);
    let mut packet = [&[code, request[1]], &length.to_be_bytes()[..], &request[4..20], attributes].concat();
    if protect {
        let code = Hmac::<Md5>::new_from_slice(secret.expose()).expect("any key").chain_update(&packet).finalize().into_bytes();
        packet[22..38].copy_from_slice(&code);
    }
    let response = Md5::new().chain_update(&packet).chain_update(secret.expose()).finalize();
    packet[4..20].copy_from_slice(&response);
    packet
}

/// MS-MPPE-Send-Key (16) or MS-MPPE-Recv-Key (17): RFC 2548 section 2.4.2.
pub(crate) fn key(request: &[u8], kind: u8, key: &[u8], secret: &Secret) -> Vec<u8> {
    let salt = [0x80, kind];
    let mut plain = [&[u8::try_from(key.len()).expect("a key that fits")], key].concat();
    plain.resize(plain.len().next_multiple_of(16), 0);
    let mut cipher = Vec::new();
    let mut before = [&request[4..20], &salt].concat();
    for block in plain.chunks_exact(16) {
        let mask = Md5::new().chain_update(secret.expose()).chain_update(&before).finalize();
        before = block.iter().zip(mask).map(|(octet, mask)| octet ^ mask).collect();
        cipher.extend(&before);
    }
    let inner = attribute(kind, &[&salt[..], &cipher].concat());
    attribute(VENDOR_SPECIFIC, &[&311_u32.to_be_bytes()[..], &inner].concat())
}

/// EAP-Message, in as many attributes as it takes.
pub(crate) fn eap(packet: &[u8]) -> Vec<u8> {
    packet.chunks(253).flat_map(|part| attribute(EAP_MESSAGE, part)).collect()
}

/// The values of the attributes of a type, one behind the other.
pub(crate) fn values(packet: &[u8], kind: u8) -> Vec<u8> {
    let (mut at, mut found) = (20, Vec::new());
    while let [this, length, ..] = packet[at..] {
        let end = at + usize::from(length);
        if this == kind {
            found.extend(&packet[at + 2..end]);
        }
        at = end;
    }
    found
}
