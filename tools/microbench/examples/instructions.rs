//! Runs each case a number of times, so that `scripts/instructions` can count the instructions.

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
