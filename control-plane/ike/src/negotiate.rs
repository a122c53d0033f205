//! Weighing offers: proposals (RFC 7296 sections 2.7 and 3.3) and traffic selectors (section 2.9).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ike_wire::{Proposal, Protocol, Sa, Selector, TrafficSelectors, Transform, TransformType};
use ipsec_types::{
    ChildProposal, EncryptionAlgorithm, IkeProposal, IkeSpi, IntegrityAlgorithm, KeyExchangeMethod, Protection, SequenceNumbers, Spi,
    TrafficSelector,
};

use crate::diagnosis;
use crate::provider::{Prf, Provider, SkSuite};

/// The algorithms of an IKE SA.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IkeSuite {
    pub(crate) encryption: EncryptionAlgorithm,
    pub(crate) integrity: Option<IntegrityAlgorithm>,
    pub(crate) method: KeyExchangeMethod,
    pub(crate) prf: &'static dyn Prf,
    pub(crate) sk: &'static dyn SkSuite,
}

/// The algorithms of a Child SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChildSuite {
    pub(crate) protection: Protection,
    /// Of its own key exchange, for perfect forward secrecy (section 1.3).
    pub(crate) method: Option<KeyExchangeMethod>,
    pub(crate) sequence_numbers: SequenceNumbers,
}

/// A choice, and the answer that announces it.
#[derive(Debug, Clone)]
pub(crate) struct Chosen<S> {
    pub(crate) suite: S,
    /// The offered proposal, cut to the chosen transforms.
    pub(crate) answer: Proposal,
}

/// Selectors both sides agreed on. Only [`narrow`] and [`narrowed_by_peer`] make them, so that no Child SA carries more than was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelectorsNarrowed {
    local: Vec<TrafficSelector>,
    remote: Vec<TrafficSelector>,
}

impl SelectorsNarrowed {
    /// Leaves out the selectors of an address family that one side alone has: no packet has addresses of both. `None` where nothing is left.
    fn paired(mut local: Vec<TrafficSelector>, mut remote: Vec<TrafficSelector>) -> Option<Self> {
        let is_ipv4 = |selector: &TrafficSelector| selector.addresses().first().is_ipv4();
        let in_both = |family: bool| [&local, &remote].iter().all(|side| side.iter().any(|selector| is_ipv4(selector) == family));
        let [ipv4, ipv6] = [true, false].map(in_both);
        let has_partner = |selector: &TrafficSelector| if is_ipv4(selector) { ipv4 } else { ipv6 };
        local.retain(has_partner);
        remote.retain(has_partner);
        (ipv4 || ipv6).then_some(Self { local, remote })
    }

    /// Whether both sides have all of what the peer named first.
    pub(crate) fn include_first(&self, theirs: (&TrafficSelectors, &TrafficSelectors)) -> bool {
        let include = |selectors: &[TrafficSelector], theirs: &TrafficSelectors| match theirs.selectors.first() {
            Some(Selector::Range(first)) => selectors.iter().any(|selector| selector.intersect(first) == Some(*first)),
            _ => false,
        };
        include(&self.local, theirs.0) && include(&self.remote, theirs.1)
    }

    pub(crate) fn local(&self) -> &[TrafficSelector] {
        &self.local
    }

    pub(crate) fn remote(&self) -> &[TrafficSelector] {
        &self.remote
    }
}

impl IkeSuite {
    /// Such as `AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519`.
    pub(crate) fn describe(&self) -> String {
        let integrity = self.integrity.map(|a| format!("/{a}")).unwrap_or_default();
        format!("{}{integrity}/{}/{}", self.encryption, self.prf.algorithm(), self.method)
    }
}

impl ChildSuite {
    /// Such as `AES_GCM_16_128/NO_EXT_SEQ`, with a key exchange `AES_GCM_16_128/CURVE_25519/NO_EXT_SEQ`, or with AH
    /// `HMAC_SHA2_256_128/EXT_SEQ`.
    pub(crate) fn describe(&self) -> String {
        let encryption = self.protection.encryption().map(|a| a.to_string());
        let integrity = self.protection.integrity().map(|a| a.to_string());
        let method = self.method.map(|method| method.to_string());
        let names = [encryption, integrity, method, Some(self.sequence_numbers.to_string())];
        names.into_iter().flatten().collect::<Vec<_>>().join("/")
    }
}

/// The offer of an initiator in IKE_SA_INIT, or, with the SPI of the new IKE SA, for its rekeying. What the provider lacks is left out.
pub(crate) fn offer_ike(ours: &[IkeProposal], spi: Option<IkeSpi>, provider: &Provider) -> Sa {
    let usable = ours.iter().map(|proposal| {
        let mut offered = Proposal::ike(proposal, spi);
        offered.transforms.retain(|transform| provided(transform, provider));
        offered
    });
    Sa::offer(usable.filter(|offered| [TransformType::ENCR, TransformType::PRF, TransformType::KE].iter().all(|kind| has(offered, *kind))))
}

/// The key exchange methods of an offer, in order.
pub(crate) fn methods(offer: &Sa) -> impl Iterator<Item = KeyExchangeMethod> + Clone {
    offer.proposals.iter().flat_map(|proposal| &proposal.transforms).filter_map(Transform::key_exchange)
}

/// The offer for a Child SA, received on `spi`. Methods that cannot be computed here are left out; a proposal that insists on one of them
/// goes with them rather than without.
pub(crate) fn offer_child(ours: &[ChildProposal], spi: Spi, key_exchange: KeyExchange<'_>) -> Sa {
    let KeyExchange::Own { available, .. } = key_exchange else {
        return Sa::offer(ours.iter().map(|proposal| Proposal::child(proposal, spi).without_key_exchange()));
    };
    let usable = ours.iter().filter_map(|proposal| {
        let mut offered = Proposal::child(proposal, spi);
        offered.transforms.retain(|transform| {
            transform.kind != TransformType::KE || transform.key_exchange().is_some_and(|method| available.contains(&method))
        });
        (proposal.key_exchange().is_empty() || has(&offered, TransformType::KE)).then_some(offered)
    });
    Sa::offer(usable)
}

/// Our choice among an initiator's proposals: ours in our order, theirs in theirs. The method of the KE payload is taken where it is
/// acceptable at all, which saves the round trip of INVALID_KE_PAYLOAD (section 1.3).
pub(crate) fn choose_ike(
    ours: &[IkeProposal],
    theirs: &Sa,
    sent: Option<KeyExchangeMethod>,
    provider: &Provider,
) -> Option<Chosen<IkeSuite>> {
    ours.iter().find_map(|own| theirs.proposals.iter().find_map(|offered| match_ike(own, offered, sent, provider)))
}

/// The responder's choice, if it is one of ours: exactly one proposal with one transform of each type, from what we offered.
pub(crate) fn accept_ike(ours: &[IkeProposal], answer: &Sa, provider: &Provider) -> Option<IkeSuite> {
    let [proposal] = answer.proposals.as_slice() else { return None };
    let number = usize::from(proposal.number).checked_sub(1)?;
    let offered = offer_ike(ours, None, provider);
    if !offered.proposals.get(number).is_some_and(|offered| is_choice_of(proposal, offered)) {
        return None;
    }
    ours.iter().find_map(|own| match_ike(own, proposal, None, provider)).map(|chosen| chosen.suite)
}

/// Our choice among an initiator's proposals for a Child SA.
pub(crate) fn choose_child(ours: &[ChildProposal], theirs: &Sa, key_exchange: KeyExchange<'_>) -> Option<Chosen<ChildSuite>> {
    ours.iter().find_map(|own| theirs.proposals.iter().find_map(|offered| match_child(own, offered, key_exchange)))
}

/// The responder's choice for a Child SA, if it is one of ours.
pub(crate) fn accept_child(ours: &[ChildProposal], answer: &Sa, spi: Spi, key_exchange: KeyExchange<'_>) -> Option<ChildSuite> {
    let [proposal] = answer.proposals.as_slice() else { return None };
    let number = usize::from(proposal.number).checked_sub(1)?;
    let offered = offer_child(ours, spi, key_exchange);
    if !offered.proposals.get(number).is_some_and(|offered| is_choice_of(proposal, offered)) {
        return None;
    }
    ours.iter().find_map(|own| match_child(own, proposal, key_exchange)).map(|chosen| chosen.suite)
}

/// What transforms of type 4 in an offer for a Child SA mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyExchange<'a> {
    /// In IKE_AUTH they have no place, and are passed over (section 1.2).
    Ignored,
    /// In CREATE_CHILD_SA the Child SA may have a key exchange of its own (section 1.3).
    Own {
        /// That of the KE payload in the request.
        sent: Option<KeyExchangeMethod>,
        /// Those that can be computed here.
        available: &'a [KeyExchangeMethod],
    },
}

impl KeyExchange<'_> {
    /// The transform types that decide.
    pub(crate) const fn compared(self) -> &'static [TransformType] {
        match self {
            Self::Ignored => diagnosis::FIRST_CHILD_TYPES,
            Self::Own { .. } => diagnosis::CHILD_TYPES,
        }
    }
}

fn match_ike(own: &IkeProposal, offered: &Proposal, sent: Option<KeyExchangeMethod>, provider: &Provider) -> Option<Chosen<IkeSuite>> {
    const KNOWN: &[TransformType] = &[TransformType::ENCR, TransformType::PRF, TransformType::INTEG, TransformType::KE];
    if offered.protocol != Protocol::IKE || !offered.transforms.iter().all(|transform| KNOWN.contains(&transform.kind)) {
        return None;
    }
    let has_method =
        |method| offered.transforms.iter().any(|t| t.key_exchange() == Some(method)) && provider.key_exchange(method).is_some();
    let preferred = sent.filter(|sent| own.key_exchange().contains(sent) && has_method(*sent));
    let method = preferred.or_else(|| own.key_exchange().iter().copied().find(|method| has_method(*method)))?;
    let prf = *own.prf().iter().find(|prf| offered.transforms.iter().any(|t| t.prf() == Some(**prf)) && provider.prf(**prf).is_some())?;
    let (encryption, integrity) = match_protection(own.encryption(), own.integrity(), offered)
        .into_iter()
        .find(|(encryption, integrity)| provider.suite(*encryption, *integrity).is_some())?;
    let suite = IkeSuite { encryption, integrity, method, prf: provider.prf(prf)?, sk: provider.suite(encryption, integrity)? };
    let transforms = [Transform::from(encryption)].into_iter().chain(integrity.map(Transform::from));
    let transforms = transforms.chain([Transform::from(prf), Transform::from(method)]).collect();
    Some(Chosen { suite, answer: Proposal { number: offered.number, protocol: Protocol::IKE, spi: Vec::new(), transforms } })
}

fn match_child(own: &ChildProposal, offered: &Proposal, key_exchange: KeyExchange<'_>) -> Option<Chosen<ChildSuite>> {
    // Section 3.3.3.
    let known: &[TransformType] = match own {
        ChildProposal::Esp(_) => &[TransformType::ENCR, TransformType::INTEG, TransformType::KE, TransformType::ESN],
        ChildProposal::Ah(_) => &[TransformType::INTEG, TransformType::KE, TransformType::ESN],
    };
    if offered.protocol != Protocol::from(own) || !offered.transforms.iter().all(|transform| known.contains(&transform.kind)) {
        return None;
    }
    let method = match key_exchange {
        KeyExchange::Ignored => None,
        KeyExchange::Own { sent, available } => match_method(own, offered, sent, available)?,
    };
    let protection = match own {
        ChildProposal::Esp(esp) => {
            let (encryption, integrity) = match_protection(esp.encryption(), esp.integrity(), offered).into_iter().next()?;
            Protection::Esp { encryption, integrity }
        }
        ChildProposal::Ah(ah) => Protection::Ah { integrity: match_integrity(ah.integrity(), offered)? },
    };
    // The type is mandatory (section 3.3.3): a proposal without it is unacceptable (section 3.3.6).
    let offered_esn =
        |wanted: SequenceNumbers| offered.of_type(TransformType::ESN).any(|transform| transform.sequence_numbers() == Some(wanted));
    let sequence_numbers = own.sequence_numbers().iter().copied().find(|wanted| offered_esn(*wanted))?;
    let suite = ChildSuite { protection, method, sequence_numbers };
    let algorithms = protection.encryption().map(Transform::from).into_iter().chain(protection.integrity().map(Transform::from));
    let transforms = algorithms.chain(method.map(Transform::from));
    let transforms = transforms.chain([Transform::from(sequence_numbers)]).collect();
    Some(Chosen { suite, answer: Proposal { number: offered.number, protocol: offered.protocol, spi: Vec::new(), transforms } })
}

/// The method of a Child SA's own key exchange, or that there is none; `None` where one side insists on what the other has not. The
/// method of the KE payload is taken where it is acceptable, which saves the round trip of INVALID_KE_PAYLOAD.
fn match_method(
    own: &ChildProposal,
    offered: &Proposal,
    sent: Option<KeyExchangeMethod>,
    available: &[KeyExchangeMethod],
) -> Option<Option<KeyExchangeMethod>> {
    if own.key_exchange().is_empty() {
        let none_will_do =
            !has(offered, TransformType::KE) || offered.of_type(TransformType::KE).any(|transform| transform.id == Transform::NONE);
        return none_will_do.then_some(None);
    }
    let both_have = |method: &KeyExchangeMethod| {
        available.contains(method) && offered.transforms.iter().any(|transform| transform.key_exchange() == Some(*method))
    };
    let preferred = sent.filter(|sent| own.key_exchange().contains(sent) && both_have(sent));
    preferred.or_else(|| own.key_exchange().iter().copied().find(both_have)).map(Some)
}

/// Pairs of cipher and integrity algorithm that both sides name, ours in our order.
fn match_protection(
    encryption: &[EncryptionAlgorithm],
    integrity: &[IntegrityAlgorithm],
    offered: &Proposal,
) -> Vec<(EncryptionAlgorithm, Option<IntegrityAlgorithm>)> {
    // NONE may be named or left out (section 3.3.3); with an AEAD a proposal that insists on more is not acceptable.
    let mut of_integrity = offered.of_type(TransformType::INTEG).peekable();
    let offers_none = of_integrity.peek().is_none() || of_integrity.any(|transform| transform.id == Transform::NONE);
    let ciphers = encryption.iter().copied().filter(|wanted| offered.transforms.iter().any(|t| t.encryption() == Some(*wanted)));
    ciphers
        .filter_map(|cipher| match cipher.is_aead() {
            true => offers_none.then_some((cipher, None)),
            false => match_integrity(integrity, offered).map(|integrity| (cipher, Some(integrity))),
        })
        .collect()
}

fn match_integrity(own: &[IntegrityAlgorithm], offered: &Proposal) -> Option<IntegrityAlgorithm> {
    own.iter().copied().find(|wanted| offered.transforms.iter().any(|t| t.integrity() == Some(*wanted)))
}

/// Whether `choice` takes exactly one transform of each type `offered` has, all from it. NONE may be left out of the answer.
fn is_choice_of(choice: &Proposal, offered: &Proposal) -> bool {
    let once = |transform: &Transform| choice.of_type(transform.kind).count() == 1;
    let none =
        |transform: &Transform| transform.id == Transform::NONE && matches!(transform.kind, TransformType::INTEG | TransformType::KE);
    choice.protocol == offered.protocol
        && choice.transforms.iter().all(|transform| once(transform) && (offered.transforms.contains(transform) || none(transform)))
        && offered.transforms.iter().all(|transform| has(choice, transform.kind))
}

fn provided(transform: &Transform, provider: &Provider) -> bool {
    match transform.kind {
        TransformType::ENCR => transform.encryption().is_some_and(|a| provider.suites.iter().any(|suite| suite.encryption() == a)),
        TransformType::INTEG => transform.integrity().is_some_and(|a| provider.suites.iter().any(|suite| suite.integrity() == Some(a))),
        TransformType::PRF => transform.prf().is_some_and(|a| provider.prf(a).is_some()),
        TransformType::KE => transform.key_exchange().is_some_and(|a| provider.key_exchange(a).is_some()),
        _ => true,
    }
}

fn has(proposal: &Proposal, kind: TransformType) -> bool {
    proposal.of_type(kind).next().is_some()
}

/// The responder's narrowing (section 2.9): what both the offer and our configuration select. `None` where that is nothing.
pub(crate) fn narrow(
    ours: (&[TrafficSelector], &[TrafficSelector]),
    theirs: (&TrafficSelectors, &TrafficSelectors),
) -> Option<SelectorsNarrowed> {
    SelectorsNarrowed::paired(intersect(ours.0, theirs.0), intersect(ours.1, theirs.1))
}

/// The initiator's check: the answer selects nothing that was not offered (section 2.9).
pub(crate) fn narrowed_by_peer(
    offered: (&[TrafficSelector], &[TrafficSelector]),
    answer: (&TrafficSelectors, &TrafficSelectors),
) -> Option<SelectorsNarrowed> {
    let within = |offered: &[TrafficSelector], answer: &TrafficSelectors| -> Option<Vec<TrafficSelector>> {
        let answered: Vec<_> = answer.supported().collect();
        let all_read = answered.len() == answer.selectors.len() && !answered.is_empty();
        let covered = answered.iter().all(|selector| offered.iter().any(|offer| offer.intersect(selector) == Some(*selector)));
        (all_read && covered).then_some(answered)
    };
    SelectorsNarrowed::paired(within(offered.0, answer.0)?, within(offered.1, answer.1)?)
}

/// Every part of `theirs` that `ours` selects too, in their order, each once.
fn intersect(ours: &[TrafficSelector], theirs: &TrafficSelectors) -> Vec<TrafficSelector> {
    // Few of ours times at most 128 of theirs; the answer's count field holds no more than 255.
    const MOST: usize = 64;
    let mut common: Vec<TrafficSelector> = Vec::new();
    for both in theirs.supported().flat_map(|offered| ours.iter().filter_map(move |own| own.intersect(&offered))) {
        if common.len() < MOST && !common.iter().any(|earlier| earlier.intersect(&both) == Some(both)) {
            common.push(both);
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use ike_wire::{Attribute, AttributeValue};
    use ipsec_types::{AhProposal, EspProposal};
    use proptest::prelude::*;

    use super::*;

    fn esp(text: &str) -> ChildProposal {
        text.parse::<EspProposal>().unwrap().into()
    }

    fn ah(text: &str) -> ChildProposal {
        text.parse::<AhProposal>().unwrap().into()
    }

    fn spi() -> Spi {
        Spi::new(0xc000_0001).unwrap()
    }

    fn offer(texts: &[&str]) -> Sa {
        let ours: Vec<ChildProposal> = texts.iter().map(|text| esp(text)).collect();
        offer_child(&ours, spi(), KeyExchange::Ignored)
    }

    fn chosen(ours: &str, theirs: &Sa) -> Option<String> {
        choose_child(&[esp(ours)], theirs, KeyExchange::Ignored).map(|chosen| chosen.suite.describe())
    }

    fn keywords(all: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
        proptest::sample::subsequence(all, 1..=all.len()).prop_shuffle()
    }

    fn proposals() -> impl Strategy<Value = Vec<ChildProposal>> {
        let aead = (
            keywords(&["aes128gcm16", "aes192gcm16", "aes256gcm16", "aes128gcm8", "aes128ccm16", "aes256gmac"]),
            keywords(&["esn", "noesn"]),
        )
            .prop_map(|(ciphers, esn)| esp(&[ciphers.join("-"), esn.join("-")].join("-")));
        let cbc = (
            keywords(&["aes128", "aes256", "aes128ctr", "null"]),
            keywords(&["sha256", "sha384", "sha512", "sha1"]),
            keywords(&["esn", "noesn"]),
        )
            .prop_map(|(ciphers, macs, esn)| esp(&[ciphers.join("-"), macs.join("-"), esn.join("-")].join("-")));
        let ah = (keywords(&["sha256", "sha384", "sha512", "sha1"]), keywords(&["esn", "noesn"]))
            .prop_map(|(macs, esn)| ah(&[macs.join("-"), esn.join("-")].join("-")));
        proptest::collection::vec(prop_oneof![aead, cbc, ah], 1..4)
    }

    fn holds(proposals: &[ChildProposal], suite: &ChildSuite) -> bool {
        proposals.iter().any(|proposal| {
            let ChildSuite { protection, .. } = suite;
            protection.encryption().map_or_else(|| proposal.encryption().is_empty(), |cipher| proposal.encryption().contains(&cipher))
                && protection.integrity().map_or_else(|| proposal.integrity().is_empty(), |mac| proposal.integrity().contains(&mac))
                && proposal.sequence_numbers().contains(&suite.sequence_numbers)
        })
    }

    proptest! {
        #[test]
        fn what_one_side_chooses_the_other_accepts(initiator in proposals(), responder in proposals()) {
            let offered = offer_child(&initiator, spi(), KeyExchange::Ignored);
            let Some(chosen) = choose_child(&responder, &offered, KeyExchange::Ignored) else {
                // Nothing both hold may have been missed: neither side would have chosen either.
                prop_assert!(choose_child(&initiator, &offer_child(&responder, spi(), KeyExchange::Ignored), KeyExchange::Ignored).is_none());
                return Ok(());
            };
            prop_assert!(holds(&initiator, &chosen.suite) && holds(&responder, &chosen.suite));
            let answer = Sa { proposals: vec![chosen.answer] };
            prop_assert_eq!(accept_child(&initiator, &answer, spi(), KeyExchange::Ignored), Some(chosen.suite));
        }

        #[test]
        fn narrowed_selectors_are_within_both_and_pass_the_initiators_check(
            ours in proptest::collection::vec(any::<(u8, u8)>(), 1..4), theirs in proptest::collection::vec(any::<(u8, u8)>(), 1..4), probe in any::<u8>(),
        ) {
            let selector = |(a, b): &(u8, u8)| -> TrafficSelector {
                alloc::format!("10.0.0.{}-10.0.0.{}", a.min(b), a.max(b)).parse().unwrap()
            };
            let ours: Vec<_> = ours.iter().map(selector).collect();
            let theirs: Vec<_> = theirs.iter().map(selector).collect();
            let wire: TrafficSelectors = theirs.iter().copied().collect();
            let address = core::net::IpAddr::from([10, 0, 0, probe]);
            let selects = |selectors: &[TrafficSelector]| selectors.iter().any(|selector| selector.matches(address, 0, None));
            let narrowed = narrow((&ours, &ours), (&wire, &wire));
            let both = selects(&ours) && selects(&theirs);
            prop_assert_eq!(both, narrowed.as_ref().is_some_and(|narrowed| selects(narrowed.local())));
            if let Some(narrowed) = narrowed {
                let answer: TrafficSelectors = narrowed.local().iter().copied().collect();
                prop_assert!(narrowed_by_peer((&theirs, &theirs), (&answer, &answer)).is_some());
            }
        }
    }

    #[test]
    fn each_family_needs_both_sides() {
        let list = |texts: &[&str]| -> Vec<TrafficSelector> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let wire = |texts: &[&str]| -> TrafficSelectors { list(texts).into_iter().collect() };
        let both = (list(&["10.1.0.0/16", "fd00:1::/32"]), list(&["10.2.0.0/16", "fd00:2::/32"]));
        let ours = (&both.0[..], &both.1[..]);
        let narrowed = narrow(ours, (&wire(&["fd00:1::/48", "10.1.1.0/24"]), &wire(&["10.2.1.0/24", "fd00:2::/48"]))).unwrap();
        assert_eq!(
            (narrowed.local(), narrowed.remote()),
            (&*list(&["fd00:1::/48", "10.1.1.0/24"]), &*list(&["10.2.1.0/24", "fd00:2::/48"]))
        );
        let mixed = (&wire(&["fd00:1::/48", "10.1.1.0/24"]), &wire(&["10.2.1.0/24"]));
        for narrowed in [narrow(ours, mixed), narrowed_by_peer(ours, mixed)] {
            let narrowed = narrowed.unwrap();
            assert_eq!((narrowed.local(), narrowed.remote()), (&*list(&["10.1.1.0/24"]), &*list(&["10.2.1.0/24"])));
        }
        let crossed = (&wire(&["fd00:1::/48"]), &wire(&["10.2.1.0/24"]));
        assert!(narrow(ours, crossed).is_none() && narrowed_by_peer(ours, crossed).is_none());
    }

    #[test]
    fn our_order_decides() {
        assert_eq!(chosen("aes256gcm16-aes128gcm16", &offer(&["aes128gcm16-aes256gcm16"])).unwrap(), "AES_GCM_16_256/NO_EXT_SEQ");
        assert_eq!(chosen("aes128gcm16-noesn-esn", &offer(&["aes128gcm16-esn-noesn"])).unwrap(), "AES_GCM_16_128/NO_EXT_SEQ");
    }

    #[test]
    fn an_answer_that_was_not_offered_is_not_accepted() {
        let ours = [esp("aes128gcm16"), esp("aes256gcm16")];
        let accepts = |answer: Sa| accept_child(&ours, &answer, spi(), KeyExchange::Ignored).is_some();
        let answer = |number, text| Sa { proposals: vec![Proposal { number, ..offer(&[text]).proposals.remove(0) }] };
        assert!(accepts(answer(1, "aes128gcm16")) && accepts(answer(2, "aes256gcm16")));
        assert!(!accepts(answer(2, "aes128gcm16")), "taken from another proposal");
        assert!(!accepts(answer(0, "aes128gcm16")) && !accepts(answer(3, "aes128gcm16")), "a number never offered");
        assert!(!accepts(answer(1, "aes128gcm16-esn")), "a transform never offered");
        assert!(!accepts(offer(&["aes128gcm16", "aes256gcm16"])), "two proposals");
        let mut twice = answer(1, "aes128gcm16");
        let again = twice.proposals[0].transforms[0].clone();
        twice.proposals[0].transforms.push(again);
        assert!(!accepts(twice), "a type twice");
        let mut missing = answer(1, "aes128gcm16");
        missing.proposals[0].transforms.pop();
        assert!(!accepts(missing), "a type left out");
    }

    #[test]
    fn what_is_not_understood_is_not_chosen() {
        let mut offered = offer(&["aes128gcm16"]);
        offered.proposals[0].transforms.push(Transform { kind: TransformType(99), id: 1, attributes: vec![] });
        assert_eq!(chosen("aes128gcm16", &offered), None, "a proposal with an unknown transform type (section 3.3.6)");
        let mut offered = offer(&["aes128gcm16"]);
        offered.proposals[0].transforms[0].attributes.push(Attribute { kind: 99, value: AttributeValue::Short(1) });
        assert_eq!(chosen("aes128gcm16", &offered), None, "a transform with an unknown attribute");
        let mut offered = offer(&["aes128gcm16"]);
        let good = offered.proposals[0].transforms[0].clone();
        offered.proposals[0].transforms[0].attributes.push(Attribute { kind: 99, value: AttributeValue::Short(1) });
        offered.proposals[0].transforms.push(good);
        assert!(chosen("aes128gcm16", &offered).is_some(), "others of the same type are processed as usual");
        let mut offered = offer(&["aes128gcm16", "aes128gcm16"]);
        offered.proposals[0].transforms.push(Transform { kind: TransformType(99), id: 1, attributes: vec![] });
        assert!(chosen("aes128gcm16", &offered).is_some(), "other proposals are processed as usual");
        let mut offered = offer(&["aes128gcm16"]);
        offered.proposals[0].protocol = Protocol::AH;
        assert_eq!(chosen("aes128gcm16", &offered), None);
    }

    /// "A proposal that is missing a mandatory Transform Type" is unacceptable (section 3.3.6): for ESP these are ENCR and ESN, for AH INTEG and ESN,
    /// for IKE ENCR, PRF, INTEG but with combined-mode ciphers, and D-H (section 3.3.3).
    #[test]
    fn a_mandatory_type_must_not_be_missing() {
        for (ours, kinds) in [
            (esp("aes128-sha256"), &[TransformType::ENCR, TransformType::INTEG, TransformType::ESN][..]),
            (esp("aes128gcm16"), &[TransformType::ENCR, TransformType::ESN]),
            (ah("sha256"), &[TransformType::INTEG, TransformType::ESN]),
        ] {
            let ours = [ours];
            let complete = offer_child(&ours, spi(), KeyExchange::Ignored);
            assert!(choose_child(&ours, &complete, KeyExchange::Ignored).is_some());
            for kind in kinds {
                let mut offered = complete.clone();
                offered.proposals[0].transforms.retain(|transform| transform.kind != *kind);
                assert!(choose_child(&ours, &offered, KeyExchange::Ignored).is_none(), "{} without {kind}", ours[0]);
            }
        }
    }

    #[test]
    fn integrity_none_may_stand_beside_an_aead_but_nothing_else() {
        let with = |id| {
            let mut offered = offer(&["aes128gcm16"]);
            offered.proposals[0].transforms.push(Transform::new(TransformType::INTEG, id, None));
            chosen("aes128gcm16", &offered).is_some()
        };
        assert!(with(Transform::NONE));
        assert!(!with(IntegrityAlgorithm::HmacSha256.id()));
    }

    #[test]
    fn forward_secrecy_is_neither_forced_nor_dropped_in_create_child_sa() {
        use KeyExchangeMethod::{Ecp256, X25519};
        let with = |sent| KeyExchange::Own { sent, available: &[Ecp256, X25519] };
        let offered = offer_child(&[esp("aes128gcm16-x25519-ecp256")], spi(), with(None));
        let choose = |ours: &str, key_exchange| choose_child(&[esp(ours)], &offered, key_exchange).map(|chosen| chosen.suite.method);
        assert_eq!(choose("aes128gcm16", KeyExchange::Ignored), Some(None));
        assert_eq!(choose("aes128gcm16-x25519", KeyExchange::Ignored), Some(None));
        assert_eq!(choose("aes128gcm16", with(Some(X25519))), None);
        assert_eq!(choose("aes128gcm16-ecp256-x25519", with(Some(X25519))), Some(Some(X25519)), "the one that was sent");
        assert_eq!(choose("aes128gcm16-ecp256", with(Some(X25519))), Some(Some(Ecp256)), "else ours");
        assert_eq!(choose("aes128gcm16-x25519", KeyExchange::Own { sent: None, available: &[Ecp256] }), None);
        let without = offer_child(&[esp("aes128gcm16")], spi(), with(None));
        assert!(choose_child(&[esp("aes128gcm16-x25519")], &without, with(None)).is_none());
        let unavailable = KeyExchange::Own { sent: None, available: &[] };
        assert!(offer_child(&[esp("aes128gcm16-x25519")], spi(), unavailable).proposals.is_empty());
        assert!(!has(&offer_child(&[esp("aes128gcm16-x25519")], spi(), KeyExchange::Ignored).proposals[0], TransformType::KE));
    }

    #[test]
    fn none_may_stand_beside_the_methods_of_an_offer() {
        let own = |text: &str, offered: &Sa| {
            choose_child(&[esp(text)], offered, KeyExchange::Own { sent: None, available: KeyExchangeMethod::ALL })
                .map(|chosen| chosen.suite.method)
        };
        let mut offered =
            offer_child(&[esp("aes128gcm16-x25519")], spi(), KeyExchange::Own { sent: None, available: KeyExchangeMethod::ALL });
        offered.proposals[0].transforms.push(Transform::new(TransformType::KE, Transform::NONE, None));
        assert_eq!(own("aes128gcm16", &offered), Some(None));
        assert_eq!(own("aes128gcm16-x25519", &offered), Some(Some(KeyExchangeMethod::X25519)));
    }

    #[test]
    fn an_answer_with_wider_or_unreadable_selectors_is_not_accepted() {
        let offered: Vec<TrafficSelector> = vec!["10.0.0.0/16".parse().unwrap()];
        let accepts = |answer: Vec<Selector>| {
            let good: TrafficSelectors = offered.iter().copied().collect();
            let answer = TrafficSelectors { selectors: answer };
            narrowed_by_peer((&offered, &offered), (&answer, &good)).is_some()
                && narrowed_by_peer((&offered, &offered), (&good, &answer)).is_some()
        };
        let range = |text: &str| Selector::Range(text.parse().unwrap());
        assert!(accepts(vec![range("10.0.0.0/16")]) && accepts(vec![range("10.0.1.0/24"), range("10.0.2.1[tcp/80]")]));
        assert!(!accepts(vec![range("10.0.0.0/15")]));
        assert!(!accepts(vec![range("10.0.1.0/24"), range("10.1.0.0/24")]), "one of two outside");
        assert!(!accepts(vec![]));
        assert!(!accepts(vec![range("10.0.1.0/24"), Selector::Unsupported { ts_type: 9, protocol: 0, body: vec![] }]));
    }
}
