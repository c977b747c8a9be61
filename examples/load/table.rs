//! Figures: what one run gave, medians over the rounds, and the table.

use std::time::Duration;

/// What one way gave in one round.
pub struct Sample {
    pub calls_per_second: f64,
    pub p50: f64,
    pub p99: f64,
    /// CPU of the server for each call, in microseconds, where the system tells.
    pub cpu: Option<f64>,
}

impl Sample {
    /// Of all callers' times in nanoseconds.
    pub fn new(mut times: Vec<u32>, took: Duration, cpu: Option<Duration>) -> Self {
        times.sort_unstable();
        let calls = times.len() as f64;
        let at = |share: f64| {
            let position = (calls * share) as usize;
            times
                .get(position.min(times.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0)
        };
        Self {
            calls_per_second: calls / took.as_secs_f64(),
            p50: f64::from(at(0.50)) / 1e3,
            p99: f64::from(at(0.99)) / 1e3,
            cpu: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / calls.max(1.0)),
        }
    }
}

/// The middle one; of an even number the lower.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// The samples of one way under one load.
pub struct Row {
    pub name: String,
    pub samples: Vec<Sample>,
}

impl Row {
    pub fn new(name: String) -> Self {
        let samples = Vec::new();
        Self { name, samples }
    }

    pub fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of).collect())
    }
}

/// Memory as it is shown.
pub fn mib(memory: Option<f64>) -> String {
    memory.map_or_else(|| "-".to_owned(), |mib| format!("{mib:.1}"))
}

/// The rows of one load, and its heading.
pub fn print(heading: &str, rows: &[Row]) {
    println!("\n{heading}");
    println!(
        "  {:<20}{:>10}{:>11}{:>9}{:>9}{:>14}",
        "way", "calls/s", "of direct", "p50 µs", "p99 µs", "CPU µs/call"
    );
    let direct = rows
        .iter()
        .find(|r| r.name == "direct")
        .map(|r| r.median(|s| s.calls_per_second));
    for row in rows {
        let rate = row.median(|s| s.calls_per_second);
        let share = direct.map_or_else(|| "-".to_owned(), |direct| format!("{:.0} %", rate / direct * 100.0));
        let cpu = row.median(|s| s.cpu.unwrap_or(f64::NAN));
        println!(
            "  {:<20}{:>10.0}{:>11}{:>9.0}{:>9.0}{:>14.1}",
            row.name,
            rate,
            share,
            row.median(|s| s.p50),
            row.median(|s| s.p99),
            cpu
        );
    }
}
