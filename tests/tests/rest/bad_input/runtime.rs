//! Cases of what happens inside containers: logs, files, numbers, processes, jobs, events.

use serde_json::{Value, json};

use super::{Case, SECRET, Scene, tar};

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = reading(scene);
    cases.extend(files(scene));
    cases.extend(jobs(scene));
    cases
}

fn reading(scene: &Scene) -> Vec<Case> {
    let get = |name, container: &str, rest: &str| Case::new(name, "GET", scene.of(container, rest));
    let (running, created) = (&scene.running, &scene.created);
    let logs = |name, query: &str, field| get(name, running, &format!("/logs?{query}")).names(field);
    vec![
        get("logs: absent", "absent", "/logs").not_found(),
        logs("logs: unknown query key", "lines=1", "lines"),
        logs("logs: tail in words", "tail=few", "tail"),
        logs("logs: negative tail", "tail=-1", "tail"),
        logs("logs: since yesterday", "since=yesterday", "since"),
        logs("logs: since a month that is none", "since=2026-13-01T00:00:00Z", "since"),
        logs("logs: neither stream", "stdout=false&stderr=false", "stdout"),
        logs("logs: ends before it begins", "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "until"),
        logs("logs: follow in words", "follow=maybe", "follow"),
        get("stats: absent", "absent", "/stats").not_found(),
        get("stats: created", created, "/stats").conflict(),
        get("processes: absent", "absent", "/processes").not_found(),
        get("processes: created", created, "/processes").conflict(),
        get("processes: unknown query key", running, "/processes?ps_args=aux").names("ps_args"),
        get("export: absent", "absent", "/export").not_found(),
        Case::new("events: unknown query key", "GET", "/v1/events?colour=red").names("colour"),
        Case::new("events: since yesterday", "GET", "/v1/events?since=yesterday").names("since"),
        Case::new("events: made-up last id", "GET", "/v1/events").with("Last-Event-ID", "never seen"),
    ]
}

fn files(scene: &Scene) -> Vec<Case> {
    let get =
        |name, container: &str, query: &str| Case::new(name, "GET", scene.of(container, &format!("/files{query}")));
    let put = |name, path: &str, body: &[u8]| {
        Case::new(name, "PUT", scene.of(&scene.running, &format!("/files?path={path}")))
            .typed("application/x-tar", body)
    };
    let running = &scene.running;
    let good = tar("new-file", b"content");
    let mut lying = tar("new-file", b"content");
    // The size says more than there is.
    lying.truncate(512 + 3);
    let mut broken = good.clone();
    broken[148..156].copy_from_slice(b"0000000\0");
    vec![
        get("files: absent container", "absent", "?path=/etc").not_found(),
        get("files: no path", running, "").names("path"),
        get("files: empty path", running, "?path=").names("path"),
        get("files: relative path", running, "?path=etc").names("path"),
        get("files: path with NUL", running, "?path=/etc%00").names("path"),
        get("files: path of 5000 bytes", running, &format!("?path=/{}", "x".repeat(5000))).names("path"),
        get("files: path that is not UTF-8", running, "?path=/%ff"),
        get("files: absent path", running, "?path=/no/such/path").not_found(),
        get("files: path twice", running, "?path=/etc&path=/tmp").names("path"),
        get("files: unknown query key", running, "?path=/etc&recursive=1").names("recursive"),
        put("files: put into an absent directory", "/no/such/directory", &good).not_found(),
        put("files: put no archive", "/tmp", &b"This is no archive. ".repeat(100)),
        put("files: put an archive with a wrong sum", "/tmp", &broken),
        put("files: put an archive cut short", "/tmp", &lying),
        put("files: put by a relative path", "tmp", &good).names("path"),
        Case::new("files: put as text", "PUT", scene.of(running, "/files?path=/tmp"))
            .typed("text/plain", good.clone())
            .gives(415, "unsupported_media_type"),
        Case::new("files: put into an absent container", "PUT", scene.of("absent", "/files?path=/tmp"))
            .typed("application/x-tar", good)
            .not_found(),
    ]
}

fn jobs(scene: &Scene) -> Vec<Case> {
    let (running, created) = (&scene.running, &scene.created);
    let run = |name, body: Value| Case::new(name, "POST", scene.of(running, "/jobs")).json(&body);
    let on = |name, method, rest: &str| Case::new(name, method, format!("/v1/jobs/absent{rest}"));
    vec![
        Case::new("jobs: absent container", "POST", scene.of("absent", "/jobs"))
            .json(&json!({"command": ["true"]}))
            .not_found(),
        Case::new("jobs: created container", "POST", scene.of(created, "/jobs"))
            .json(&json!({"command": ["true"]}))
            .conflict(),
        Case::new("jobs: list of an absent container", "GET", scene.of("absent", "/jobs")).not_found(),
        run("jobs: no command", json!({})).names("command"),
        run("jobs: empty command", json!({"command": []})).names("command"),
        run("jobs: empty program", json!({"command": [""]})).names("command"),
        run("jobs: command is a string", json!({"command": "true"})).names("command"),
        run("jobs: command with NUL", json!({"command": ["a", "\u{0}"]})).names("command[1]"),
        run("jobs: unknown member", json!({"command": ["true"], "detach": true})).names("detach"),
        run("jobs: env name with =", json!({"command": ["true"], "env": {"A=": "b"}})).names("env"),
        run("jobs: env value of another type", json!({"command": ["true"], "env": {"TOKEN": [SECRET]}}))
            .names("env.TOKEN"),
        run("jobs: relative directory", json!({"command": ["true"], "working_directory": "x"}))
            .names("working_directory"),
        run("jobs: bad user", json!({"command": ["true"], "user": "a b"})).names("user"),
        run("jobs: size without terminal", json!({"command": ["true"], "terminal_size": {"columns": 80, "rows": 24}}))
            .names("terminal_size"),
        run("jobs: size is a list", json!({"command": ["true"], "tty": true, "terminal_size": [80, 24]}))
            .names("terminal_size"),
        run("jobs: a list", json!([["true"]])).names("body"),
        run("jobs: no columns", json!({"command": ["true"], "tty": true, "terminal_size": {"columns": 0, "rows": 24}}))
            .names("terminal_size.columns"),
        run(
            "jobs: 70000 rows",
            json!({"command": ["true"], "tty": true, "terminal_size": {"columns": 80, "rows": 70_000}}),
        )
        .names("terminal_size.rows"),
        run("jobs: no time", json!({"command": ["true"], "timeout_seconds": 0})).names("timeout_seconds"),
        run("jobs: tag of two words", json!({"command": ["true"], "tags": ["two words"]})).names("tags[0]"),
        on("jobs: absent", "GET", "").not_found(),
        on("jobs: end an absent one", "DELETE", "").not_found(),
        on("jobs: output of an absent one", "GET", "/output").not_found(),
        on("jobs: input for an absent one", "POST", "/stdin").typed("application/octet-stream", "x").not_found(),
        on("jobs: resize an absent one", "POST", "/resize").json(&json!({"columns": 80, "rows": 24})).not_found(),
        on("jobs: resize to nothing", "POST", "/resize").json(&json!({"columns": 0, "rows": 24})).names("columns"),
        on("jobs: wait in words", "GET", "?wait=long").names("wait"),
        on("jobs: unknown query key", "GET", "?colour=red").names("colour"),
        on("jobs: unknown signal", "DELETE", "?signal=SIGNOPE").names("signal"),
        Case::new("jobs: id that climbs", "GET", "/v1/jobs/..%2f..%2fhealthz"),
    ]
}
