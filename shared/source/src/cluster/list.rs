//! One kind's list, page by page.

use kube::api::ListParams;
use mesh_model::object::Object;

use super::Error;
use super::page::Items;
use super::request::{Failure, Server};

/// kubectl's own page size.
const PAGE: u32 = 500;

/// What to list.
pub(crate) struct List<'a> {
    /// The kind.
    pub(crate) items: Items<'a>,
    /// The only namespace; `None` for the whole cluster.
    pub(crate) namespace: Option<&'a str>,
}

impl List<'_> {
    /// Reads all pages; `seen` learns after each how many objects there are so far.
    ///
    /// A list that is read too slowly expires (410): then it is read again from the start, and if
    /// that expires too, in one piece, as kubectl does.
    pub(crate) async fn read(
        &self,
        server: &Server,
        seen: &mut impl FnMut(usize),
    ) -> Result<Vec<Object>, Failure> {
        for limit in [Some(PAGE), Some(PAGE), None] {
            match self.attempt(server, limit, seen).await {
                Err(Failure::Expired) => {}
                other => return other,
            }
        }
        Err(Error::Server {
            reason: "Expired".into(),
            message: format!("the list of {} changed faster than it could be read", self.items.kind.plural()),
        }
        .into())
    }

    async fn attempt(
        &self,
        server: &Server,
        limit: Option<u32>,
        seen: &mut impl FnMut(usize),
    ) -> Result<Vec<Object>, Failure> {
        let path = collection(self.items, self.namespace);
        let requests = kube::core::Request::new(path.clone());
        let mut parameters = ListParams { limit, ..ListParams::default() };
        let mut objects = Vec::new();
        loop {
            let request = requests
                .list(&parameters)
                .map_err(|error| Error::Configuration { reason: error.to_string() })?;
            let bytes = server.send(request).await?;
            let next = self
                .items
                .read_page(&bytes, &mut objects)
                .map_err(|error| Error::Answer { path: path.clone(), reason: error.to_string() })?;
            seen(objects.len());
            match next {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(objects),
            }
        }
    }
}

/// The path of a collection.
pub(crate) fn collection(items: Items<'_>, namespace: Option<&str>) -> String {
    let root = if items.api_version.contains('/') { "/apis" } else { "/api" };
    let plural = items.kind.plural();
    match namespace {
        Some(namespace) => format!("{root}/{}/namespaces/{namespace}/{plural}", items.api_version),
        None => format!("{root}/{}/{plural}", items.api_version),
    }
}

/// Reads a single object; `None` if there is none.
pub(crate) async fn read_one(
    server: &Server,
    items: Items<'_>,
    namespace: Option<&str>,
    name: &str,
) -> Result<Option<Object>, Failure> {
    let path = format!("{}/{name}", collection(items, namespace));
    let bytes = match server.get(&path).await {
        Ok(bytes) => bytes,
        Err(Failure::Absent) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    items.read_object(&bytes).map_err(|error| Error::Answer { path, reason: error.to_string() }.into())
}
