//! Who a peer says it is (RFC 7296 section 3.5).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use crate::{DistinguishedName, DistinguishedNameError};

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
    /// ID_DER_ASN1_DN.
    DerDn(DistinguishedName),
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
    #[error(
        "'{0}' is no identity: names hold visible ASCII without spaces; write other types as keyid:text, keyid:#0a1b, or C=DE, O=Example, CN=gw"
    )]
    Text(String),
    /// A prefix that says one type before text that is of another.
    #[error("'{text}' is no {kind}")]
    OfType {
        /// The text, prefix included.
        text: String,
        /// What it should be.
        kind: &'static str,
    },
    /// Text that means a distinguished name and is none.
    #[error("no distinguished name: {0}")]
    DistinguishedName(#[from] DistinguishedNameError),
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
            Self::DerDn(name) => name.as_der().to_vec(),
            Self::KeyId(octets) => octets.clone(),
        }
    }

    /// Reads type and data of an Identification payload.
    ///
    /// # Errors
    /// [`IdentityError`] for an unknown type, a wrong length, a name that is not visible ASCII, or a distinguished name that is none.
    pub fn from_wire(id_type: u8, data: &[u8]) -> Result<Self, IdentityError> {
        let malformed = |_| IdentityError::Malformed(id_type);
        match id_type {
            1 => Ok(Self::Ipv4(Ipv4Addr::from(<[u8; 4]>::try_from(data).map_err(malformed)?))),
            5 => Ok(Self::Ipv6(Ipv6Addr::from(<[u8; 16]>::try_from(data).map_err(malformed)?))),
            2 | 3 => {
                let name = core::str::from_utf8(data).ok().filter(|n| is_name(n)).ok_or(IdentityError::Malformed(id_type))?;
                Ok(if id_type == 2 { Self::Fqdn(name.to_string()) } else { Self::Rfc822(name.to_string()) })
            }
            9 => DistinguishedName::from_der(data).map(Self::DerDn).map_err(|_| IdentityError::Malformed(id_type)),
            11 => Ok(Self::KeyId(data.to_vec())),
            other => Err(IdentityError::UnknownType(other)),
        }
    }
}

impl Identity {
    /// The identity by which two are compared: host names without regard to case (RFC 4343), the part of a mailbox before its `@` as it is
    /// (RFC 5321 section 2.4), distinguished names by RFC 5280 section 7.1.
    #[must_use]
    pub fn canonical(&self) -> Self {
        match self {
            Self::Fqdn(name) => Self::Fqdn(name.to_ascii_lowercase()),
            Self::Rfc822(mailbox) => Self::Rfc822(match mailbox.rsplit_once('@') {
                Some((local, domain)) => alloc::format!("{local}@{}", domain.to_ascii_lowercase()),
                None => mailbox.clone(),
            }),
            Self::DerDn(name) => Self::DerDn(name.canonical()),
            Self::Ipv4(_) | Self::Ipv6(_) | Self::KeyId(_) => self.clone(),
        }
    }

    /// Whether both mean the same.
    pub fn same(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

/// Text as in swanctl.conf. What it looks like says its type: an address, `C=DE, O=Example, CN=gw`, `user@example.org`, `gw.example.org`;
/// `@name` is a host name and `@@name` a mailbox whatever it looks like, `@#hex` a key ID. A prefix says the type: `ipv4:`, `ipv6:`, `fqdn:` or
/// `dns:`, `rfc822:` or `email:`, `asn1dn:`, `keyid:`. Behind `asn1dn:` and `keyid:`, octets are written `#hex`.
impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if text.is_empty() {
            return Err(IdentityError::Empty);
        }
        if let Some((read, rest)) = PREFIXES.iter().find_map(|(prefix, read)| Some((read, text.strip_prefix(prefix)?))) {
            return read(rest, text);
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ipv4(address));
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self::Ipv6(address));
        }
        if let Some(hex) = text.strip_prefix("@#") {
            return parse_hex(hex).map(Self::KeyId).ok_or_else(|| IdentityError::Text(text.to_string()));
        }
        if let Some(mailbox) = text.strip_prefix("@@") {
            return name(mailbox, text).map(Self::Rfc822);
        }
        if let Some(host) = text.strip_prefix('@') {
            return name(host, text).map(Self::Fqdn);
        }
        if text.contains('=') {
            return Ok(Self::DerDn(text.parse()?));
        }
        Ok(if text.contains('@') { Self::Rfc822(name(text, text)?) } else { Self::Fqdn(name(text, text)?) })
    }
}

/// Reads what stands behind a prefix; the second text is the whole of it, for errors.
type Reader = fn(&str, &str) -> Result<Identity, IdentityError>;

const PREFIXES: &[(&str, Reader)] = &[
    ("ipv4:", |rest, text| rest.parse().map(Identity::Ipv4).map_err(|_| of_type(text, "IPv4 address"))),
    ("ipv6:", |rest, text| rest.parse().map(Identity::Ipv6).map_err(|_| of_type(text, "IPv6 address"))),
    ("fqdn:", |rest, text| name(rest, text).map(Identity::Fqdn)),
    ("dns:", |rest, text| name(rest, text).map(Identity::Fqdn)),
    ("rfc822:", |rest, text| name(rest, text).map(Identity::Rfc822)),
    ("email:", |rest, text| name(rest, text).map(Identity::Rfc822)),
    ("keyid:", |rest, text| match rest.strip_prefix('#') {
        Some(hex) => parse_hex(hex).map(Identity::KeyId).ok_or_else(|| of_type(text, "key ID in hexadecimal digits")),
        None if rest.is_empty() => Err(IdentityError::Empty),
        None => Ok(Identity::KeyId(rest.as_bytes().to_vec())),
    }),
    ("asn1dn:", |rest, text| match rest.strip_prefix('#') {
        Some(hex) => {
            let der = parse_hex(hex).ok_or_else(|| of_type(text, "distinguished name in hexadecimal digits"))?;
            Ok(Identity::DerDn(DistinguishedName::from_der(&der)?))
        }
        None => Ok(Identity::DerDn(rest.parse()?)),
    }),
];

fn of_type(text: &str, kind: &'static str) -> IdentityError {
    IdentityError::OfType { text: text.to_string(), kind }
}

fn name(name: &str, text: &str) -> Result<String, IdentityError> {
    if name.is_empty() {
        return Err(IdentityError::Empty);
    }
    if is_name(name) { Ok(name.to_string()) } else { Err(IdentityError::Text(text.to_string())) }
}

/// Text that reads back as the same identity: with a prefix only where it would be taken for another type without.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => address.fmt(f),
            Self::Fqdn(name) | Self::Rfc822(name) => {
                if name.parse().as_ref() != Ok(self) {
                    f.write_str(if matches!(self, Self::Fqdn(_)) { "fqdn:" } else { "rfc822:" })?;
                }
                f.write_str(name)
            }
            Self::DerDn(name) => name.fmt(f),
            Self::KeyId(octets) => match core::str::from_utf8(octets) {
                Ok(text) if is_name(text) && !text.starts_with('#') => write!(f, "keyid:{text}"),
                _ => write_hex(f, "@#", octets),
            },
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
}

pub(crate) fn parse_hex(hex: &str) -> Option<Vec<u8>> {
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
        let cases = [
            ("10.0.0.1", 1),
            ("gw.example.org", 2),
            ("@10.0.0.1", 2),
            ("@C=DE", 2),
            ("user@example.org", 3),
            ("@@gw", 3),
            ("2001:db8::1", 5),
            ("C=DE, CN=gw", 9),
            ("@#0a1B", 11),
            ("ipv4:10.0.0.1", 1),
            ("ipv6:::1", 5),
            ("fqdn:10.0.0.1", 2),
            ("dns:gw", 2),
            ("rfc822:gw", 3),
            ("email:user@gw", 3),
            ("keyid:10.0.0.1", 11),
            ("keyid:#0a1b", 11),
            ("asn1dn:CN=gw", 9),
            ("asn1dn:#300d310b30090603550403130267", 0),
            ("asn1dn:#300d310b3009060355040313026777", 9),
        ];
        for (text, id_type) in cases {
            assert_eq!(text.parse::<Identity>().map_or(0, |id| id.id_type()), id_type, "{text}");
        }
    }

    #[test]
    fn text_and_back_is_identity() {
        let texts = ["10.0.0.1", "gw.example.org", "user@example.org", "2001:db8::1", "@#0a1b", "keyid:vpn/1", "C=DE, O=Example, CN=gw"];
        let prefixed = ["fqdn:10.0.0.1", "fqdn:a=b", "fqdn:user@gw", "rfc822:gw", "fqdn:keyid:x", "@#23"];
        for text in texts.into_iter().chain(prefixed) {
            let id: Identity = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(Identity::from_wire(id.id_type(), &id.data()), Ok(id));
        }
    }

    #[test]
    fn case_and_string_types_do_not_distinguish() {
        let same = |a: &str, b: &str| a.parse::<Identity>().unwrap().same(&b.parse().unwrap());
        assert!(same("GW.example.org", "gw.Example.org") && !same("gw.example.org", "gw.example.com"));
        assert!(same("user@Example.org", "user@example.org") && !same("User@example.org", "user@example.org"));
        assert!(same("C=DE, CN=GW", "c=de, cn=gw") && !same("C=DE, CN=gw", "CN=gw, C=DE"));
        assert!(!same("keyid:GW", "keyid:gw") && !same("fqdn:gw", "keyid:gw"));
    }

    #[test]
    fn hostile_octets_are_refused() {
        assert_eq!(Identity::from_wire(1, &[1, 2, 3]), Err(IdentityError::Malformed(1)));
        assert_eq!(Identity::from_wire(2, b"a\nb"), Err(IdentityError::Malformed(2)));
        assert_eq!(Identity::from_wire(2, b""), Err(IdentityError::Malformed(2)));
        assert_eq!(Identity::from_wire(9, b"CN=gw"), Err(IdentityError::Malformed(9)));
        assert_eq!(Identity::from_wire(99, b""), Err(IdentityError::UnknownType(99)));
    }

    #[test]
    fn text_that_is_no_identity_says_why() {
        let said = |text: &str| text.parse::<Identity>().unwrap_err().to_string();
        assert!(said("").starts_with("an identity may not be empty"));
        assert!(said("fqdn:").starts_with("an identity may not be empty") && said("keyid:").starts_with("an identity may not be empty"));
        assert!(said("two words").contains("C=DE, O=Example, CN=gw"));
        assert_eq!(said("ipv4:gw"), "'ipv4:gw' is no IPv4 address");
        assert_eq!(said("keyid:#0"), "'keyid:#0' is no key ID in hexadecimal digits");
        assert_eq!(said("C=DE, gw"), "no distinguished name: 'gw' is not of the form CN=value");
        assert!("@#0".parse::<Identity>().is_err());
    }
}
