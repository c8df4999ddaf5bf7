//! The decisions, as tables.
