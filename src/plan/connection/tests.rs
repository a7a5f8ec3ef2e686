//! Tables of situations: facts to the one step, and what others may rest on.

use std::time::Duration;

use super::*;
use crate::plan::port::{KeyExpiry, Own};

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    now() - secs(seconds)
}

fn secs(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn probe() -> Probe {
    Probe {
        version: "2026.3".to_owned(),
        identity: ServerIdentity::new("server-1"),
        own: Own {
            id: AccountId::new("Users-1"),
            username: "operator".to_owned(),
        },
        key_expiry: KeyExpiry::default(),
        credential_expires_at: None,
        skew: SignedDuration::ZERO,
        caution: None,
    }
}

/// A connection that nobody has looked at or depends on.
fn seen() -> Seen {
    Seen {
        now: now(),
        uid: Uid::new("connection-uid"),
        generation: 1,
        deleting: false,
        finalizer: Mark::Missing,
        pin: None,
        status: ConnectionStatus::default(),
        usable: Ok(()),
        caution: None,
        credential: Ok(()),
        hold: Some(Hold {
            finalizer: Mark::Missing,
            deleted_at: None,
            namespace_going: false,
            others: Vec::new(),
        }),
        leftovers: 0,
        accounts: 0,
        bound: 0,
        counted_live: false,
        keys: None,
        resync: SignedDuration::from_mins(10),
        look: None,
        refused: None,
    }
}

/// A connection in use, looked at just now, and said so.
fn used() -> Seen {
    seen()
        .looked(Ok(probe()))
        .pinned()
        .depended(2, 2)
        .guarded()
        .settled()
}

impl Seen {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn looked(self, found: Result<Probe, Fault>) -> Self {
        self.with(|s| s.look = Some(Look::new(now(), found, None)))
    }

    fn pinned(self) -> Self {
        self.with(|s| {
            s.pin = Some(Pin {
                identity: probe().identity,
                own: probe().own.id,
            });
        })
    }

    fn depended(self, accounts: u32, bound: u32) -> Self {
        self.with(|s| (s.accounts, s.bound) = (accounts, bound))
    }

    fn guarded(self) -> Self {
        self.with(|s| s.finalizer = Mark::Present)
            .held(|hold| hold.finalizer = Mark::Present)
    }

    fn held(self, change: impl FnOnce(&mut Hold)) -> Self {
        self.with(|s| change(s.hold.as_mut().unwrap()))
    }

    fn deleting(self) -> Self {
        self.with(|s| s.deleting = true)
    }

    fn counted(self) -> Self {
        self.with(|s| s.counted_live = true)
    }

    fn refused(self) -> Self {
        self.with(|s| s.refused = Some(refusal()))
    }

    /// The status that would be written now is written already.
    fn settled(self) -> Self {
        let status = match plan(&self).step {
            Step::Record(status) => *status,
            _ => self.status.clone(),
        };
        self.with(|s| s.status = status)
    }

    /// What the status would say of each condition.
    fn says(&self) -> Vec<(String, String, String)> {
        let status = match plan(self).step {
            Step::Record(status) => *status,
            _ => self.status.clone(),
        };
        let conditions = status.conditions.into_iter();
        conditions
            .map(|condition| (condition.type_, condition.status, condition.reason))
            .collect()
    }

    /// What accounts are told.
    fn worth(&self) -> Result<Probe, Reason> {
        plan(self).standing.unwrap().map_err(|stop| stop.reason)
    }
}

fn refusal() -> Stop {
    Stop::new(Reason::SecretRefused, "No.")
}

fn said(type_: &str, status: &str, reason: &str) -> (String, String, String) {
    (type_.to_owned(), status.to_owned(), reason.to_owned())
}

fn known(deleting: bool, bound: u32) -> User {
    User::Known { deleting, bound }
}

#[test]
fn a_first_pass_looks_pins_and_says_so() {
    assert_eq!(plan(&seen()).step, Step::Probe);
    let looked = seen().looked(Ok(probe()));
    assert!(matches!(plan(&looked).step, Step::Pin(_)));
    let pinned = looked.pinned();
    assert_eq!(pinned.says(), [said("Ready", "True", "Ready")]);
    assert_eq!(plan(&pinned.settled()).step, Step::Idle);
}

#[test]
fn what_can_not_be_used_is_not_looked_at() {
    let stop = Stop::plain(Reason::CredentialNotOffered);
    let seen = seen().depended(1, 0).with(|s| {
        s.credential = Err(stop);
        s.finalizer = Mark::Present;
    });
    assert_eq!(seen.worth(), Err(Reason::CredentialNotOffered));
    assert!(matches!(plan(&seen).step, Step::Record(_)));
    assert_eq!(plan(&seen.settled()).step, Step::Idle);
}

#[test]
fn accounts_rest_only_on_what_can_not_go_unnoticed() {
    let alone = seen().looked(Ok(probe())).pinned();
    assert_eq!(alone.worth(), Err(Reason::WaitingForServer));
    // An account that has nothing yet has it guarded all the same.
    let first = alone.depended(1, 0);
    assert_eq!(plan(&first).step, Step::Guard);
    assert_eq!(first.worth(), Err(Reason::WaitingForServer));
    let on = first.with(|s| s.finalizer = Mark::Present);
    assert_eq!(plan(&on).step, Step::Hold);
    assert_eq!(on.worth(), Err(Reason::WaitingForServer));
    assert_eq!(on.guarded().worth(), Ok(probe()));
    // One without a stored credential has nothing to hold.
    let without = used().with(|s| s.hold = None);
    assert_eq!(without.worth(), Ok(probe()));
}

#[test]
fn another_server_or_account_is_not_used() {
    let server = Probe {
        identity: ServerIdentity::new("server-2"),
        ..probe()
    };
    let account = Probe {
        own: Own {
            id: AccountId::new("Users-2"),
            username: "other".to_owned(),
        },
        ..probe()
    };
    for other in [server, account] {
        let seen = used().looked(Ok(other));
        assert_eq!(seen.worth(), Err(Reason::IdentityChanged));
        assert!(
            seen.says()
                .contains(&said("Stalled", "True", "IdentityChanged"))
        );
    }
}

#[test]
fn a_connection_in_use_stays() {
    let going = used().deleting().settled();
    assert_eq!(plan(&going).step, Step::Idle);
    assert!(going.says().contains(&said("Ready", "False", "InUse")));
    // Its accounts come to their end with it, also when its credential has lost the finalizer.
    assert_eq!(going.worth(), Ok(probe()));
    let unheld = going.held(|hold| hold.finalizer = Mark::Missing);
    assert_eq!(unheld.worth(), Ok(probe()));
    assert_eq!(plan(&unheld).step, Step::Hold);
}

#[test]
fn a_connection_goes_once_a_live_count_finds_no_account_of_ours() {
    // Accounts that only name it do not keep it, and none begins on it.
    let going = used().depended(3, 0).deleting();
    assert_eq!(plan(&going).step, Step::Count);
    assert_eq!(going.worth(), Err(Reason::WaitingForServer));
    assert_eq!(plan(&going.clone().counted()).step, Step::GiveUp);
    let given_up = going.clone().counted().with(|s| s.hold = None);
    assert_eq!(plan(&given_up).step, Step::Close);
    // The finalizer of another one keeps it.
    let theirs = given_up.with(|s| s.finalizer = Mark::Missing);
    assert_eq!(plan(&theirs).step, Step::Idle);
    // The count finds one after all.
    let found = going.counted().depended(3, 1);
    assert!(found.says().contains(&said("Ready", "False", "InUse")));
}

#[test]
fn a_credential_that_others_use_outlives_a_connection() {
    let cases = [
        (vec![], Step::GiveUp),
        (vec![known(false, 0)], Step::Close),
        (vec![known(true, 1)], Step::Close),
        // Both go: whoever is last must not leave it behind.
        (vec![known(true, 0)], Step::GiveUp),
        (vec![known(true, 0), known(false, 3)], Step::Close),
    ];
    for (others, step) in cases {
        let seen = used().depended(0, 0).deleting().counted();
        let seen = seen.held(|hold| hold.others.clone_from(&others));
        assert_eq!(plan(&seen).step, step, "{others:?}");
    }
    let unknown = used().depended(0, 0).deleting().counted();
    let unknown = unknown.held(|hold| hold.others = vec![User::Unknown]);
    assert!(unknown.says().contains(&said("Ready", "False", "InUse")));
    assert_eq!(plan(&unknown.settled()).step, Step::Idle);
}

#[test]
fn a_credential_that_is_not_offered_any_more_is_given_up_too() {
    let seen = used().depended(0, 0).deleting().counted();
    let seen = seen.with(|s| s.credential = Err(Stop::plain(Reason::CredentialNotOffered)));
    assert_eq!(plan(&seen).step, Step::GiveUp);
}

#[test]
fn a_credential_to_be_replaced_is_given_up_a_moment_later() {
    let fresh = used().held(|hold| hold.deleted_at = Some(ago(1)));
    assert_eq!(plan(&fresh).step, Step::Idle);
    assert_eq!(plan(&fresh).wake, now() + secs(9));
    assert_eq!(fresh.worth(), Ok(probe()));
    let due = fresh.held(|hold| hold.deleted_at = Some(ago(10)));
    assert_eq!(plan(&due).step, Step::GiveUp);
    // It never was held: it goes by itself, and can not be held any more.
    let free = due.held(|hold| hold.finalizer = Mark::Missing);
    assert_eq!(plan(&free).step, Step::Idle);
}

#[test]
fn a_credential_that_somebody_needs_to_end_is_not_given_up() {
    let due = || used().held(|hold| hold.deleted_at = Some(ago(3600)));
    let needed = [
        due().deleting(),
        due().held(|hold| hold.namespace_going = true),
        due().held(|hold| hold.others = vec![known(true, 1)]),
        due().held(|hold| hold.others = vec![known(false, 0), known(true, 1)]),
        due().held(|hold| hold.others = vec![User::Unknown]),
        due().depended(0, 0).held(|hold| {
            hold.namespace_going = true;
            hold.others = vec![known(false, 1)];
        }),
    ];
    for seen in needed {
        let seen = seen.settled();
        assert_eq!(plan(&seen).step, Step::Idle, "{:?}", seen.hold);
    }
    let free = [
        due().held(|hold| hold.others = vec![known(false, 5), known(true, 0)]),
        due()
            .depended(4, 0)
            .held(|hold| hold.namespace_going = true),
    ];
    for seen in free {
        assert_eq!(plan(&seen).step, Step::GiveUp, "{:?}", seen.hold);
    }
}

#[test]
fn leftovers_are_released_and_nothing_else_is_touched() {
    let seen = used().with(|s| s.leftovers = 1);
    assert_eq!(plan(&seen).step, Step::Release);
    assert_eq!(seen.worth(), Ok(probe()));
    let going = seen.depended(0, 0).deleting();
    assert_eq!(plan(&going).step, Step::Release);
}

#[test]
fn a_connection_that_is_being_deleted_is_pinned_for_its_accounts() {
    let bare = || seen().looked(Ok(probe())).deleting();
    let bound = bare().depended(1, 1).guarded();
    assert!(matches!(plan(&bound).step, Step::Pin(_)));
    assert_eq!(plan(&bare()).step, Step::Count);
    assert_eq!(plan(&bare().counted()).step, Step::Idle);
}

#[test]
fn a_refused_write_is_said_and_tried_again() {
    let stalled = [
        said("Ready", "False", "SecretRefused"),
        said("Stalled", "True", "SecretRefused"),
    ];
    let guard = seen().depended(1, 0).refused();
    // The look is not lost with it.
    assert_eq!(plan(&guard).step, Step::Probe);
    let hindered = [
        guard.looked(Ok(probe())),
        used().refused().held(|hold| hold.finalizer = Mark::Missing),
        used().depended(0, 0).deleting().counted().refused(),
    ];
    for seen in hindered {
        assert_eq!(seen.says(), stalled);
        let seen = seen.settled();
        assert_eq!(plan(&seen).step, Step::Idle);
        assert_eq!(plan(&seen).wake, now() + AGAIN);
    }
    // A Secret that can not be given up keeps nobody from working.
    let replaced = used().held(|hold| hold.deleted_at = Some(ago(60)));
    assert_eq!(plan(&replaced).step, Step::GiveUp);
    let replaced = replaced.refused();
    assert_eq!(replaced.worth(), Ok(probe()));
    let flaw = said("UpToDate", "False", "SecretRefused");
    assert_eq!(replaced.says(), [said("Ready", "True", "Ready"), flaw]);
}

#[test]
fn no_look_follows_another_at_once() {
    let throttled = |after: Option<u64>| Fault::Throttled {
        after: after.map(Duration::from_secs),
    };
    // Failures before, the fault, and the shortest and longest wait.
    let cases = [
        (0, throttled(None), 1, 2),
        (0, throttled(Some(0)), 1, 2),
        (5, throttled(Some(0)), 32, 40),
        (5, throttled(Some(3)), 32, 40),
        (0, throttled(Some(90)), 90, 90),
        (50, throttled(None), 300, 375),
        (0, Fault::Unauthorized, 1, 2),
        (50, Fault::Unreachable("down".to_owned()), 300, 375),
    ];
    for (failures, fault, least, most) in cases {
        let before = Look {
            at: ago(1),
            found: Err(Fault::Unauthorized),
            failures,
        };
        let look = Look::new(now(), Err(fault.clone()), Some(&before));
        assert_eq!(look.failures, failures + 1);
        let seen = used().with(|s| s.look = Some(look));
        assert!(!matches!(plan(&seen).step, Step::Probe), "{fault:?}");
        let wait = plan(&seen).wake.duration_since(now());
        assert!(
            wait >= secs(least) && wait <= secs(most),
            "{wait} {fault:?}"
        );
    }
}

#[test]
fn a_good_look_lasts_until_the_resync() {
    let seen = used();
    assert_eq!(plan(&seen).wake, now() + seen.resync);
    let later = seen.with(|s| s.now = now() + s.resync);
    assert_eq!(plan(&later).step, Step::Probe);
}

#[test]
fn a_skew_that_jitters_is_no_news() {
    // Milliseconds known before and measured, and seconds kept.
    let cases = [
        (0, 0, 0),
        (0, 9_999, 0),
        (0, -9_999, 0),
        (0, 10_000, 10),
        (0, 59_500, 50),
        (0, -59_500, -50),
        (50_000, 60_001, 60),
        (60_000, 59_999, 60),
        (60_000, 50_001, 60),
        (60_000, 50_000, 50),
        (60_000, 400, 0),
        (-60_000, 60_000, 60),
    ];
    for (before, measured, kept) in cases {
        let look = |millis, before: Option<&Look>| {
            let skew = SignedDuration::from_millis(millis);
            Look::new(now(), Ok(Probe { skew, ..probe() }), before)
        };
        let found = look(measured, Some(&look(before, None))).found.unwrap();
        assert_eq!(found.skew, secs(kept), "{before} {measured}");
    }
}

#[test]
fn a_skew_of_a_minute_is_said() {
    let skewed = |seconds| {
        let skew = secs(seconds);
        used().looked(Ok(Probe { skew, ..probe() })).says()
    };
    let flaw = said("UpToDate", "False", "ClockSkew");
    for seconds in [61, -61, 3600] {
        assert!(skewed(seconds).contains(&flaw), "{seconds}");
    }
    for seconds in [0, 59, -59] {
        assert!(!skewed(seconds).contains(&flaw), "{seconds}");
    }
}
