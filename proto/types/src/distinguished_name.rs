//! Distinguished names (RFC 5280 section 4.1.2.4): DER on the wire, text in files and logs.
//!
//! Text is strongSwan's: `C=DE, O=Example, CN=gw`, in the order of the DER. (RFC 4514 writes the same name backwards.) Escapes, quotes and
//! values in hex are those of RFC 4514 and RFC 2253.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::str::FromStr;

use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Any, BmpString, ObjectIdentifier};
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};

/// A distinguished name with at least one attribute, as the octets it was made of.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DistinguishedName {
    der: Vec<u8>,
}

/// Why octets or text are no distinguished name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DistinguishedNameError {
    /// The octets are no Name in DER, or an empty one.
    #[error("these octets are no distinguished name in DER")]
    Der,
    /// Text between commas that is not `TYPE=value`.
    #[error("'{0}' is not of the form CN=value")]
    Form(String),
    /// A type that is neither a known abbreviation nor an object identifier.
    #[error("'{0}' is no attribute type: write C, ST, L, O, OU, CN, E, DC, UID or an object identifier such as 2.5.4.3")]
    Type(String),
    /// A value with a broken escape or quote, or none at all.
    #[error("the value of '{0}' cannot be read: a comma within a value is written \\, and a backslash \\\\")]
    Value(String),
}

/// Abbreviations of attribute types, strongSwan's; the first of a type is the one that is shown.
const TYPES: &[(&str, &str)] = &[
    ("C", "2.5.4.6"),
    ("ST", "2.5.4.8"),
    ("L", "2.5.4.7"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("CN", "2.5.4.3"),
    ("E", EMAIL_ADDRESS),
    ("emailAddress", EMAIL_ADDRESS),
    ("Email", EMAIL_ADDRESS),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("SN", "2.5.4.5"),
    ("serialNumber", "2.5.4.5"),
    ("S", "2.5.4.4"),
    ("G", "2.5.4.42"),
    ("GN", "2.5.4.42"),
    ("I", "2.5.4.43"),
    ("T", "2.5.4.12"),
    ("D", "2.5.4.13"),
];
const EMAIL_ADDRESS: &str = "1.2.840.113549.1.9.1";

impl DistinguishedName {
    /// Reads a Name.
    ///
    /// # Errors
    /// [`DistinguishedNameError::Der`].
    pub fn from_der(octets: &[u8]) -> Result<Self, DistinguishedNameError> {
        let names = RdnSequence::from_der(octets).map_err(|_| DistinguishedNameError::Der)?;
        let mut types = names.iter().flat_map(|rdn| rdn.iter()).map(|attribute| &attribute.oid);
        if names.is_empty() || !types.all(is_minimal) {
            return Err(DistinguishedNameError::Der);
        }
        Ok(Self { der: octets.to_vec() })
    }

    /// The Name in DER, as it was read or written.
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The name by which two are compared (RFC 5280 section 7.1): every text as UTF8String in lower case, without spaces around it and with
    /// single ones inside. What is no text stays as it is.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let rewritten = self.rewrite().and_then(|names| names.to_der().ok());
        Self { der: rewritten.unwrap_or_else(|| self.der.clone()) }
    }

    /// Whether the value of an attribute is `*`, which stands for any.
    pub(crate) fn is_pattern(&self) -> bool {
        RdnSequence::from_der(&self.der).is_ok_and(|names| names.iter().flat_map(|rdn| rdn.iter()).any(is_any))
    }

    /// Whether a canonical name is this canonical one, but for the values that are `*` here.
    pub(crate) fn admits(&self, name: &Self) -> bool {
        let [Ok(pattern), Ok(name)] = [&self.der, &name.der].map(|der| RdnSequence::from_der(der)) else { return false };
        let admits = |(pattern, value): (&AttributeTypeAndValue, &AttributeTypeAndValue)| {
            pattern.oid == value.oid && (is_any(pattern) || pattern.value == value.value)
        };
        let all = |(pattern, name): (&RelativeDistinguishedName, &RelativeDistinguishedName)| {
            pattern.len() == name.len() && pattern.iter().zip(name.iter()).all(admits)
        };
        pattern.iter().count() == name.iter().count() && pattern.iter().zip(name.iter()).all(all)
    }

    fn rewrite(&self) -> Option<RdnSequence> {
        let mut names = RdnSequence::default();
        for rdn in RdnSequence::from_der(&self.der).ok()?.iter() {
            let attributes = rdn.iter().map(|attribute| {
                let value = text(&attribute.value)
                    .and_then(|text| Any::new(Tag::Utf8String, folded(&text).into_bytes()).ok())
                    .unwrap_or_else(|| attribute.value.clone());
                AttributeTypeAndValue { oid: attribute.oid, value }
            });
            names.push(RelativeDistinguishedName::try_from(attributes.collect::<Vec<_>>()).ok()?);
        }
        Some(names)
    }
}

fn is_any(attribute: &AttributeTypeAndValue) -> bool {
    text(&attribute.value).as_deref() == Some("*")
}

/// Whether no arc has octets of padding in front (X.690 section 8.19.2), which the crate der lets pass: one type would have several encodings.
fn is_minimal(oid: &ObjectIdentifier) -> bool {
    let mut begins = true;
    oid.as_bytes().iter().all(|octet| {
        let padding = begins && *octet == 0x80;
        begins = octet & 0x80 == 0;
        !padding
    })
}

/// Lower case, and white space as section 7.1 has it.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().flat_map(char::to_lowercase));
    }
    folded
}

/// A value that is text, whatever its string type.
fn text(value: &Any) -> Option<Cow<'_, str>> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => core::str::from_utf8(value.value()).ok().map(Cow::Borrowed),
        // What is found in certificates under this name is ISO 8859-1.
        Tag::TeletexString => Some(value.value().iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let units = BmpString::from_ucs2(value.value().to_vec()).ok()?;
            Some(Cow::Owned(units.chars().collect()))
        }
        _ => None,
    }
}

impl FromStr for DistinguishedName {
    type Err = DistinguishedNameError;

    fn from_str(text: &str) -> Result<Self, DistinguishedNameError> {
        let mut names = RdnSequence::default();
        for part in split(text, ',') {
            let attributes = split(part, '+').map(attribute).collect::<Result<Vec<_>, _>>()?;
            let malformed = |_| DistinguishedNameError::Form(part.into());
            names.push(RelativeDistinguishedName::try_from(attributes).map_err(malformed)?);
        }
        Self::from_der(&names.to_der().map_err(|_| DistinguishedNameError::Der)?)
    }
}

/// The parts of `text` between separators that are neither escaped nor quoted, without spaces around them.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let was_escaped = escaped;
        escaped = !was_escaped && c == '\\';
        quoted ^= c == '"' && !was_escaped;
        c == separator && !quoted && !was_escaped
    })
    .map(trimmed)
}

/// Without spaces around it, but with one at the end that is escaped.
fn trimmed(text: &str) -> &str {
    let (text, short) = (text.trim_start(), text.trim());
    let backslashes = short.bytes().rev().take_while(|octet| *octet == b'\\').count();
    if backslashes % 2 == 0 { short } else { text.get(..short.len() + 1).unwrap_or(text) }
}

fn attribute(text: &str) -> Result<AttributeTypeAndValue, DistinguishedNameError> {
    let (name, value) = text.split_once('=').ok_or_else(|| DistinguishedNameError::Form(text.into()))?;
    let (name, value) = (name.trim_end(), value.trim_start());
    let known = TYPES.iter().find(|(short, _)| short.eq_ignore_ascii_case(name)).map(|(_, oid)| *oid);
    let oid = ObjectIdentifier::new(known.unwrap_or(name)).map_err(|_| DistinguishedNameError::Type(name.into()))?;
    let value = match value.strip_prefix('#') {
        Some(hex) => crate::identity::parse_hex(hex).and_then(|der| Any::from_der(&der).ok()),
        None => {
            unescape(value).filter(|value| !value.is_empty()).and_then(|value| Any::new(string_type(&oid, &value), value.into_bytes()).ok())
        }
    };
    Ok(AttributeTypeAndValue { oid, value: value.ok_or_else(|| DistinguishedNameError::Value(name.into()))? })
}

/// The string type that strongSwan gives a value, so that text in both configurations is one name to the octet.
fn string_type(oid: &ObjectIdentifier, value: &str) -> Tag {
    let is_email = ObjectIdentifier::new(EMAIL_ADDRESS).as_ref() == Ok(oid);
    let printable = |octet: u8| octet.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&octet);
    if value.is_ascii() && is_email {
        Tag::Ia5String
    } else if value.bytes().all(printable) {
        Tag::PrintableString
    } else {
        Tag::Utf8String
    }
}

/// Undoes quotes and escapes (RFC 4514 section 2.4). `None` where they are broken.
fn unescape(value: &str) -> Option<String> {
    let quoted = value.strip_prefix('"');
    let value = match quoted {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'"' {
            return None;
        }
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        let next = rest.next()?;
        octets.push(match char::from(next).to_digit(16) {
            Some(high) => u8::try_from(high << 4 | char::from(rest.next()?).to_digit(16)?).ok()?,
            None => Some(next).filter(|next| b" \"#+,;<=>\\".contains(next))?,
        });
    }
    String::from_utf8(octets).ok()
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = RdnSequence::from_der(&self.der).map_err(|_| fmt::Error)?;
        for (at, rdn) in names.iter().enumerate() {
            for (beside, attribute) in rdn.iter().enumerate() {
                f.write_str(match (at, beside) {
                    (0, 0) => "",
                    (_, 0) => ", ",
                    _ => " + ",
                })?;
                write_attribute(f, attribute)?;
            }
        }
        Ok(())
    }
}

fn write_attribute(f: &mut fmt::Formatter<'_>, attribute: &AttributeTypeAndValue) -> fmt::Result {
    let known = |oid: &str| ObjectIdentifier::new(oid).as_ref() == Ok(&attribute.oid);
    match TYPES.iter().find(|(_, oid)| known(oid)) {
        Some((name, _)) => write!(f, "{name}=")?,
        None => write!(f, "{}=", attribute.oid)?,
    }
    if let Some(text) = text(&attribute.value).filter(|text| !text.is_empty()) {
        return write_value(f, &text);
    }
    let der = attribute.value.to_der().map_err(|_| fmt::Error)?;
    f.write_char('#')?;
    der.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

/// With escapes, also for what a terminal would obey: the name may come from anybody.
fn write_value(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let last = text.chars().count() - 1;
    for (at, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{c}")?,
            '#' if at == 0 => f.write_str("\\#")?,
            ' ' if at == 0 || at == last => f.write_str("\\ ")?,
            c if c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' => f.write_char(c)?,
            c => c.encode_utf8(&mut [0; 4]).bytes().try_for_each(|octet| write!(f, "\\{octet:02x}"))?,
        }
    }
    Ok(())
}

impl fmt::Debug for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DistinguishedName({self})")
    }
}

#[cfg(test)]
mod tests;
