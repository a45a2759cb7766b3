//! What we do to LXD and Incus, the products' own command-line clients see; and what they do, we see. One trial per
//! operation and direction, for example `lxd::container.start::ours` and `incus::image.tag::theirs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic is how a test says that it failed"
)]

mod cluster;
mod containers;
mod copies;
mod events;
mod files;
mod images;
mod jobs;
mod lifecycle;
mod networks;
mod node;
mod pools;
mod product;
mod profiles;
mod scene;
mod snapshots;
mod streams;
mod table;
mod usage;
mod volumes;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

use product::Product;
use scene::Scene;
use table::{Side, rows};

fn main() -> ExitCode {
    if let Some(error) = again_with_remotes() {
        eprintln!("cannot start again: {error}");
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = Product::ALL.into_iter().flat_map(trials_of).collect();
    let total: [(&str, fn()); 3] = [
        ("table::names_every_operation_once", table::names_every_operation_once),
        ("table::shows_every_operation_in_some_direction", table::shows_every_operation_in_some_direction),
        ("table::names_every_extension_once", table::names_every_extension_once),
    ];
    for (name, test) in total {
        trials.push(Trial::test(name, move || {
            test();
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Names of remotes are looked up where the client's own variables say, and those are set before a program begins. Gives
/// why it could not begin again.
fn again_with_remotes() -> Option<std::io::Error> {
    let missing = Product::directories().into_iter().filter(|(name, value)| std::env::var(name).as_ref() != Ok(value));
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() {
        return None;
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Some(error),
    };
    Some(Command::new(program).args(std::env::args_os().skip(1)).envs(missing).exec())
}

fn trials_of(product: Product) -> Vec<Trial> {
    if product.is_missing() {
        let trial = move || {
            let _ = product.engine();
            Ok(())
        };
        return vec![Trial::test(format!("{}::engine", product.name()), trial)];
    }
    let sides = rows().into_iter().flat_map(|row| {
        let name = move |side| format!("{}::{}::{side}", product.name(), row.operation);
        [(name("ours"), row.ours), (name("theirs"), row.theirs)]
    });
    let shown = sides.filter(|(_, side)| matches!(side, Side::Shown(_) | Side::Here(..) | Side::Lacking(_)));
    shown.map(|(name, side)| Trial::test(name, move || trial(product, side))).collect()
}

fn trial(product: Product, side: Side) -> Result<(), Failed> {
    let Some(engine) = product.engine() else { return Ok(()) };
    let _cleaner = engine.cleaner();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let node = product.connect(&engine).await?;
        let scene = Scene::new(product, engine.clone(), node)?;
        match side {
            Side::Shown(test) => test(&scene).await,
            Side::Here(capability, test) => {
                let local = scene.node().info().await?.local;
                assert_eq!(scene.node().capabilities().has(capability), local, "{}", capability.text());
                if local {
                    test(&scene).await;
                }
            }
            Side::Lacking(capability) => {
                let has = scene.node().capabilities().has(capability);
                assert!(!has, "the engine supports {} now: it must be shown", capability.text());
            }
            Side::With(_) | Side::Hidden(_) => {}
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    // Whatever still goes on in the background must not keep the trial.
    runtime.shutdown_background();
    Ok(())
}
