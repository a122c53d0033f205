//! Generates the gRPC code. protox reads the .proto files, so no protoc is needed.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["culvert/dataplane/v1/dataplane.proto", "culvert/control/v1/control.proto"];
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // The reflection service hands this set out.
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Messages that carry keys get no derived Debug: prost would print every octet.
    tonic_prost_build::configure()
        .skip_debug(["culvert.dataplane.v1.Keys"])
        .bytes(".culvert.dataplane.v1.Datagram")
        // Operators' answers hold no secrets and are printed as JSON; 64-bit SPIs as text, since JSON readers round numbers.
        .type_attribute(".culvert.control.v1", "#[derive(serde::Serialize)]")
        .field_attribute("initiator_spi", "#[serde(serialize_with = \"crate::hex_u64\")]")
        .field_attribute("responder_spi", "#[serde(serialize_with = \"crate::hex_u64\")]")
        .compile_fds(descriptors)?;
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    Ok(())
}
