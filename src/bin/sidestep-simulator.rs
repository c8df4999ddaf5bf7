//! The `sidestep-simulator` program: parses its arguments and runs the library; nothing else lives here.

fn main() {}
