//! How the pages look: plain HTML without scripts, in which every word of a caller or an engine is escaped.

use maud::{DOCTYPE, Markup, html};
use roadstead_core::{ContainerState, ContainerSummary};
use serde_json::Value;

/// The containers of a pool, or why they are not told.
pub(super) struct Rows {
    pub(super) pool: String,
    pub(super) containers: Result<Vec<ContainerSummary>, String>,
}

/// What a button would do.
pub(super) struct Deed<'a> {
    pub(super) verb: &'a str,
    pub(super) container: &'a str,
    pub(super) from: &'a str,
    pub(super) to: Option<&'a str>,
}

fn page(up: &str, title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { "COPA: " (title) } }
            body {
                p {
                    a href={ (up) "core/welcome/" } { "Welcome" } " "
                    a href={ (up) "core/containers_list/" } { "Containers" } " "
                    a href={ (up) "core/containers_list/new/" } { "New container" }
                }
                h1 { (title) }
                (content)
            }
        }
    }
}

pub(super) fn welcome(up: &str) -> Markup {
    page(up, "Container Orchestration and Provisioning Architecture", &html! { p { "Served by Roadstead." } })
}

/// A word as a part of a path.
fn part(word: &str) -> String {
    form_urlencoded::byte_serialize(word.as_bytes()).collect::<String>().replace('+', "%20")
}

fn verbs(state: ContainerState) -> &'static [&'static str] {
    match state {
        ContainerState::Running => &["freeze", "stop", "console", "info"],
        ContainerState::Frozen => &["unfreeze", "stop", "info"],
        ContainerState::Created | ContainerState::Stopped => &["start", "delete", "info"],
        _ => &["info"],
    }
}

pub(super) fn containers(up: &str, rows: &[Rows], alert: Option<&str>) -> Markup {
    let others =
        |pool: &str| rows.iter().map(|rows| rows.pool.clone()).filter(|other| other != pool).collect::<Vec<_>>();
    let content = html! {
        @if let Some(alert) = alert { p role="alert" { strong { (alert) } } }
        @for rows in rows {
            h2 { (rows.pool) }
            @match &rows.containers {
                Err(why) => p { "not told: " (why) },
                Ok(containers) => table {
                    thead { tr { th { "name" } th { "state" } th { "image" } th { "actions" } } }
                    tbody {
                        @for container in containers {
                            tr {
                                td { (container.name) }
                                td { (container.state) }
                                td { (container.image) }
                                td {
                                    @let end = format!("{}/{}", part(&rows.pool), part(&container.name));
                                    @for verb in verbs(container.state) {
                                        a href={ (up) "core/containers_list/" (verb) "/" (end) } { (verb) } " "
                                    }
                                    @for other in others(&rows.pool) {
                                        a href={ (up) "core/containers_list/migrate/" (end) "/" (part(&other)) } { "migrate to " (other) } " "
                                    }
                                }
                            }
                        }
                    }
                },
            }
        }
    };
    page(up, "Containers", &content)
}

pub(super) fn confirm(up: &str, deed: &Deed<'_>) -> Markup {
    let content = html! {
        p {
            (deed.verb) " the container " strong { (deed.container) } " of " (deed.from)
            @if let Some(to) = deed.to { " to " (to) }
            "?"
        }
        // Where it is: the same path is what does it.
        form method="post" { button { (deed.verb) } }
    };
    page(up, "Are you sure?", &content)
}

pub(super) fn information(up: &str, pool: &str, container: &str, state: &Value) -> Markup {
    let text = serde_json::to_string_pretty(state).unwrap_or_default();
    page(up, "Information", &html! { h2 { (container) " of " (pool) } pre { (text) } })
}

pub(super) fn console(up: &str, node: &str, id: &str) -> Markup {
    let path = format!("/v1/nodes/{}/containers/{}/jobs", part(node), part(id));
    let content = html! {
        p { "A terminal is not served here: the old one ran a shell with the rights of the server for everybody." }
        p { "With the admin token, " code { "POST " (path) } " with " code { r#"{"command":["bash"],"tty":true,"stdin":true}"# } " begins one." }
    };
    page(up, "Console", &content)
}

pub(super) fn new(up: &str, pools: &[String], images: &[&str]) -> Markup {
    let content = html! {
        form method="post" action={ (up) "core/containers_list/add/" } {
            p { label { "name " input name="name" required; } }
            p { label { "server " select name="server" { @for pool in pools { option { (pool) } } } } }
            p { label { "image " select name="image" { @for image in images { option { (image) } } } } }
            p { label { "profile (not looked at) " input name="profile"; } }
            p { label { "wait " input type="checkbox" name="wait" checked; } }
            button { "create" }
        }
    };
    page(up, "New container", &content)
}

pub(super) fn refused(up: &str, words: &str) -> Markup {
    page(up, "Refused", &html! { p role="alert" { strong { (words) } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_text() {
        let mut container = ContainerSummary::default();
        container.name = "<script>alert(1)</script>".to_owned();
        container.image = "\"><img src=x>".to_owned();
        let rows = [
            Rows { pool: "a/b?c".to_owned(), containers: Ok(vec![container]) },
            Rows { pool: "p".to_owned(), containers: Err("<b>".to_owned()) },
        ];
        let page = containers("../", &rows, Some("<i>")).into_string();
        for tag in ["<script", "<img", "<b>", "<i>", "a/b?c/"] {
            assert!(!page.contains(tag), "{tag} in {page}");
        }
        assert!(page.contains("a%2Fb%3Fc/%3Cscript%3E"), "{page}");
    }
}
