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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::client::Body;
    use mesh_model::object::Kind;
    use tower::service_fn;

    use super::*;
    use crate::cluster::warnings::Warnings;

    const PODS: List<'static> =
        List { items: Items { kind: Kind::Pod, api_version: "v1" }, namespace: Some("x") };

    /// A server with two pages, of which the second has expired so many times; and what it was asked.
    fn server(expirations: usize) -> (Server, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let left = Mutex::new(expirations);
        let answer = move |request: Request<Body>| {
            let uri = request.uri().to_string();
            let is_second = uri.contains("continue=");
            let mut left = left.lock().unwrap();
            let (code, body) = if is_second && *left > 0 {
                *left -= 1;
                (410, r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#.to_owned())
            } else {
                let next = if is_second || !uri.contains("limit=") { "" } else { "next+page=" };
                let name = if is_second { "b" } else { "a" };
                let item = format!(r#"{{"metadata":{{"namespace":"x","name":"{name}"}}}}"#);
                (200, format!(r#"{{"metadata":{{"continue":"{next}"}},"items":[{item}]}}"#))
            };
            log.lock().unwrap().push(uri);
            let response = Response::builder().status(code).body(Body::from(body.into_bytes())).unwrap();
            async move { Ok::<_, Infallible>(response) }
        };
        let client = kube::Client::new(service_fn(answer), "default");
        let server = Server { client, timeout: None, host: "h:1".into(), warnings: Warnings::default() };
        (server, asked)
    }

    async fn read(expirations: usize) -> (Vec<String>, Vec<String>) {
        let (server, asked) = server(expirations);
        let objects = PODS.read(&server, &mut |_| {}).await.unwrap();
        let asked = asked.lock().unwrap().clone();
        (objects.into_iter().map(|object| object.name).collect(), asked)
    }

    #[tokio::test]
    async fn pages_follow_the_token() {
        let (names, asked) = read(0).await;
        assert_eq!(names, ["a", "b"]);
        assert_eq!(
            asked,
            [
                "/api/v1/namespaces/x/pods?&limit=500",
                "/api/v1/namespaces/x/pods?&limit=500&continue=next%2Bpage%3D",
            ]
        );
    }

    #[tokio::test]
    async fn an_expired_list_is_read_again() {
        let (names, asked) = read(1).await;
        assert_eq!(names, ["a", "b"], "nothing twice");
        assert_eq!(asked.len(), 4);
    }

    #[tokio::test]
    async fn a_list_that_keeps_expiring_is_read_in_one_piece() {
        let (names, asked) = read(2).await;
        assert_eq!(names, ["a"]);
        assert_eq!(asked.last().unwrap(), "/api/v1/namespaces/x/pods?");
    }
}
