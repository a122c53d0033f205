//! Names as strongSwan 5.9.8 (`pki --self --dn ... | pki --dn --format hex`) and OpenSSL 3.0 (`req -subj ... -utf8 -multivalue-rdn`) write them.

extern crate std;

use alloc::string::ToString;
use std::vec;

use super::*;

fn name(text: &str) -> DistinguishedName {
    text.parse().unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    crate::identity::parse_hex(text).unwrap()
}

/// Text, and DER of strongSwan.
const STRONGSWAN: [(&str, &str); 3] = [
    ("C=DE, O=Example, CN=gw", "302c310b30090603550406130244453110300e060355040a13074578616d706c65310b3009060355040313026777"),
    (
        "C=CH, O=strongSwan Project, OU=Research & Tests, CN=moon.strongswan.org",
        "3063310b3009060355040613024348311b3019060355040a13127374726f6e675377616e2050726f6a65637431193017060355040b0c105265736561726368\
         20262054657374 73311c301a060355040313136d6f6f6e2e7374726f6e677377616e2e6f7267",
    ),
    (
        "CN=gw-ü.example, E=admin@example.org, DC=example, UID=7",
        "30663116301406035504030c0d67772dc3bc2e6578616d706c653120301e06092a864886f70d010901161161646d696e406578616d706c652e6f7267311730\
         15060a0992268993f22c64011913076578616d706c653111300f060a0992268993f22c640101130137",
    ),
];

/// `/C=DE/O=Example, Inc./OU=two  spaces+UID=u7/CN=gw-ü/emailAddress=a@b.test`.
const OPENSSL: &str = "3076310b300906035504061302444531163014060355040a0c0d4578616d706c652c20496e632e31263010060a0992268993f22c6401010c0275373012\
    060355040b0c0b74776f2020737061636573310e300c06035504030c0567772dc3bc3117301506092a864886f70d01090116086140622e74657374";

#[test]
fn text_becomes_the_octets_of_strongswan_and_back() {
    for (text, der) in STRONGSWAN {
        let der = hex(&der.replace(' ', ""));
        assert_eq!(name(text).as_der(), der, "{text}");
        assert_eq!(DistinguishedName::from_der(&der).unwrap().to_string(), text);
    }
}

#[test]
fn a_name_of_openssl_reads_back() {
    let read = DistinguishedName::from_der(&hex(OPENSSL)).unwrap();
    assert_eq!(read.to_string(), "C=DE, O=Example\\, Inc., UID=u7 + OU=two  spaces, CN=gw-ü, E=a@b.test");
    assert_ne!(name(&read.to_string()), read, "OpenSSL was told to write UTF8String");
    assert_eq!(name(&read.to_string()).canonical(), read.canonical());
}

#[test]
fn string_type_case_and_spaces_do_not_distinguish() {
    let utf8 = DistinguishedName::from_der(&hex("300d310b300906035504030c024757")).unwrap();
    let printable = name("CN=gw");
    assert_ne!(utf8, printable);
    assert_eq!(utf8.canonical(), printable.canonical());
    // BMPString and TeletexString.
    let bmp = DistinguishedName::from_der(&hex("300f310d300b06035504031e0400670077")).unwrap();
    let teletex = DistinguishedName::from_der(&hex("300d310b3009060355040314024757")).unwrap();
    assert_eq!([bmp.canonical(), teletex.canonical()], [printable.canonical(), printable.canonical()]);
    assert_eq!(name("O=Big  Corp\\ ").canonical(), name("O=big corp").canonical());
    for other in ["CN=gx", "O=gw", "CN=g w", "CN=gw, CN=gw"] {
        assert_ne!(name(other).canonical(), printable.canonical(), "{other}");
    }
    // Octets that are no text are compared as they are.
    let octets = |text: &str| name(text).canonical();
    assert_ne!(octets("2.5.4.45=#030200a1"), octets("2.5.4.45=#030200a0"));
}

#[test]
fn quotes_escapes_and_hex_are_read() {
    let same = [
        "O=Example\\, Inc.",
        "O=\"Example, Inc.\"",
        " o = Example\\2c Inc. ",
        "2.5.4.10=Example\\, Inc.",
        "O=#130d4578616d706c652c20496e632e",
    ];
    for text in same {
        assert_eq!(name(text), name(same[0]), "{text}");
        assert_eq!(name(text).to_string(), same[0]);
    }
    assert_eq!(name("CN=a\\+b, O=c").to_string(), "CN=a\\+b, O=c");
    assert_eq!(name("CN=\\c3\\bc").to_string(), "CN=ü");
    assert_eq!(name("CN=\\#1\\ ").to_string(), "CN=\\#1\\ ");
}

#[test]
fn what_a_terminal_would_obey_is_escaped() {
    let hostile = name("CN=a\\1b[31m\\e2\\80\\ae");
    assert_eq!(hostile.to_string(), "CN=a\\1b[31m\\e2\\80\\ae");
    assert_eq!(name(&hostile.to_string()), hostile);
}

#[test]
fn what_is_no_text_is_shown_in_hex() {
    let odd = name("2.5.4.45=#030200a1, CN=gw");
    assert_eq!(odd.to_string(), "2.5.4.45=#030200a1, CN=gw");
    assert_eq!(name(&odd.to_string()), odd);
}

#[test]
fn each_fault_has_its_own_error() {
    let fault = |text: &str| text.parse::<DistinguishedName>().unwrap_err();
    assert_eq!(fault("C=DE, gw"), DistinguishedNameError::Form("gw".into()));
    assert_eq!(fault("C=DE,"), DistinguishedNameError::Form("".into()));
    assert_eq!(fault("XY=gw"), DistinguishedNameError::Type("XY".into()));
    for broken in ["CN=", "CN=\\", "CN=\\x", "CN=\\f", "CN=\"gw", "CN=g\"w", "CN=#0", "CN=#13ff", "CN=\\ff"] {
        assert_eq!(fault(broken), DistinguishedNameError::Value("CN".into()), "{broken}");
    }
}

#[test]
fn octets_that_are_no_name_are_refused() {
    let good = hex(STRONGSWAN[0].1);
    for end in 0..good.len() {
        assert_eq!(DistinguishedName::from_der(&good[..end]), Err(DistinguishedNameError::Der), "{end} octets");
    }
    for bad in [vec![0x30, 0], [&good[..], &[0]].concat(), vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff], vec![0xff; 40]] {
        assert_eq!(DistinguishedName::from_der(&bad), Err(DistinguishedNameError::Der));
    }
}

/// X.690 section 8.19.2; found by the property below.
#[test]
fn a_type_has_one_encoding() {
    let mut der = hex(OPENSSL);
    der[86] = 0x80;
    assert_eq!(DistinguishedName::from_der(&der), Err(DistinguishedNameError::Der));
}

proptest::proptest! {
    #[test]
    fn any_change_to_a_name_is_read_or_refused(at in 0..200usize, octet: u8) {
        let mut der = hex(OPENSSL);
        let len = der.len();
        der[at % len] = octet;
        if let Ok(name) = DistinguishedName::from_der(&der) {
            let text = name.to_string();
            let again: DistinguishedName = text.parse().unwrap();
            proptest::prop_assert_eq!(again.canonical(), name.canonical(), "{}", text);
        }
    }
}
