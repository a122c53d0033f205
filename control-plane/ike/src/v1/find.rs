//! Payloads of a message by their kind: the first of each.

use ike_wire::v1::{Identification, Notify, Payload, Sa};

macro_rules! first {
    ($($name:ident: $variant:ident -> $type:ty, $what:literal;)*) => {$(
        #[doc = $what]
        pub(crate) fn $name(payloads: &[Payload]) -> Option<&$type> {
            payloads.iter().find_map(|payload| if let Payload::$variant(content) = payload { Some::<&$type>(content) } else { None })
        }
    )*};
}

first! {
    sa: Sa -> Sa, "SA.";
    key_exchange: KeyExchange -> [u8], "KE.";
    nonce: Nonce -> [u8], "Ni or Nr.";
    identification: Identification -> Identification, "ID.";
    hash: Hash -> [u8], "HASH.";
    signature: Signature -> [u8], "SIG.";
}

/// Every ID, in order.
pub(crate) fn identifications(payloads: &[Payload]) -> impl Iterator<Item = &Identification> {
    payloads.iter().filter_map(|payload| if let Payload::Identification(id) = payload { Some(id) } else { None })
}

/// Every N.
pub(crate) fn notifications(payloads: &[Payload]) -> impl Iterator<Item = &Notify> {
    payloads.iter().filter_map(|payload| if let Payload::Notify(notify) = payload { Some(notify) } else { None })
}

/// The octets of the first payload behind its generic header: SAi_b of a first message.
pub(crate) fn first_body(body: &[u8]) -> Option<&[u8]> {
    let (head, _) = body.split_first_chunk::<4>()?;
    let [_, _, high, low] = *head;
    body.get(4..usize::from(u16::from_be_bytes([high, low])))
}
