//! The flags about the election of a leader.

use clap::{Args, ValueEnum};

use crate::api::Period;
use crate::lease::{BadTimes, Terms, Times};

/// By which Lease one of several operators leads.
#[derive(Debug, Args)]
pub struct LeaseArgs {
    /// Whether to work only while leading: on, so that a second replica can stand by.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_LEADER_ELECTION",
        value_name = "ELECTION",
        default_value = "on"
    )]
    pub leader_election: Election,

    /// The Lease that the leader holds, in the operator's own namespace; two releases in one
    /// namespace must have different ones.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_LEASE_NAME",
        value_name = "NAME",
        default_value = "apikey-operator"
    )]
    pub lease_name: String,
}

/// How a leader is found.
#[derive(Debug, Args)]
pub struct ElectionArgs {
    /// The Lease.
    #[command(flatten)]
    pub lease: LeaseArgs,

    /// The name of the pod, to be told in the Lease.
    #[arg(
        long,
        env = "POD_NAME",
        value_name = "NAME",
        default_value = "apikey-operator"
    )]
    pub pod_name: String,

    /// So long after it was renewed last, the Lease may be taken by another.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_LEASE_DURATION",
        value_name = "PERIOD",
        default_value = "15s"
    )]
    pub lease_duration: Period,

    /// A leader that could not renew the Lease for so long ends.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_LEASE_RENEW_DEADLINE",
        value_name = "PERIOD",
        default_value = "10s"
    )]
    pub lease_renew_deadline: Period,

    /// How often the leader renews the Lease, and the others look at it.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_LEASE_RETRY_PERIOD",
        value_name = "PERIOD",
        default_value = "2s"
    )]
    pub lease_retry_period: Period,
}

impl ElectionArgs {
    /// What is to be held; nothing where there is no election.
    ///
    /// # Errors
    /// When the periods make no sense together.
    pub fn terms(self) -> Result<Option<Terms>, BadTimes> {
        let Self {
            lease:
                LeaseArgs {
                    leader_election,
                    lease_name: name,
                },
            pod_name: pod,
            lease_duration,
            lease_renew_deadline,
            lease_retry_period,
        } = self;
        let length = |period: Period| period.duration().unsigned_abs();
        let times = Times::new(
            length(lease_duration),
            length(lease_renew_deadline),
            length(lease_retry_period),
        )?;
        Ok(match leader_election {
            Election::Off => None,
            Election::On => Some(Terms { name, pod, times }),
        })
    }
}

/// Whether a leader is elected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Election {
    /// It is not: there is never more than one operator.
    Off,
    /// It is.
    On,
}
