//! The definitions of the kinds.
