//! A histogram with a name, and its place in the document.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// Values of one kind over one span, such as latencies.
///
/// In JSON it is the compressed V2 encoding of HdrHistogram's own tools, in base64, beside a summary for readers that
/// have no decoder. The summary is not read back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Encoded", into = "Encoded")]
pub struct Distribution {
    /// Unique within a span.
    pub name: String,
    /// What a value counts, such as `ns`.
    pub unit: String,
    /// The values.
    pub values: Histogram<u64>,
}

/// The quantiles that summaries, tables and comparisons show.
pub const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

#[derive(Serialize, Deserialize)]
struct Encoded {
    name: String,
    unit: String,
    #[serde(skip_deserializing)]
    count: u64,
    #[serde(skip_deserializing)]
    min: u64,
    #[serde(skip_deserializing)]
    mean: f64,
    #[serde(skip_deserializing)]
    quantiles: std::collections::BTreeMap<&'static str, u64>,
    #[serde(skip_deserializing)]
    max: u64,
    v2: String,
}

impl From<Distribution> for Encoded {
    fn from(from: Distribution) -> Encoded {
        let values = &from.values;
        Encoded {
            count: values.len(),
            min: values.min(),
            mean: values.mean(),
            quantiles: QUANTILES.iter().map(|(name, q)| (*name, values.value_at_quantile(*q))).collect(),
            max: values.max(),
            v2: encode(values),
            name: from.name,
            unit: from.unit,
        }
    }
}

impl TryFrom<Encoded> for Distribution {
    type Error = String;

    fn try_from(from: Encoded) -> Result<Distribution, String> {
        let values = decode(&from.v2).map_err(|why| format!("histogram {}: {why}", from.name))?;
        Ok(Distribution { name: from.name, unit: from.unit, values })
    }
}

/// The compressed V2 encoding, in base64.
pub(crate) fn encode(values: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(values, &mut bytes)
        .expect("a histogram of 64-bit counts whose sum is one of 64 bits, into memory");
    STANDARD.encode(bytes)
}

fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = STANDARD.decode(text).map_err(|why| format!("not base64: {why}"))?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|why| format!("not of V2: {why:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies() -> Distribution {
        let mut values = Histogram::new_with_bounds(1, 1_000_000_000, 3).unwrap();
        (1..=10_000_u64).for_each(|value| values.record(value * 37).unwrap());
        Distribution { name: "latency".to_owned(), unit: "ns".to_owned(), values }
    }

    #[test]
    fn comes_back_as_it_went() {
        let written = serde_json::to_string(&latencies()).unwrap();
        assert_eq!(serde_json::from_str::<Distribution>(&written).unwrap(), latencies());
    }

    #[test]
    fn the_summary_is_of_the_values() {
        let written = serde_json::to_value(latencies()).unwrap();
        assert_eq!(written["count"], 10_000);
        assert_eq!(written["quantiles"]["p99"], latencies().values.value_at_quantile(0.99));
        assert_eq!(written["max"], latencies().values.max());
    }

    #[test]
    fn what_is_no_histogram_is_refused_by_name() {
        for (v2, says) in [("*", "not base64"), ("AAAA", "not of V2")] {
            let text = serde_json::json!({"name": "latency", "unit": "ns", "v2": v2}).to_string();
            let error = serde_json::from_str::<Distribution>(&text).unwrap_err().to_string();
            assert!(error.contains("histogram latency") && error.contains(says), "{error}");
        }
    }
}
