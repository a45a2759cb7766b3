//! pharos: the acceptance cases of its reference as black-box tests over HTTP, and what is offered beyond them, on every engine. One
//! trial for each case and engine, for example `pharos::docker::P12`.

mod client;
mod containers;
mod events;
mod loads;
mod metrics;
mod nodes;
mod scene;

use std::future::Future;
use std::pin::Pin;

use libtest_mimic::{Failed, Trial};
use roadstead_tests::dialects::{self, Outcome, Place};

use scene::Engine;

type Play = fn(Engine) -> Pin<Box<dyn Future<Output = Outcome>>>;

/// A case.
#[derive(Clone, Copy)]
struct Case {
    number: &'static str,
    words: &'static str,
    play: Play,
}

macro_rules! cases {
    ($($number:ident $play:path, $words:literal;)+) => {
        &[$(Case { number: stringify!($number), words: $words, play: |engine| Box::pin($play(engine)) }),+]
    };
}

/// Those of the reference bear its numbers behind a P; those behind an E are of what is offered beyond it.
const CASES: &[Case] = cases! {
    P01 nodes::none, "no nodes";
    P02 nodes::add, "a node is added, and nobody asks whether it is there";
    P03 nodes::add_again, "a node that is there is added";
    P04 nodes::add_nonsense, "a body that is no JSON";
    P05 nodes::add_nobody, "a body without a host";
    P06 nodes::list, "nodes with what runs on them";
    P07 nodes::away, "a node that is away";
    P08 nodes::remove, "a node is removed";
    P09 nodes::remove_ghost, "a node that is not there is removed";
    P10 nodes::remove_nobody, "nobody is named to be removed";
    P11 nodes::store_away, "the store is away";
    P12 metrics::of_node, "metrics of a node";
    P13 metrics::node_is_the_sum, "a node is the sum of its containers";
    P14 metrics::container_is_the_sum, "a container is the sum of its processes";
    P15 metrics::of_nothing, "metrics of a node on which nothing runs";
    P16 metrics::of_ghost, "metrics of a node that is not there";
    P17 containers::running, "containers that run";
    P18 containers::all, "all containers";
    P19 containers::all_by_another_word, "all containers by another word than true";
    P20 containers::status_all, "all containers of a host by the status of the old example";
    P21 containers::of_ghost, "containers of a host that is not there";
    P22 metrics::of_container, "metrics of a container by the beginning of its id";
    P23 metrics::by_expression, "no regular expressions";
    P24 metrics::of_no_container, "metrics of a container that is not there";
    P25 containers::dies, "a container that died has no metrics, and is listed";
    P26 containers::destroyed, "a container that was destroyed is not listed";
    P27 events::of_one, "events of a container by status and id";
    P28 nodes::readable, "pages of every site may read";
    P29 nodes::wrong_ways, "a slash at the end, and a method that there is not";
    P30 loads::busy, "a busy loop takes a core";
    E01 nodes::members, "further members of a node are kept over a restart, and so are the ids";
    E02 nodes::roles, "who may read may not add";
    E03 containers::parts, "parts of lists, and numbers that are none";
    E04 containers::by_docker, "the inspection is the engine's own as far as it goes";
    E05 metrics::ambiguous, "a beginning that several containers have";
    E06 metrics::stale, "the last metrics of a node that is away are told as such";
    E07 events::stream, "the stream of events goes on where a client was";
    E08 client::session, "a session of the command line client";
    E09 loads::processor, "processor time is that of the kernel";
    E10 loads::memory, "memory is that of the kernel";
    E11 loads::group, "bytes of devices are those of the group";
    E12 loads::network, "bytes of the network are those of its namespace";
};

pub(super) fn trials() -> Vec<Trial> {
    let on_engines = Engine::ALL.into_iter().flat_map(|name| {
        CASES.iter().map(move |case| Trial::test(format!("pharos::{name}::{}", case.number), move || play(name, *case)))
    });
    let table = Trial::test("pharos::the_table_names_every_case", || {
        let cases: Vec<_> = CASES.iter().map(|case| (case.number, case.words)).collect();
        dialects::check("pharos", &Engine::ALL, &cases);
        Ok(())
    });
    on_engines.chain([table]).collect()
}

fn play(name: &'static str, case: Case) -> Result<(), Failed> {
    let Some(engine) = Engine::of(name) else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on((case.play)(engine));
    runtime.shutdown_background();
    dialects::played(&Place { dialect: "pharos", engine: name, number: case.number, words: case.words }, &outcome);
    Ok(())
}
