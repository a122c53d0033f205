//! EAL arguments that both processes of a benchmark share.

use std::path::Path;

/// Where packet memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Ordinary pages: nothing to set up, and 10 ns a packet slower or more.
    Ordinary,
    /// Huge pages, reserved beforehand.
    Huge,
}

impl Memory {
    pub(crate) const fn of(hugepages: bool) -> Self {
        if hugepages { Self::Huge } else { Self::Ordinary }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Ordinary => &["--no-huge", "-m", "256", "--no-shconf"],
            Self::Huge => &["--in-memory", "-m", "256"],
        }
    }
}

/// The source's name as a port.
pub(crate) const SOURCE: &str = "net_pcap0";
/// The sink's name as a port.
pub(crate) const SINK: &str = "net_null0";

/// A source that replays `capture` for ever and a sink that receives nothing.
pub(crate) fn arguments(memory: Memory, capture: &Path) -> Vec<String> {
    let source = format!("{SOURCE},rx_pcap={},infinite_rx=1,tx_pcap=/dev/null", capture.display());
    let sink = format!("{SINK},no-rx=1");
    devices(memory, &[source, sink])
}

/// Any virtual devices, each with its own arguments.
pub(crate) fn devices(memory: Memory, devices: &[String]) -> Vec<String> {
    let words = memory.arguments().iter().chain(&["--no-pci", "--no-telemetry", "--log-level", "error"]);
    let devices = devices.iter().flat_map(|device| ["--vdev".to_owned(), device.clone()]);
    words.map(|&word| word.to_owned()).chain(devices).collect()
}
