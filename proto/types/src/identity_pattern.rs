//! Identities that stand for many: wildcards as in swanctl.conf.

use crate::Identity;

impl Identity {
    /// Whether it stands for several: a host name or mailbox that begins with `*`, such as `*.example.org` and `*@example.org`, or a distinguished name
    /// with `*` as the value of an attribute.
    pub fn is_pattern(&self) -> bool {
        match self {
            Self::Fqdn(name) | Self::Rfc822(name) => name.starts_with('*'),
            Self::DerDn(name) => name.is_pattern(),
            Self::Ipv4(_) | Self::Ipv6(_) | Self::KeyId(_) => false,
        }
    }

    /// Whether `other` is this identity, or one of those that it stands for. `*` stands for one character or more; in a distinguished name for any value of
    /// that attribute, where the other attributes are the same in the same order.
    pub fn admits(&self, other: &Self) -> bool {
        if self.same(other) {
            return true;
        }
        match (self.canonical(), other.canonical()) {
            (Self::Fqdn(pattern), Self::Fqdn(name)) | (Self::Rfc822(pattern), Self::Rfc822(name)) => {
                pattern.strip_prefix('*').is_some_and(|end| name.len() > end.len() && name.ends_with(end))
            }
            (Self::DerDn(pattern), Self::DerDn(name)) => pattern.admits(&name),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(pattern: &str, name: &str) -> bool {
        let [pattern, name]: [Identity; 2] = [pattern, name].map(|text| text.parse().unwrap());
        pattern.admits(&name)
    }

    #[test]
    fn an_asterisk_stands_for_what_is_before_the_rest() {
        for (pattern, name) in [
            ("*.example.org", "gw.example.org"),
            ("*.example.org", "a.b.EXAMPLE.org"),
            ("*@example.org", "Alice@Example.org"),
            ("*.example.org", "*.example.org"),
            ("C=DE, O=Example, CN=*", "C=DE, O=example, CN=gw-7"),
            ("CN=*, O=*", "CN=gw, O=Example"),
            ("C=DE, CN=*", "asn1dn:#301a310b3009060355040613024445310b300906035504030c026777"),
            ("gw.example.org", "GW.example.org"),
        ] {
            assert!(admits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.example.org", "example.org"),
            ("*.example.org", ".example.org"),
            ("*.example.org", "gw.example.org.evil.test"),
            ("*.example.org", "gwxexample.org"),
            ("*.example.org", "rfc822:gw.example.org"),
            ("*@example.org", "alice@sub.example.org"),
            ("*@example.org", "fqdn:alice@example.org"),
            ("gw.example.org", "*.example.org"),
            ("C=DE, O=Example, CN=*", "C=DE, O=Example"),
            ("C=DE, O=Example, CN=*", "C=DE, O=Other, CN=gw"),
            ("C=DE, O=Example, CN=*", "C=DE, CN=gw, O=Example"),
            ("C=DE, CN=*", "C=DE, OU=gw"),
            ("C=DE, CN=*", "C=DE, CN=a + OU=b"),
            ("C=DE, CN=*", "C=DE, CN=gw, CN=again"),
        ] {
            assert!(!admits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_are_told_from_names() {
        for (text, is_pattern) in [
            ("*.example.org", true),
            ("*@example.org", true),
            ("C=DE, CN=*", true),
            ("gw*.example.org", false),
            ("C=DE, CN=gw*", false),
            ("keyid:*", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(text.parse::<Identity>().unwrap().is_pattern(), is_pattern, "{text}");
        }
    }
}
