//! Each view, with the strings, members and numbers that clients know.

use roadstead_tests::{Answer, ServerOptions};
use serde_json::{Value, json};

use crate::{Copa, LINK, encoded, link, options, speaking, with};

const COMMAND: [(&str, &str); 5] =
    [("locus", "server1"), ("cmd", "move left"), ("cmd_type", "g"), ("proc_time", "12.5"), ("response_time", "30")];
const RESOURCE: [(&str, &str); 3] = [("locus", "server1"), ("CPU", "12.5"), ("memory", "40")];

fn station(locus: &str, mac: &str) -> Value {
    json!({
        "locus": locus, "mac": mac, "mfb": true, "tdls": false, "wmm": true, "authenticated": true,
        "authorized": "yes", "expected_throughput": "32.1Mbps", "inactive_time": "304 ms", "preamble": "short",
        "rx_bitrate": "65.0 MBit/s MCS 7", "rx_bytes": 1000, "rx_packets": "10", "signal": "-41 dBm",
        "signal_avg": "-42 dBm", "tx_bitrate": "72.2 MBit/s MCS 7 short GI", "tx_bytes": 5_000_000_000_u64,
        "tx_failed": 0, "tx_retries": 3,
    })
}

/// Its fields as a form.
fn fields(station: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    station.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_measured_and_told() {
    let server = options().start();
    let copa = Copa::of(&server);
    assert_eq!(copa.get("/REST/network/locus/").await, json!({"locus": ["server1", "server2"], "success": "locus"}));
    // Acceptance case 31.
    for throughput in ["1", "2", "100"] {
        let posted = copa.form("/REST/network/kpilink/", &link(&[("throughput", throughput)])).await;
        assert_eq!(posted, json!({"success": "post_kpilink"}));
    }
    let told = copa.get("/REST/network/kpilink/?locus=server1&last=1").await;
    assert_eq!(told["success"], "kpilink");
    assert_eq!(told["measurements"].as_array().unwrap().len(), 1);
    let one = &told["measurements"][0];
    let timestamp = one["timestamp"].as_str().unwrap();
    assert!(timestamp.len() == 27 && timestamp.ends_with('Z') && timestamp.as_bytes()[19] == b'.', "{timestamp}");
    assert_eq!(
        *one,
        json!({
            "id": 3, "timestamp": timestamp, "locus1_id": "server1", "locus2_id": "server2", "jitter_1to2": 0.5,
            "latency_max_1to2": 9.0, "latency_median_1to2": 4.25, "latency_min_1to2": 1.0, "jitter_2to1": 0.75,
            "latency_max_2to1": 8.0, "latency_median_2to1": 5.0, "latency_min_2to1": 2.0, "throughput": 100.0,
        })
    );
    // Acceptance case 32; and only the locus that has measured has it in its list.
    assert_eq!(copa.get("/REST/network/kpilink/?locus=ghost").await, json!({"error": "Pool not registered"}));
    assert_eq!(
        copa.get("/REST/network/kpilink/?locus=server2").await,
        json!({"measurements": [], "success": "kpilink"})
    );
    let ids = async |query: &str| -> Vec<u64> {
        let told = copa.measurements("kpilink", &format!("locus=server1&{query}")).await;
        told.iter().map(|one| one["id"].as_u64().unwrap()).collect()
    };
    for (query, expected) in
        [("", &[3, 2, 1][..]), ("last=", &[3, 2, 1]), ("last=2", &[3, 2]), ("last=0", &[]), ("last=99", &[3, 2, 1])]
    {
        assert_eq!(ids(query).await, expected, "{query}");
    }
    // The extension: a time range, whose ends belong to it.
    let times: Vec<_> = copa.measurements("kpilink", "locus=server1").await;
    let time = |id: usize| encoded(&[("", times[3 - id]["timestamp"].as_str().unwrap())]).replace('=', "");
    assert_eq!(ids(&format!("since={}", time(2))).await, [3, 2]);
    assert_eq!(ids(&format!("until={}", time(2))).await, [2, 1]);
    assert_eq!(ids(&format!("since={0}&until={0}", time(2))).await, [2]);
    assert_eq!(ids("since=2999-01-01T00:00:00Z").await, [0_u64; 0]);
    for (query, field) in [("last=x", "last"), ("last=-1", "last"), ("since=now", "since"), ("until=7", "until")] {
        let refused = copa.get(&format!("/REST/network/kpilink/?locus=server1&{query}")).await;
        assert!(refused["error"].as_str().unwrap().starts_with(&format!("{field}: ")), "{refused}");
        assert_eq!(refused.as_object().unwrap().len(), 1, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_resources_and_stations_are_measured_and_told() {
    let server = options().start();
    let copa = Copa::of(&server);
    let posted = copa.form("/REST/network/kpicommand/", &COMMAND).await;
    assert_eq!(posted, json!({"success": "kpicommand"}));
    let told = copa.measurements("kpicommand", "locus=server1&last=1").await;
    let timestamp = &told[0]["timestamp"];
    let expected = json!({"id": 1, "timestamp": timestamp, "locus_id": "server1", "cmd": "move left", "cmd_type": "g", "proc_time": 12.5, "response_time": 30.0});
    assert_eq!(told, [expected]);
    assert_eq!(copa.form("/REST/network/kpiresource/", &RESOURCE).await, json!({"success": "kpiresource"}));
    let told = copa.measurements("kpiresource", "locus=server1").await;
    let expected =
        json!({"id": 1, "timestamp": told[0]["timestamp"], "locus_id": "server1", "CPU": 12.5, "memory": 40.0});
    assert_eq!(told, [expected]);

    let wireless = "/REST/network/kpiwireless/";
    let success = json!({"success": "post_kpiwireless"});
    // An array, whose first locus is that of all; an object; a form; and JSON under any name, or none.
    let array = json!([station("server1", "00:00:00:00:00:01"), station("server2", "00:00:00:00:00:02")]);
    assert_eq!(copa.json(wireless, &array).await, success);
    assert_eq!(copa.json(wireless, &station("server1", "00:00:00:00:00:03")).await, success);
    let form = fields(&station("server1", "00:00:00:00:00:04"));
    assert_eq!(copa.form(wireless, &borrowed(&form)).await, success);
    for (kind, mac) in [(Some("text/plain"), "05"), (None, "06"), (Some("application/x-www-form-urlencoded"), "07")] {
        let body = json!([station("server1", &format!("00:00:00:00:00:{mac}"))]).to_string();
        assert_eq!(copa.send("POST", wireless, kind, body).await, success);
    }
    let told = copa.measurements("kpiwireless", "locus=server1").await;
    let macs: Vec<_> =
        told.iter().map(|one| one["mac"].as_str().unwrap().trim_start_matches("00:00:00:00:00:")).collect();
    assert_eq!(macs, ["07", "06", "05", "04", "03", "02", "01"]);
    let mut expected = station("server1", "00:00:00:00:00:01");
    let members = expected.as_object_mut().unwrap();
    members.remove("locus");
    members.extend([
        ("locus_id".to_owned(), json!("server1")),
        ("id".to_owned(), json!(1)),
        ("timestamp".to_owned(), told[6]["timestamp"].clone()),
    ]);
    members.insert("authorized".to_owned(), json!(true));
    members.insert("rx_packets".to_owned(), json!(10));
    assert_eq!(told[6], expected);
    assert!(copa.measurements("kpiwireless", "locus=server2").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_wrong_or_unknown_is_an_error_and_changes_nothing() {
    let server = options().start();
    let copa = Copa::of(&server);
    let station_fields = fields(&station("server1", "00:00:00:00:00:01"));
    // In COPA's order, and not in that of the alphabet.
    let order = [
        "locus",
        "mac",
        "mfb",
        "tdls",
        "wmm",
        "authenticated",
        "authorized",
        "expected_throughput",
        "inactive_time",
        "preamble",
        "rx_bitrate",
        "rx_bytes",
        "rx_packets",
        "signal",
        "signal_avg",
        "tx_bitrate",
        "tx_bytes",
        "tx_failed",
        "tx_retries",
    ];
    let station_fields: Vec<(&str, &str)> = order
        .iter()
        .map(|name| (*name, borrowed(&station_fields).iter().find(|(known, _)| known == name).unwrap().1))
        .collect();
    for (kind, whole) in
        [("kpilink", &LINK[..]), ("kpicommand", &COMMAND), ("kpiresource", &RESOURCE), ("kpiwireless", &station_fields)]
    {
        let path = format!("/REST/network/{kind}/");
        for missing in 0..whole.len() {
            // The first one that is missing is told, whatever else is.
            let expected = json!({"error": format!("Required Field '{}' not in post", whole[missing].0)});
            assert_eq!(copa.form(&path, &whole[..missing]).await, expected);
            let mut others = whole.to_vec();
            others.remove(missing);
            assert_eq!(copa.form(&path, &others).await, expected);
        }
    }
    let refused = |answer: &Value, field: &str| {
        assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
        assert!(answer["error"].as_str().unwrap().starts_with(&format!("{field}: ")), "{field}: {answer}");
    };
    let long = "x".repeat(201);
    for (kind, whole, field, bad) in [
        ("kpilink", &LINK[..], "jitter_1to2", "much"),
        ("kpilink", &LINK, "throughput", "nan"),
        ("kpilink", &LINK, "latency_median_2to1", "inf"),
        ("kpilink", &LINK, "latency_min_1to2", ""),
        ("kpicommand", &COMMAND, "cmd", &long),
        ("kpicommand", &COMMAND, "cmd_type", "x"),
        ("kpicommand", &COMMAND, "cmd_type", "vv"),
        ("kpicommand", &COMMAND, "proc_time", "-inf"),
        ("kpiresource", &RESOURCE, "CPU", "12%"),
        ("kpiresource", &RESOURCE, "memory", "NaN"),
        ("kpiwireless", &station_fields, "mac", "00:00:00:00:00:001"),
        ("kpiwireless", &station_fields, "mfb", "perhaps"),
        ("kpiwireless", &station_fields, "preamble", "very short indeed"),
        ("kpiwireless", &station_fields, "rx_bytes", "-1"),
        ("kpiwireless", &station_fields, "tx_failed", "1.5"),
    ] {
        let answer = copa.form(&format!("/REST/network/{kind}/"), &with(whole, &[(field, bad)])).await;
        refused(&answer, field);
    }
    // What is wrong with one of an array is wrong with all of it.
    let mut stations = vec![station("server1", "00:00:00:00:00:01"); 3];
    stations[2]["signal"] = json!("x".repeat(21));
    refused(&copa.json("/REST/network/kpiwireless/", &json!(stations)).await, "signal");
    stations[2] = json!(7);
    refused(&copa.json("/REST/network/kpiwireless/", &json!(stations)).await, "body");
    refused(&copa.json("/REST/network/kpiwireless/", &json!([])).await, "body");
    refused(&copa.json("/REST/network/kpiwireless/", &json!(vec![station("server1", "m"); 501])).await, "body");
    let broken = copa.send("POST", "/REST/network/kpiwireless/", Some("application/json"), "[{").await;
    assert!(broken["error"].is_string() && broken["success"].is_null(), "{broken}");

    let unknown = json!({"error": "Pool matching query does not exist."});
    for other in ["locus1", "locus2"] {
        let answer = copa.form("/REST/network/kpilink/", &link(&[(other, "ghost")])).await;
        assert_eq!(answer, json!({"error": "Pool not registered"}));
    }
    assert_eq!(copa.form("/REST/network/kpicommand/", &with(&COMMAND, &[("locus", "ghost")])).await, unknown);
    assert_eq!(copa.form("/REST/network/kpiresource/", &with(&RESOURCE, &[("locus", "")])).await, unknown);
    assert_eq!(copa.json("/REST/network/kpiwireless/", &station("ghost", "m")).await, unknown);
    assert_eq!(copa.get("/REST/network/kpiwireless/?locus=ghost").await, unknown);
    assert_eq!(copa.get("/REST/network/dashboardlinks/?locus=ghost").await, json!({"error": "Pool not registered"}));
    let both = json!({"error": "Pool matching query does not exist.", "Error": "Pool matching query does not exist."});
    for kind in ["kpicommand", "kpiresource"] {
        assert_eq!(copa.get(&format!("/REST/network/{kind}/?locus=ghost")).await, both);
    }
    for kind in ["kpilink", "kpicommand", "kpiresource", "kpiwireless", "dashboardlinks"] {
        let answer = copa.get(&format!("/REST/network/{kind}/?last=1")).await;
        assert_eq!(answer, json!({"error": "Required Field 'locus' not in post"}));
    }
    for kind in ["kpilink", "kpicommand", "kpiresource", "kpiwireless"] {
        for locus in ["server1", "server2"] {
            let kept = copa.measurements(kind, &format!("locus={locus}")).await;
            assert!(kept.is_empty(), "{kept:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_methods_and_bodies() {
    let server = options().start();
    let copa = Copa::of(&server);
    let not_allowed = json!({"error": "Method not allowed"});
    for name in [
        "locus",
        "kpilink",
        "kpicommand",
        "kpiresource",
        "kpiwireless",
        "configuration",
        "dashboard",
        "dashboardlinks",
        "delegation",
    ] {
        for path in [format!("/REST/network/{name}"), format!("/REST/network/{name}/")] {
            for method in ["PUT", "DELETE", "PATCH"] {
                assert_eq!(copa.send(method, &path, None, "").await, not_allowed, "{method} {path}");
            }
            // With the slash and without it, and never a redirect.
            let query = "?locus=server1";
            let answer = copa.get(&format!("{path}{query}")).await;
            assert!(answer.get("error").is_none(), "{path}: {answer}");
        }
        if ["locus", "dashboard", "dashboardlinks", "delegation"].contains(&name) {
            let path = format!("/REST/network/{name}/");
            assert_eq!(copa.send("POST", &path, None, "").await, not_allowed, "{path}");
        }
    }
    // A form of several parts, a JSON object, and a body without a type are read; others are not.
    let part = |(name, value): &(&str, &str)| {
        format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let multipart = format!("{}--xyz--\r\n", LINK.iter().map(part).collect::<String>());
    let path = "/REST/network/kpilink";
    let success = json!({"success": "post_kpilink"});
    assert_eq!(copa.send("POST", path, Some("multipart/form-data; boundary=xyz"), multipart).await, success);
    let object: serde_json::Map<_, _> = LINK
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.parse::<f64>().map_or(json!(value), |number| json!(number))))
        .collect();
    assert_eq!(copa.json(path, &Value::Object(object)).await, success);
    assert_eq!(copa.send("POST", path, None, encoded(&LINK)).await, success);
    // The same is given twice: the last one counts. What is not known is ignored.
    let twice = format!("{}&throughput=7&unknown=1", encoded(&LINK));
    assert_eq!(copa.send("POST", path, Some("application/x-www-form-urlencoded; charset=utf-8"), twice).await, success);
    let told = copa.measurements("kpilink", "locus=server1&unknown=1").await;
    let throughputs: Vec<_> = told.iter().map(|one| one["throughput"].as_f64().unwrap()).collect();
    assert_eq!(throughputs, [7.0, 100.0, 100.0, 100.0]);
    let missing = json!({"error": "Required Field 'locus1' not in post"});
    assert_eq!(copa.send("POST", path, Some("text/plain"), encoded(&LINK)).await, missing);
    // Below its name on the main listener it is the same, for whoever has the token.
    let main = server.get("/copa/REST/network/kpilink/?locus=server1&last=1").await.expect(200).json();
    assert_eq!(main["measurements"][0], told[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_stored() {
    let server = options().start();
    let copa = Copa::of(&server);
    let path = "/REST/network/configuration/";
    let usual = json!({
        "name": "default", "delegation_mode": "m", "auto_delegation_type": null, "threshold_cpu_percent": 80.0,
        "threshold_latency_ms": 100.0, "threshold_margin_percent": 10.0, "rest_seconds": 300,
    });
    assert_eq!(copa.get(path).await, json!({"configuration": [usual]}));
    let success = json!({"success": "update_configuration"});
    assert_eq!(copa.form(path, &[]).await, success);
    assert_eq!(copa.get(path).await, json!({"configuration": [usual]}));
    // Acceptance case 33.
    let fields = [("delegation_mode", "a"), ("auto_delegation_type", "threshold_cpu")];
    assert_eq!(copa.form(path, &fields).await, success);
    let mut expected = usual.clone();
    expected["delegation_mode"] = json!("a");
    expected["auto_delegation_type"] = json!("threshold_cpu");
    assert_eq!(copa.get(path).await, json!({"configuration": [expected]}));
    for (field, bad) in [
        ("delegation_mode", "x".to_owned()),
        ("auto_delegation_type", "x".repeat(101)),
        ("threshold_cpu_percent", "0".to_owned()),
        ("threshold_latency_ms", "inf".to_owned()),
        ("threshold_margin_percent", "-1".to_owned()),
        ("rest_seconds", "x".to_owned()),
    ] {
        let refused = copa.form(path, &[("auto_delegation_type", "other"), (field, &bad)]).await;
        assert!(refused["error"].as_str().unwrap().starts_with(&format!("{field}: ")), "{refused}");
    }
    assert_eq!(copa.get(path).await, json!({"configuration": [expected]}));
    // Any text is stored, and does nothing.
    let fields = [("auto_delegation_type", "by the moon"), ("threshold_cpu_percent", "55.5"), ("rest_seconds", "7")];
    assert_eq!(copa.form(path, &fields).await, success);
    expected["auto_delegation_type"] = json!("by the moon");
    expected["threshold_cpu_percent"] = json!(55.5);
    expected["rest_seconds"] = json!(7);
    assert_eq!(copa.get(path).await, json!({"configuration": [expected]}));
    // It is in the audit log, by what was parsed; measurements are not.
    copa.is_busy("server1", "1").await;
    let audit = server.get("/v1/audit").await.expect(200).json();
    let operations: Vec<_> =
        audit["items"].as_array().unwrap().iter().filter_map(|entry| entry["operation"].as_str()).collect();
    assert_eq!(
        operations.iter().filter(|operation| **operation == "copa.network.configuration").count(),
        3,
        "{operations:?}"
    );
    assert!(!operations.iter().any(|operation| operation.contains("kpi")), "{operations:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_shows_averages_and_containers() {
    let server = options().start();
    let copa = Copa::of(&server);
    let create = async |name: &str, verb: Option<&str>| {
        let spec = json!({"name": name, "image": "roadstead/busybox:latest", "command": ["sleep", "600"]});
        let made: Answer = server.post_json("/v1/nodes/server1/containers", &spec).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let id = made.json()["id"].as_str().unwrap().to_owned();
        if let Some(verb) = verb {
            for verb in verb.split(' ') {
                let done = server.post(&format!("/v1/nodes/server1/containers/{id}/{verb}")).await;
                assert!(done.status < 300, "{}", done.text());
            }
        }
    };
    create("stopped", None).await;
    create("running", Some("start")).await;
    create("frozen", Some("start freeze")).await;
    copa.is_busy("server1", "10").await;
    copa.is_busy("server1", "20").await;
    for throughput in ["1", "2"] {
        let _ = copa.form("/REST/network/kpilink/", &link(&[("throughput", throughput)])).await;
    }
    let shown = copa.get("/REST/network/dashboard/").await;
    let containers = json!([
        {"name": "frozen", "status": "Frozen"}, {"name": "running", "status": "Running"}, {"name": "stopped", "status": "Stopped"},
    ]);
    let expected = json!({"name": "server1", "cpu": 15.0, "mem": 50.0, "throughput": 1536.0, "containers": containers});
    assert_eq!(shown["success"], "dashboard");
    assert_eq!(shown["data"][0], expected);
    // Nobody measured the other one, and its engine tells of no machine.
    assert_eq!(
        shown["data"][1],
        json!({"name": "server2", "cpu": null, "mem": null, "throughput": null, "containers": []})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_go_on_where_they_were() {
    let server = options().start();
    let copa = Copa::of(&server);
    let path = "/REST/network/dashboardlinks/";
    let nothing = |id: &str| json!({"id_last_item": id, "links": [], "success": "dashboardlinks"});
    assert_eq!(copa.get(&format!("{path}?locus=server1&id_last_item=7")).await, nothing("7"));
    // Without it, all of the last five minutes.
    assert_eq!(copa.get(&format!("{path}?locus=server1")).await, nothing("0"));
    let _ = copa.form("/REST/network/kpilink/", &LINK).await;
    let back =
        [("locus1", "server2"), ("locus2", "server1"), ("latency_median_1to2", "6"), ("latency_median_2to1", "7")];
    let _ = copa.form("/REST/network/kpilink/", &link(&back)).await;
    let of_server1 = json!({"name": "server2", "jitter_down": [0.75, 0.5], "jitter_up": [0.5, 0.75], "latency_down": [5.0, 6.0], "latency_up": [4.25, 7.0]});
    let of_server2 = json!({"name": "server1", "jitter_down": [0.5, 0.75], "jitter_up": [0.75, 0.5], "latency_down": [4.25, 7.0], "latency_up": [5.0, 6.0]});
    for (locus, links) in [("server1", of_server1), ("server2", of_server2)] {
        let expected = json!({"id_last_item": 2, "links": [links], "success": "dashboardlinks"});
        assert_eq!(copa.get(&format!("{path}?locus={locus}&id_last_item=0")).await, expected);
    }
    let since = copa.get(&format!("{path}?locus=server1&id_last_item=1")).await;
    assert_eq!((&since["links"][0]["latency_up"], &since["id_last_item"]), (&json!([7.0]), &json!(2)));
    assert_eq!(copa.get(&format!("{path}?locus=server1&id_last_item=2")).await, nothing("2"));
    let refused = copa.get(&format!("{path}?locus=server1&id_last_item=x")).await;
    assert!(refused["error"].as_str().unwrap().starts_with("id_last_item: "), "{refused}");
    // For each station its last record here, or null.
    let stations = json!([station("server1", "m1"), station("server1", "m1")]);
    let _ = copa.json("/REST/network/kpiwireless/", &stations).await;
    let _ = copa.json("/REST/network/kpiwireless/", &station("server2", "m2")).await;
    let shown = copa.get(&format!("{path}?locus=server1&id_last_item=2")).await;
    assert_eq!(shown["wireless"].as_array().unwrap().len(), 2);
    assert_eq!((&shown["wireless"][0]["mac"], &shown["wireless"][0]["id"]), (&json!("m1"), &json!(2)));
    assert_eq!(shown["wireless"][1], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_changes_nothing() {
    let options = ServerOptions::default().argument("--dialect").argument("copa=127.0.0.1:0,anonymous=read");
    let server = options.node("server1", "memory:").node("server2", "memory:").start();
    let copa = Copa::of(&server);
    for (path, fields) in [
        ("/REST/network/kpilink/", &LINK[..]),
        ("/REST/network/kpicommand/", &COMMAND),
        ("/REST/network/kpiresource/", &RESOURCE),
        ("/REST/network/configuration/", &[("delegation_mode", "a")]),
    ] {
        let kind = Some("application/x-www-form-urlencoded");
        let (status, body) = copa.try_send("POST", path, kind, encoded(fields)).await.unwrap();
        assert_eq!(status, 403, "{path}: {body}");
        assert!(body["error"].as_str().unwrap().contains("operate"), "{body}");
    }
    assert!(copa.measurements("kpilink", "locus=server1").await.is_empty());
    assert_eq!(copa.get("/REST/network/configuration/").await["configuration"][0]["delegation_mode"], "m");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_is_no_pool() {
    // No node is configured: where no engine is found, either, the server serves a simulation, which no dialect shows.
    let server = speaking().start();
    let copa = Copa::of(&server);
    let nodes = server.get("/v1/nodes").await.expect(200).json();
    let nodes: Vec<_> = nodes["items"].as_array().unwrap().iter().map(|node| node["name"].clone()).collect();
    let real: Vec<_> = nodes.iter().filter(|name| **name != "memory").cloned().collect();
    assert_eq!(copa.get("/REST/network/locus/").await, json!({"locus": real, "success": "locus"}));
    let shown = copa.get("/REST/network/dashboard/").await;
    let shown: Vec<_> = shown["data"].as_array().unwrap().iter().map(|pool| pool["name"].clone()).collect();
    assert_eq!(shown, real);
}
