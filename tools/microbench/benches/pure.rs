//! Time of the codecs and rules: `cargo bench -p switchboard-microbench --bench pure`.

use divan::Bencher;
use divan::counter::ItemsCount;
use switchboard_microbench::{CASES, Input};

fn main() {
    divan::main();
}

#[divan::bench(args = CASES.iter().map(|(name, _)| *name))]
fn case(bencher: Bencher<'_, '_>, name: &str) {
    let (_, case) = CASES.iter().find(|(known, _)| *known == name).expect("the names are the cases'");
    let input = Input::prepare();
    bencher.counter(ItemsCount::new(1_u32)).bench(|| case(divan::black_box(&input)));
}
