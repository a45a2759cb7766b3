//! The acceptance cases of COPA's reference, by their numbers.

use std::future::Future;
use std::pin::Pin;

use roadstead_tests::dialects::Outcome;
use serde_json::{Value, json};

use super::stage::Stage;
use super::{containers, images, others, pools};

type Play = for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A case.
pub(super) struct Case {
    pub(super) number: &'static str,
    pub(super) words: &'static str,
    pub(super) play: Play,
}

macro_rules! cases {
    ($($number:ident $play:path, $words:literal;)+) => {
        pub(super) const CASES: &[Case] =
            &[$(Case { number: stringify!($number), words: $words, play: |stage| Box::pin($play(stage)) }),+];
    };
}

cases! {
    C01 pools::no_pools, "no pools";
    C02 pools::add, "a pool is added";
    C03 pools::sorted, "pools are sorted by name";
    C04 pools::no_operation, "operation is missing";
    C05 pools::no_ip, "ip is missing";
    C06 pools::remove, "a pool is removed";
    C07 pools::delete, "a pool is deleted, which is a synonym";
    C08 pools::remove_ghost, "a pool that is not there is removed";
    C09 pools::upsert, "a pool is added again with another address";
    C10 pools::not_allowed, "a method that pools do not have";
    C11 containers::list, "containers are listed";
    C12 containers::get_without_operation, "operation is missing of a GET";
    C13 containers::information_without_name, "information without a container";
    C14 containers::information, "information of a running container";
    C15 containers::without_cpu, "information where the engine tells no processor time";
    C16 containers::information_ghost, "information of a container that is not there";
    C17 containers::get_bogus, "a GET of an operation that is none";
    C18 containers::start, "a container is started";
    C19 containers::stop_and_freeze, "a container is stopped, and frozen when it does not run";
    C20 containers::start_without_name, "a verb without a container";
    C21 containers::dance, "a verb that is none";
    C22 images::create, "a container is created from an alias";
    C23 images::create_ghost, "a container of an image that is not there";
    C24 images::create_without_image, "a container without an image";
    C25 containers::migrate, "a container is migrated";
    C26 containers::migrate_with_warning, "the source refuses to be deleted after a migration";
    C27 containers::migrate_without_destination, "a migration without a destination";
    C28 containers::delete_container, "a container is deleted";
    C29 images::aliases, "images by alias";
    C30 others::json_off, "a JSON body where that extension is off";
    C31 others::links, "a measurement of a link is kept and told";
    C32 others::links_of_ghost, "measurements of a pool that is not there";
    C33 others::configuration, "the configuration is kept and told";
    C34 others::host_command, "commands of the host are refused";
}

pub(super) fn missing(field: &str) -> Value {
    json!({ "error": format!("Required Field '{field}' not in post") })
}

pub(super) fn is_error(body: &Value) -> bool {
    let members = body.as_object().expect("an object");
    members.len() == 1 && members["error"].as_str().is_some_and(|text| !text.is_empty() && !text.contains('\n'))
}

pub(super) fn no_pool() -> Value {
    json!({ "error": "Pool matching query does not exist." })
}

pub(super) fn no_container() -> Value {
    json!({ "error": "Container matching query does not exist." })
}

pub(super) fn done() -> Value {
    json!({ "success": "Operation successful" })
}
