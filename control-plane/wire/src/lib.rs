//! IKE messages: bytes to structures and back, and nothing else.
