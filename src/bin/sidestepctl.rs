//! The `sidestepctl` program: parses its arguments and runs the library; nothing else lives here.

use std::process::ExitCode;

fn main() -> ExitCode {
    sidestep::ctl::main()
}
