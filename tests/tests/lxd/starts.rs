//! Starts whose end comes before their answer: what ended by itself was started, and what the server took back was not.

use std::time::Duration;

use roadstead_core::{ContainerSpec, DeleteOptions, ErrorKind, Mount, MountKind, PortMapping, Protocol, WaitFor};
use roadstead_tests::TestEngine;
use roadstead_tests::engines::image;

use crate::connect;

on_lxd_and_incus! {
    what_ends_at_once_was_started_and_can_be_deleted
    a_start_that_the_server_takes_back_is_none
}

const SOON: Duration = Duration::from_secs(60);
/// Some ends come in the middle of their starts.
const IN_A_ROW: usize = 4;

async fn what_ends_at_once_was_started_and_can_be_deleted(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine.uri()).await.expect("it answers");
    let mut spec = ContainerSpec::new(image()).name(engine.name("short")).command(["sh", "-c", "echo kept"]);
    spec.mounts = vec![Mount {
        kind: MountKind::Volume,
        source: None,
        target: "/data".to_owned(),
        read_only: false,
        size_bytes: None,
    }];
    for round in 0..IN_A_ROW {
        let made = node.create_container(&spec).await.expect("it is made");
        let container = node.container(&made.id);
        container.start().await.unwrap_or_else(|error| panic!("start {round}: {error:?}"));
        let end = container.wait(WaitFor::Stopped, SOON).await.expect("it ends");
        assert_eq!(end.exit_code, Some(0), "{round}");
        let mut options = DeleteOptions::default();
        (options.force, options.volumes) = (round.is_multiple_of(2), true);
        container.delete(&options).await.unwrap_or_else(|error| panic!("delete {round}: {error:?}"));
    }
}

async fn a_start_that_the_server_takes_back_is_none(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine.uri()).await.expect("it answers");
    let mut spec = ContainerSpec::new(image()).name(engine.name("taken-back")).command(["sleep", "100000"]);
    // An address that no machine has: of those for documents.
    let host_address = Some("203.0.113.7".parse().expect("an address"));
    spec.ports = vec![PortMapping { container_port: 80, host_port: Some(1), host_address, protocol: Protocol::Tcp }];
    let made = node.create_container(&spec).await.expect("it is made");
    let container = node.container(&made.id);
    let error = container.start().await.expect_err("nothing can listen there");
    assert!(!matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NotFound), "{error:?}");
    assert!(!container.inspect().await.expect("it is there").summary.state.has_processes());
    container.delete(&DeleteOptions::force()).await.expect("it is deleted");
}
