//! Pictures of what other benchmarks printed with `--json`.

mod chart;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Context, Failure};
use crate::measure::median;
use chart::{Axis, Chart, Line};

/// Draws what other benchmarks printed with --json, as SVG
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What `pipeline --json` printed: rate over size
    #[arg(long, value_name = "FILE")]
    pipeline: Option<PathBuf>,
    /// What `secgw --json` printed: drawn beside it
    #[arg(long, value_name = "FILE", requires = "pipeline")]
    secgw: Option<PathBuf>,
    /// What `scale --json` printed: rate over the number of tunnels
    #[arg(long, value_name = "FILE")]
    scale: Option<PathBuf>,
    /// Where the pictures go
    #[arg(long, value_name = "FOLDER", default_value = "bench/plots")]
    out: PathBuf,
}

/// Draws.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    fs::create_dir_all(&arguments.out).context(arguments.out.display())?;
    if let Some(pipeline) = &arguments.pipeline {
        let secgw = arguments.secgw.as_deref().map(read).transpose()?;
        write(&arguments.out.join("rate-over-size.svg"), &over_size(&read(pipeline)?, secgw.as_ref())?)?;
    }
    if let Some(scale) = &arguments.scale {
        write(&arguments.out.join("rate-over-tunnels.svg"), &over_tunnels(&read(scale)?)?)?;
    }
    Ok(())
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

fn over_size(report: &Value, secgw: Option<&Value>) -> Result<Chart, Failure> {
    let rows = list(report, "rows", "pipeline")?;
    let mut lines = vec![
        line("Culvert, outbound", rows, "outbound", |row| row["gateway_mpps"].as_f64()),
        line("Culvert, inbound", rows, "inbound", |row| row["gateway_mpps"].as_f64()),
        line("ipsec-mb, the cipher alone, sealing", rows, "outbound", |row| row["cipher_ns"].as_f64().map(|ns| 1e3 / ns)),
    ];
    if let Some(secgw) = secgw {
        let rows = list(secgw, "rows", "secgw")?;
        lines.push(line("ipsec-secgw, outbound", rows, "outbound", |row| row["secgw_mpps"]["median"].as_f64()));
        lines.push(line("ipsec-secgw, inbound", rows, "inbound", |row| row["secgw_mpps"]["median"].as_f64()));
    }
    lines.retain(|line| !line.points.is_empty());
    let text = |name: &str| report[name].as_str().unwrap_or("unknown");
    Ok(Chart {
        title: "One worker, one SA: rate over size".to_owned(),
        caption: caption(text("date"), text("cpu"), &format!("{}, IPv4, {}", text("algorithm"), text("memory"))),
        across: Axis { name: "octets of the inner Ethernet frame, without FCS", logarithmic: false },
        up: "million packets per second of CPU time",
        lines,
    })
}

/// Packets of a size, in one direction, in plain ESP over IPv4. IMIX has no place on the axis.
fn line(name: &str, rows: &[Value], direction: &str, rate: fn(&Value) -> Option<f64>) -> Line {
    let is_plain = |row: &&Value| row["variant"].is_null() || row["variant"] == "plain";
    let of_direction = rows.iter().filter(|row| row["direction"] == direction).filter(is_plain);
    let points = of_direction.filter_map(|row| Some((row["size"].as_str()?.parse().ok()?, rate(row)?))).collect();
    Line { name: name.to_owned(), points }
}

fn over_tunnels(report: &Value) -> Result<Chart, Failure> {
    let cells = list(report, "cells", "scale")?;
    let time = |cell: &Value, name: &str| {
        let passes = cell[name].as_array()?;
        Some(median(passes.iter().filter_map(Value::as_f64).collect()))
    };
    let point = |cell: &Value| {
        let net = time(cell, "total_ns")? - time(cell, "source_ns")?;
        Some((cell["tunnels"].as_f64()?, if net > 0.0 { 1e3 / net } else { return None }))
    };
    let line = |direction: &str, size: &str| {
        let of_line = cells.iter().filter(|cell| cell["direction"] == direction && cell["size"] == size);
        Line { name: format!("{direction}, {size}"), points: of_line.filter_map(point).collect() }
    };
    let mut lines = vec![line("outbound", "64"), line("inbound", "64"), line("outbound", "IMIX"), line("inbound", "IMIX")];
    lines.retain(|line| !line.points.is_empty());
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let machine = &report["machine"];
    Ok(Chart {
        title: "One worker: rate over the number of tunnels, each with its policy, in random order".to_owned(),
        caption: caption(&text(&machine["date"]), &text(&machine["cpu"]), &format!("{}, without the source", text(&report["pages"]))),
        across: Axis { name: "tunnels", logarithmic: true },
        up: "million packets per second of CPU time",
        lines,
    })
}

fn list<'a>(report: &'a Value, name: &str, command: &str) -> Result<&'a [Value], Failure> {
    let list = report[name].as_array().context(format_args!("there are no {name}: was it printed by `{command} --json`?"))?;
    Ok(list)
}

fn caption(date: &str, cpu: &str, method: &str) -> String {
    format!("{}, {cpu}, {method}", date.split('T').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_become_points_and_imix_none() {
        let row = |direction: &str, size: &str, mpps: f64| json!({ "direction": direction, "variant": "plain", "size": size, "gateway_mpps": mpps, "cipher_ns": 20.0 });
        let other = json!({ "direction": "outbound", "variant": "v6", "size": "64", "gateway_mpps": 1.0, "cipher_ns": 20.0 });
        let report = json!({ "rows": [other, row("outbound", "64", 9.0), row("outbound", "IMIX", 5.0), row("inbound", "64", 8.0)] });
        let secgw = json!({ "rows": [{ "direction": "inbound", "size": "64", "secgw_mpps": { "median": 7.0 } }] });
        let chart = over_size(&report, Some(&secgw)).unwrap();
        let points: Vec<_> = chart.lines.iter().map(|line| line.points.as_slice()).collect();
        assert_eq!(points, [&[(64.0, 9.0)], &[(64.0, 8.0)], &[(64.0, 50.0)], &[(64.0, 7.0)]]);
        assert!(over_size(&json!({}), None).is_err());
    }

    #[test]
    fn the_source_is_no_part_of_the_rate_over_tunnels() {
        let cell =
            json!({ "direction": "inbound", "size": "IMIX", "tunnels": 1000, "total_ns": [130.0, 110.0, 90.0], "source_ns": [10.0] });
        let chart = over_tunnels(&json!({ "cells": [cell] })).unwrap();
        let [line] = chart.lines.as_slice() else { panic!("one line") };
        assert_eq!((line.name.as_str(), line.points.as_slice()), ("inbound, IMIX", &[(1000.0, 10.0)][..]));
    }
}
