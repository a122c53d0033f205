//! Who a peer says it is (RFC 7296 section 3.5).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// The content of an Identification payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// ID_IPV4_ADDR.
    Ipv4(Ipv4Addr),
    /// ID_IPV6_ADDR.
    Ipv6(Ipv6Addr),
    /// ID_FQDN, without a terminator.
    Fqdn(String),
    /// ID_RFC822_ADDR.
    Rfc822(String),
    /// ID_DER_ASN1_DN: a distinguished name in DER.
    DerDn(Vec<u8>),
    /// ID_KEY_ID: opaque octets.
    KeyId(Vec<u8>),
}

/// Why octets or text are no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The identification type is not one of RFC 7296 section 3.5 that Culvert knows.
    #[error("identification type {0} is not supported")]
    UnknownType(u8),
    /// The octets do not fit the type.
    #[error("identification data do not fit type {0}")]
    Malformed(u8),
    /// Empty text.
    #[error("an identity may not be empty: write an address, a name such as gw.example.org, or user@example.org")]
    Empty,
    /// Text in no known form.
    #[error("'{0}' is no identity: names hold visible ASCII without spaces; write octets as @#0a1b")]
    Text(String),
}

impl Identity {
    /// The ID Type octet.
    pub const fn id_type(&self) -> u8 {
        match self {
            Self::Ipv4(_) => 1,
            Self::Fqdn(_) => 2,
            Self::Rfc822(_) => 3,
            Self::Ipv6(_) => 5,
            Self::DerDn(_) => 9,
            Self::KeyId(_) => 11,
        }
    }

    /// The Identification Data.
    pub fn data(&self) -> Vec<u8> {
        match self {
            Self::Ipv4(address) => address.octets().to_vec(),
            Self::Ipv6(address) => address.octets().to_vec(),
            Self::Fqdn(name) | Self::Rfc822(name) => name.as_bytes().to_vec(),
            Self::DerDn(octets) | Self::KeyId(octets) => octets.clone(),
        }
    }

    /// Reads type and data of an Identification payload.
    ///
    /// # Errors
    /// [`IdentityError`] for an unknown type, a wrong length, or a name that is not visible ASCII.
    pub fn from_wire(id_type: u8, data: &[u8]) -> Result<Self, IdentityError> {
        let malformed = |_| IdentityError::Malformed(id_type);
        match id_type {
            1 => Ok(Self::Ipv4(Ipv4Addr::from(<[u8; 4]>::try_from(data).map_err(malformed)?))),
            5 => Ok(Self::Ipv6(Ipv6Addr::from(<[u8; 16]>::try_from(data).map_err(malformed)?))),
            2 | 3 => {
                let name = core::str::from_utf8(data).ok().filter(|n| is_name(n)).ok_or(IdentityError::Malformed(id_type))?;
                Ok(if id_type == 2 { Self::Fqdn(name.to_string()) } else { Self::Rfc822(name.to_string()) })
            }
            9 => Ok(Self::DerDn(data.to_vec())),
            11 => Ok(Self::KeyId(data.to_vec())),
            other => Err(IdentityError::UnknownType(other)),
        }
    }
}

/// Text as in swanctl.conf: an address, `name.example`, `@name.example` (a name in any case), `user@example`, `@#hex` (key ID).
impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ipv4(address));
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self::Ipv6(address));
        }
        if let Some(hex) = text.strip_prefix("@#") {
            return parse_hex(hex).map(Self::KeyId).ok_or_else(|| IdentityError::Text(text.to_string()));
        }
        let name = text.strip_prefix('@').unwrap_or(text);
        if name.is_empty() {
            return Err(IdentityError::Empty);
        }
        if !is_name(name) {
            return Err(IdentityError::Text(text.to_string()));
        }
        Ok(if name.contains('@') { Self::Rfc822(name.to_string()) } else { Self::Fqdn(name.to_string()) })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => address.fmt(f),
            Self::Fqdn(name) | Self::Rfc822(name) => f.write_str(name),
            Self::DerDn(octets) => write_hex(f, "dn:#", octets),
            Self::KeyId(octets) => write_hex(f, "@#", octets),
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
}

fn parse_hex(hex: &str) -> Option<Vec<u8>> {
    if hex.is_empty() || !hex.len().is_multiple_of(2) || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok()).collect()
}

fn write_hex(f: &mut fmt::Formatter<'_>, prefix: &str, octets: &[u8]) -> fmt::Result {
    f.write_str(prefix)?;
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_its_type() {
        let cases = [("10.0.0.1", 1), ("gw.example.org", 2), ("@10.0.0.1", 2), ("user@example.org", 3), ("2001:db8::1", 5), ("@#0a1B", 11)];
        for (text, id_type) in cases {
            assert_eq!(text.parse::<Identity>().map(|id| id.id_type()), Ok(id_type), "{text}");
        }
    }

    #[test]
    fn wire_and_back_is_identity() {
        for text in ["10.0.0.1", "gw.example.org", "user@example.org", "2001:db8::1", "@#0a1b"] {
            let id: Identity = text.parse().unwrap();
            assert_eq!(Identity::from_wire(id.id_type(), &id.data()), Ok(id));
        }
    }

    #[test]
    fn hostile_octets_are_refused() {
        assert_eq!(Identity::from_wire(1, &[1, 2, 3]), Err(IdentityError::Malformed(1)));
        assert_eq!(Identity::from_wire(2, b"a\nb"), Err(IdentityError::Malformed(2)));
        assert_eq!(Identity::from_wire(2, b""), Err(IdentityError::Malformed(2)));
        assert_eq!(Identity::from_wire(99, b""), Err(IdentityError::UnknownType(99)));
        assert_eq!("".parse::<Identity>(), Err(IdentityError::Empty));
        assert!("@#0".parse::<Identity>().is_err());
    }
}
