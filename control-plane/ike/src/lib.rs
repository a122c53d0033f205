//! The IKE protocol as a pure function of bytes, time, randomness and commands.
