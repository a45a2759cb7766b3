//! Lists and objects that stand for no public type of their own: nothing that a node sends makes reading them panic.

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::aggregator::{Metric, metrics};
use super::reading::{Done, Items, Named, Number, Truth};

fn json() -> impl Strategy<Value = Value> {
    let names =
        proptest::sample::select(&["blockdevices", "machine.memory.ram.available", "container", "id", "4", "size"][..]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((names.clone(), inner), 0..5).prop_map(|members| Value::Object(
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

fn one<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_is_a_value_or_an_error(value in json()) {
        one::<super::disk::Devices>(&value);
        one::<super::corex::Listed>(&value);
        one::<Items<String>>(&value);
        one::<Number<u16>>(&value);
        one::<Truth>(&value);
        one::<Named<Metric>>(&value).map(metrics);
        prop_assert!(one::<Done>(&value).is_some());
    }
}
