//! Proposals: what protects IKE SAs and Child SAs.

use std::str::FromStr;

use ike::config::Version;
use ipsec_types::{
    AhProposal, ChildProposal, EncryptionAlgorithm, EspProposal, IkeProposal, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm,
    ProposalError, SequenceNumbers,
};

use super::diagnostic::nearest;
use super::section::Section;

/// What is offered and accepted where the file does not say, or says `default`. AEAD first; CBC stands in a proposal of its own (RFC 7296
/// section 3.3). Nothing that RFC 8221 or RFC 8247 advises against or is about to, as SHA-1, nor what only small devices want: all that stands
/// where a proposal names it.
const DEFAULT_IKE: &[&str] = &[
    "aes128gcm16-aes192gcm16-aes256gcm16-chacha20poly1305-prfsha256-prfsha384-prfsha512-x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048",
    "aes128-aes192-aes256-sha256-sha384-sha512-prfsha256-prfsha384-prfsha512-x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048",
];
/// The same with IKEv1, which has a transform for each combination: few enough for one datagram.
const DEFAULT_IKE_V1: &[&str] = &["aes128-aes256-sha256-sha512-ecp256-modp3072-modp2048"];
const DEFAULT_ESP: &[&str] = &["aes128gcm16-aes192gcm16-aes256gcm16-chacha20poly1305-esn-noesn"];
const DEFAULT_AH: &[&str] = &["sha256-sha384-sha512-esn-noesn"];

/// What SHOULD NOT be used, what will do instead, and who says so.
const OUTDATED: &[(&str, &str, &str)] = &[
    ("3des", "aes256", "RFC 8221 section 5"),
    ("modp1024", "modp2048 or x25519", "RFC 8247 section 2.4"),
    ("modp1536", "modp2048 or x25519", "RFC 8247 section 2.4"),
    ("md5", "sha256", "RFC 8221 section 6"),
    ("modp768", "modp2048", "RFC 8247 section 2.4"),
];
/// What MUST NOT be used with IKEv2, and who says so.
const FOR_V1_ALONE: &[(&str, &str)] =
    &[("md5", "RFC 8247 section 2.3"), ("prfmd5", "RFC 8247 section 2.2"), ("modp768", "RFC 8247 section 2.4")];

/// Those for IKE.
pub(super) fn ike(section: &mut Section<'_>, version: Version) -> Vec<IkeProposal> {
    let defaults = if version.has_v2() { DEFAULT_IKE } else { DEFAULT_IKE_V1 };
    read(section, version, "proposals", "aes128gcm16-prfsha256-x25519", defaults)
}

/// Those for ESP, or where there are any those for AH.
pub(super) fn child(section: &mut Section<'_>, version: Version) -> Vec<ChildProposal> {
    let esp = read::<EspProposal>(section, version, "esp_proposals", "aes128gcm16", DEFAULT_ESP);
    let ah = read::<AhProposal>(section, version, "ah_proposals", "sha256", DEFAULT_AH);
    match (section.has("ah_proposals"), section.has("esp_proposals")) {
        (true, true) => {
            section.fault("ah_proposals", "a child is protected by ESP or by AH", "leave ah_proposals or esp_proposals out");
            Vec::new()
        }
        (true, false) => ah.into_iter().map(Into::into).collect(),
        (false, _) => esp.into_iter().map(Into::into).collect(),
    }
}

/// Proposals, each fault with the algorithm that was probably meant. What should no longer be used is taken, with a warning.
fn read<T: FromStr<Err = ProposalError>>(
    section: &mut Section<'_>,
    version: Version,
    key: &'static str,
    example: &str,
    defaults: &[&str],
) -> Vec<T> {
    let defaults = || defaults.iter().filter_map(|text| text.parse().ok()).collect::<Vec<T>>();
    let list = section.list_with(key, &format!("\"{example}\""), |section, text| {
        if text.value == "default" {
            return Some(text.with(defaults()));
        }
        let parsed = text.value.parse::<T>();
        if let Err(error) = &parsed {
            let meant = if let ProposalError::UnknownKeyword(word) = error { nearest(word, keywords()) } else { None };
            let remedy = meant.map_or_else(String::new, |meant| format!("did you mean '{meant}'? "));
            section.fault_at(&text, error.to_string(), format!("{remedy}write for example {example}"));
        }
        let words = || text.value.split('-').map(str::trim);
        let mut forbidden = FOR_V1_ALONE.iter().filter(|(word, _)| version.has_v2() && words().any(|other| other == *word));
        if let Some((word, source)) = forbidden.next() {
            let problem = format!("{word} must not be used with IKEv2 ({source})");
            section.fault_at(&text, problem, "leave it out, or write version = 1 where the peer has nothing better");
            return None;
        }
        for (word, better, source) in words().filter_map(|word| OUTDATED.iter().find(|outdated| outdated.0 == word)) {
            let remedy = format!("write {better} where the peer has it");
            section.warn_at(&text, format!("{word} should no longer be used ({source})"), remedy);
        }
        parsed.ok().map(|proposal| text.with(vec![proposal]))
    });
    match list {
        Some(list) if list.is_empty() => section.empty(key, format!("write {key} = [\"{example}\"], or leave it out for the default")),
        Some(list) => return list.into_iter().flat_map(|found| found.value).collect(),
        None => {}
    }
    defaults()
}

/// Every algorithm's name.
fn keywords() -> impl Iterator<Item = &'static str> {
    let encryption = EncryptionAlgorithm::ALL.iter().map(|a| a.keyword());
    let integrity = IntegrityAlgorithm::ALL.iter().map(|a| a.keyword());
    let prf = PrfAlgorithm::ALL.iter().map(|a| a.keyword());
    let methods = KeyExchangeMethod::ALL.iter().map(|a| a.keyword());
    encryption.chain(integrity).chain(prf).chain(methods).chain(SequenceNumbers::ALL.iter().map(|a| a.keyword()))
}
