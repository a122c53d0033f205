//! Finds libdpdk and makes Rust bindings for a narrow list of its names.
