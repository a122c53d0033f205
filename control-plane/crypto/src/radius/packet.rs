//! Packets (RFC 2865 section 3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Code      |  Identifier   |            Length             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                   Authenticator, 16 octets                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Attributes: type, length (of all three), value of 1 to 253 octets
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use ipsec_types::Secret;
use md5::{Digest, Md5};

use super::keys;
use crate::eap::same;

/// Octets of a packet at most (RFC 2865 section 3).
pub const LONGEST_PACKET: usize = 4096;
/// Octets of an attribute's value at most.
const LONGEST_VALUE: usize = 253;
const HEADER: usize = 20;

const ACCESS_REQUEST: u8 = 1;

/// Types of attributes (RFC 2865 section 5, RFC 2869 section 5, RFC 3162 section 2, RFC 6911 section 3).
pub(super) mod kind {
    pub(in crate::radius) const USER_NAME: u8 = 1;
    pub(in crate::radius) const NAS_IP_ADDRESS: u8 = 4;
    pub(in crate::radius) const SERVICE_TYPE: u8 = 6;
    pub(in crate::radius) const FRAMED_IP_ADDRESS: u8 = 8;
    pub(in crate::radius) const FRAMED_MTU: u8 = 12;
    pub(in crate::radius) const REPLY_MESSAGE: u8 = 18;
    pub(in crate::radius) const STATE: u8 = 24;
    pub(in crate::radius) const VENDOR_SPECIFIC: u8 = 26;
    pub(in crate::radius) const SESSION_TIMEOUT: u8 = 27;
    pub(in crate::radius) const CALLED_STATION_ID: u8 = 30;
    pub(in crate::radius) const CALLING_STATION_ID: u8 = 31;
    pub(in crate::radius) const NAS_IDENTIFIER: u8 = 32;
    pub(in crate::radius) const NAS_PORT_TYPE: u8 = 61;
    pub(in crate::radius) const EAP_MESSAGE: u8 = 79;
    pub(in crate::radius) const MESSAGE_AUTHENTICATOR: u8 = 80;
    pub(in crate::radius) const NAS_PORT_ID: u8 = 87;
    pub(in crate::radius) const NAS_IPV6_ADDRESS: u8 = 95;
    pub(in crate::radius) const FRAMED_IPV6_ADDRESS: u8 = 168;
}

/// An Access-Request before it is for one server: its attributes.
#[derive(Clone)]
pub struct Request {
    attributes: Vec<u8>,
    /// How the gateway calls itself.
    nas: String,
}

/// An Access-Request for one server. Sent again, it is the same to the octet.
#[derive(Clone)]
pub struct Sealed {
    octets: Vec<u8>,
    authenticator: [u8; 16],
}

/// What a server decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Access-Accept.
    Accept,
    /// Access-Reject.
    Reject,
    /// Access-Challenge: the conversation goes on.
    Challenge,
}

/// A server's answer: authentic, and of it what this gateway heeds.
pub struct Answer {
    /// Its code.
    pub verdict: Verdict,
    /// The EAP packet for the peer.
    pub eap: Option<Vec<u8>>,
    /// What the next request has to hold unchanged.
    pub state: Option<Vec<u8>>,
    /// Who the peer is, as the server knows it.
    pub user: Option<String>,
    /// MSK (RFC 2548 sections 2.4.2 and 2.4.3: MS-MPPE-Recv-Key, MS-MPPE-Send-Key), only with [`Verdict::Accept`].
    pub msk: Option<Secret>,
    /// Session-Timeout, not zero.
    pub session: Option<Duration>,
    /// Framed-IP-Address and Framed-IPv6-Address, one of each at most, only with [`Verdict::Accept`]; without those that leave the choice to others.
    pub addresses: Vec<IpAddr>,
    /// Text for people, with [`Verdict::Reject`].
    pub reply: Option<String>,
}

/// Why a datagram is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RadiusError {
    /// Shorter than it says, or than a header, or longer than a packet may be.
    #[error("its length is wrong")]
    Length,
    /// Not an Access-Accept, -Reject or -Challenge.
    #[error("it has code {0}, which answers no Access-Request")]
    Code(u8),
    /// Another request's.
    #[error("it answers another request")]
    Identifier,
    /// An attribute reaches beyond the packet, or has a length that its type does not take, or comes once too often.
    #[error("its attribute of type {0} is malformed")]
    Attribute(u8),
    /// Without Message-Authenticator nobody knows who has written an answer (RFC 3579 section 3.2).
    #[error("it has no Message-Authenticator")]
    Unprotected,
    /// Made with another shared secret, or altered.
    #[error("its authenticators do not fit the shared secret")]
    Unauthentic,
}

impl Request {
    pub(super) const fn new(nas: String) -> Self {
        Self { attributes: Vec::new(), nas }
    }

    /// The same from a gateway that calls itself otherwise.
    #[must_use]
    pub fn by(&self, nas: &str) -> Self {
        Self { attributes: self.attributes.clone(), nas: nas.to_owned() }
    }

    /// Adds an attribute. Nothing where its value has no length that can be said.
    pub(super) fn add(&mut self, kind: u8, value: &[u8]) {
        if let (1..=LONGEST_VALUE, Ok(length)) = (value.len(), u8::try_from(value.len() + 2)) {
            self.attributes.extend([kind, length]);
            self.attributes.extend(value);
        }
    }

    /// Adds an EAP packet, in as many attributes as it takes (RFC 3579 section 3.1). Whether the whole still fits a packet.
    pub(super) fn add_eap(&mut self, packet: &[u8]) -> bool {
        packet.chunks(LONGEST_VALUE).for_each(|part| self.add(kind::EAP_MESSAGE, part));
        self.length(LONGEST_VALUE) <= LONGEST_PACKET
    }

    /// The packet for a server with this secret. Message-Authenticator comes first: what an attacker would like to put before it has no room.
    #[must_use]
    pub fn seal(&self, identifier: u8, authenticator: [u8; 16], secret: &Secret) -> Sealed {
        let nas = match self.nas.as_bytes() {
            [] => b"-",
            nas => nas.get(..LONGEST_VALUE).unwrap_or(nas),
        };
        let length = self.length(nas.len());
        let mut octets = Vec::with_capacity(length);
        octets.extend([ACCESS_REQUEST, identifier]);
        octets.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        octets.extend(authenticator);
        octets.extend([kind::MESSAGE_AUTHENTICATOR, 18]);
        octets.extend([0; 16]);
        octets.extend([kind::NAS_IDENTIFIER, u8::try_from(nas.len() + 2).unwrap_or(u8::MAX)]);
        octets.extend(nas);
        octets.extend(&self.attributes);
        let code = message_authenticator(&octets, secret);
        octets[HEADER + 2..HEADER + 18].copy_from_slice(&code);
        Sealed { octets, authenticator }
    }

    /// Octets of the packet, with a name of so many.
    const fn length(&self, nas: usize) -> usize {
        HEADER + 18 + 2 + nas + self.attributes.len()
    }
}

impl Sealed {
    /// What is sent.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Reads a datagram as the answer to this request, from a server with this secret.
    ///
    /// # Errors
    /// Why it is none. It is to be discarded then (RFC 2865 section 3, RFC 3579 section 3.2): the true answer may still come.
    pub fn open(&self, datagram: &[u8], secret: &Secret) -> Result<Answer, RadiusError> {
        let length = match datagram {
            [_, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return Err(RadiusError::Length),
        };
        // Octets behind the length are padding (RFC 2865 section 3).
        let packet =
            datagram.get(..length).filter(|packet| (HEADER..=LONGEST_PACKET).contains(&packet.len())).ok_or(RadiusError::Length)?;
        let verdict = match packet[0] {
            2 => Verdict::Accept,
            3 => Verdict::Reject,
            11 => Verdict::Challenge,
            other => return Err(RadiusError::Code(other)),
        };
        if packet[1] != self.octets[1] {
            return Err(RadiusError::Identifier);
        }
        let attributes = Attributes(&packet[HEADER..]).collect::<Result<Vec<_>, _>>()?;
        self.check(packet, &attributes, secret)?;
        Answer::read(verdict, &attributes, &|value| keys::reveal(value, &self.authenticator, secret))
    }

    /// Both authenticators, in constant time.
    fn check(&self, packet: &[u8], attributes: &[(u8, &[u8])], secret: &Secret) -> Result<(), RadiusError> {
        let shown = single(attributes, kind::MESSAGE_AUTHENTICATOR)?.ok_or(RadiusError::Unprotected)?;
        let shown: [u8; 16] = shown.try_into().map_err(|_| RadiusError::Attribute(kind::MESSAGE_AUTHENTICATOR))?;
        // Both are computed over the Request Authenticator, and the first over zeros where it stands itself.
        let mut asked = packet.to_vec();
        asked[4..HEADER].copy_from_slice(&self.authenticator);
        let response = response_authenticator(&asked, secret);
        let at = position(&asked, kind::MESSAGE_AUTHENTICATOR).ok_or(RadiusError::Unprotected)?;
        asked[at..at + 16].fill(0);
        let right = [same(&message_authenticator(&asked, secret), &shown), same(&response, &packet[4..HEADER])];
        if right == [true, true] { Ok(()) } else { Err(RadiusError::Unauthentic) }
    }
}

impl Answer {
    fn read(verdict: Verdict, attributes: &[(u8, &[u8])], reveal: &dyn Fn(&[u8]) -> Option<Secret>) -> Result<Self, RadiusError> {
        let all = |kind| attributes.iter().filter(move |(found, _)| *found == kind).flat_map(|(_, value)| *value).copied();
        let text = |octets: Vec<u8>| String::from_utf8(octets).ok().filter(|text| !text.is_empty());
        let eap: Vec<u8> = all(kind::EAP_MESSAGE).collect();
        let session = single(attributes, kind::SESSION_TIMEOUT)?.map(|value| {
            let seconds = u32::from_be_bytes(value.try_into().map_err(|_| RadiusError::Attribute(kind::SESSION_TIMEOUT))?);
            Ok(Duration::from_secs(seconds.into()))
        });
        let accepted = verdict == Verdict::Accept;
        Ok(Self {
            verdict,
            eap: Some(eap).filter(|packet| !packet.is_empty()),
            state: single(attributes, kind::STATE)?.map(<[u8]>::to_vec),
            user: single(attributes, kind::USER_NAME)?.and_then(|name| text(name.to_vec())),
            msk: if accepted { keys::msk(attributes, reveal)? } else { None },
            session: session.transpose()?.filter(|session| accepted && !session.is_zero()),
            addresses: if accepted { addresses(attributes)? } else { Vec::new() },
            reply: text(all(kind::REPLY_MESSAGE).collect()).filter(|_| verdict == Verdict::Reject),
        })
    }
}

/// Two values are no addresses: from 255.255.255.254 on "the NAS should select an address for the user", or the user itself (RFC 2865 section 5.8).
const CHOICE: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 254);

/// Addresses for the peer. Of several IPv6 addresses, which RFC 6911 section 3.1 allows, the first.
fn addresses(attributes: &[(u8, &[u8])]) -> Result<Vec<IpAddr>, RadiusError> {
    let ipv4: Option<[u8; 4]> = octets(single(attributes, kind::FRAMED_IP_ADDRESS)?, kind::FRAMED_IP_ADDRESS)?;
    let ipv6 = attributes.iter().find(|(found, _)| *found == kind::FRAMED_IPV6_ADDRESS).map(|(_, value)| *value);
    let ipv6: Option<[u8; 16]> = octets(ipv6, kind::FRAMED_IPV6_ADDRESS)?;
    let ipv4 = ipv4.map(Ipv4Addr::from).filter(|address| *address < CHOICE).map(IpAddr::from);
    Ok(ipv4.into_iter().chain(ipv6.map(IpAddr::from)).collect())
}

fn octets<const N: usize>(value: Option<&[u8]>, kind: u8) -> Result<Option<[u8; N]>, RadiusError> {
    value.map(|value| value.try_into().map_err(|_| RadiusError::Attribute(kind))).transpose()
}

/// HMAC-MD5 over a packet whose own code is zero (RFC 3579 section 3.2).
fn message_authenticator(packet: &[u8], secret: &Secret) -> [u8; 16] {
    // HMAC takes keys of every length.
    Hmac::<Md5>::new_from_slice(secret.expose()).map_or([0; 16], |mac| mac.chain_update(packet).finalize().into_bytes().into())
}

/// MD5 over an answer that bears the Request Authenticator, and the secret (RFC 2865 section 3).
fn response_authenticator(packet: &[u8], secret: &Secret) -> [u8; 16] {
    Md5::new().chain_update(packet).chain_update(secret.expose()).finalize().into()
}

/// The value of an attribute that may be there once.
fn single<'a>(attributes: &[(u8, &'a [u8])], kind: u8) -> Result<Option<&'a [u8]>, RadiusError> {
    let mut found = attributes.iter().filter(|(found, _)| *found == kind).map(|(_, value)| *value);
    let first = found.next();
    if found.next().is_some() { Err(RadiusError::Attribute(kind)) } else { Ok(first) }
}

/// Where in a packet the value of its first attribute of this type begins.
fn position(packet: &[u8], kind: u8) -> Option<usize> {
    let mut at = HEADER;
    for attribute in Attributes(packet.get(HEADER..)?) {
        let (found, value) = attribute.ok()?;
        if found == kind {
            return Some(at + 2);
        }
        at += 2 + value.len();
    }
    None
}

/// Type and value, one after the other.
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u8, &'a [u8]), RadiusError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, rest) = self.0.split_first()?;
        let Some((value, rest)) = rest.split_first().and_then(|(length, rest)| rest.split_at_checked(usize::from(*length).checked_sub(2)?))
        else {
            self.0 = &[];
            return Some(Err(RadiusError::Attribute(kind)));
        };
        self.0 = rest;
        Some(Ok((kind, value)))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} octets)", self.attributes.len())
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} octets)", self.octets.len())
    }
}

/// Without the EAP packet, which may hold what is nobody's business.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let eap = self.eap.as_ref().map(Vec::len);
        f.debug_struct("Answer").field("verdict", &self.verdict).field("eap", &eap).field("msk", &self.msk).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::hex;

    /// RFC 2865 section 7: Request Authenticators, and what the server answers. The shared secret is that of its authors' examples.
    #[test]
    fn the_examples_of_rfc_2865() {
        let secret = Secret::copy_from(b"xyzzy5461");
        let examples = [
            (
                "0f 40 3f 94 73 97 80 57 bd 83 d5 cb 98 f4 22 7a",
                "02 00 00 26 86 fe 22 0e 76 24 ba 2a 10 05 f6 bf 9b 55 e0 b2 06 06 00 00 00 01 0f 06 00 00 00 00 0e 06 c0 a8 01 03",
            ),
            (
                "2a ee 86 f0 8d 0d 55 96 9c a5 97 8e 0d 33 67 a2",
                "02 01 00 38 15 ef bc 7d ab 26 cf a3 dc 34 d9 c0 3c 86 01 a4 06 06 00 00 00 02 07 06 00 00 00 01 08 06 ff ff ff fe \
                 0a 06 00 00 00 02 0d 06 00 00 00 01 0c 06 00 00 05 dc",
            ),
            (
                "f3 a4 7a 1f 6a 6d 76 71 0b 94 7a b9 30 41 a0 39",
                "0b 02 00 4e 36 f3 c8 76 4a e8 c7 11 57 40 3c 0c 71 ff 9c 45 12 30 43 68 61 6c 6c 65 6e 67 65 20 33 32 37 36 39 34 \
                 33 30 2e 20 20 45 6e 74 65 72 20 72 65 73 70 6f 6e 73 65 20 61 74 20 70 72 6f 6d 70 74 2e 18 0a 33 32 37 36 39 34 33 30",
            ),
            ("b1 22 55 6d 42 8a 13 d0 d6 25 38 07 c4 57 ec f0", "03 03 00 14 a4 2f 4f ca 45 91 6c 4e 09 c8 34 0f 9e 74 6a a0"),
        ];
        for (asked, answer) in examples {
            let (asked, answer) = (hex(asked), hex(answer));
            let mut bearing = answer.clone();
            bearing[4..HEADER].copy_from_slice(&asked);
            assert_eq!(response_authenticator(&bearing, &secret), answer[4..HEADER]);
            // None of them says who has written it, as answers with EAP must.
            let sealed = Sealed { octets: vec![ACCESS_REQUEST, answer[1]], authenticator: asked.try_into().unwrap() };
            assert_eq!(sealed.open(&answer, &secret).unwrap_err(), RadiusError::Unprotected);
        }
    }

    #[test]
    fn attributes_are_read_to_the_end_or_not_at_all() {
        let read = |octets: &str| Attributes(&hex(octets)).map(|read| read.map(|(kind, value)| (kind, value.len()))).collect::<Vec<_>>();
        assert_eq!(read("01 03 61 18 02 4f 04 00 00"), [Ok((1, 1)), Ok((24, 0)), Ok((79, 2))]);
        for (octets, kind) in [("01", 1), ("01 00", 1), ("01 01", 1), ("01 03", 1), ("18 04 61", 24)] {
            assert_eq!(read(octets), [Err(RadiusError::Attribute(kind))], "{octets}");
        }
    }
}
