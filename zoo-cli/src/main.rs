//! `zoo`: classify photographs with the classic convolutional networks.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use zoo_cli::args::Zoo;
use zoo_cli::{Outcome, exit_code, io_kinds, is_catching, run};

fn main() -> ExitCode {
    // SAFETY: this is the program's first statement.
    unsafe { zoo_cli::device::default_to_cpu() };
    let zoo = match Zoo::try_parse() {
        Ok(zoo) => zoo,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let print_panic = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !is_catching() {
            print_panic(info);
        }
    }));
    match run(&zoo) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::SomeInputWasBad) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        // The reader of our output went away, as `head` does.
        Err(error) if io_kinds(&error).any(|kind| kind == ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "zoo: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}
