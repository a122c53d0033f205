//! Cryptography of IKE behind the provider traits of the crate ike.
