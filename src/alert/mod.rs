//! Alerts: from the bytes that a sensor wrote to the decision on what they mean.

pub mod decision;
