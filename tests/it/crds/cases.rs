//! What is accepted and what is refused, row by row.

mod accounts;
mod keys;
mod servers;

use super::{Case, Change, Expected, Kind};

/// The table.
pub(crate) fn cases() -> Vec<Case> {
    [
        servers::connections(),
        servers::cluster_connections(),
        accounts::accounts(),
        keys::keys(),
        keys::secrets(),
    ]
    .concat()
}

const fn accept(kind: Kind, name: &'static str, spec: &'static str) -> Case {
    Case {
        name,
        kind,
        change: Change::Create(spec),
        expected: Expected::Accepted,
    }
}

const fn refuse(kind: Kind, name: &'static str, why: &'static str, spec: &'static str) -> Case {
    Case {
        name,
        kind,
        change: Change::Create(spec),
        expected: Expected::Refused(why),
    }
}

const fn change(kind: Kind, name: &'static str, from: &'static str, to: &'static str) -> Case {
    Case {
        name,
        kind,
        change: Change::Update { from, to },
        expected: Expected::Accepted,
    }
}

const fn keep(
    kind: Kind,
    name: &'static str,
    why: &'static str,
    from: &'static str,
    to: &'static str,
) -> Case {
    Case {
        name,
        kind,
        change: Change::Update { from, to },
        expected: Expected::Refused(why),
    }
}
