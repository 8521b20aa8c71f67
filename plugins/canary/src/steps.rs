//! The course of a run: what happens next, and nothing of how. No clock, no client: times are arguments.
//!
//! The order of things at each step is fixed: shift (with its proof), let the change settle for two scrapes,
//! look until the interval is over and a look passes. The states between are few, so that what may never
//! happen can be tested: no step up after a failed look, none without a passed one, and an end in a bounded
//! number of looks.

use mesh_model::gate::Verdict;

/// How a run goes. Times are in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The canary's shares in percent, rising.
    pub(crate) steps: Vec<u32>,
    /// The least time at each step.
    pub(crate) interval: f64,
    /// How much longer than the interval a step may wait for enough requests.
    pub(crate) max_wait: f64,
    /// How long after the proof of a shift its window begins: two scrapes.
    pub(crate) settle: f64,
    /// The least time between two looks: one scrape.
    pub(crate) every: f64,
}

impl Plan {
    /// The time into a step's window at which to look after one at `elapsed`; `None` when there is none left.
    ///
    /// Within the interval there is a look at every scrape, later every eighth of the time that has gone by;
    /// after it every quarter. So a bad canary is seen soon, and the chance of error that all looks share is
    /// not spent on looks between which nothing can have changed.
    fn next(&self, elapsed: f64) -> Option<f64> {
        let last = self.interval + self.max_wait;
        if elapsed < self.interval {
            Some((elapsed + self.every.max(elapsed / 8.0)).min(self.interval))
        } else if elapsed < last {
            Some((elapsed + self.every.max(elapsed / 4.0)).min(last))
        } else {
            None
        }
    }

    /// How many looks a step can have, at most: what the chance of error is split over.
    pub(crate) fn looks(&self) -> u32 {
        let (mut elapsed, mut looks) = (0.0, 0);
        while let Some(next) = self.next(elapsed) {
            (elapsed, looks) = (next, looks + 1);
        }
        looks
    }
}

/// What has happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// The weights of the step are written and proven, or those before the run are back.
    Proven {
        /// When.
        at: f64,
    },
    /// A look has been taken.
    Judged {
        /// What it says.
        verdict: Verdict,
        /// When.
        at: f64,
    },
    /// Nobody answered a look. It proves nothing.
    Unanswered {
        /// When.
        at: f64,
    },
    /// The wait is over.
    Ticked {
        /// What time it is.
        at: f64,
    },
    /// The user wants to stop.
    Interrupted,
    /// The canary cannot take its share any more: its pods, its subset.
    Broken,
    /// The weights are somebody else's by now.
    Lost,
    /// What was to be written or proven was not.
    Unwritten,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Action {
    /// Give the canary the share of this step, and see that it holds.
    Shift(usize),
    /// Nothing until then.
    Wait(f64),
    /// Begin a window.
    Begin,
    /// Look at the window.
    Look,
    /// Put the weights from before the run back, and see that it holds.
    Back,
    /// That was all.
    End(End),
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Every step has passed.
    Passed,
    /// A step failed, and the weights from before are back.
    Failed,
    /// A step failed, and the weights from before could not be put back.
    FailedAndStuck,
    /// Nothing was proven in time: the weights stay.
    Held,
    /// The user stopped it: the weights stay.
    Interrupted,
    /// Somebody else has the weights now.
    Lost,
    /// A shift was not written or not proven: the weights stay as they are.
    Stuck,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Being written and proven.
    Shifting(usize),
    /// Written; until then nothing counts.
    Settling(usize, f64),
    /// Looking since `since`; the next look is so long after it.
    Watching { step: usize, since: f64, due: f64 },
    /// A look is under way, the one that was due so long after `since`.
    Looking { step: usize, since: f64, due: f64 },
    /// On the way back.
    Returning,
    /// Over.
    Ended(End),
}

/// A run on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Course {
    plan: Plan,
    state: State,
}

impl Course {
    /// A run that begins, or goes on, with a step; returns what to do first.
    pub(crate) fn begin(plan: Plan, step: usize) -> (Self, Action) {
        let (state, action) = match plan.steps.get(step) {
            Some(_) => (State::Shifting(step), Action::Shift(step)),
            None => (State::Ended(End::Passed), Action::End(End::Passed)),
        };
        (Self { plan, state }, action)
    }

    /// The step it is at, while it is at one.
    pub(crate) fn step(&self) -> Option<usize> {
        match self.state {
            State::Shifting(step)
            | State::Settling(step, _)
            | State::Watching { step, .. }
            | State::Looking { step, .. } => Some(step),
            State::Returning | State::Ended(_) => None,
        }
    }

    /// Seconds until the interval of this step is over, and until it is given up.
    pub(crate) fn left(&self, at: f64) -> Option<(f64, f64)> {
        let since = match self.state {
            State::Settling(_, until) => until,
            State::Watching { since, .. } | State::Looking { since, .. } => since,
            State::Shifting(_) | State::Returning | State::Ended(_) => return None,
        };
        let interval = since + self.plan.interval;
        Some(((interval - at).max(0.0), (interval + self.plan.max_wait - at).max(0.0)))
    }

    /// What an event leads to.
    pub(crate) fn on(&mut self, event: &Event) -> Action {
        if let State::Ended(end) = self.state {
            return Action::End(end);
        }
        match event {
            Event::Lost => return self.end(End::Lost),
            // Once on the way back, it goes back.
            Event::Interrupted if self.state != State::Returning => return self.end(End::Interrupted),
            Event::Broken if self.state != State::Returning => return self.back(),
            Event::Unwritten => {
                return self.end(match self.state {
                    State::Returning => End::FailedAndStuck,
                    _ => End::Stuck,
                });
            }
            _ => {}
        }
        match (self.state, event) {
            (State::Shifting(step), Event::Proven { at }) => {
                let until = at + self.plan.settle;
                self.state = State::Settling(step, until);
                Action::Wait(until)
            }
            (State::Settling(step, until), Event::Ticked { at }) => {
                if *at < until {
                    return Action::Wait(until);
                }
                let due = self.plan.next(0.0).unwrap_or_default();
                self.state = State::Watching { step, since: *at, due };
                Action::Begin
            }
            (State::Watching { step, since, due }, Event::Ticked { at }) => {
                if *at < since + due {
                    return Action::Wait(since + due);
                }
                self.state = State::Looking { step, since, due };
                Action::Look
            }
            (State::Looking { step, since, due }, Event::Judged { verdict, at }) => {
                self.judged(step, since, due.max(at - since), *verdict)
            }
            (State::Looking { step, since, due }, Event::Unanswered { at }) => {
                self.judged(step, since, due.max(at - since), Verdict::Inconclusive)
            }
            (State::Returning, Event::Proven { .. }) => self.end(End::Failed),
            (State::Returning, _) => Action::Back,
            (State::Shifting(step), _) => Action::Shift(step),
            (State::Settling(_, until), _) => Action::Wait(until),
            (State::Watching { since, due, .. }, _) => Action::Wait(since + due),
            (State::Looking { .. }, _) => Action::Look,
            (State::Ended(end), _) => Action::End(end),
        }
    }

    /// After a look that was `elapsed` into the window: by the plan's time, because what is subtracted again
    /// may be a hair less than what was added.
    fn judged(&mut self, step: usize, since: f64, elapsed: f64, verdict: Verdict) -> Action {
        match verdict {
            Verdict::Fail => self.back(),
            Verdict::Pass if elapsed >= self.plan.interval => {
                let step = step + 1;
                if step == self.plan.steps.len() {
                    return self.end(End::Passed);
                }
                self.state = State::Shifting(step);
                Action::Shift(step)
            }
            Verdict::Pass | Verdict::Inconclusive => match self.plan.next(elapsed) {
                Some(due) => {
                    self.state = State::Watching { step, since, due };
                    Action::Wait(since + due)
                }
                None => self.end(End::Held),
            },
        }
    }

    fn back(&mut self) -> Action {
        self.state = State::Returning;
        Action::Back
    }

    fn end(&mut self, end: End) -> Action {
        self.state = State::Ended(end);
        Action::End(end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan() -> Plan {
        Plan { steps: vec![10, 50, 100], interval: 60.0, max_wait: 120.0, settle: 10.0, every: 5.0 }
    }

    /// Goes through a run with what each look says, in a world where all else works.
    fn go(plan: &Plan, verdicts: &[Verdict], delay: f64) -> (Vec<Action>, u32) {
        let (mut course, mut action) = Course::begin(plan.clone(), 0);
        let (mut actions, mut at, mut looks) = (vec![action], 1000.0, 0);
        let mut verdicts = verdicts.iter().cycle();
        while !matches!(action, Action::End(_)) {
            assert!(actions.len() < 100_000, "it does not end");
            let event = match action {
                Action::Wait(until) => {
                    at = f64::max(at, until) + delay;
                    Event::Ticked { at }
                }
                Action::Begin => Event::Ticked { at },
                Action::Look => {
                    looks += 1;
                    at += delay;
                    Event::Judged { verdict: *verdicts.next().unwrap(), at }
                }
                _ => Event::Proven { at },
            };
            action = course.on(&event);
            actions.push(action);
        }
        (actions, looks)
    }

    fn of(actions: &[Action]) -> Vec<Action> {
        actions
            .iter()
            .copied()
            .filter(|a| matches!(a, Action::Shift(_) | Action::Back | Action::End(_)))
            .collect()
    }

    #[test]
    fn passes_go_up_to_the_end() {
        let (actions, _) = go(&plan(), &[Verdict::Pass], 0.0);
        let up = [Action::Shift(0), Action::Shift(1), Action::Shift(2), Action::End(End::Passed)];
        assert_eq!(of(&actions), up);
    }

    #[test]
    fn a_pass_before_the_interval_is_over_waits_for_it() {
        let (mut course, _) = Course::begin(plan(), 0);
        assert_eq!(course.on(&Event::Proven { at: 0.0 }), Action::Wait(10.0));
        assert_eq!(course.on(&Event::Ticked { at: 9.0 }), Action::Wait(10.0));
        assert_eq!(course.on(&Event::Ticked { at: 10.0 }), Action::Begin);
        assert_eq!(course.on(&Event::Ticked { at: 10.0 }), Action::Wait(15.0));
        assert_eq!(course.on(&Event::Ticked { at: 15.0 }), Action::Look);
        let judged = Event::Judged { verdict: Verdict::Pass, at: 15.0 };
        assert_eq!(course.on(&judged), Action::Wait(20.0));
        assert_eq!(course.left(20.0), Some((50.0, 170.0)));
    }

    #[test]
    fn nothing_proven_holds_in_the_end() {
        let (actions, looks) = go(&plan(), &[Verdict::Inconclusive], 0.0);
        assert_eq!(of(&actions), [Action::Shift(0), Action::End(End::Held)]);
        assert_eq!(looks, plan().looks());
    }

    #[test]
    fn the_way_back_is_not_left() {
        let (mut course, _) = Course::begin(plan(), 0);
        course.on(&Event::Proven { at: 0.0 });
        assert_eq!(course.on(&Event::Broken), Action::Back);
        assert_eq!(course.on(&Event::Interrupted), Action::Back);
        assert_eq!(course.on(&Event::Proven { at: 1.0 }), Action::End(End::Failed));
        assert_eq!(course.on(&Event::Ticked { at: 2.0 }), Action::End(End::Failed));
    }

    #[test]
    fn who_stops_leaves_the_weights() {
        for (event, end) in
            [(Event::Interrupted, End::Interrupted), (Event::Lost, End::Lost), (Event::Unwritten, End::Stuck)]
        {
            let (mut course, _) = Course::begin(plan(), 1);
            assert_eq!(course.on(&event), Action::End(end));
        }
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![
            6 => Just(Verdict::Pass),
            6 => Just(Verdict::Inconclusive),
            1 => Just(Verdict::Fail),
        ]
    }

    fn any_plan() -> impl Strategy<Value = Plan> {
        let times = (1.0..3600.0_f64, 0.0..7200.0_f64, 0.0..60.0_f64, 0.5..60.0_f64);
        (prop::collection::btree_set(1..=100_u32, 1..6), times).prop_map(
            |(steps, (interval, max_wait, settle, every))| Plan {
                steps: steps.into_iter().collect(),
                interval,
                max_wait,
                settle,
                every,
            },
        )
    }

    fn event() -> impl Strategy<Value = Event> {
        let at = 0.0..100_000.0_f64;
        prop_oneof![
            at.clone().prop_map(|at| Event::Proven { at }),
            (verdict(), at.clone()).prop_map(|(verdict, at)| Event::Judged { verdict, at }),
            at.clone().prop_map(|at| Event::Unanswered { at }),
            at.prop_map(|at| Event::Ticked { at }),
            Just(Event::Interrupted),
            Just(Event::Broken),
            Just(Event::Lost),
            Just(Event::Unwritten),
        ]
    }

    proptest! {
        /// Every run ends, within the looks that the chance of error was split over, however slow they are.
        #[test]
        fn it_ends_within_its_looks(
            plan in any_plan(),
            verdicts in prop::collection::vec(verdict(), 1..50),
            delay in 0.0..20.0_f64,
        ) {
            let (_, looks) = go(&plan, &verdicts, delay);
            let steps = u32::try_from(plan.steps.len()).unwrap();
            prop_assert!(looks <= plan.looks() * steps, "{looks}");
        }

        /// One step up for one pass, none after a fail; after a fail, back and nothing else.
        #[test]
        fn only_a_pass_leads_up(plan in any_plan(), verdicts in prop::collection::vec(verdict(), 1..50)) {
            let (actions, _) = go(&plan, &verdicts, 0.0);
            let moves = of(&actions);
            let mut next = 0;
            let mut is_back = false;
            for one in &moves {
                match one {
                    Action::Shift(step) => {
                        prop_assert!(!is_back);
                        prop_assert_eq!(*step, next);
                        next += 1;
                    }
                    Action::Back => is_back = true,
                    Action::End(end) => prop_assert_eq!(*end == End::Failed, is_back),
                    _ => {}
                }
            }
        }

        /// Whatever happens, in whatever order: never beyond the next step, and never up from the way back.
        #[test]
        fn no_order_of_events_skips_a_step(
            plan in any_plan(),
            events in prop::collection::vec(event(), 0..200),
        ) {
            let (mut course, first) = Course::begin(plan, 0);
            prop_assert_eq!(first, Action::Shift(0));
            let (mut highest, mut is_over) = (0, false);
            for event in &events {
                let is_pass = matches!(event, Event::Judged { verdict: Verdict::Pass, .. });
                match course.on(event) {
                    Action::Shift(step) => {
                        prop_assert!(!is_over);
                        prop_assert!(step == highest || (step == highest + 1 && is_pass));
                        highest = step;
                    }
                    Action::Back => is_over = true,
                    Action::End(_) => is_over = true,
                    _ => prop_assert!(!is_over),
                }
            }
        }
    }
}
