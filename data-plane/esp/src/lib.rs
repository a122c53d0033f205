//! ESP (RFC 4303) as pure code over a Buffer: seal, open, replay protection, tunnel mode.
