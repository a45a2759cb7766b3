//! Black-box tests of the `roadstead` binary against real engines, over nothing but HTTP and the engines' own sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic is how a test says that it failed"
)]

/// Makes of each async function that takes an engine one test per engine.
macro_rules! on_both_engines {
    ($($test:ident)+) => {
        mod on_docker {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    if let Some(engine) = roadstead_tests::engines::docker() {
                        super::$test(&engine).await;
                    }
                }
            )+
        }
        mod on_podman {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    if let Some(engine) = roadstead_tests::engines::podman() {
                        super::$test(&engine).await;
                    }
                }
            )+
        }
    };
}

mod bad_input;
mod documents;
mod events;
mod faults;
mod jobs;
mod lifecycle;
mod listing;
mod serving;

use std::time::Duration;

/// Whatever is waited for comes within this time unless something hangs.
const SOON: Duration = Duration::from_secs(60);

use on_both_engines;
