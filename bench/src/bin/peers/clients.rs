//! Clients, and what they say: wrk, the kernel's echo client, iperf3, `sluice load` and `sluice bench forward`.

use std::net::Ipv4Addr;

use report::Document;
use report::measure::Measure;
use serde_json::Value;

use crate::Result;
use crate::program::Place;
use crate::servers::{ECHO, FILE, Folders, PAGE};

pub(crate) const REQUESTS: Measure = Measure::higher("rate", "requests/s");
const BITS: Measure = Measure::higher("rate", "bit/s");
const P50: Measure = Measure::lower("p50", "us");
const P99: Measure = Measure::lower("p99", "us");

/// What a turn gives.
pub(crate) type Numbers = Vec<(Measure, f64)>;

/// `wrk` on one thread: so many connections, kept or one for each request.
pub(crate) fn wrk(
    place: Place<'_>,
    server: Ipv4Addr,
    connections: u32,
    close: bool,
    seconds: f64,
) -> Result<Numbers> {
    let (count, time) = (format!("-c{connections}"), format!("-d{}s", whole(seconds)));
    let url = format!("http://{server}{PAGE}");
    let mut words = vec!["wrk", "-t1", &count, &time, "--latency"];
    if close {
        words.extend(["-H", "Connection: close"]);
    }
    words.push(&url);
    let said = Wrk::read(&place.output(&words, seconds)?)?;
    Ok(vec![(REQUESTS, said.requests), (P50, said.p50_us), (P99, said.p99_us)])
}

/// Bits a second of the large file, on one connection.
pub(crate) fn wrk_file(place: Place<'_>, server: Ipv4Addr, seconds: f64) -> Result<Numbers> {
    let (time, url) = (format!("-d{}s", whole(seconds)), format!("http://{server}{FILE}"));
    let said = Wrk::read(&place.output(&["wrk", "-t1", "-c1", &time, "--latency", &url], seconds)?)?;
    Ok(vec![(BITS, said.bytes * 8.0)])
}

/// Whole seconds, one at least: wrk takes no others.
fn whole(seconds: f64) -> u64 {
    seconds.round().max(1.0) as u64
}

/// What wrk printed.
#[derive(PartialEq, Debug)]
struct Wrk {
    requests: f64,
    bytes: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Wrk {
    fn read(text: &str) -> Result<Wrk> {
        let after =
            |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start)).map(str::trim);
        let field = |start: &str| after(start).ok_or_else(|| format!("wrk does not say {start}: {text}"));
        let failed = ["Non-2xx or 3xx responses:", "Socket errors:"].map(after);
        let said = Wrk {
            requests: field("Requests/sec:")?.parse()?,
            bytes: scaled(
                field("Transfer/sec:")?,
                &[("GB", 1_073_741_824.0), ("MB", 1_048_576.0), ("KB", 1024.0), ("B", 1.0)],
            )?,
            p50_us: micros(field("50%")?)?,
            p99_us: micros(field("99%")?)?,
        };
        if let Some(errors) = failed.into_iter().flatten().next() {
            return Err(format!("wrk met errors: {errors}").into());
        }
        if said.requests == 0.0 { Err("wrk got no answer".into()) } else { Ok(said) }
    }
}

fn micros(text: &str) -> Result<f64> {
    scaled(text, &[("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6)])
}

/// A number with one of these units, the first that fits.
fn scaled(text: &str, units: &[(&str, f64)]) -> Result<f64> {
    let found = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (digits, factor) = found.ok_or_else(|| format!("{text:?} has no known unit"))?;
    Ok(digits.parse::<f64>().map_err(|_| format!("{text:?} is no number"))? * factor)
}

/// 64 bytes there and back.
pub(crate) fn echo(
    folders: &Folders,
    place: Place<'_>,
    server: Ipv4Addr,
    connections: u32,
    seconds: f64,
) -> Result<Numbers> {
    let (client, address) = (folders.kernel()?, format!("{server}:{ECHO}"));
    let (count, time) = (connections.to_string(), seconds.to_string());
    let text =
        place.output(&[&client, "echo", &address, "--connections", &count, "--seconds", &time], seconds)?;
    let numbers = text.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<f64>, _>>()?;
    let [rate, p50, p99, _] = numbers[..] else { return Err(format!("not understood: {text}").into()) };
    Ok(vec![(REQUESTS, rate), (P50, p50), (P99, p99)])
}

/// One flow from server to client; its server is started for it.
pub(crate) fn iperf3(
    client: Place<'_>,
    server: Place<'_>,
    address: Ipv4Addr,
    log: std::path::PathBuf,
    seconds: f64,
) -> Result<Numbers> {
    let mut listening = server.start(&["iperf3", "-s", "-1", "--forceflush"], log)?;
    listening.wait_until(|said| said.contains("Server listening"))?;
    let (address, time) = (address.to_string(), whole(seconds).to_string());
    let text = client.output(&["iperf3", "-c", &address, "-R", "-J", "-t", &time], seconds)?;
    let said: Value = serde_json::from_str(&text)?;
    let bits = said["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(vec![(BITS, bits.ok_or("iperf3 does not say what it received")?)])
}

/// One of our own testers, whose `words` are without `--json`: the measure `rate` if there is one, and the latency.
pub(crate) fn sluice(
    folders: &Folders,
    place: Place<'_>,
    words: &[&str],
    rate: Option<&str>,
    seconds: f64,
) -> Result<Numbers> {
    let file = folders.file("result.json");
    let mut all = vec![folders.sluice()?];
    all.extend(words);
    let json = file.display().to_string();
    all.extend(["--json", &json]);
    place.output(&all, seconds)?;
    let document = Document::parse(&std::fs::read_to_string(&file)?)?;
    let whole = &document.runs.first().ok_or("a result without a run")?.whole;
    let latency = &whole.distribution("latency").ok_or("a result without latencies")?.values;
    let micros = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    let mut numbers = vec![(P50, micros(0.5)), (P99, micros(0.99))];
    if let Some(name) = rate {
        let counter = whole.counter(name).ok_or_else(|| format!("a result without {name}"))?;
        numbers.insert(0, (REQUESTS, counter.value));
    }
    Ok(numbers)
}

/// The words of a load on `core`, over a device, of `seconds`.
pub(crate) fn load<'a>(
    device: &'a str,
    address: &'a str,
    core: &'a str,
    time: &'a str,
    more: &[&'a str],
) -> Vec<&'a str> {
    let fixed = [
        "load",
        "--device",
        device,
        "--address",
        address,
        "--cores",
        core,
        "--duration",
        time,
        "--warmup",
        "500ms",
    ];
    fixed.into_iter().chain(more.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Running 1s test @ http://10.77.0.1/page\n  1 threads and 64 connections\n  Thread Stats   Avg\n\
        \x20   Latency   335.61us   71us\n  Latency Distribution\n     50%  304.00us\n     75%  400.00us\n     99%    1.02ms\n\
        \x20 100 requests in 1.00s, 2MB read\nRequests/sec:  50000.50\nTransfer/sec:     2.50MB\n";

    #[test]
    fn wrk_is_read() {
        let expected = Wrk { requests: 50_000.5, bytes: 2.5 * 1_048_576.0, p50_us: 304.0, p99_us: 1020.0 };
        assert_eq!(Wrk::read(SAID).unwrap(), expected);
    }

    #[test]
    fn wrk_with_errors_gives_no_figure() {
        for (line, says) in [
            ("  Non-2xx or 3xx responses: 7\n", "met errors: 7"),
            ("  Socket errors: connect 1, read 0, write 0, timeout 0\n", "met errors: connect 1"),
        ] {
            let error = Wrk::read(&format!("{SAID}{line}")).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let none = SAID.replace("50000.50", "0.00");
        assert_eq!(Wrk::read(&none).unwrap_err().to_string(), "wrk got no answer");
        assert!(Wrk::read("unable to connect").unwrap_err().to_string().contains("does not say"));
    }
}
