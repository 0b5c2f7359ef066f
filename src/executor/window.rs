//! How far beyond the commit frontier transactions are executed: the policy, and nothing else. It is called at commits,
//! by one thread at a time; no result depends on it.

/// How far a block is executed ahead of its commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunAhead {
    /// As far as executions in advance last, and no further than the limit. Where every transaction depends on the one before,
    /// they are executed one by one, by one worker, and now and then one is tried in advance. A block of which a part is
    /// executed [elsewhere](super::Elsewhere) is executed up to the limit.
    #[default]
    Adaptive,
    /// Always up to the limit.
    Fixed,
}

/// Parts of one transaction in which the window's width is counted.
const ONE: u32 = 256;
/// The part of itself that the window gains with a first execution in advance that lasts.
const GAIN: u32 = 8;
/// The part of itself that it loses with a transaction that is executed at the frontier in the end, after executions in
/// advance: the first after a success, and each that follows.
const LOSS: (u32, u32) = (16, 8);
/// The part that it loses so while no execution in advance has lasted: a block may be one chain.
const FIRST_LOSS: u32 = 2;
/// The most, and the least, that a commit adds which says neither that an execution in advance has lasted at once nor that one has
/// failed, so that a window of one comes to try two again.
const PROBES: (u32, u32) = (ONE / 8, ONE / 128);

/// How wide it is at most before anything has lasted: what is slow at a block's begin is to hold up nobody, and a block that is one
/// chain is not to be executed several times by many workers before that is known.
const BEGIN: u32 = 256;

/// The window: from the commit frontier, how many transactions may be under way or wait for their commit.
///
/// It grows and shrinks by parts of itself, so it settles where the share of executions in advance that last has a certain
/// value, whatever the number of workers: at about a third. Below that, what they gain in time is not worth what they cost in
/// work. Failures of a narrow window also make tries rarer, down to one in 128 commits, and successes more frequent: a block that
/// is one chain wastes one execution in a hundred, one that ceases to be a chain is soon at full width. Where what was tried while
/// the window was wider has to be executed again, that is no failure of the window as it is.
///
/// The parts were chosen by simulation (`examples/simulate`) on 2 to 64 cores.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    policy: RunAhead,
    width: u32,
    most: u32,
    probe: u32,
    /// The last transaction of which an execution was counted as failed, if nothing has lasted since.
    failed: Option<u32>,
    /// Whether an execution in advance has lasted.
    lasted: bool,
}

impl Window {
    /// A window of at most `most` transactions.
    pub(crate) fn new(policy: RunAhead, most: u32) -> Self {
        let most = most.clamp(1, u32::MAX / ONE / 2) * ONE;
        let width = if policy == RunAhead::Fixed { most } else { most.min(BEGIN * ONE) };
        Self { policy, width, most, probe: PROBES.0, failed: None, lasted: false }
    }

    /// The width, at least 1.
    pub(crate) fn width(&self) -> u32 {
        self.width / ONE
    }

    /// The transaction at `index` is committed, after so many executions, the last of them `in_advance` of the frontier or at it, and
    /// the last in advance so many places `ahead`.
    pub(crate) fn committed(&mut self, index: u32, executions: u32, in_advance: bool, ahead: u32) {
        match executions {
            0 => {} // elsewhere
            1 if in_advance => {
                (self.failed, self.lasted) = (None, true);
                self.probe = (self.probe * 2).min(PROBES.0);
                self.grow(self.width / GAIN);
            }
            _ if in_advance => self.grow(self.probe), // it cost more than one, but was done when the frontier came
            1 => self.grow(self.probe),
            _ if self.failed == Some(index) => {}
            _ if self.is_beyond(ahead) => self.grow(self.probe),
            _ => self.failed(index, ahead),
        }
    }

    /// Whether what was tried so far ahead would not be tried now: that it failed says nothing of this window.
    fn is_beyond(&self, ahead: u32) -> bool {
        ahead >= self.width()
    }

    /// The transaction at `index` was executed in advance in vain, so many places `ahead`, and is now executed at the frontier. Counted
    /// once a transaction.
    pub(crate) fn failed(&mut self, index: u32, ahead: u32) {
        if self.policy == RunAhead::Fixed || self.failed == Some(index) || self.is_beyond(ahead) {
            return;
        }
        let part = match self.failed {
            _ if !self.lasted => FIRST_LOSS,
            None => LOSS.0,
            Some(_) => LOSS.1,
        };
        let in_a_row = self.failed.replace(index).is_some();
        if self.width < 3 * ONE {
            self.probe = (self.probe / 2).max(PROBES.1);
        }
        // Else a window of two would be back by a part of the commits that a window of one takes to come to it.
        let one_by_one = in_a_row && self.probe == PROBES.1 && self.width < 3 * ONE;
        self.width = if one_by_one { ONE } else { (self.width - self.width / part).max(ONE) };
    }

    fn grow(&mut self, by: u32) {
        if self.policy == RunAhead::Adaptive {
            self.width = (self.width + by).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_each_depends_on_the_one_before_one_is_tried_in_more_than_a_hundred_commits() {
        let mut window = Window::new(RunAhead::Adaptive, 64);
        let mut tried = 0;
        for index in 0..20_000 {
            // Where two may be under way the second has been executed in vain when it comes to the frontier.
            let in_vain = window.width() > 1;
            tried += u32::from(in_vain && index >= 10_000);
            window.committed(index, 1 + u32::from(in_vain), false, 1);
        }
        assert!((50..100).contains(&tried), "{tried} of 10,000");
    }

    #[test]
    fn a_window_grows_to_its_limit_while_executions_in_advance_last() {
        let mut window = Window::new(RunAhead::Adaptive, 64);
        (0..200).for_each(|index| window.committed(index, 1, true, 1));
        assert_eq!(window.width(), 64);
    }

    #[test]
    fn a_chain_is_executed_one_by_one_and_tried_ever_more_seldom() {
        let mut window = Window::new(RunAhead::Adaptive, 64);
        let mut tries = 0;
        for index in 0..10_000 {
            if window.width() > 1 {
                tries += 1;
                window.failed(index, 1);
                window.committed(index, 2, false, 1);
            } else {
                window.committed(index, 1, false, 1);
            }
        }
        assert!((50..400).contains(&tries), "{tries}");
        (10_000..10_200).for_each(|index| window.committed(index, 1, window.width() > 1, 1));
        assert!(window.width() > 32, "it does not come back");
    }

    #[test]
    fn a_failure_counts_once_a_transaction() {
        let mut window = Window::new(RunAhead::Adaptive, 64);
        window.failed(3, 1);
        let width = window.width();
        window.failed(3, 1);
        window.committed(3, 2, true, 1);
        assert_eq!(window.width(), width);
    }

    #[test]
    fn what_was_tried_further_ahead_than_the_window_is_now_does_not_narrow_it() {
        let mut window = Window::new(RunAhead::Adaptive, 64);
        (0..3).for_each(|index| window.failed(index, 60));
        let width = window.width();
        assert_eq!(width, 32, "the second and third would not be tried so far ahead now");
        (3..19).for_each(|index| {
            window.failed(index, width + 2);
            window.committed(index, 2, false, width + 2);
        });
        assert_eq!(window.width(), width + 2, "each a part of one more");
        (19..35).for_each(|index| window.committed(index, 2, true, 1));
        assert_eq!(window.width(), width + 4, "and each that was done when the frontier came");
    }

    #[test]
    fn what_is_counted_as_failed_is_not_counted_at_its_commit() {
        let mut window = Window::new(RunAhead::Adaptive, 2);
        for index in 0..20 {
            (0..16).for_each(|_| window.committed(index, 1, true, 1));
            assert_eq!(window.width(), 2);
            window.failed(index, 1);
            let width = window.width;
            window.committed(index, 2, false, 1);
            assert_eq!(window.width, width);
        }
    }

    #[test]
    fn a_fixed_window_stays_and_no_window_is_empty() {
        let mut window = Window::new(RunAhead::Fixed, 7);
        (0..9).for_each(|index| window.failed(index, 1));
        (0..9).for_each(|index| window.committed(index, 1, true, 1));
        assert_eq!(window.width(), 7);
        assert_eq!(Window::new(RunAhead::Fixed, 0).width(), 1);
        assert_eq!(Window::new(RunAhead::Fixed, u32::MAX).width(), u32::MAX / ONE / 2);
    }

    #[test]
    fn a_window_begins_no_wider_than_what_may_be_in_vain() {
        assert_eq!(Window::new(RunAhead::Adaptive, 64).width(), 64);
        let mut window = Window::new(RunAhead::Adaptive, u32::MAX);
        assert_eq!(window.width(), BEGIN);
        (0..200).for_each(|index| window.committed(index, 1, true, 1));
        assert_eq!(window.width(), u32::MAX / ONE / 2);
    }
}
