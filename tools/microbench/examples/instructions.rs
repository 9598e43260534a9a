//! Runs every case so many times, for `scripts/instructions` to count their instructions.

use switchboard_microbench::{CASES, Input};

fn main() {
    let times: usize = std::env::args().nth(1).and_then(|times| times.parse().ok()).unwrap_or(1000);
    let input = Input::prepare();
    for (_, case) in CASES {
        for _ in 0..times {
            std::hint::black_box(case(std::hint::black_box(&input)));
        }
    }
}
