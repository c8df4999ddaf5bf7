//! The benchmark (`make bench`): figures beside their targets, each measured in this run on this machine.
//!
//! These are no tests: a missed target fails nothing, as a busy machine would do that too, but it is said, and the load of the machine stands beside each figure. What a figure rests on is asserted
//! all the same: each host was disabled, each server moved. A part that could not measure what it is for prints no row and fails.

mod drain;
mod latency;
mod memory;
mod nova;

use std::fmt::Display;
use std::fs;

/// Prints a row of the table that `make bench` shows at its end, with the load of this machine in the last minute.
fn row(what: &str, figure: impl Display, target: &str, met: Option<bool>) {
    let verdict = match met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    println!("BENCH|{what}|{figure}|{target}|{verdict}|{}", load.split(' ').next().unwrap());
}

/// Prints a row of milliseconds of which at most `target` are wanted.
fn millis(what: &str, figure: f64, target: f64) {
    row(what, format!("{figure:.1} ms"), &format!("<= {target:.0} ms"), Some(figure <= target));
}

/// KiB as MiB.
fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap()) / 1024.0
}

/// Prints a row of memory, of which less than `target` MiB are wanted.
fn memory(what: &str, kib: u64, target: u32) {
    row(what, format!("{:.1} MiB", mib(kib)), &format!("< {target} MiB"), Some(kib < u64::from(target) * 1024));
}

/// The value below which this share of the samples lies, by the nearest rank.
fn percentile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank among some dozens of samples")]
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted[rank - 1]
}

mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let samples: Vec<f64> = (1..=50).rev().map(f64::from).collect();
        assert_eq!([percentile(&samples, 0.5), percentile(&samples, 0.99), percentile(&samples, 1.0)], [25.0, 50.0, 50.0]);
        assert_eq!(percentile(&[7.0], 0.5), 7.0);
    }
}
