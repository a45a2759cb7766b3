//! What core0 alone has: containers that other tools made, two programs on one node, jobs with levels, queues and recurrence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic is how a test says that it failed"
)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use roadstead_backends::engines::core0::commands::corex::ContainerArguments;
use roadstead_backends::engines::core0::{Command, Core0Node, OutcomeState, Scope};
use roadstead_core::{
    Container, ContainerSpec, ContainerState, DeleteOptions, ErrorKind, JobSpec, JobState, LogOptions, Node, Signal,
    StopOptions, WaitFor,
};
use roadstead_tests::engines::{core0, flist};

const SOON: Duration = Duration::from_secs(60);

async fn connect() -> Option<(Arc<dyn Node>, String)> {
    let engine = core0()?;
    let options = roadstead_core::ConnectOptions::default();
    let node = roadstead_backends::registry().connect("own", engine.uri(), &options).await.expect("the node answers");
    Some((node, engine.name("c")))
}

fn typed(node: &dyn Node) -> &Core0Node {
    node.engine().downcast_ref().expect("a core0")
}

async fn logs(container: &dyn Container, options: &LogOptions) -> String {
    let records: Vec<_> = container.logs(options).await.expect("logs").collect().await;
    let bytes: Vec<u8> = records.into_iter().flat_map(|record| record.expect("a record").data.to_vec()).collect();
    String::from_utf8(bytes).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_others_run_until_they_are_deleted_by_force() {
    let Some((node, name)) = connect().await else { return };
    let mut arguments = ContainerArguments::new(format!("file://{}", flist()));
    arguments.tags = vec!["web".to_owned(), "tier=front".to_owned()];
    arguments.name.clone_from(&name);
    let id = typed(&*node).commands().containers().create(&arguments).await.expect("it is created");
    let container = node.container(&name);
    let details = container.inspect().await.expect("it is found by its name");
    assert_eq!(
        (details.summary.id.as_str(), details.summary.state),
        (id.to_string().as_str(), ContainerState::Running)
    );
    assert_eq!(details.summary.labels["tier"], "front");
    assert_eq!(details.summary.labels["web"], "");
    assert!(details.pid.is_some() && details.summary.created_at.is_none());
    let error = node.container(&format!("0{id}")).inspect().await.expect_err("that is no id");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    let mut spec = JobSpec::new(["true"]);
    spec.env.insert("ROADSTEAD_JOB".to_owned(), "mine".to_owned());
    let error = container.run(&spec).await.expect_err("it is the engine's own");
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("env")), "{error:?}");
    container.start().await.expect("it runs already");
    let options = StopOptions::after_seconds(0);
    for refused in
        [container.stop(&options).await, container.restart(&options).await, container.kill(Signal::TERM).await]
    {
        let error = refused.expect_err("it has no main process");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.to_string().contains("force"));
    }
    let job = container.run(&JobSpec::new(["echo", "inside"])).await.expect("jobs run");
    assert_eq!(job.wait(SOON).await.expect("it ends").state, JobState::Succeeded);
    let error = container.delete(&DeleteOptions::default()).await.expect_err("it runs");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    container.delete(&DeleteOptions::force()).await.expect("by force");
    assert_eq!(container.inspect().await.expect_err("it is gone").kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_see_the_same() {
    let Some((one, name)) = connect().await else { return };
    let Some((two, _)) = connect().await else { return };
    let script = "echo first; while [ ! -e /go ]; do sleep 0.1; done; echo last; exit 9";
    let spec = ContainerSpec::new(flist()).name(&name).command(["sh", "-c", script]);
    one.create_container(&spec).await.expect("it is created");
    // Both start it: it starts once.
    let (here, there) = (one.container(&name), two.container(&name));
    let (first, second) = tokio::join!(here.start(), there.start());
    first.and(second).expect("it starts");
    let main = |details: &roadstead_core::ContainerDetails| (details.summary.state, details.started_at, details.pid);
    let seen = here.inspect().await.expect("details");
    assert_eq!(main(&seen), main(&there.inspect().await.expect("details")));
    // What the shell forks looks like itself for a moment.
    let first = here.processes().await.expect("processes").into_iter().next().expect("the agent").pid;
    let processes = here.processes().await.expect("processes");
    assert_eq!(processes.iter().filter(|process| process.ppid == first).count(), 1, "{processes:?}");

    let mut follow = LogOptions::default();
    follow.follow = true;
    let reader = two.container(&name);
    let copied = tokio::spawn(async move { logs(&*reader, &follow).await });
    let waiter = two.container(&name);
    let waited = tokio::spawn(async move { waiter.wait(WaitFor::Stopped, SOON).await });
    let job = there.run(&JobSpec::new(["touch", "/go"])).await.expect("a job");
    assert_eq!(job.wait(SOON).await.expect("it ends").exit_code, Some(0));
    assert_eq!(waited.await.expect("it waited").expect("it ended").exit_code, Some(9));
    assert!(copied.await.expect("it read").ends_with("last\n"));
    let (here_end, there_end) = (here.inspect().await.expect("details"), there.inspect().await.expect("details"));
    assert_eq!((here_end.finished_at, here_end.exit_code), (there_end.finished_at, there_end.exit_code));
    there.delete(&DeleteOptions::default()).await.expect("deleted");
    assert_eq!(here.inspect().await.expect_err("it is gone").kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_does_not_tell_is_absent() {
    let Some((node, name)) = connect().await else { return };
    // It waits by itself: nothing that it started is left when it is killed.
    let words = ["sh", "-c", "mkfifo /f;  read line </f", "two words", ""];
    let spec = ContainerSpec::new(flist()).name(&name).command(words);
    node.create_container(&spec).await.expect("it is created");
    let container = node.container(&name);
    container.start().await.expect("it starts");
    let main = container.inspect().await.expect("details").pid.expect("a main process");
    let processes = container.processes().await.expect("processes");
    let process = processes.iter().find(|process| process.pid == main).expect("it is listed");
    // The node looks the program up, and may call it by its path.
    let (program, arguments) = process.cmdline.split_first().expect("a program");
    assert!(program.ends_with("sh"), "{program}");
    assert_eq!(arguments, &words[1..], "word by word");
    let stats = serde_json::to_value(container.stats().await.expect("numbers")).expect("JSON");
    assert_eq!(stats.get("block_io"), None, "{stats}");
    container.stop(&StopOptions::after_seconds(0)).await.expect("it stops");
    let details = serde_json::to_value(container.inspect().await.expect("details")).expect("JSON");
    assert_eq!(details.get("oom_killed"), None, "killed, and nobody knows what for: {details}");
    container.delete(&DeleteOptions::default()).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_a_container_ends_with_its_main_process() {
    let Some((node, name)) = connect().await else { return };
    let spec = ContainerSpec::new(flist()).name(&name).command(["sleep", "1"]);
    node.create_container(&spec).await.expect("it is created");
    let container = node.container(&name);
    container.start().await.expect("it starts");
    let job = container.run(&JobSpec::new(["sleep", "300"])).await.expect("a job");
    assert_eq!(container.wait(WaitFor::Stopped, SOON).await.expect("it ends").exit_code, Some(0));
    assert_eq!(job.wait(SOON).await.expect("it ends, too").exit_code, Some(137));
    container.delete(&DeleteOptions::default()).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_main_process_that_nobody_follows_ends_with_children_left() {
    let Some((one, name)) = connect().await else { return };
    let script = "sleep 600 & while [ ! -e /go ]; do sleep 0.1; done; exit 4";
    let spec = ContainerSpec::new(flist()).name(&name).command(["sh", "-c", script]);
    let id = one.create_container(&spec).await.expect("it is created").id;
    one.container(&id).start().await.expect("it starts");
    // The program that started it is gone; another one looks.
    drop(one);
    let Some((two, _)) = connect().await else { return };
    let container = two.container(&id);
    assert_eq!(container.inspect().await.expect("it is there").summary.state, ContainerState::Running);
    let job = container.run(&JobSpec::new(["touch", "/go"])).await.expect("jobs run");
    assert_eq!(job.wait(SOON).await.expect("it ends").state, JobState::Succeeded);
    let exit = container.wait(WaitFor::Stopped, SOON).await.expect("it ends");
    assert_eq!(exit.exit_code, Some(4));
    container.delete(&DeleteOptions::default()).await.expect("it does not run");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_end_by_any_signal_though_what_they_left_holds_their_output() {
    let Some((node, name)) = connect().await else { return };
    let spec = ContainerSpec::new(flist()).name(&name).command(["sleep", "600"]);
    let id = node.create_container(&spec).await.expect("it is created").id;
    let container = node.container(&id);
    container.start().await.expect("it starts");
    // The child of the second is no child of its any more, and the third's own process has ended by itself before.
    let scripts = [
        "sleep 600 & echo begun; while :; do sleep 0.1; done",
        "(sleep 600 & sleep 600 &) ; echo begun; while :; do sleep 0.1; done",
        "sleep 600 & echo begun",
        // Its child does not have the job's mark.
        "env -i /bin/sleep 600 & echo begun; while :; do sleep 0.1; done",
    ];
    for script in scripts {
        for on_node in [false, true] {
            let spec = JobSpec::new(["sh", "-c", script]);
            let job = if on_node { node.run(&spec).await } else { container.run(&spec).await };
            let job = job.expect("jobs run");
            let mut output = job.output(roadstead_core::OutputOptions::follow()).await.expect("output");
            output.next().await.expect("some").expect("without an error");
            tokio::time::sleep(Duration::from_millis(200)).await;
            job.kill(Signal::TERM).await.expect("it is sent");
            let status = job.wait(SOON).await.expect("it ends");
            assert_ne!(status.state, JobState::Running, "{script}: {status:?}");
            if script.contains("while") {
                assert_eq!((status.state, status.exit_code), (JobState::Killed, Some(143)), "{script}");
            }
        }
    }
    // What is not of a job is not touched.
    assert_eq!(container.inspect().await.expect("it is there").summary.state, ContainerState::Running);
    container.delete(&DeleteOptions::force()).await.expect("it goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_a_job_makes_something_of_ends_nothing() {
    let Some((node, name)) = connect().await else { return };
    node.create_container(&ContainerSpec::new(flist()).name(&name).command(["sleep", "600"])).await.expect("created");
    let container = node.container(&name);
    container.start().await.expect("it starts");
    // It goes on for longer than a signal takes to end it, and its child for longer than it.
    let script = "trap 'caught=1' USR1; (sleep 9; echo late) & echo begun; \
        until [ \"$caught\" ]; do sleep 0.1; done; echo caught; sleep 5; exit 5";
    let job = container.run(&JobSpec::new(["sh", "-c", script])).await.expect("jobs run");
    let mut output = job.output(roadstead_core::OutputOptions::follow()).await.expect("output");
    let mut text = String::new();
    while let Some(chunk) = output.next().await {
        text += &String::from_utf8_lossy(&chunk.expect("without an error").data);
        if text == "begun\n" {
            job.kill(Signal::USR1).await.expect("it is sent");
        }
    }
    assert_eq!(text, "begun\ncaught\nlate\n");
    assert_eq!(job.wait(SOON).await.expect("it ends").exit_code, Some(5));
    container.delete(&DeleteOptions::force()).await.expect("it goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_without_a_command_is_only_marked() {
    let Some((node, name)) = connect().await else { return };
    node.create_container(&ContainerSpec::new(flist()).name(&name)).await.expect("it is created");
    let container = node.container(&name);
    let state = async || container.inspect().await.expect("details").summary.state;
    assert_eq!(state().await, ContainerState::Created);
    container.start().await.expect("it starts");
    assert_eq!(state().await, ContainerState::Running);
    let job = container.run(&JobSpec::new(["sleep", "300"])).await.expect("a job");
    container.stop(&StopOptions::default()).await.expect("it stops");
    assert_eq!(state().await, ContainerState::Stopped);
    assert_eq!(job.wait(SOON).await.expect("it ends, too").exit_code, Some(137));
    container.delete(&DeleteOptions::default()).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_payloads_and_recurrence() {
    let Some((node, _)) = connect().await else { return };
    let node = typed(&*node);
    let mut command = Command::script("echo plain; echo 8::bad; echo '20::[1,2]'").expect("a command");
    command.stream = true;
    command.tags = Some(vec!["t".to_owned()]);
    let job = node.start_job(Scope::Host, &command).await.expect("it starts");
    let entries: Vec<_> = job.entries().await.expect("entries").map(|entry| entry.expect("an entry")).collect().await;
    let levels: Vec<u16> = entries.iter().map(|entry| entry.level).collect();
    assert_eq!(levels, [1, 8, 20]);
    let outcome = job.outcome(SOON).await.expect("a result");
    assert_eq!((outcome.level, outcome.tags.as_slice()), (20, ["t".to_owned()].as_slice()));
    assert_eq!(outcome.value::<Vec<u32>>().expect("a payload"), [1, 2]);

    let mut again = Command::script("echo round").expect("a command");
    again.recurring_period = Some(1);
    again.stream = true;
    let job = node.start_job(Scope::Host, &again).await.expect("it starts");
    let mut entries = job.entries().await.expect("entries");
    for _ in 0..2 {
        let entry =
            tokio::time::timeout(SOON, entries.next()).await.expect("soon").expect("another").expect("an entry");
        assert_eq!(entry.text, "round\n");
    }
    assert!(job.unschedule().await.expect("it is known"));
    assert_eq!(job.outcome(SOON).await.expect("the last result").state, OutcomeState::Success);

    let sleeping = Command::program(&JobSpec::new(["sleep", "300"])).expect("a command");
    let job = node.start_job(Scope::Host, &sleeping).await.expect("it starts");
    assert!(job.entries().await.is_err(), "it has no output");
    assert!(job.kill(Signal::KILL).await.expect("it is known"));
    assert_eq!(job.outcome(SOON).await.expect("a result").code, Some(999));
    assert!(!job.kill(Signal::KILL).await.expect("it has ended"));
}
