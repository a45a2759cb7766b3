//! The processes of a container as typed values: from `/proc` where the daemon is on this machine, otherwise from the
//! daemon's `top`, whose columns are chosen so that they can be told apart.

use std::collections::HashMap;

use roadstead_core::{Error, ErrorKind, Process, ProcessState, Result, Timestamp};
use serde::Deserialize;

use super::client::Client;
use super::inspect;
use super::request::Request;
use super::stats::{cgroup, ended};

/// The ways to ask, best first; a daemon refuses those that it does not know. Podman has words of its own, and only
/// with them tells pids as the node counts. The second is what `ps` of procps takes, the third any `ps`.
const WAYS: [Option<&str>; 3] = [
    Some("hpid,pid,ppid,user,state,time,rss,vsz,comm,args"),
    Some("-o pid,ppid,user:32,stat,cputimes,rss,vsz,etimes,nlwp,args"),
    None,
];

/// C170, C171.
pub(super) async fn processes(client: &Client, id: &str) -> Result<Vec<Process>> {
    let inspected = inspect::inspect(client, id).await?;
    inspected.must_have_processes()?;
    if let Some(cgroup) = cgroup(client, &inspected) {
        return cgroup.processes().map_err(ended);
    }
    let mut last = None;
    for way in WAYS {
        let request = Request::get(&format!("/containers/{id}/top")).query_some("ps_args", way);
        match request.bytes(client).await {
            Ok(body) => {
                let found = serde_json::from_slice::<Top>(&body).map(|top| parse(&top, Timestamp::now()));
                if let Ok(Some(processes)) = found {
                    return Ok(processes);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::InvalidInput) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    // Nothing that can be read, in any way, is also what is left of a container that has just ended.
    inspect::inspect(client, id).await?.must_have_processes()?;
    Err(last.unwrap_or_else(not_told))
}

fn not_told() -> Error {
    Error::new(ErrorKind::Unexpected, "the engine's list of processes cannot be read")
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Top {
    titles: Option<Vec<String>>,
    processes: Option<Vec<Vec<String>>>,
}

/// `None` when there is no process, or no column of pids.
fn parse(top: &Top, now: Timestamp) -> Option<Vec<Process>> {
    let titles = words(top.titles.as_deref()?, usize::MAX);
    let column = |names: &[&str]| titles.iter().position(|title| names.contains(&title.as_str()));
    let pid = column(&["HPID", "PID"])?;
    // Where both are told, parents are in the container's own numbers.
    let inner = column(&["HPID"]).and_then(|_| column(&["PID"]));
    let ppid = column(&["PPID"]);
    let rows: Vec<Vec<String>> = top.processes.iter().flatten().map(|row| words(row, titles.len())).collect();
    let number = |row: &[String], at: Option<usize>| row.get(at?)?.parse::<u32>().ok();
    let outer: HashMap<u32, u32> =
        rows.iter().filter_map(|row| Some((number(row, inner)?, number(row, Some(pid))?))).collect();
    let (user, state) = (column(&["USER", "UID"]), column(&["STAT", "STATE", "S"]));
    let (time, rss, vsz) = (column(&["TIME", "TIME+"]), column(&["RSS"]), column(&["VSZ"]));
    let (elapsed, threads) = (column(&["ELAPSED"]), column(&["NLWP"]));
    // The line of the command is the last column; Podman's short name before it has the same title.
    let line = titles.len().checked_sub(1)?;
    let short = column(&["COMMAND", "CMD"]).filter(|at| *at != line);
    let mut processes: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let text = |at: Option<usize>| row.get(at?).map(String::as_str);
            let kib = |at| text(at)?.parse::<u64>().ok()?.checked_mul(1024);
            let mut process = Process::default();
            process.pid = number(row, Some(pid))?;
            let parent = number(row, ppid).unwrap_or(0);
            process.ppid = if inner.is_some() { outer.get(&parent).copied().unwrap_or(0) } else { parent };
            process.user = text(user).unwrap_or_default().to_owned();
            process.state =
                text(state).and_then(|word| word.chars().next()).map(ProcessState::from_letter).unwrap_or_default();
            process.cpu_seconds = text(time).and_then(duration).unwrap_or(0.0);
            process.rss_bytes = kib(rss);
            process.vms_bytes = kib(vsz);
            process.started_at = text(elapsed).and_then(|seconds| started(now, seconds.parse().ok()?));
            process.threads = number(row, threads);
            let command = text(Some(line)).unwrap_or_default();
            process.name = text(short).map(str::to_owned).unwrap_or_else(|| short_name(command));
            process.cmdline = if process.state == ProcessState::Zombie || command.is_empty() {
                Vec::new()
            } else {
                vec![command.to_owned()]
            };
            Some(process)
        })
        .collect();
    processes.sort_by_key(|process| process.pid);
    (!processes.is_empty()).then_some(processes)
}

/// Some daemons give a row as one string.
fn words(row: &[String], columns: usize) -> Vec<String> {
    match row {
        [line] if columns > 1 => {
            let mut words: Vec<String> = Vec::new();
            let mut rest = line.trim();
            while !rest.is_empty() {
                let last = words.len() + 1 == columns;
                let end = if last { rest.len() } else { rest.find(char::is_whitespace).unwrap_or(rest.len()) };
                let (word, after) = rest.split_at(end);
                words.push(word.to_owned());
                rest = after.trim_start();
            }
            words
        }
        row => row.to_vec(),
    }
}

fn started(now: Timestamp, elapsed_seconds: u32) -> Option<Timestamp> {
    Timestamp::from_unix_seconds(now.unix_seconds().checked_sub(elapsed_seconds.into())?)
}

/// The program's file name, as the kernel would cut it.
fn short_name(command: &str) -> String {
    let program = command.split_whitespace().next().unwrap_or_default().trim_matches(['[', ']']);
    let name = program.rsplit('/').next().unwrap_or_default();
    name.chars().take(15).collect()
}

/// Seconds, `[days-]hours:minutes:seconds`, or a duration as Go writes it (`1m2.5s`).
fn duration(text: &str) -> Option<f64> {
    if text.contains(':') {
        let (days, clock) = text.split_once('-').unwrap_or(("0", text));
        let clock = clock.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))?;
        return Some(days.parse::<f64>().ok()? * 86_400.0 + clock);
    }
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let mut sum = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, unit) = rest.split_at(end);
        let value: f64 = value.parse().ok()?;
        let next = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, after) = unit.split_at(next);
        sum += value
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "µs" | "us" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Vec<Process>> {
        parse(&serde_json::from_str(json).unwrap(), Timestamp::from_unix_seconds(1000).unwrap())
    }

    #[test]
    fn columns_of_procps() {
        let processes = read(
            r#"{"Titles":["PID","PPID","USER","STAT","TIME","RSS","VSZ","ELAPSED","NLWP","COMMAND"],
            "Processes":[["20","10","www","S<l","61","4","8","100","3","/usr/sbin/averylongprogramname -g daemon off;"],
                         ["10","1","root","Zs","0","0","0","-","1","[sh] <defunct>"]]}"#,
        )
        .unwrap();
        let [zombie, web] = processes.as_slice() else { panic!() };
        assert_eq!((web.pid, web.ppid, web.user.as_str(), web.state), (20, 10, "www", ProcessState::Sleeping));
        assert_eq!((web.rss_bytes, web.vms_bytes, web.threads), (Some(4096), Some(8192), Some(3)));
        assert_eq!(web.started_at.unwrap().unix_seconds(), 900);
        assert_eq!((web.name.as_str(), web.cmdline.len()), ("averylongprogra", 1));
        assert_eq!((zombie.name.as_str(), zombie.cmdline.len(), zombie.started_at), ("sh", 0, None));
    }

    #[test]
    fn podmans_own_columns_give_pids_as_the_node_counts() {
        let processes = read(
            r#"{"Titles":["HPID","PID","PPID","USER","STATE","TIME","RSS","VSZ","COMMAND","COMMAND"],
            "Processes":[["19874","1","0","1000","S","0s","684","1012","podman-init","/run/podman-init -- sh -c sleep"],
                         ["19880","7","1","1000","S","1.5s","1384","2268","sleep","sleep 300"]]}"#,
        )
        .unwrap();
        assert_eq!((processes[0].pid, processes[0].ppid), (19874, 0));
        assert_eq!((processes[1].pid, processes[1].ppid, processes[1].name.as_str()), (19880, 19874, "sleep"));
        assert!((processes[1].cpu_seconds - 1.5).abs() < 1e-9);
    }

    #[test]
    fn any_other_ps_is_read_as_far_as_it_goes() {
        let processes = read(
            r#"{"Titles":["UID","PID","PPID","C","STIME","TTY","TIME","CMD"],
            "Processes":[["root","17391","17371","0","07:35","?","00:01:02","sleep 300"]]}"#,
        )
        .unwrap();
        assert_eq!((processes[0].pid, processes[0].cpu_seconds, processes[0].rss_bytes), (17391, 62.0, None));
        let lines =
            read(r#"{"Titles":["PID   USER     COMMAND"],"Processes":[["    7 1000     sleep 300"]]}"#).unwrap();
        assert_eq!((lines[0].pid, lines[0].user.as_str(), lines[0].cmdline[0].as_str()), (7, "1000", "sleep 300"));
        for nothing in ["{}", r#"{"Titles":["X"],"Processes":[["1"]]}"#, r#"{"Titles":["PID","CMD"],"Processes":null}"#]
        {
            assert!(read(nothing).is_none(), "{nothing}");
        }
    }

    #[test]
    fn times_in_every_spelling() {
        for (text, seconds) in [
            ("7", Some(7.0)),
            ("00:00:03", Some(3.0)),
            ("1-02:03:04", Some(93_784.0)),
            ("0s", Some(0.0)),
            ("1h2m3.5s", Some(3723.5)),
            ("250ms", Some(0.25)),
            ("", Some(0.0)),
            ("soon", None),
            ("3x", None),
        ] {
            assert_eq!(duration(text), seconds, "{text}");
        }
    }
}
