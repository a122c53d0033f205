//! Signatures, made and checked by fakes.

use std::sync::Arc;

use ike::config::{Credential, LocalAuth};
use ike::error::Detail;
use ike::provider::{CryptoError, PeerProof, PeerVerifier, SigningKey};
use ike_wire::{Certificate, CertificateEncoding};
use ipsec_types::{KeyKind, SignatureEncoding, SignatureScheme};

/// "Signs" by a hash of its name and the message.
#[derive(Debug)]
pub struct FakeKey {
    pub name: &'static str,
    pub kind: KeyKind,
}

pub fn fake_signature(name: &str, scheme: SignatureScheme, encoding: SignatureEncoding, message: &[u8]) -> Vec<u8> {
    (ike_crypto::provider().sha1)(&[name.as_bytes(), scheme.keyword().as_bytes(), format!("{encoding:?}").as_bytes(), message]).to_vec()
}

impl SigningKey for FakeKey {
    fn kind(&self) -> KeyKind {
        self.kind
    }

    fn sign(&self, scheme: SignatureScheme, encoding: SignatureEncoding, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if self.name == "broken" { Err(CryptoError::Token(AWAY.into())) } else { Ok(fake_signature(self.name, scheme, encoding, message)) }
    }
}

/// What is said of a key in a token.
pub const AWAY: &str = "the token 'gw': no such token is there; put the token in";

/// Name of the authority that is trusted, an empty one.
pub const AUTHORITY: &[u8] = &[0x30, 0];

/// Believes the key whose name is in the first certificate, if it is that of the identity.
#[derive(Debug)]
pub struct FakeVerifier;

impl PeerVerifier for FakeVerifier {
    fn authorities(&self) -> &[[u8; 20]] {
        &[[7; 20]]
    }

    fn authority_names(&self) -> Vec<Vec<u8>> {
        vec![AUTHORITY.to_vec()]
    }

    fn verify(&self, proof: &PeerProof) -> Result<(), Box<Detail>> {
        let refuse = |summary: &str| Err(Box::new(Detail { summary: summary.into(), ..Detail::default() }));
        let name = proof.certificates.first().map(|certificate| String::from_utf8(certificate.data.clone()).unwrap()).unwrap_or_default();
        if name != proof.identity.to_string() {
            return refuse("the certificate is another's");
        }
        let right = fake_signature(&name, proof.scheme, proof.encoding, &proof.message);
        if right == proof.signature { Ok(()) } else { refuse("the signature is wrong") }
    }
}

/// How somebody shows who he is: with which key, and in the certificate of whom.
pub fn credential(name: &'static str, certificate: &str, kind: KeyKind) -> LocalAuth {
    let certificate = Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data: certificate.as_bytes().to_vec() };
    let schemes = SignatureScheme::ALL.iter().copied().filter(|scheme| scheme.suits(kind)).collect();
    LocalAuth::PublicKey(Credential { key: Arc::new(FakeKey { name, kind }), certificates: vec![certificate], schemes })
}

/// Who the two are.
pub const NAMES: [&str; 2] = ["a.lab.test", "b.lab.test"];
