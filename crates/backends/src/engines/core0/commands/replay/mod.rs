//! Replay of captures of a real node, the client's side: for each command that was pushed there, the client makes the typed call
//! that belongs to it, which pushes an equal document, and understands the captured answer.
//!
//! What no typed call can say (other types, missing arguments, unknown commands) is pushed as it is, by
//! [`Commands::run`](super::Commands::run); what no client can send at all is told by name, with the reason. The file is
//! `tests/vectors/core0-transcripts.jsonl`, or the one that `ROADSTEAD_CORE0_TRANSCRIPTS` names.

mod calls;
mod connections;
mod files;
mod host;
mod ledis;
pub(in crate::engines::core0) mod narrow;
pub(in crate::engines::core0) mod node;
mod output;
mod proxy;
mod records;
mod results;
mod transcripts;
mod waits;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::time::timeout;

use roadstead_core::{Error, ErrorKind, Result};

use self::calls::{Call, Wanted};
use self::node::{Node, PATIENCE};
use self::transcripts::{Exchange, Likeness, compare};
use super::super::client::Client;
use super::super::{Command, Outcome, OutcomeState, Scope};
use super::{Commands, HostCommands};

/// Cases of our own file that are pushed as they are, and why.
const AS_THEY_ARE: &[(&str, &str)] = &[
    ("bad-arguments-type", "arguments that are no object are refused: a node crashes over some of them"),
    ("btrfs.subvol_create-rel", "the typed call refuses a relative path"),
    ("core.kill-gone", "no such command exists"),
    ("core.killall-gone", "no such command exists"),
    ("corex.create-badarg", "a flist that is a number"),
    ("corex.create-noroot", "the typed call refuses a container without a flist"),
    ("corex.dispatch-string", "a container's id that is text"),
    ("disk.spindown-range", "the typed call refuses a time that is too long"),
    ("dispatch.null-args", "arguments that are no object are refused: a node crashes over them"),
    ("duplicate-id while running", "an id of one's own, twice"),
    ("empty-id", "a command without an id is refused: a node drops it"),
    ("filesystem.open-rw", "a mode that there is not"),
    ("filesystem.write-badb64", "bytes that are no base64"),
    ("invalid-json", "no JSON: no client of ours writes such a document"),
    ("kvm.get-noargs", "neither a name nor an id"),
    ("no-arguments-null-joblist", "arguments that are no object are refused: a node crashes over them"),
    ("stream ok builtin", "the output of a built-in command, which typed calls do not ask for"),
    ("stream trailing", "its result was not captured, only that it was accepted"),
    ("unknown-command", "no such command exists"),
    ("web.download-noargs", "the typed call refuses a download without a URL"),
];

/// Cases of our own file in which no client of ours does anything, and why.
const NOT_SENT: &[(&str, &str)] = &[
    ("redis-proxy over TLS, no organization configured", "commands of Redis that are tried by hand on the proxy"),
    ("proxy-plain-tcp", "clear text to a port that speaks TLS: an address says which it is"),
    ("proxy-tls-info", "figures of a TLS connection"),
    ("redis-keyspace", "names of keys that are listed by hand"),
    ("statistics-queues", "lists of a node's own, which no command gives"),
];

/// Cases of our own file whose document ours equals but for these members, which say nothing; and why. Where it is a typed
/// call's, the same document is pushed as it is, too, and is equal then.
const LOOSE: &[(&str, &str, &str)] = &[
    ("aggregator.query-key", "-arguments.tags {}", "a typed call leaves out tags that nobody asks for"),
    ("bash", r#"-arguments.stdin """#, "a typed call leaves out an empty input, which the reference marks as optional"),
    (
        "bridge.create-br1",
        "-arguments.hwaddr null, -arguments.network.mode null, -arguments.network.nat false, -arguments.network.settings {}",
        "a typed call leaves out what a bridge has by itself",
    ),
    (
        "bridge.create-dnsmasq",
        "-arguments.network.nat false",
        "a typed call names address translation only where it is wanted",
    ),
    (
        "core.system-echo",
        r#"-arguments.dir "", -arguments.env null, -arguments.stdin """#,
        "a typed call leaves out what a program is not given; 23 other captures name no directory",
    ),
    ("core.system-stdin", "-arguments.args []", "a typed call leaves out an empty list of arguments"),
    (
        "corex.create",
        "-arguments.cgroups null, -arguments.host_network false, -arguments.identity null, -arguments.mount null, -arguments.privileged false, -arguments.storage null",
        "a typed call leaves out what a container has by itself",
    ),
    ("corex.create-hostnet", "-arguments.nics []", "a typed call leaves out an empty list of interfaces"),
    (
        "corex.dispatch-after-terminate",
        "+arguments.command.max_time null, +arguments.command.queue null, +arguments.command.stream false, +arguments.command.tags null",
        "it was written by hand: a typed call names what the reference client names, in the inner document, too",
    ),
    (
        "duplicate-id while running",
        "+max_time null, +queue null, +stream false, +tags null",
        "it was written by hand: every document of ours names what the reference client names",
    ),
    ("ip.bridge.add", "-arguments.hwaddr null", "a typed call leaves out an address that nobody chose"),
    ("ip.route.add", "-arguments.gw null", "a typed call leaves out a gateway that there is not"),
    ("ip.route.del", "-arguments.gw null", "a typed call leaves out a gateway that there is not"),
    (
        "minimal payload",
        "+arguments {}, +max_time null, +queue null, +stream false, +tags null",
        "it was written by hand, without arguments: the reference says always to send them",
    ),
    ("nft.open_port", "-arguments.interface null", "a typed call leaves out an interface that nobody names"),
    ("process.list-null", "-arguments.pid null", "a typed call for all processes names none"),
];

/// How a command was replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Typed,
    Raw,
    /// The client refuses it before it is sent.
    Refused,
    /// It is no document that a client could send.
    Unsendable,
}

/// What became of a case.
#[derive(Debug)]
struct Verdict {
    way: Way,
    call: String,
    words: String,
    /// Whether all is as it must be.
    good: bool,
    /// The members that say nothing, where only these differ.
    loose: Option<String>,
}

/// The captured command in parts; nothing for what is no command at all.
fn wanted(exchange: &Exchange) -> Option<(Scope, Wanted)> {
    let outer = exchange.document()?;
    let (scope, document) = match &exchange.dispatched {
        Some(_) => {
            let container = outer["arguments"]["container"].as_u64()?;
            (Scope::Container(container), outer["arguments"]["command"].clone())
        }
        None => (Scope::Host, outer),
    };
    let mut options = document.as_object()?.clone();
    for member in ["id", "command", "arguments"] {
        options.remove(member);
    }
    options.retain(|_, value| !matches!(value, Value::Null | Value::Bool(false)));
    let answer: Value = exchange.result.as_deref().map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
    let data = answer["data"].as_str().and_then(|data| serde_json::from_str(data).ok()).unwrap_or(Value::Null);
    let arguments = match document.get("arguments") {
        Some(Value::Object(members)) => members.clone(),
        _ => Map::new(),
    };
    Some((scope, Wanted { name: document["command"].as_str()?.to_owned(), arguments, options, data }))
}

/// The same command as it is; nothing where its members have types that ours cannot have.
fn raw(exchange: &Exchange, wanted: &Wanted) -> Option<Command> {
    let outer = exchange.document()?;
    let document = if exchange.dispatched.is_some() { outer["arguments"]["command"].clone() } else { outer };
    let mut command = calls::with_options(Command::new(wanted.name.clone(), ()), &wanted.options)?;
    command.arguments = document.get("arguments").cloned().unwrap_or_else(|| serde_json::json!({}));
    if let Some(id) = document.get("id").filter(|id| !id.is_null()) {
        command.id = id.as_str()?.to_owned();
    }
    Some(command)
}

/// Whether an error, or its absence, is what section 14.4 of the reference makes of the captured answer.
fn judged(answer: &Value, got: &Result<()>) -> std::result::Result<(), String> {
    let code = answer["code"].as_u64().unwrap_or(0);
    let text = answer["data"].as_str().unwrap_or_default();
    let missing = ["does not exist", "doesn't exist", "no container with id", "no such process"];
    let expected = match answer["state"].as_str().unwrap_or_default() {
        "SUCCESS" => None,
        "UNKNOWN_CMD" => Some(ErrorKind::Unsupported),
        "TIMEOUT" => Some(ErrorKind::DeadlineExceeded),
        _ if code == 404 || missing.iter().any(|words| text.contains(words)) => Some(ErrorKind::NotFound),
        _ if code == 400 => Some(ErrorKind::InvalidInput),
        _ if code == 412 => Some(ErrorKind::Conflict),
        _ if code == 503 => Some(ErrorKind::ResourceExhausted),
        _ if code == 999 => Some(ErrorKind::Cancelled),
        // The reference gives the others no kind: some failure it must be.
        _ => got.as_ref().err().map(Error::kind).or(Some(ErrorKind::Unexpected)),
    };
    let found = got.as_ref().err().map(Error::kind);
    if found == expected { Ok(()) } else { Err(format!("{found:?} instead of {expected:?}: {got:?}")) }
}

/// All that a raw outcome has, against the captured document.
fn same_outcome(outcome: &Outcome, answer: &Value) {
    let code = answer["code"].as_u64();
    assert_eq!((outcome.code.map(u64::from), u64::from(outcome.level)), (code, answer["level"].as_u64().unwrap_or(0)));
    assert_eq!(outcome.data, answer["data"].as_str().unwrap_or_default());
    let streams = answer["streams"]
        .as_array()
        .map(|streams| (streams[0].as_str().unwrap().to_owned(), streams[1].as_str().unwrap().to_owned()));
    assert_eq!(outcome.streams, streams);
    assert_eq!(outcome.critical, answer["critical"].as_str().unwrap_or_default());
    assert_eq!(outcome.container, answer["container"].as_u64().unwrap_or(0));
    assert_eq!(outcome.tags.len(), answer["tags"].as_array().map_or(0, Vec::len));
    assert_eq!(outcome.duration.as_millis(), u128::from(answer["time"].as_u64().unwrap_or(0)));
    assert_eq!(outcome.state == OutcomeState::UnknownCommand, answer["state"] == "UNKNOWN_CMD");
    if let Some(code) = code.filter(|code| *code > 1000) {
        assert_eq!(outcome.exit_code(), Some(i32::try_from(code - 1000).unwrap()));
    }
}

struct Replay {
    node: Node,
    client: Arc<Client>,
}

impl Replay {
    /// Makes a call, and gives what it pushed first and how it ended.
    async fn make(&self, exchange: &Exchange, call: Call) -> (Option<Value>, Result<()>) {
        self.node.expect(exchange);
        let got = timeout(PATIENCE, call).await.expect("the client waits for ever");
        (self.node.pushed().into_iter().next(), got)
    }

    async fn exchange(&self, exchange: &Exchange) -> Verdict {
        let Some((scope, wanted)) = wanted(exchange) else {
            let words = "no document".to_owned();
            return Verdict { way: Way::Unsendable, call: String::new(), words, good: true, loose: None };
        };
        let captured = exchange.document().unwrap();
        let answer: Value = exchange.result.as_deref().map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
        let host = HostCommands::new(Arc::clone(&self.client));
        let here = Commands::new(Arc::clone(&self.client), scope);
        let mut why = match (&exchange.result, exchange.accepted) {
            (Some(_), _) => "no typed call can say this".to_owned(),
            (None, true) => "its result was not captured".to_owned(),
            (None, false) => "it was dropped for what it is".to_owned(),
        };
        // What was dropped was dropped for what it was, its id among it; and without a result there is nothing typed.
        let plain = exchange.result.is_some() && !has_other_arguments(exchange);
        if let Some(call) = plain.then(|| calls::typed(&host, &here, &wanted)).flatten() {
            let (sent, got) = self.make(exchange, call).await;
            match sent.map(|sent| compare(&sent, &captured)) {
                Some(Likeness::Different(how)) => why = how,
                None => why = format!("the typed call refuses: {}", got.unwrap_err()),
                Some(likeness) => {
                    let judged = judged(&answer, &got);
                    let words = match (&judged, &got) {
                        (Err(words), _) => words.clone(),
                        (_, Ok(())) => "understood".to_owned(),
                        (_, Err(error)) => format!("{}", error.kind()),
                    };
                    let (words, good, loose) = match likeness {
                        Likeness::ButForNothing(members) => {
                            // What is left out in the typed document stands in the raw one.
                            let again = self.raw(exchange, &here, &wanted, &captured, &answer).await;
                            let words = format!("equal but for {members}, {words}; raw: {}", again.words);
                            (words, again.good, Some(members))
                        }
                        _ => (format!("equal, {words}"), true, None),
                    };
                    return Verdict { way: Way::Typed, call: wanted.name, words, good: good && judged.is_ok(), loose };
                }
            }
        }
        let mut verdict = self.raw(exchange, &here, &wanted, &captured, &answer).await;
        verdict.words = format!("{} ({why})", verdict.words);
        verdict
    }

    async fn raw(
        &self,
        exchange: &Exchange,
        here: &Commands,
        wanted: &Wanted,
        captured: &Value,
        answer: &Value,
    ) -> Verdict {
        let name = wanted.name.clone();
        let verdict = |way, words: String, good| Verdict { way, call: name.clone(), words, good, loose: None };
        let Some(command) = raw(exchange, wanted) else {
            return verdict(Way::Unsendable, "its members have other types".to_owned(), true);
        };
        for key in ["", ":flag"] {
            let _: i64 = self.node.ask(&["DEL", &format!("result:{}{key}", command.id)]).await;
        }
        let (expected, here) = (answer.clone(), here.clone());
        let only_accepted = exchange.accepted && exchange.result.is_none();
        let client = Arc::clone(&self.client);
        let call = Box::pin(async move {
            if only_accepted {
                return client.push(here.scope(), &command).await.map(drop);
            }
            let outcome = here.run(&command).await?;
            same_outcome(&outcome, &expected);
            outcome.check()
        });
        let (sent, got) = self.make(exchange, call).await;
        let Some(sent) = sent else {
            // A node answers such a command with a crash of its own, or not at all; its answer is understood nevertheless.
            let error = got.unwrap_err();
            let outcome = exchange.result.as_deref().map(|text| Outcome::parse(text.as_bytes()).unwrap());
            let understood = outcome.is_none_or(|outcome| judged(answer, &outcome.check()).is_ok());
            let good = error.kind() == ErrorKind::InvalidInput && understood;
            return verdict(Way::Refused, format!("before it is sent: {error}"), good);
        };
        let likeness = compare(&sent, captured);
        let words = match &likeness {
            Likeness::Equal => "equal",
            Likeness::ButForNothing(members) => &format!("equal but for {members}"),
            Likeness::Different(how) => how,
        };
        if only_accepted {
            return verdict(Way::Raw, format!("{words}, accepted"), got.is_ok() && likeness == Likeness::Equal);
        }
        if exchange.result.is_none() {
            let dropped = got.as_ref().err().is_some_and(|error| error.context().any(|(key, _)| key == "dropped"));
            let told = got.map_or_else(|error| error.to_string(), |()| "answered".to_owned());
            return Verdict {
                loose: likeness.loose(),
                ..verdict(Way::Raw, format!("{words}, dropped: {told}"), dropped)
            };
        }
        let (end, good) = match judged(answer, &got) {
            Ok(()) => {
                let end = got.err().map_or_else(|| "understood".to_owned(), |error| error.kind().to_string());
                (end, !matches!(likeness, Likeness::Different(_)))
            }
            Err(end) => (end, false),
        };
        Verdict { loose: likeness.loose(), ..verdict(Way::Raw, format!("{words}, {end}"), good) }
    }
}

/// Arguments that are no object, which a node answers with a crash (section 5.4).
fn has_other_arguments(exchange: &Exchange) -> bool {
    let document = exchange.document().unwrap();
    let place = if exchange.dispatched.is_some() { "/arguments/command/arguments" } else { "/arguments" };
    document.pointer(place).is_some_and(|arguments| !arguments.is_object())
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stdout, reason = "the table")]
async fn every_capture_is_pushed_equally_and_understood() {
    let (transcripts, own) = transcripts::load();
    let node = Node::start().await;
    let replay = Replay { client: node.client(), node };
    let mut table = String::new();
    let (mut bad, mut counts) = (Vec::new(), [0_usize; 5]);
    for transcript in &transcripts {
        let case = &transcript.case;
        let mut verdicts = Vec::new();
        for exchange in &transcript.exchanges {
            verdicts.push(replay.exchange(exchange).await);
        }
        let waited = waits::waits(&replay, &transcript.whole).await;
        let known = |list: &[(&str, &'static str)]| list.iter().find(|(name, _)| name == case).map(|(_, why)| *why);
        for verdict in &verdicts {
            counts[verdict.way as usize] += 1;
            let _ = writeln!(table, "{case} | {:?} {} | {}", verdict.way, verdict.call, verdict.words);
            if !verdict.good {
                bad.push(format!("{case}: {}", verdict.words));
            }
            if own && verdict.way != Way::Typed && known(AS_THEY_ARE).is_none() {
                bad.push(format!("{case}: {:?}, which is not named: {}", verdict.way, verdict.words));
            }
        }
        let named = LOOSE.iter().find(|(name, ..)| name == case).map(|(_, members, _)| *members);
        let loose: BTreeSet<&str> = verdicts.iter().filter_map(|verdict| verdict.loose.as_deref()).collect();
        if own && loose != named.into_iter().collect() {
            bad.push(format!("{case}: {loose:?} differ, and {named:?} is named"));
        }
        for words in &waited {
            let _ = writeln!(table, "{case} | waits | {words}");
        }
        if verdicts.is_empty() && waited.is_empty() {
            counts[4] += 1;
            let why = known(NOT_SENT).unwrap_or("no command, no result");
            let _ = writeln!(table, "{case} | nothing | {why}");
            if own && known(NOT_SENT).is_none() {
                bad.push(format!("{case}: nothing is replayed, which is not named"));
            }
        }
    }
    for (case, ..) in LOOSE.iter().filter(|_| own) {
        if !transcripts.iter().any(|transcript| transcript.case == *case) {
            bad.push(format!("{case}: is named, and no case"));
        }
    }
    let [typed, raw, refused, unsendable, nothing] = counts;
    let total = transcripts.len();
    println!(
        "{table}\n{total} cases: commands {typed} typed, {raw} raw, {refused} refused, {unsendable} unsendable; {nothing} cases without any"
    );
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
