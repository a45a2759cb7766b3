//! The charts of the dashboard: what was measured between one locus and each of its peers since the last question, and its stations.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use roadstead_core::{Error, Result, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::answer::{Answer, object, respond};
use super::super::form::Form;
use super::measure::{Row, not_registered};
use super::measured::{RECENT, ago};
use super::records::{Kind, KpiLink, KpiWireless};
use super::{Monitor, is_locus, stored};
use crate::series::{Record, Wanted};
use crate::state::App;

/// No further back than this.
const WINDOW: Duration = Duration::from_secs(300);

/// A peer of the locus. "Up" is from the locus to the peer.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Peer {
    name: String,
    jitter_down: Vec<f64>,
    jitter_up: Vec<f64>,
    latency_down: Vec<f64>,
    latency_up: Vec<f64>,
}

/// The peers of a locus, by name, with what was measured, oldest first.
fn peers(locus: &str, newest_first: &[Record<KpiLink>]) -> Vec<Peer> {
    let mut peers: BTreeMap<&str, Peer> = BTreeMap::new();
    for link in newest_first.iter().rev().map(|record| &record.what) {
        let from_here = link.locus1_id == locus;
        let name = if from_here { &link.locus2_id } else { &link.locus1_id };
        let peer = peers.entry(name).or_insert_with(|| Peer { name: name.clone(), ..Peer::default() });
        let (one, two) = ((link.jitter_1to2, link.latency_median_1to2), (link.jitter_2to1, link.latency_median_2to1));
        let (up, down) = if from_here { (one, two) } else { (two, one) };
        peer.jitter_up.push(up.0);
        peer.latency_up.push(up.1);
        peer.jitter_down.push(down.0);
        peer.latency_down.push(down.1);
    }
    peers.into_values().collect()
}

/// For each station that was seen, its last record at the locus that is recent, or null; nothing where none was seen.
fn stations(locus: &str, newest_first: &[Record<KpiWireless>], recent: Timestamp) -> Option<Vec<Value>> {
    let mut found: BTreeMap<&str, Option<&Record<KpiWireless>>> = BTreeMap::new();
    for record in newest_first {
        let last = found.entry(&record.what.mac).or_default();
        if last.is_none() && record.what.locus() == locus && record.at >= recent {
            *last = Some(record);
        }
    }
    let shown = |record: &Record<KpiWireless>| serde_json::to_value(Row::of(record)).unwrap_or_default();
    (!found.is_empty()).then(|| found.into_values().map(|last| last.map_or(Value::Null, shown)).collect())
}

/// The number that the query names.
fn above(form: &Form) -> Result<u64> {
    let text = form.get("id_last_item").map(str::trim).unwrap_or_default();
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| Error::invalid("id_last_item", "must be a whole number, and not negative"))
}

pub(super) async fn get(app: web::Data<App>, req: HttpRequest) -> HttpResponse {
    respond(read(&app, &Form::of_query(&req)).await)
}

async fn read(app: &App, form: &Form) -> Answer {
    let locus = form.required("locus")?;
    if !is_locus(app, locus) {
        return Err(not_registered());
    }
    let above = above(form)?;
    let monitor = Monitor::of(app);
    let since = Some(ago(WINDOW));
    let links = Wanted { since, above, about: Some(locus), ..Wanted::default() };
    let wireless = Wanted { since, ..Wanted::default() };
    let read = async { tokio::try_join!(monitor.links.newest(&links), monitor.wireless.newest(&wireless)) };
    let (links, wireless) = stored(app, read).await?;
    let last = match links.first() {
        Some(newest) => json!(newest.id),
        // As it was given, where there is nothing new.
        None => json!(form.get("id_last_item").map(str::trim).filter(|text| !text.is_empty()).unwrap_or("0")),
    };
    let mut answer = json!({ "id_last_item": last, "links": peers(locus, &links), "success": "dashboardlinks" });
    if let (Some(members), Some(stations)) = (answer.as_object_mut(), stations(locus, &wireless, ago(RECENT))) {
        members.insert("wireless".to_owned(), stations.into());
    }
    Ok(object(&answer))
}

#[cfg(test)]
mod tests {
    use super::super::measured::tests::records;
    use super::*;

    #[test]
    fn up_is_from_the_locus_whoever_measured() {
        let mut links = records::<KpiLink>(&[
            json!({"locus1": "a", "locus2": "b", "jitter_1to2": 1, "latency_median_1to2": 2, "jitter_2to1": 3, "latency_median_2to1": 4}),
            json!({"locus1": "b", "locus2": "a", "jitter_1to2": 5, "latency_median_1to2": 6, "jitter_2to1": 7, "latency_median_2to1": 8}),
            json!({"locus1": "a", "locus2": "c", "jitter_1to2": 9}),
        ]);
        links.reverse();
        let told = peers("a", &links);
        assert_eq!(told.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        let b = Peer {
            name: "b".to_owned(),
            jitter_up: vec![1.0, 7.0],
            latency_up: vec![2.0, 8.0],
            jitter_down: vec![3.0, 5.0],
            latency_down: vec![4.0, 6.0],
        };
        assert_eq!(told[0], b);
        assert_eq!(told[1].jitter_up, [9.0]);
    }

    #[test]
    fn a_station_is_told_by_its_last_record_here_or_as_null() {
        let seen = |locus: &str, mac: &str, signal: &str| {
            let mut station = json!({"locus": locus, "mac": mac, "signal": signal});
            for text in ["expected_throughput", "inactive_time", "preamble", "rx_bitrate", "signal_avg", "tx_bitrate"] {
                station[text] = json!("");
            }
            station
        };
        let mut records = records::<KpiWireless>(&[
            seen("a", "m1", "-40 dBm"),
            seen("a", "m1", "-41 dBm"),
            seen("b", "m2", "-50 dBm"),
        ]);
        records.reverse();
        let told = stations("a", &records, ago(RECENT)).unwrap();
        assert_eq!(told.len(), 2);
        assert_eq!((&told[0]["mac"], &told[0]["signal"]), (&json!("m1"), &json!("-41 dBm")));
        assert_eq!(told[1], Value::Null, "seen elsewhere only");
        assert_eq!(stations("a", &records, ago(Duration::ZERO)).unwrap(), [Value::Null, Value::Null]);
        assert_eq!(stations("a", &[], ago(RECENT)), None);
    }
}
