//! Moves of containers between real engines, cut at every point that they pass: this process dies, or the engine on either
//! side is killed or out of reach. The points are those that a move without a cut was seen to pass, so none is forgotten.
//!
//! ```no_run
//! # async fn try_it() {
//! use roadstead_core::ContainerSpec;
//! use roadstead_tests::engines::{OwnEngine, image};
//! use roadstead_tests::moves::{Cut, End, Trial};
//!
//! let source = End::own("here", OwnEngine::docker("move-a").unwrap());
//! let target = End::own("there", OwnEngine::docker("move-b").unwrap());
//! let trial = Trial::new(&source, &target, ContainerSpec::new(image()));
//! let cuts = trial.cut_everywhere(&Cut::ALL).await;
//! println!("{cuts} cuts, nothing lost");
//! # }
//! ```

mod content;
mod end;
mod trial;

pub use content::{Content, Item, content};
pub use end::{Away, End};
pub use trial::{Cut, Trial};
