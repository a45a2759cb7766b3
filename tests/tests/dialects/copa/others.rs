//! Cases of bodies, of measurements and of the command API.

use roadstead_tests::dialects::Outcome;
use serde_json::{Value, json};

use super::cases::{missing, no_container};
use super::images::alias;
use super::stage::{Pair, Stage};

const FORM: &str = "application/x-www-form-urlencoded";

pub(super) async fn json_off(stage: &Stage) -> Outcome {
    let server = roadstead_tests::server::ServerOptions::default()
        .node("server1", "memory:")
        .argument("--dialect=copa=127.0.0.1:0,anonymous=admin,json_bodies=false")
        .start();
    let body = json!({ "container_name": "x", "container_pool": "server1", "operation": "start" });
    let url = format!("{}/REST/container/", server.dialect("copa"));
    let request = super::doors::client().post(url).json(&body);
    assert_eq!(stage.send(request).await, (200, missing("container_name")));
    // Where it is on, which is the default, the members are those of the form; so are those of a multipart form.
    assert_eq!(stage.post_json("/REST/container/", &body).await, no_container());
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"container_name\"\r\n\r\nx\r\n--b--\r\n";
    let request = stage.request("POST", "/REST/container/").header("content-type", "multipart/form-data; boundary=b");
    assert_eq!(stage.send(request.body(multipart)).await.1, missing("operation"));
    let request = stage.request("POST", "/REST/container/").header("content-type", FORM).body("container_name=%ff");
    assert_eq!(stage.send(request).await.1, missing("operation"));
    Outcome::Shown
}

const LINK: &str = "locus1=server1&locus2=server2&jitter_1to2=0.5&latency_max_1to2=9&latency_median_1to2=4.25&latency_min_1to2=1\
&jitter_2to1=0.75&latency_max_2to1=8&latency_median_2to1=5&latency_min_2to1=2&throughput=100";

pub(super) async fn links(stage: &Stage) -> Outcome {
    assert_eq!(stage.post("/REST/network/kpilink/", LINK).await, json!({ "success": "post_kpilink" }));
    let told = stage.get("/REST/network/kpilink/?locus=server1&last=1").await;
    assert_eq!(
        (&told["success"], told["measurements"].as_array().map(Vec::len)),
        (&json!("kpilink"), Some(1)),
        "{told}"
    );
    let link = &told["measurements"][0];
    assert_eq!((&link["locus1_id"], &link["locus2_id"]), (&json!("server1"), &json!("server2")), "{link}");
    assert!(link["throughput"].is_f64() && link["throughput"] == 100.0 && link["latency_max_1to2"].is_f64(), "{link}");
    Outcome::Shown
}

pub(super) async fn links_of_ghost(stage: &Stage) -> Outcome {
    let told = stage.get("/REST/network/kpilink/?locus=ghost").await;
    assert_eq!(told, json!({ "error": "Pool not registered" }));
    Outcome::Shown
}

pub(super) async fn configuration(stage: &Stage) -> Outcome {
    let path = "/REST/network/configuration/";
    let post =
        async |form: &str| assert_eq!(stage.post(path, form).await, json!({ "success": "update_configuration" }));
    post("delegation_mode=a&auto_delegation_type=threshold_cpu").await;
    let told = stage.get(path).await;
    let stored = &told["configuration"][0];
    assert_eq!((&stored["name"], &stored["delegation_mode"]), (&json!("default"), &json!("a")), "{told}");
    assert_eq!(stored["auto_delegation_type"], "threshold_cpu", "{told}");
    // Nothing is to be moved behind the back of the cases that follow.
    post("delegation_mode=m").await;
    Outcome::Shown
}

const COMMANDS: &str = "/core/containers_list/api/";

pub(super) async fn host_command(stage: &Stage) -> Outcome {
    for operation in ["copa_host_command", "copa_module_execution"] {
        let body = stage
            .post_json(COMMANDS, &json!({ "operation": operation, "cmd": ["id"], "method": "os.getpid", "args": "" }))
            .await;
        assert_eq!(body, json!({ "code": -1, "message": "COPA API error: operation disabled", "result": null }));
    }
    let failed = |text: &str| json!({ "code": -1, "message": format!("COPA API error: {text}"), "result": null });
    let name = stage.make("command", "server1").await;
    let on = |operation: &str| json!({ "operation": operation, "container_pool": "server1", "container_name": name });
    let mut command = on("command_execution");
    command["cmd"] = json!("id");
    assert_eq!(stage.post_json(COMMANDS, &command).await, failed("Parameter 'cmd' must be a list"));
    assert_eq!(stage.post_json(COMMANDS, &on("dance")).await, failed("Unknown operation"));
    let done = |result: Value| json!({ "code": 0, "message": "Process successful", "result": result });
    assert_eq!(stage.post_json(COMMANDS, &on("start")).await, done(Value::Null));
    stage.reaches("server1", &name, Some("running")).await;
    let told = stage.post_json(COMMANDS, &on("information")).await;
    assert_eq!((&told["code"], told["result"].as_object().map(serde_json::Map::len)), (&json!(0), Some(4)), "{told}");
    if stage.pair != Pair::Memory {
        command["cmd"] = json!(["sh", "-c", "echo out; echo err >&2; exit 3"]);
        let ran = stage.post_json(COMMANDS, &command).await;
        assert_eq!(ran, done(json!([3, "out\n", "err\n"])));
    }
    assert_eq!(stage.post_json(COMMANDS, &on("stop")).await, done(Value::Null));
    let mut moving = on("migrate");
    moving["destination_pool"] = json!("ghost");
    assert_eq!(stage.post_json(COMMANDS, &moving).await, failed("Pool matching query does not exist."));
    assert_eq!(stage.post_json(COMMANDS, &on("delete")).await, done(Value::Null));
    assert_eq!(stage.post_json(COMMANDS, &on("delete")).await, failed("Container matching query does not exist."));
    if stage.can("server1", "images").await {
        let images =
            stage.post_json(COMMANDS, &json!({ "operation": "images_list", "container_pool": "server1" })).await;
        assert_eq!(images["result"], stage.get("/REST/image").await["images"]);
        let fingerprint = images["result"][&alias(stage).await].as_str().expect("a fingerprint").to_owned();
        let mut made = on("create");
        made["image_type"] = json!(fingerprint[..12]);
        assert_eq!(stage.post_json(COMMANDS, &made).await, done(Value::Null));
        stage.reaches("server1", &name, Some("created")).await;
        assert_eq!(stage.post_json(COMMANDS, &on("delete")).await, done(Value::Null));
    }
    // A body that is called something else is read as JSON, too; what is none is an error.
    let (status, body) = stage.send(stage.request("POST", COMMANDS).body("{\"operation\": 1}")).await;
    assert_eq!((status, &body["code"]), (200, &json!(-1)), "{body}");
    let (status, body) = stage.send(stage.request("POST", COMMANDS).body("not json")).await;
    assert_eq!((status, &body["code"]), (200, &json!(-1)), "{body}");
    Outcome::Shown
}
