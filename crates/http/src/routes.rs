//! The routes as the document of the API has them: what a request is, by its method and its path.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use actix_web::dev::{Path, ResourceDef};
use actix_web::http::Method;

use utoipa::openapi::RefOr;
use utoipa::openapi::path::{self, ParameterIn};

use crate::extract::percent_decode;
use crate::v1::openapi::openapi;

/// Reads that change something all the same: what is typed into an attached container runs there.
const CHANGING_READS: [&str; 1] = ["containers_attach"];

/// One operation of the document.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Its method.
    pub(crate) method: Method,
    /// Its id.
    pub(crate) id: String,
    /// The pattern of its path.
    pub(crate) pattern: String,
    /// The query keys that it has.
    pub(crate) query: BTreeSet<String>,
    /// Whether what it takes is a stream of bytes: an archive, standard input, a WebSocket.
    pub(crate) takes_stream: bool,
}

impl Operation {
    /// Whether it may change something.
    pub(crate) fn changes(&self) -> bool {
        changes(&self.method, &self.id)
    }
}

/// Whether an operation may change something.
pub(crate) fn changes(method: &Method, id: &str) -> bool {
    !method.is_safe() || CHANGING_READS.contains(&id)
}

/// Whether an operation takes a stream of bytes.
pub(crate) fn takes_stream(operation: &path::Operation) -> bool {
    let attached = operation.operation_id.as_deref().is_some_and(|id| CHANGING_READS.contains(&id));
    attached
        || match &operation.request_body {
            None => false,
            Some(RefOr::T(body)) => body.content.keys().any(|kind| kind != "application/json"),
            // None of ours is given elsewhere, and of what is not known nothing can be kept.
            Some(RefOr::Ref(_)) => true,
        }
}

#[derive(Debug)]
struct Route {
    path: ResourceDef,
    operations: Vec<Operation>,
}

fn table() -> &'static [Route] {
    static TABLE: OnceLock<Vec<Route>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let document = openapi();
        let paths = document.paths.paths.iter().map(|(pattern, item)| {
            let operations = [
                (Method::GET, &item.get),
                (Method::PUT, &item.put),
                (Method::POST, &item.post),
                (Method::DELETE, &item.delete),
            ];
            let operations = operations.into_iter().filter_map(|(method, operation)| {
                let operation = operation.as_ref()?;
                let id = operation.operation_id.clone().unwrap_or_default();
                let query = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
                    RefOr::T(parameter) if matches!(parameter.parameter_in, ParameterIn::Query) => {
                        Some(parameter.name.clone())
                    }
                    _ => None,
                });
                Some(Operation {
                    query: query.collect(),
                    pattern: pattern.clone(),
                    takes_stream: takes_stream(operation),
                    method,
                    id,
                })
            });
            Route { path: ResourceDef::new(pattern.as_str()), operations: operations.collect() }
        });
        paths.collect()
    })
}

/// The methods of a path, for people; none when there is no such path.
pub(crate) fn methods(path: &str) -> Option<String> {
    let route = table().iter().find(|route| route.path.is_match(path))?;
    let mut names = Vec::new();
    for operation in &route.operations {
        names.push(operation.method.as_str());
        if operation.method == Method::GET {
            names.push("HEAD");
        }
    }
    Some(names.join(", "))
}

/// The operation that takes a request, and the parameters of its path. The path must be the one that is routed by: a client can write
/// one path in many ways.
pub(crate) fn find(method: &Method, path: &str) -> Option<(&'static Operation, BTreeMap<String, String>)> {
    table().iter().find_map(|route| {
        let operation = route.operations.iter().find(|operation| operation.method == *method)?;
        let mut captured = Path::new(path);
        if !route.path.capture_match_info(&mut captured) {
            return None;
        }
        let parameters = captured.iter().map(|(name, value)| {
            // A plus is a plus in a path.
            let value = percent_decode(&value.replace('+', "%2B")).unwrap_or_else(|| value.to_owned());
            (name.to_owned(), value)
        });
        Some((operation, parameters.collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_by_method_and_path() {
        let (operation, target) = find(&Method::POST, "/v1/nodes/sea/containers/a%20+b/start").unwrap();
        assert_eq!((operation.id.as_str(), operation.takes_stream), ("containers_start", false));
        assert_eq!((target["node"].as_str(), target["container"].as_str()), ("sea", "a +b"));
        let (operation, _) = find(&Method::POST, "/v1/migrations/plan").unwrap();
        assert_eq!(operation.id, "migrations_plan");
        assert!(find(&Method::GET, "/v1/nodes/sea/containers/web/attach").unwrap().0.changes());
        assert!(find(&Method::PUT, "/v1/nodes/sea/containers/web/files").unwrap().0.takes_stream);
        assert!(!find(&Method::GET, "/v1/containers").unwrap().0.changes());
        assert!(find(&Method::DELETE, "/v1/containers").is_none() && find(&Method::POST, "/v2").is_none());
        assert_eq!(methods("/v1/pools/p").as_deref(), Some("GET, HEAD, PUT, DELETE"));
        assert_eq!(methods("/v1/nope"), None);
    }
}
