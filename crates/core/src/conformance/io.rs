//! Clauses of attaching to the main process, and of its terminal.

use bytes::Bytes;

use super::check::{Check, During, ensure, equal, failed, next, refused, text};
use super::declare;
use super::scene::{Scene, ended};
use crate::container::AttachOptions;
use crate::error::ErrorKind;
use crate::stream::{Attachment, TerminalSize};

declare! {
    C150 "attach: input reaches the process, its answer arrives" [Create Attach] input_and_answer;
    C151 "attach: the output ends when the process ends" [Create Attach] output_ends;
    C152 "resize: a size of zero" [Create Attach] no_size;
    C153 "resize: the terminal has the new size" [Create Attach Logs] new_size;
}

async fn attached(
    scene: &Scene,
    rest: &str,
    script: &str,
) -> Check<(std::sync::Arc<dyn crate::Container>, Attachment)> {
    let mut spec = scene.script(rest, script);
    spec.stdin = true;
    let container = scene.start(&spec).await?;
    let options = AttachOptions { stdin: true, ..AttachOptions::default() };
    let attachment = container.attach(&options).await.during("attach")?;
    ensure(attachment.input.is_some(), "the input was asked for and is not there")?;
    Ok((container, attachment))
}

async fn write(attachment: &mut Attachment, data: &'static str) -> Check {
    match &mut attachment.input {
        Some(input) => input.write(Bytes::from_static(data.as_bytes())).await.during("write"),
        None => failed("there is no input"),
    }
}

/// Reads until the output holds `wanted`.
async fn until(attachment: &mut Attachment, wanted: &str) -> Check {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        match next(wanted, &mut attachment.output).await? {
            Some(chunk) => seen.push_str(&text(&chunk.data)),
            None => return failed(format!("the output ended with {seen:?} instead of {wanted:?}")),
        }
    }
    Ok(())
}

async fn input_and_answer(scene: &Scene) -> Check {
    let (container, mut attachment) = attached(scene, "cat", "cat; exit 8").await?;
    for line in ["first line\n", "second line\n"] {
        write(&mut attachment, line).await?;
        until(&mut attachment, line).await?;
    }
    // The process reads the end of its input.
    if let Some(input) = &mut attachment.input {
        input.close().await.during("close")?;
        input.close().await.during("close again")?;
    }
    scene.exited("what has read its input to the end", ended(&*container).await?, 8)
}

async fn output_ends(scene: &Scene) -> Check {
    let (container, mut attachment) = attached(scene, "reader", "read line; echo got $line; exit 9").await?;
    write(&mut attachment, "this\n").await?;
    until(&mut attachment, "got this\n").await?;
    equal("what follows the end", next("the end of the output", &mut attachment.output).await?, None)?;
    scene.exited("the reader", ended(&*container).await?, 9)
}

async fn no_size(scene: &Scene) -> Check {
    let mut spec = scene.spec("terminal");
    spec.tty = true;
    let container = scene.start(&spec).await?;
    for (columns, rows, field) in [(0, 10, "columns"), (10, 0, "rows")] {
        let error = refused("resize", container.resize(TerminalSize { columns, rows }).await, ErrorKind::InvalidInput)?;
        equal("the field at fault", error.field(), Some(field))?;
    }
    Ok(())
}

async fn new_size(scene: &Scene) -> Check {
    let mut spec = scene.script("terminal", "while true; do stty size; sleep 0.1; done");
    spec.tty = true;
    let container = scene.start(&spec).await?;
    for (columns, rows) in [(123, 45), (80, 24)] {
        container.resize(TerminalSize { columns, rows }).await.during("resize")?;
        scene.logged(&*container, &format!("{rows} {columns}\r\n")).await?;
    }
    Ok(())
}
