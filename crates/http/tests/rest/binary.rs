//! The binary itself: its options, exit codes and signals.

use std::process::{Command, Output, Stdio};

fn roadstead(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roadstead"));
    // One key for all of them, and not this machine's.
    let key = std::env::temp_dir().join("roadstead-tests.key");
    command.args(arguments).env_clear().env("ROADSTEAD_KEY_FILE", key).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    roadstead(arguments).envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn options_win_over_environment_over_file_over_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roadstead.toml");
    std::fs::write(
        &file,
        "log = \"file\"\nmax_body_bytes = 1\nkeep_jobs_seconds = 1\n[nodes]\na = \"x://u:hunter2@h\"",
    )
    .unwrap();
    let output = run(
        &["serve", "--print-config", "--config", file.to_str().unwrap(), "--keep-jobs-seconds", "3"],
        &[("ROADSTEAD_MAX_BODY_BYTES", "2"), ("ROADSTEAD_KEEP_JOBS_SECONDS", "2")],
    );
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for line in ["log = \"file\"", "max_body_bytes = 2", "keep_jobs_seconds = 3", "request_timeout_seconds = 30"] {
        assert!(shown.contains(line), "{line} is missing in {shown}");
    }
    assert!(!shown.contains("hunter2"));
}

#[test]
fn wrong_input_exits_with_2_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.toml");
    std::fs::write(&file, "lisen = 1").unwrap();
    for (arguments, words) in [
        (vec!["serve", "--nope"], "--nope"),
        (vec!["serve", "--listen", "here"], "here"),
        (vec!["serve", "--listen", "0.0.0.0:1"], "tls_cert"),
        (vec!["serve", "--node", "x"], "NAME=URI"),
        (vec!["serve", "--node", "x=no uri"], "NAME=URI"),
        (vec!["serve", "--config", file.to_str().unwrap()], "lisen"),
        (vec!["serve", "--config", "/absent.toml"], "/absent.toml"),
        (vec!["serve", "--tls-cert", "/c.pem"], "tls_key"),
        (vec!["serve", "--log", "a=b=c"], "log"),
        (vec!["store", "copy", "sqlite:x.db", "sqlite:/y.db"], "FROM: uri"),
        (vec!["store", "copy", "sqlite:/y.db"], "<TO>"),
        (vec!["serve", "--check", "--alert", "busy=cpu > much for 1s"], "--alert: rule 1 (\"busy="),
    ] {
        let output = run(&arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(words), "{arguments:?}: {}", text(&output.stderr));
    }
    // What may hold a password is not repeated.
    for arguments in [
        ["--dialect", "copa=127.0.0.1:1,node_uri=lxd+https://u:se,hunter2@{host}"],
        ["--node", "a b=docker+https://u:hunter2@host"],
        ["--node", "docker+https://u:hunter2@host"],
        ["--store", "nothing://u:hunter2@host"],
    ] {
        let output = run(&arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!text(&output.stderr).contains("hunter2"), "{arguments:?}: {}", text(&output.stderr));
    }
    assert_eq!(run(&["--version"], &[]).status.code(), Some(0));
    let completions = run(&["completions", "bash"], &[]);
    assert!(completions.status.success() && text(&completions.stdout).contains("--state-dir"));
}

#[test]
fn check_connects_to_each_node() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().to_str().unwrap();
    let good = run(&["serve", "--check", "--state-dir", state, "--node", "a=memory:"], &[]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    assert!(text(&good.stdout).starts_with("a: ok"), "{}", text(&good.stdout));
    let bad =
        run(&["serve", "--check", "--state-dir", state, "--node", "a=memory:?nope=1", "--node", "b=memory:"], &[]);
    assert_eq!(bad.status.code(), Some(1));
    let lines: Vec<_> = text(&bad.stdout).lines().collect();
    assert!(lines[0].starts_with("a: failed") && lines[1].starts_with("b: ok"), "{lines:?}");
    // It may be added later, so this is no error.
    let file = directory.path().join("roadstead.toml");
    let rules = "[[alerts]]\nname = \"busy\"\nwhen = \"oom_kill\"\nnodes = [\"a\", \"aa\"]\n[nodes]\na = \"memory:\"\n";
    std::fs::write(&file, rules).unwrap();
    let warned = run(&["serve", "--check", "--state-dir", state, "--config", file.to_str().unwrap()], &[]);
    let lines: Vec<_> = text(&warned.stdout).lines().collect();
    assert_eq!((warned.status.code(), lines.len()), (Some(0), 2), "{lines:?}");
    assert!(lines[1].starts_with("warning: alerts[0].nodes: there is no node aa;"), "{lines:?}");
    let dialect = "--dialect=copa=127.0.0.1:1,image_node=aa,certificate=/absent.crt,key=/absent.key";
    let warned = run(&["serve", "--check", "--state-dir", state, "--node", "a=memory:", dialect], &[]);
    let lines: Vec<_> = text(&warned.stdout).lines().skip(1).collect();
    assert_eq!((warned.status.code(), lines.len()), (Some(0), 3), "{lines:?}");
    assert!(lines[0].starts_with("warning: dialects.copa.image_node: there is no node aa;"), "{lines:?}");
    assert!(lines[1].starts_with("warning: dialects.copa.certificate: cannot be read"), "{lines:?}");
}

#[test]
fn it_says_where_it_listens_and_ends_on_a_signal() {
    use std::io::{BufRead, BufReader};
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut child = roadstead(&["serve", "--listen", "127.0.0.1:0", "--node", "sea=memory:", "--log-format", "json"])
        .env("ROADSTEAD_STATE_DIR", &state)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let listens = lines.next().unwrap();
    assert!(listens.contains("http://127.0.0.1:"), "{listens}");
    let token = lines.next().unwrap();
    assert!(token.ends_with(state.join("admin.token").to_str().unwrap()), "{token}");
    let rest: Vec<String> = lines.by_ref().take(2).collect();
    assert!(rest[1].contains("nothing on it is real"), "{rest:?}");
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut log = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut log).unwrap();
    let secret = std::fs::read_to_string(state.join("admin.token")).unwrap();
    assert!(!log.contains(&secret), "the token is not logged");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn the_configuration_reference_is_whole_and_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let made = roadstead_http::cli::reference();
    if std::env::var_os("ROADSTEAD_BLESS").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), made, "run this test with ROADSTEAD_BLESS=1");
    // Every setting in effect has a flag, a variable and a key of the file.
    let effective = serde_json::to_value(roadstead_http::Config::default()).unwrap();
    let mut settings: Vec<_> = effective.as_object().unwrap().keys().cloned().collect();
    settings.extend(["tls_cert", "tls_key", "nodes"].map(str::to_owned));
    for setting in settings {
        assert!(made.contains(&format!("* file: `{setting}`")), "{setting} is missing");
        let error = roadstead_http::Layer::parse(&format!("{setting} = [{{}}]")).unwrap_err();
        assert!(!error.contains("unknown field"), "{setting}: {error}");
    }
    let keys = made.matches("* file: `").count();
    assert_eq!(made.matches("* default: ").count(), keys);
    assert_eq!(made.matches("* environment: `").count(), keys + 1, "all keys, and the file itself");
}
