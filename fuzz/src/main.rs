//! The fuzzer; `fuzz/run` builds and starts it.

#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use zoo_fuzz::{Scratch, Target};

thread_local! {
    static SCRATCH: LazyCell<Scratch> = const { LazyCell::new(Scratch::new) };
    static TARGET: LazyCell<Target> = const {
        LazyCell::new(|| {
            let name = std::env::var("ZOO_FUZZ").unwrap_or_default();
            let target = Target::ALL.into_iter().find(|target| target.name() == name);
            target.expect("ZOO_FUZZ names a target")
        })
    };
}

fuzz_target!(|bytes: &[u8]| {
    SCRATCH.with(|scratch| TARGET.with(|target| target.read(bytes, scratch)));
});
