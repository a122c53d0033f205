//! Pictures of what other benchmarks printed with `--json`.

mod chart;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Context, Failure};
use chart::{Axis, Chart, Line};

/// Draws what other benchmarks printed with --json, as SVG
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What `pipeline --json` printed: rate over size
    #[arg(long, value_name = "FILE")]
    pipeline: PathBuf,
    /// Where the pictures go
    #[arg(long, value_name = "FOLDER", default_value = "bench/plots")]
    out: PathBuf,
}

/// Draws.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    fs::create_dir_all(&arguments.out).context(arguments.out.display())?;
    write(&arguments.out.join("rate-over-size.svg"), &over_size(&read(&arguments.pipeline)?)?)
}

fn read(file: &Path) -> Result<Value, Failure> {
    let text = fs::read_to_string(file).context(file.display())?;
    serde_json::from_str(&text).context(file.display())
}

fn write(file: &Path, chart: &Chart) -> Result<(), Failure> {
    fs::write(file, chart.svg()?).context(file.display())?;
    eprintln!("{}", file.display());
    Ok(())
}

fn over_size(report: &Value) -> Result<Chart, Failure> {
    let rows = report["rows"].as_array().context("rows: there are none; was it printed by `pipeline --json`?")?;
    let line = |name: &str, direction: &str, rate: &str| {
        let of_direction = rows.iter().filter(|row| row["direction"] == direction);
        // IMIX has no place on the axis.
        let points = of_direction.filter_map(|row| Some((row["size"].as_str()?.parse().ok()?, row[rate].as_f64()?))).collect();
        Line { name: name.to_owned(), points }
    };
    Ok(Chart {
        title: "One worker, one SA: rate over size".to_owned(),
        caption: caption(report),
        across: Axis { name: "octets of the inner Ethernet frame, without FCS", logarithmic: false },
        up: "million packets per second of CPU time",
        lines: vec![line("outbound", "outbound", "gateway_mpps"), line("inbound", "inbound", "gateway_mpps")],
    })
}

fn caption(report: &Value) -> String {
    let text = |name: &str| report[name].as_str().unwrap_or("unknown").to_owned();
    let date = text("date").chars().take(10).collect::<String>();
    format!("{date}, {}, {}, {}", text("cpu"), text("algorithm"), text("memory"))
}
