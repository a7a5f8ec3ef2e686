//! The deploy servers.
