//! How a plugin talks with a person.
//!
//! A plugin's `main` gives its command line to [`run`](run::run); a command gets a
//! [`Ui`] and its arguments, and returns an [`Exit`] or a [`Failure`]. Nothing is printed in any
//! other way.

pub mod connection;
pub mod failure;
pub mod help;
pub mod output;
pub mod run;
pub mod snippet;
pub mod source;
pub mod table;
pub mod terminal;
pub mod text;

pub use failure::{Exit, Failure};
pub use output::Output;
pub use run::run;
pub use source::{Loaded, SourceArgs};
pub use table::Table;
pub use terminal::Ui;
