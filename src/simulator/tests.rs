//! The cloud as a whole, in tests.
