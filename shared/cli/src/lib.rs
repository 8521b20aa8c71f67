//! How a plugin talks with a person.
//!
//! A plugin's `main` gives its command line to [`run`](run::run); a command gets a
//! [`Ui`] and its arguments, and returns an [`Exit`] or a [`Failure`]. Nothing is printed in any
//! other way.

pub mod confirm;
pub mod connection;
pub mod diff;
pub mod dry_run;
pub mod failure;
pub mod help;
pub mod interrupt;
pub mod layout;
pub mod live;
pub mod output;
pub mod plan;
pub mod run;
pub mod snippet;
pub mod source;
pub mod table;
pub mod terminal;
pub mod text;
pub mod words;

pub use dry_run::{DryRun, DryRunArgs};
pub use failure::{Exit, Failure};
pub use output::Output;
pub use run::run;
pub use source::{Loaded, SourceArgs};
pub use table::Table;
pub use terminal::Ui;
