//! Following a file that another program writes: its records in order, each once, through everything that happens to log files.

pub mod lines;
