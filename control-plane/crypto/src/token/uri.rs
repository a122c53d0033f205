//! The PKCS #11 URI scheme (RFC 7512), as far as it names a private key.

use std::path::PathBuf;
use std::str::FromStr;

/// `pkcs11:token=...;object=...?module-path=...&pin-source=...`. What is left out does not matter, but one key alone has to be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUri {
    /// Label of the token.
    pub token: Option<String>,
    /// Who has made it.
    pub manufacturer: Option<String>,
    /// What it is.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// CKA_LABEL of the key.
    pub object: Option<String>,
    /// CKA_ID of the key.
    pub id: Option<Vec<u8>>,
    /// The library that reaches the token.
    pub module: PathBuf,
    /// Where the PIN is.
    pub pin_source: Option<PinSource>,
}

/// The file that `pin-source` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinSource(pub PathBuf);

/// What is wrong with a URI. None of it repeats a PIN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It does not begin so, or a character should be written as % with two hexadecimal digits.
    #[error("this is no URI of pkcs11: (RFC 7512)")]
    Syntax,
    /// An attribute that is not known, or says nothing of a private key.
    #[error("the attribute '{0}' is not known here")]
    Unknown(String),
    /// An attribute that stands there twice.
    #[error("'{0}' stands there twice")]
    Twice(&'static str),
    /// Public keys and certificates do not sign.
    #[error("type={0} is no private key")]
    Type(String),
    /// No library is named, or by no path from the root.
    #[error("module-path is missing, or is no path from the root")]
    ModulePath,
    /// The PIN itself.
    #[error("the PIN stands there in the clear, as pin-value")]
    PinValue,
    /// A program, or something to be fetched.
    #[error("pin-source is no file")]
    PinSource,
}

impl UriError {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Syntax => {
                "write for example \"pkcs11:token=My%20token;object=gw;type=private?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:gw.pin\""
            }
            Self::Unknown(_) => {
                "use token, manufacturer, model, serial, object, id and type, then after ? module-path and pin-source, with & between them"
            }
            Self::Twice(_) => "leave one of them out",
            Self::Type(_) => "write type=private, or leave it out",
            Self::ModulePath => "add for example ?module-path=/usr/lib/softhsm/libsofthsm2.so, the token's PKCS #11 library",
            Self::PinValue => {
                "write pin-source=file:FILE instead, a file with the PIN that nobody else may read; and choose another PIN, as others may have seen this one"
            }
            Self::PinSource => "write pin-source=file:FILE, a file with the PIN that nobody else may read",
        }
    }
}

/// Attributes of the path, then of the query.
const NAMES: [&str; 10] = ["token", "manufacturer", "model", "serial", "object", "id", "type", "module-path", "pin-source", "pin-value"];
/// How many of them are the path's.
const OF_PATH: usize = 7;

impl FromStr for TokenUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let rest = uri.strip_prefix("pkcs11:").ok_or(UriError::Syntax)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut values: [Option<Vec<u8>>; NAMES.len()] = Default::default();
        let (of_path, of_query) = values.split_at_mut(OF_PATH);
        read(path, ';', &NAMES[..OF_PATH], of_path)?;
        read(query, '&', &NAMES[OF_PATH..], of_query)?;
        let [token, manufacturer, model, serial, object, id, kind, module, pin_source, pin_value] = values;
        if pin_value.is_some() {
            return Err(UriError::PinValue);
        }
        let text = |octets: Option<Vec<u8>>| octets.map(String::from_utf8).transpose().map_err(|_| UriError::Syntax);
        if let Some(kind) = text(kind)?.filter(|kind| kind != "private") {
            return Err(UriError::Type(kind));
        }
        let module = text(module)?.filter(|path| path.starts_with('/')).ok_or(UriError::ModulePath)?.into();
        let pin_source = text(pin_source)?.map(|source| file(&source).ok_or(UriError::PinSource)).transpose()?;
        let [token, manufacturer, model] = [text(token)?, text(manufacturer)?, text(model)?];
        Ok(Self { token, manufacturer, model, serial: text(serial)?, object: text(object)?, id, module, pin_source })
    }
}

impl TokenUri {
    /// The token, for people.
    pub(super) fn token_name(&self) -> String {
        let name = [&self.token, &self.serial, &self.model, &self.manufacturer].into_iter().flatten().next();
        name.map_or_else(|| format!("the token of {}", self.module.display()), |name| format!("the token '{name}'"))
    }
}

fn read(text: &str, separator: char, names: &[&'static str], values: &mut [Option<Vec<u8>>]) -> Result<(), UriError> {
    for attribute in text.split(separator).filter(|attribute| !attribute.is_empty()) {
        let (name, value) = attribute.split_once('=').ok_or(UriError::Syntax)?;
        let known = names.iter().zip(values.iter_mut()).find(|(known, _)| **known == name);
        let (name, place) = known.ok_or_else(|| UriError::Unknown(name.to_owned()))?;
        if place.replace(octets(value).ok_or(UriError::Syntax)?).is_some() {
            return Err(UriError::Twice(name));
        }
    }
    Ok(())
}

/// `file:` with a path (RFC 8089), or a path from the root without it.
fn file(source: &str) -> Option<PinSource> {
    let path = match source.strip_prefix("file:") {
        Some(path) => path.strip_prefix("//").map_or(Some(path), |path| path.starts_with('/').then_some(path))?,
        None => Some(source).filter(|path| path.starts_with('/'))?,
    };
    (!path.is_empty()).then(|| PinSource(path.into()))
}

/// RFC 3986 section 2.1.
fn octets(text: &str) -> Option<Vec<u8>> {
    if !text.bytes().all(|octet| octet.is_ascii_graphic()) {
        return None;
    }
    let mut parts = text.split('%');
    let mut octets = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).filter(|(digits, _)| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        octets.extend_from_slice(rest.as_bytes());
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "module-path=/mnt/libmypkcs11.so.1";

    fn parse(uri: &str) -> Result<TokenUri, UriError> {
        uri.parse()
    }

    fn any() -> TokenUri {
        let module = "/mnt/libmypkcs11.so.1".into();
        TokenUri { token: None, manufacturer: None, model: None, serial: None, object: None, id: None, module, pin_source: None }
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    /// Those of RFC 7512 section 3, which leave the module to the reader; here it has to be named.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let with = |uri: &str| parse(&format!("{uri}{}{MODULE}", if uri.contains('?') { "&" } else { "?" }));
        assert_eq!(with("pkcs11:"), Ok(any()));
        assert_eq!(with("pkcs11:object=my-pubkey;type=public"), Err(UriError::Type("public".to_owned())));
        let pin_source = |path: &str| Some(PinSource(path.into()));
        assert_eq!(
            with("pkcs11:object=my-key;type=private?pin-source=file:/etc/token"),
            Ok(TokenUri { object: text("my-key"), pin_source: pin_source("/etc/token"), ..any() })
        );
        let softtoken = "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;\
                         type=private;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin";
        let expected = TokenUri {
            token: text("The Software PKCS#11 Softtoken"),
            manufacturer: text("Snake Oil, Inc."),
            model: text("1.0"),
            serial: text(""),
            object: text("my-certificate"),
            id: Some(vec![0x69, 0x95, 0x3e, 0x5c, 0xf4, 0xbd, 0xec, 0x91]),
            pin_source: pin_source("/etc/token_pin"),
            ..any()
        };
        assert_eq!(with(softtoken), Ok(expected));
        assert_eq!(with(&softtoken.replace("private", "cert")), Err(UriError::Type("cert".to_owned())));
        assert_eq!(parse("pkcs11:object=my-sign-key;type=private?module-name=mypkcs11"), Err(UriError::Unknown("module-name".to_owned())));
        assert_eq!(
            parse("pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1"),
            Ok(TokenUri { object: text("my-sign-key"), ..any() })
        );
        let in_the_clear = with("pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin");
        assert_eq!(in_the_clear, Err(UriError::PinValue));
        for (uri, name) in [
            ("pkcs11:slot-description=Sun%20Metaslot", "slot-description"),
            (
                "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;library-version=1.23",
                "library-manufacturer",
            ),
            ("pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;id=%01%02%03%Ba%dd%Ca%fe%04%05%06", "library-version"),
            (
                "pkcs11:token=my-token;object=my-certificate;type=cert;vendor-aaa=value-a?pin-source=file:/etc/token_pin&vendor-bbb=value-b",
                "vendor-aaa",
            ),
        ] {
            assert_eq!(with(uri), Err(UriError::Unknown(name.to_owned())), "{uri}");
        }
        assert_eq!(
            with("pkcs11:token=My%20token%25%20created%20by%20Joe;id=%01%02%03%Ba%dd%Ca%fe%04%05%06"),
            Ok(TokenUri { token: text("My token% created by Joe"), id: Some(vec![1, 2, 3, 0xba, 0xdd, 0xca, 0xfe, 4, 5, 6]), ..any() })
        );
        assert_eq!(
            with("pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate"),
            Ok(TokenUri { token: text("A name with a substring %;"), object: text("my-certificate"), ..any() })
        );
        assert_eq!(
            with("pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1"),
            Ok(TokenUri { token: text("Name with a small A with acute: á"), ..any() })
        );
    }

    #[test]
    fn what_is_no_uri_of_a_key_is_refused() {
        for uri in [
            "gw.key",
            "PKCS11:",
            "pkcs11:object",
            "object=%4",
            "object=%+1",
            "object=%%",
            "object=a b",
            "object=á",
            "token=%ff",
            "token=%c3",
        ] {
            let uri = if uri.contains(':') || uri == "gw.key" { uri.to_owned() } else { format!("pkcs11:{uri}") };
            assert_eq!(parse(&format!("{uri}?{MODULE}")), Err(UriError::Syntax), "{uri}");
        }
        assert_eq!(parse(&format!("pkcs11:object=a;object=b?{MODULE}")), Err(UriError::Twice("object")));
        assert_eq!(parse(&format!("pkcs11:?{MODULE}&{MODULE}")), Err(UriError::Twice("module-path")));
        // An attribute of the query is none of the path, and the other way round.
        assert_eq!(parse(&format!("pkcs11:{MODULE}")), Err(UriError::Unknown("module-path".to_owned())));
        assert_eq!(parse("pkcs11:?token=a"), Err(UriError::Unknown("token".to_owned())));
        for uri in ["pkcs11:token=a", "pkcs11:token=a?module-path=p11.so", "pkcs11:token=a?module-path="] {
            assert_eq!(parse(uri), Err(UriError::ModulePath), "{uri}");
        }
    }

    #[test]
    fn a_pin_is_in_a_file() {
        let source = |source: &str| parse(&format!("pkcs11:?{MODULE}&pin-source={source}")).map(|uri| uri.pin_source);
        for (text, path) in
            [("file:/etc/pin", "/etc/pin"), ("file:///etc/pin", "/etc/pin"), ("/etc/pin", "/etc/pin"), ("file:gw.pin", "gw.pin")]
        {
            assert_eq!(source(text), Ok(Some(PinSource(path.into()))), "{text}");
        }
        // The first two are of RFC 7512 section 2.4: a program, and something to be fetched.
        for text in ["%7C/usr/lib/pinomatic", "https://example.org/pin", "gw.pin", "file:", "file://host/etc/pin", ""] {
            assert_eq!(source(text), Err(UriError::PinSource), "{text}");
        }
    }
}
