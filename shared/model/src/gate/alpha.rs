//! How much error the gate may make, over all of its looks.

/// The chance of a wrong verdict that is allowed over a whole run, and on how many looks it is spent.
///
/// Who looks often enough at a good canary sees it look bad once. The chance is therefore split evenly over
/// the planned looks (Bonferroni). That holds however looks depend on each other, as they do here, where
/// each sees the counts of the ones before; and every look has the same level, so that the number of requests
/// it needs can be said beforehand. Sequential designs (O'Brien-Fleming and others) need fewer requests, and
/// a schedule that an operator's pause would break.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alpha {
    /// The chance allowed in all, between 0 and 1.
    pub total: f64,
    /// Steps of the run.
    pub steps: u32,
    /// Looks at each step, at most.
    pub looks: u32,
}

impl Default for Alpha {
    /// 5 %, one look at one step.
    fn default() -> Self {
        Self { total: 0.05, steps: 1, looks: 1 }
    }
}

impl Alpha {
    /// The chance that one look may pass a version that is worse than the limit. A bad version must pass
    /// every step and every check of a look to get through, so that neither is a further chance.
    #[must_use]
    pub fn pass(&self) -> f64 {
        self.total / f64::from(self.looks.max(1))
    }

    /// The chance that one of `checks` checks of one look may fail a version that keeps to the limit. Each
    /// step, look and check is a chance.
    #[must_use]
    pub fn fail(&self, checks: u32) -> f64 {
        self.pass() / f64::from(self.steps.max(1)) / f64::from(checks.max(1))
    }
}
