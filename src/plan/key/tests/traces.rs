//! The schedules that broke earlier wordings of the protocol, each by its number. A and B are
//! leaders; n1, n2 are attempts with keys k1, k2.

use super::build::*;
use super::deeds::Deed;
use super::explore::{NO_OVERLAP, SPEC};
use super::leader::Leader;
use super::oracle::Oracle;
use super::world::{Fate, World};
use crate::plan::port::KeyId;

struct Schedule {
    world: World,
    a: Leader,
    b: Leader,
}

/// Who acts.
type Who = fn(&mut Schedule) -> &mut Leader;
const A: Who = |schedule| &mut schedule.a;
const B: Who = |schedule| &mut schedule.b;

impl Schedule {
    fn new(spec: &str) -> Self {
        Self {
            world: World::new(spec),
            a: Leader::new("A"),
            b: Leader::new("B"),
        }
    }

    /// The leader goes on until the step that begins with this word is the next.
    fn until(mut self, who: Who, wanted: &str) -> Self {
        for _ in 0..40 {
            let next = who(&mut self).pass.as_ref().map(|pass| word(&pass.step));
            match next {
                Some(step) if step.starts_with(wanted) => return self,
                Some(_) => self = self.act(who, Fate::Well),
                None => self = self.begin(who),
            }
        }
        self.world.broken(&format!("it does not come to {wanted}"))
    }

    fn begin(mut self, who: Who) -> Self {
        let mut leader = std::mem::replace(who(&mut self), Leader::new("-"));
        leader.begin(&mut self.world, 0, 0);
        *who(&mut self) = leader;
        self
    }

    fn act(mut self, who: Who, fate: Fate) -> Self {
        let mut leader = std::mem::replace(who(&mut self), Leader::new("-"));
        leader.act(&mut self.world, fate);
        *who(&mut self) = leader;
        self
    }

    /// The leader goes on until it rests.
    fn rest(mut self, who: Who) -> Self {
        for _ in 0..60 {
            if who(&mut self).pass.is_some() {
                self = self.act(who, Fate::Well);
                continue;
            }
            let (version, now) = (self.world.version(), self.world.now);
            let leader = who(&mut self);
            if leader.rested_at == version && leader.wake > now {
                return self;
            }
            self = self.begin(who);
        }
        self.world.broken("9: it does not rest")
    }

    fn crash(mut self, who: Who) -> Self {
        let mut leader = std::mem::replace(who(&mut self), Leader::new("-"));
        leader.crash(&mut self.world);
        *who(&mut self) = leader;
        self
    }

    fn wait(mut self, seconds: i64) -> Self {
        self.world.advance(self.world.now + secs(seconds));
        self
    }

    fn deed(mut self, deed: Deed) -> Self {
        deed.apply(&mut self.world);
        self
    }

    fn then(self, look: impl FnOnce(&World)) -> Self {
        look(&self.world);
        self
    }

    /// B alone goes on, until all graces and overlaps are over.
    fn end(mut self) -> World {
        let end = self.world.now + mins(60);
        self = self.rest(B);
        while self.world.now < end {
            let next = self
                .world
                .next_landing()
                .map_or(self.b.wake, |at| at.min(self.b.wake));
            self.world.advance(next.min(end));
            self = self.rest(B);
        }
        if let Some(broken) = Oracle::judge_end(&self.world) {
            self.world.broken(&broken);
        }
        self.world
    }

    fn one_key(self) -> Self {
        self.rest(A).then(|world| holds(world, "k1"))
    }
}

fn holds(world: &World, id: &str) {
    let value = world.secret().map(|secret| secret.value.as_str());
    if value != Some(id) || world.is_dead(&KeyId::new(id)) {
        world.broken(&format!(
            "the Secret should hold {id}, living; it holds {value:?}"
        ));
    }
}

fn lives(world: &World, id: &str) {
    if !world.living().iter().any(|living| living.as_str() == id) {
        world.broken(&format!("{id} should live"));
    }
}

#[test]
fn t01_a_paused_publish_lands_before_the_next_rehearsal() {
    for b_is_at in ["Rehearse", "Mint", "Prove", "Publish"] {
        let world = Schedule::new(SPEC)
            .until(A, "Publish")
            .wait(61)
            .until(B, b_is_at)
            .act(A, Fate::Well)
            .then(|world| holds(world, "k1"))
            .rest(B)
            .then(|world| lives(world, "k1"))
            .end();
        drop(world);
    }
}

#[test]
fn t02_a_paused_publish_lands_after_the_next_one_and_a_deletion() {
    Schedule::new(SPEC)
        .until(A, "Publish")
        .wait(61)
        .rest(B)
        .then(|world| holds(world, "k2"))
        .deed(Deed::DeleteSecret)
        .act(A, Fate::Well)
        .then(|world| holds(world, "k1"))
        .end();
}

#[test]
fn t03_an_unanswered_publish_lands_late() {
    Schedule::new(SPEC)
        .until(A, "Publish")
        .act(A, Fate::Late)
        .rest(A)
        .then(|world| lives(world, "k1"))
        .wait(150)
        .then(|world| holds(world, "k1"))
        .end();
}

#[test]
fn t04_a_publish_that_landed_unheard_and_a_deletion() {
    Schedule::new(SPEC)
        .one_key()
        .deed(Deed::Rotate)
        .until(A, "Publish")
        .act(A, Fate::Unheard)
        .deed(Deed::DeleteSecret)
        .rest(A)
        .then(|world| lives(world, "k2"))
        .end();
}

#[test]
fn t05_a_second_copy_lands_after_the_key_was_replaced() {
    Schedule::new(NO_OVERLAP)
        .until(A, "Publish")
        .act(A, Fate::Twice)
        .rest(A)
        .deed(Deed::Rotate)
        .rest(A)
        .then(|world| holds(world, "k2"))
        .wait(135)
        .rest(A)
        .deed(Deed::DeleteSecret)
        .wait(15)
        .then(|world| holds(world, "k1"))
        .end();
}

#[test]
fn t06_a_publish_lands_on_a_revoked_api_key() {
    let schedule = Schedule::new(SPEC)
        .until(A, "Publish")
        .act(A, Fate::Late)
        .deed(Deed::Revoke)
        .rest(B)
        .then(|world| assert!(world.living().is_empty()))
        .wait(150)
        .then(|world| assert!(world.secret().is_some(), "it landed"))
        .rest(B)
        .then(|world| assert!(world.secret().is_none(), "and was taken away"));
    schedule.deed(Deed::TakeBack).end();
}

#[test]
fn t07_the_secret_goes_before_its_key() {
    let mut schedule = Schedule::new(SPEC)
        .one_key()
        .deed(Deed::Revoke)
        .until(B, "Revoke");
    assert!(schedule.world.secret().is_none());
    // No excuse: the Secret was gone first.
    schedule.world.oracle.excused = false;
    schedule.act(B, Fate::Well).deed(Deed::TakeBack).end();
}

#[test]
fn t08_a_withdrawn_rotation_leaves_a_key_behind() {
    let world = Schedule::new(SPEC)
        .one_key()
        .deed(Deed::Rotate)
        .until(A, "Mint")
        .act(A, Fate::Late)
        .deed(Deed::Withdraw)
        .crash(A)
        .end();
    assert!(world.is_dead(&KeyId::new("k2")));
    holds(&world, "k1");
}

#[test]
fn t09_a_list_from_before_the_publish_makes_no_stray() {
    let world = Schedule::new(NO_OVERLAP)
        .one_key()
        .wait(700)
        .deed(Deed::Rotate)
        .until(A, "Publish")
        .until(B, "Look")
        .act(B, Fate::Well)
        .act(A, Fate::Well)
        .then(|world| holds(world, "k2"))
        .wait(700)
        .rest(B)
        .end();
    holds(&world, "k2");
}

#[test]
fn t10_a_key_that_only_consumers_know_is_not_swept() {
    let world = Schedule::new(SPEC)
        .until(A, "Publish")
        .act(A, Fate::Well)
        .crash(A)
        .deed(Deed::DeleteSecret)
        .deed(Deed::WipeStatus)
        .wait(1200)
        .rest(B)
        .then(|world| lives(world, "k1"))
        .end();
    holds(&world, "k2");
}

#[test]
fn t11_an_older_intent_hides_an_open_attempt_from_a_deletion() {
    let world = Schedule::new(SPEC)
        .one_key()
        .deed(Deed::Rotate)
        .until(A, "Mint")
        .act(A, Fate::Late)
        .deed(Deed::Delete)
        .deed(Deed::OldIntent)
        .rest(B)
        .end();
    assert!(
        world.object().is_none(),
        "the exception that the orphan sweep ends"
    );
}

#[test]
fn t12_a_dropped_intent_makes_a_deletion_wait() {
    let mut schedule = Schedule::new(SPEC)
        .one_key()
        .deed(Deed::Rotate)
        .until(A, "Mint")
        .act(A, Fate::Late)
        .deed(Deed::Replace)
        .until(B, "Guard")
        .act(B, Fate::Well)
        .deed(Deed::Delete);
    schedule.world.oracle.tampered = false;
    let world = schedule
        .rest(B)
        .then(|world| assert!(world.object().is_some()))
        .end();
    assert!(world.object().is_none() && world.is_dead(&KeyId::new("k2")));
}

#[test]
fn t13_a_secret_does_not_outlive_its_api_key() {
    let world = Schedule::new(SPEC)
        .until(A, "Publish")
        .act(A, Fate::Late)
        .deed(Deed::Delete)
        .rest(B)
        .end();
    assert!(world.object().is_none() && world.secret().is_none());
}

#[test]
fn t14_every_open_takes_the_next_serial() {
    Schedule::new(SPEC)
        .until(A, "Publish")
        .wait(61)
        .until(B, "Open 2")
        .rest(B)
        .act(A, Fate::Well)
        .rest(A)
        .then(|world| holds(world, "k2"))
        .end();
}

#[test]
fn t15_a_mint_lands_at_the_last_moment() {
    for deeds in [&[][..], &[Deed::Delete]] {
        let mut schedule = Schedule::new(SPEC)
            .until(A, "Mint")
            .act(A, Fate::Late)
            .crash(A);
        for deed in deeds {
            schedule = schedule.deed(*deed);
        }
        // To the very moment.
        let lands = schedule.world.next_landing().unwrap();
        let before = lands - jiff::SignedDuration::from_millis(137);
        schedule.world.advance(before);
        let world = schedule.rest(B).end();
        assert!(world.is_dead(&KeyId::new("k1")));
    }
}

#[test]
fn t16_the_serial_in_the_secret_never_goes_down() {
    Schedule::new(SPEC)
        .one_key()
        .deed(Deed::Rotate)
        .until(A, "Publish")
        .wait(61)
        .rest(B)
        .then(|world| holds(world, "k3"))
        .act(A, Fate::Well)
        .rest(A)
        .then(|world| holds(world, "k3"))
        .end();
}

#[test]
fn t17_status_alone_revokes_nothing() {
    for forged in [Deed::ForgeStatus, Deed::WipeStatus] {
        Schedule::new(NO_OVERLAP)
            .one_key()
            .deed(Deed::Rotate)
            .until(A, "Publish")
            .act(A, Fate::Well)
            .crash(A)
            .deed(forged)
            .deed(Deed::DeleteSecret)
            .wait(300)
            .rest(B)
            .then(|world| lives(world, "k2"))
            .end();
    }
}

#[test]
fn a_forged_status_and_a_lost_secret_shorten_no_overlap() {
    Schedule::new(SPEC)
        .one_key()
        .wait(700)
        .deed(Deed::ForgeStatus)
        .deed(Deed::DeleteSecret)
        .rest(B)
        .then(|world| holds(world, "k2"))
        .wait(240)
        .rest(B)
        .then(|world| lives(world, "k1"))
        .end();
}

#[test]
fn an_older_intent_applied_every_minute_is_no_mint_loop() {
    let mut schedule = Schedule::new(SPEC).one_key().deed(Deed::Rotate).rest(A);
    for _ in 0..60 {
        schedule = schedule.wait(60).deed(Deed::OldIntent).rest(A);
    }
    let writes = schedule.world.writes;
    let world = schedule.wait(60).deed(Deed::OldIntent).rest(A).end();
    assert_eq!((Oracle::made(&world), world.writes), (2, writes));
}
