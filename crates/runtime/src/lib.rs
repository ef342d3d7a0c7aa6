//! The scoped hal.
