//! Clauses of jobs as wholes: starting, listing, finding, settings, results, time limits, engines that go away.

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use tokio::time::timeout;

use super::check::{Check, During, Failure, SOON, ensure, equal, eventually, failed, refused, text};
use super::declare;
use super::scene::{SLEEP, Scene, exec, finished};
use crate::capabilities::Capability;
use crate::error::ErrorKind;
use crate::job::{JobSpec, JobState, OutputOptions};
use crate::signal::Signal;

declare! {
    J1 "a job has a unique id and a start time, and is listed" [Create Jobs] starts_and_is_listed;
    J2 "Conflict when the container does not run" [Create Jobs] container_stopped;
    J3 "a container's jobs and no others" [Create Jobs] jobs_of_a_container;
    J4 "jobs on the node itself" [NodeJobs] jobs_of_the_node;
    J5 "all jobs of a node" [Create Jobs] all_jobs;
    J6 "a job by id" [Create Jobs] job_by_id;
    J10 "the result is kept" [Create Jobs] result_is_kept;
    J11 "succeeded with 0, failed with any other" [Create Jobs] success_and_failure;
    J12 "a command that does not exist" [Create Jobs] no_such_command;
    J13 "environment, directory and user" [Create Jobs] settings;
    J14 "many jobs at once" [Create Jobs] many_at_once;
    J15 "killed when its time is up" [Create Jobs JobKill] time_is_up;
    J16 "a job that is killed ends though its child holds the output" [Create Jobs JobKill] killed_with_child;
    J20 "lost when the engine went away" [Create Jobs] + Outage engine_gone;
}

fn sleep() -> JobSpec {
    JobSpec::new(SLEEP)
}

async fn starts_and_is_listed(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let mut ids = Vec::new();
    let mut spec = sleep();
    spec.tags = vec!["a-tag".to_owned()];
    for _ in 0..2 {
        let job = container.run(&spec).await.during("run")?;
        let listed = container.jobs().await.during("jobs")?;
        let Some(status) = listed.into_iter().find(|status| status.id == job.id()) else {
            return failed("the job is not listed");
        };
        equal("the state", status.state, JobState::Running)?;
        equal("the node", status.node.as_str(), scene.node().name())?;
        equal("the container", status.container.as_deref(), Some(container.id()))?;
        equal("the command", &status.command, &spec.command)?;
        equal("the tags", &status.tags, &spec.tags)?;
        ensure(!status.started_at.is_never(), "the job has no start time")?;
        ids.push(status.id);
    }
    ensure(ids.first() != ids.last(), "two jobs have the same id")
}

async fn container_stopped(scene: &Scene) -> Check {
    for container in [scene.created("created").await?, scene.stopped("stopped").await?] {
        refused("run", container.run(&sleep()).await, ErrorKind::Conflict)?;
        equal("the jobs", container.jobs().await.during("jobs")?, [])?;
    }
    Ok(())
}

async fn jobs_of_a_container(scene: &Scene) -> Check {
    let (one, two) = (scene.running("one").await?, scene.running("two").await?);
    let first = one.run(&sleep()).await.during("run")?;
    let other = two.run(&sleep()).await.during("run")?;
    let second = exec(&*one, "exit 0").await?;
    let ids = |jobs: Vec<crate::JobStatus>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    equal("the first container's jobs", ids(one.jobs().await?), [first.id(), second.status.id.as_str()])?;
    equal("the other container's jobs", ids(two.jobs().await?), [other.id()])?;
    // A handle by name is a handle on the same container.
    let name = one.inspect().await?.summary.name;
    equal("the jobs by name", ids(scene.node().container(&name).jobs().await?), [first.id(), second.status.id.as_str()])
}

async fn jobs_of_the_node(scene: &Scene) -> Check {
    let job = scene.node().run(&JobSpec::new(["echo", "on the node"])).await.during("run")?;
    let result = finished(&*job).await?;
    equal("the state", result.status.state, JobState::Succeeded)?;
    equal("the output", result.stdout.as_str(), "on the node\n")?;
    equal("the container", result.status.container, None)?;
    let known = scene.node().jobs().await.during("jobs")?;
    ensure(known.iter().any(|status| status.id == job.id()), "the job is not listed")
}

async fn all_jobs(scene: &Scene) -> Check {
    let (one, two) = (scene.running("one").await?, scene.running("two").await?);
    let first = one.run(&sleep()).await.during("run")?;
    let second = exec(&*two, "exit 3").await?.status;
    let known = scene.node().jobs().await.during("jobs")?;
    let state = |id: &str| known.iter().find(|status| status.id == id).map(|status| status.state);
    equal("the running job", state(first.id()), Some(JobState::Running))?;
    equal("the ended job", state(&second.id), Some(JobState::Failed))?;
    ensure(known.is_sorted_by_key(|status| status.started_at), "the jobs are not in the order of their start")
}

async fn job_by_id(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let job = container.run(&sleep()).await.during("run")?;
    let found = scene.node().job(job.id()).await.during("job")?;
    equal("the id", found.id(), job.id())?;
    equal("the state", found.status().await?.state, JobState::Running)?;
    refused("job", scene.node().job("no-such-job").await, ErrorKind::NotFound).map(drop)
}

async fn result_is_kept(scene: &Scene) -> Check {
    ensure(scene.node().capabilities().jobs_kept_seconds > 0, "results are kept for no time at all")?;
    ensure(scene.node().capabilities().jobs_kept_max > 0, "no results are kept at all")?;
    let container = scene.running("c").await?;
    let first = exec(&*container, "echo kept; echo too >&2; exit 11").await?;
    equal("the exit code", first.status.exit_code, Some(11))?;
    ensure(first.status.ended_at >= Some(first.status.started_at), "it ended before it started")?;
    equal("the bytes of output", first.status.output_bytes, 9)?;
    // Nothing of it is gone for having been read, nor with the container.
    let job = scene.node().job(&first.status.id).await.during("job")?;
    container.delete(&crate::DeleteOptions::force()).await.during("delete the container")?;
    let second = finished(&*job).await?;
    equal("the status", &second.status, &first.status)?;
    equal("the output", (&second.stdout, &second.stderr), (&first.stdout, &first.stderr))
}

async fn success_and_failure(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    for (code, state) in [(0, JobState::Succeeded), (1, JobState::Failed), (255, JobState::Failed)] {
        let status = exec(&*container, &format!("exit {code}")).await?.status;
        equal("state and exit code", (status.state, status.exit_code), (state, Some(code)))?;
    }
    Ok(())
}

async fn no_such_command(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    for command in ["no-such-command", "/no/such/command"] {
        match container.run(&JobSpec::new([command])).await {
            Ok(job) => {
                let status = finished(&*job).await?.status;
                equal("the state", status.state, JobState::Failed)?;
                let code = status.exit_code;
                ensure(matches!(code, Some(126 | 127)), format!("the exit code is {code:?}"))?;
            }
            Err(error) => equal("the error", error.kind(), ErrorKind::InvalidInput)?,
        }
    }
    Ok(())
}

async fn settings(scene: &Scene) -> Check {
    let mut spec = scene.spec("c");
    spec.env.insert("CF_CONTAINER".to_owned(), "of the container".to_owned());
    let container = scene.start(&spec).await?;
    let mut job = JobSpec::new(["sh", "-c", "echo \"$CF_JOB, $CF_CONTAINER\"; pwd; id -u; id -g"]);
    job.env.insert("CF_JOB".to_owned(), "a  b=ü".to_owned());
    job.working_directory = Some("/bin".to_owned());
    let users = scene.has(Capability::Users);
    job.user = users.then(|| "1234:1235".to_owned());
    let result = finished(&*container.run(&job).await.during("run")?).await?;
    let ids = if users { "1234\n1235" } else { "0\n0" };
    equal("the output", result.stdout, format!("a  b=ü, of the container\n/bin\n{ids}\n"))?;
    let plain = exec(&*container, "id -u; echo $CF_JOB").await?;
    equal("the output without settings", plain.stdout.as_str(), "0\n\n")
}

async fn many_at_once(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let jobs = (0..12).map(|number| {
        let container = &container;
        async move {
            let result =
                exec(&**container, &format!("echo out {number}; echo err {number} >&2; exit {number}")).await?;
            equal("the exit code", result.status.exit_code, Some(number))?;
            equal("stdout", result.stdout, format!("out {number}\n"))?;
            equal("stderr", result.stderr, format!("err {number}\n"))
        }
    });
    try_join_all(jobs).await.map(drop)
}

async fn time_is_up(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let mut spec = JobSpec::new(["sh", "-c", "echo begun; sleep 300"]);
    spec.timeout_seconds = Some(1);
    let result = finished(&*container.run(&spec).await.during("run")?).await?;
    equal("the state", result.status.state, JobState::TimedOut)?;
    equal("the output", result.stdout.as_str(), "begun\n")?;
    // The process is gone, not only the job.
    if scene.has(Capability::Processes) {
        eventually("the end of the process", || async {
            let left = container.processes().await?;
            let begun = left.iter().any(|process| process.cmdline.iter().any(|word| word.contains("begun")));
            Ok((!begun).then_some(()))
        })
        .await?;
    }
    // A job that ends in time is not touched.
    spec.command = vec!["true".to_owned()];
    spec.timeout_seconds = Some(60);
    equal("the state", finished(&*container.run(&spec).await?).await?.status.state, JobState::Succeeded)
}

async fn killed_with_child(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let script = "sleep 300 & echo begun; while true; do sleep 0.1; done";
    let job = container.run(&JobSpec::new(["sh", "-c", script])).await.during("run")?;
    let mut output = job.output(OutputOptions::follow()).await.during("output")?;
    super::check::next("the first output", &mut output).await?;
    job.kill(Signal::KILL).await.during("kill")?;
    let status = finished(&*job).await?.status;
    equal("state and exit code", (status.state, status.exit_code), (JobState::Killed, Some(137)))?;
    let mut spec = JobSpec::new(["sh", "-c", script]);
    spec.timeout_seconds = Some(1);
    let result = finished(&*container.run(&spec).await.during("run")?).await?;
    equal("the state of what had its time", result.status.state, JobState::TimedOut)?;
    equal("the output", result.stdout.as_str(), "begun\n")
}

async fn engine_gone(scene: &Scene) -> Check {
    let Some(outage) = &scene.fixture.outage else {
        return Err(Failure::Gated("no engine that may go away".to_owned()));
    };
    let created = outage.node.create_container(&scene.spec("c")).await.during("create")?;
    let container = outage.node.container(&created.id);
    container.start().await.during("start")?;
    let job = container.run(&JobSpec::new(["sh", "-c", "echo begun; sleep 300"])).await.during("run")?;
    let mut output = job.output(OutputOptions::follow()).await.during("output")?;
    super::check::next("the first output", &mut output).await?;
    outage.cut();
    // There is no result to give: a wait says that the engine is gone, or that the job is lost.
    // An engine whose jobs go on without their connection is waited for a while.
    match job.wait(SOON * 6).await {
        Ok(status) => equal("the state", status.state, JobState::Lost)?,
        Err(error) => equal("the error of a wait", error.kind(), ErrorKind::Unavailable)?,
    }
    let status = job.status().await.during("status")?;
    equal("the state", status.state, JobState::Lost)?;
    equal("the exit code", status.exit_code, None)?;
    // A reader is not left waiting, and what was written stays readable without the engine.
    let rest = timeout(SOON, output.collect::<Vec<_>>()).await;
    ensure(rest.is_ok(), "the output of a lost job does not end")?;
    let kept = job.output(OutputOptions::kept()).await.during("output")?.next().await;
    let kept = kept.and_then(|chunk| chunk.ok()).map(|chunk| text(&chunk.data));
    equal("the kept output", kept.as_deref(), Some("begun\n"))?;
    ensure(status.error.is_some(), "the status does not say why")?;
    if scene.has(Capability::JobKill) {
        job.kill(Signal::KILL).await.during("kill what is lost")?;
    }
    Ok(())
}
