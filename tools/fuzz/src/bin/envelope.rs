#![no_main]

use switchboard_fuzz::properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::envelope(data));
