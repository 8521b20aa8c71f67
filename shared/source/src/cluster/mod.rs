//! The live cluster as a source of a World.
//!
//! [`read`] lists the wanted kinds side by side, page by page, and keeps of every object only what
//! the model reads: the module `slim` says what, and why. Which cluster, and as whom, is a
//! [`Connection`]: kubectl's own flags as plain data, resolved the way kubectl resolves them.
//!
//! A [`Writer`] writes single changes and reads single objects whole. Nothing else writes, and Secrets
//! are never read.

mod client;
mod connection;
mod credentials;
mod discovery;
mod error;
mod kubeconfig;
mod list;
mod logs;
mod mesh_configuration;
mod page;
mod proxies;
mod proxy;
mod read;
mod request;
mod slim;
mod warnings;
mod write;

pub(crate) use client::connect_for_proxy;
pub use connection::Connection;
pub use error::{Error, Unreachable};
pub use kubeconfig::{contexts, default_namespace};
pub use logs::{Logs, Unread, read_logs};
pub use proxies::{Proxies, ProxyDump, ProxyOf, ResourcesOf};
pub(crate) use proxy::correct as correct_proxy;
pub use read::{Progress, Read, read};
pub(crate) use request::{Failure, Server};
pub use write::{FIELD_MANAGER, WriteError, Writer};
