//! DeBERTa's distances: which row of the relative embeddings two tokens take.

use crate::config::DebertaConfig;

/// The row for each distance of a query from a key, from −(n − 1) to n − 1 for the longest text of n tokens.
pub(super) fn rows(config: &DebertaConfig) -> Vec<u32> {
    let (reach, span) = (config.max_position_embeddings as i64 - 1, config.span() as i64);
    let row = |distance: i64| {
        let relative = match config.position_buckets {
            0 => distance,
            buckets => distance.signum() * bucket(distance.abs(), buckets as i64, config.max_relative_positions as i64),
        };
        (relative + span).clamp(0, 2 * span - 1) as u32
    };
    (-reach..=reach).map(row).collect()
}

/// Near distances are buckets of their own, far ones share them logarithmically: `make_log_bucket_position` of Transformers, in f32 as
/// there, since it rounds up.
fn bucket(distance: i64, buckets: i64, max_position: i64) -> i64 {
    let middle = buckets / 2;
    if distance <= middle {
        return distance;
    }
    let log = (distance as f32 / middle as f32).ln() / (((max_position - 1) as f64 / middle as f64) as f32).ln();
    (log * (middle - 1) as f32).ceil() as i64 + middle
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn buckets_equal_transformers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test/fixtures/deberta-buckets.json");
        let goldens: Value = serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON");
        for case in goldens["cases"].as_array().expect("cases") {
            let number = |field: &str| case[field].as_i64().expect("a number");
            for (distance, theirs) in case["of"].as_array().expect("numbers").iter().enumerate() {
                let ours = bucket(distance as i64, number("buckets"), number("max"));
                assert_eq!(ours, theirs.as_i64().expect("a number"), "{distance} of {case}");
            }
        }
    }
}
