//! What came of it, as a table a peer.

/// The times of one executor: by block, then round, in the order of the ways.
pub struct Times {
    name: String,
    blocks: Vec<Vec<[f64; 3]>>,
}

impl Times {
    pub fn new(name: &str, blocks: usize) -> Self {
        Self { name: name.to_owned(), blocks: vec![Vec::new(); blocks] }
    }

    /// Keeps a round of the block at `at`, if it could be executed in every way.
    pub fn note(&mut self, at: usize, answers: [Option<f64>; 3]) {
        if let [Some(sequential), Some(one), Some(two)] = answers {
            self.blocks[at].push([sequential, one, two]);
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A line: sequential milliseconds, then how many times as fast the others are.
fn line(name: &str, rounds: &[[f64; 3]]) -> [f64; 2] {
    let best = |way: usize| rounds.iter().map(|round| round[way]).fold(f64::INFINITY, f64::min);
    let by = |way: usize| median(rounds.iter().map(|round| round[0] / round[way]));
    println!(
        "{name:>10} {:12.2} {:10.2} {:10.2} {:14.2} {:10.2} {:10.2}",
        median(rounds.iter().map(|round| round[0])) / 1e6,
        by(1),
        by(2),
        best(0) / 1e6,
        best(0) / best(1),
        best(0) / best(2),
    );
    [by(1), by(2)]
}

pub fn print(blocks: &[u64], times: &[Times]) {
    for times in times {
        println!("\n{}: medians, then the best of all rounds; speed-ups over its own sequential execution", times.name);
        println!("     block sequential ms   1 thread  2 threads  sequential ms   1 thread  2 threads");
        let rows: Vec<_> =
            blocks.iter().zip(&times.blocks).map(|(number, rounds)| line(&number.to_string(), rounds)).collect();
        let rounds = times.blocks.iter().map(Vec::len).min().unwrap_or(0);
        let total = |round: usize| {
            times.blocks.iter().fold([0.0; 3], |sum, rounds| std::array::from_fn(|way| sum[way] + rounds[round][way]))
        };
        line("total", &(0..rounds).map(total).collect::<Vec<_>>());
        let mean = |way: usize| (rows.iter().map(|row| row[way].ln()).sum::<f64>() / rows.len() as f64).exp();
        let worst = |way: usize| rows.iter().map(|row| row[way]).fold(f64::INFINITY, f64::min);
        println!("  geometric mean {:.2} and {:.2}, worst {:.2} and {:.2}", mean(0), mean(1), worst(0), worst(1));
    }
}
