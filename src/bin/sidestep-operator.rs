//! The `sidestep-operator` program: parses its arguments and runs the library; nothing else lives here.

fn main() {}
