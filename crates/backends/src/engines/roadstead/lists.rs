//! Lists of a server, page by page, and their items under the name that the node has here.

use roadstead_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem;
use super::request::Request;
use super::shared::Remote;
use super::wire;

/// A list in more pages than these has no end.
const PAGES_MAX: usize = 10_000;

#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    #[serde(default)]
    errors: Vec<Value>,
    #[serde(default)]
    next: Option<String>,
}

/// Every item of the list at `path`, which `ask` narrows.
pub(super) async fn all(remote: &Remote, path: &[&str], ask: impl Fn(Request) -> Request) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let page: Page = ask(Request::get(path)).query_some("cursor", cursor.as_deref()).json(remote).await?;
        items.extend(page.items);
        match page.next {
            // The lists of nodes have an error for each node that is away; it is the node that this is about.
            None if path.len() > 1 && !page.errors.is_empty() => {
                let told = page.errors.first().map(|error| problem::from_document(503, error));
                return Err(told.unwrap_or_else(|| Error::new(ErrorKind::Unexpected, "an error without words")));
            }
            None => return Ok(items),
            next if next == cursor => break,
            next => cursor = next,
        }
    }
    Err(Error::new(ErrorKind::Unexpected, "the server's list does not end"))
}

/// Every item of a list of the node.
pub(super) async fn items<T: DeserializeOwned>(
    remote: &Remote,
    rest: &[&str],
    ask: impl Fn(Request) -> Request,
) -> Result<Vec<T>> {
    let items = all(remote, &remote.path(rest), ask).await?;
    items.into_iter().map(|item| wire::item(remote, item)).collect()
}

#[derive(Deserialize)]
struct Items {
    items: Vec<Value>,
}

/// Every item of a short list, which has no pages.
pub(super) async fn short<T: DeserializeOwned>(remote: &Remote, path: &[&str]) -> Result<Vec<T>> {
    let list: Items = Request::get(path).json(remote).await?;
    list.items.into_iter().map(|item| wire::item(remote, item)).collect()
}
